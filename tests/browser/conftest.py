"""What the tests in a browser share: chromium, a login, and pages of the superuser."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.chromium import PHONE, chromium, context_of, log_in
from tests.system.server import Client, Server


# Not longer than this file: while Playwright runs, Django takes its thread for an asynchronous one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def admin_cookies(browser: Browser, server: Server) -> dict[str, Any]:
    """The cookies of the superuser "admin", who logs in once for this file."""
    with context_of(browser, server) as context:
        page = context.new_page()
        log_in(page, "admin", server.admin_password())
        page.wait_for_url("**/admin/")
        return dict(context.storage_state())


@pytest.fixture
def page(
    browser: Browser, server: Server, admin_cookies: dict[str, Any], http: Client
) -> Iterator[Page]:
    """A page of the superuser "admin", on an empty store."""
    with context_of(browser, server, storage_state=admin_cookies) as context:
        yield context.new_page()


@pytest.fixture(scope="class")
def axe_page(browser: Browser, server: Server, admin_cookies: dict[str, Any]) -> Iterator[Page]:
    """A page on which axe-core may try styles of its own."""
    options = {"storage_state": admin_cookies, "bypass_csp": True}
    with context_of(browser, server, **options) as context:
        yield context.new_page()


@pytest.fixture(scope="class")
def phone(browser: Browser, server: Server, admin_cookies: dict[str, Any]) -> Iterator[Page]:
    """A page in a narrow window."""
    options = {"storage_state": admin_cookies, "viewport": PHONE}
    with context_of(browser, server, **options) as context:
        yield context.new_page()
