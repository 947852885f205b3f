"""What the tests in a browser share: chromium, a login, and pages of the superuser."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from tests.browser.chromium import as_new, chromium, context_of, cookies_of
from tests.system.server import Client, Server


# Not longer than this file: while Playwright runs, Django takes its thread for an asynchronous one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's chromium."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def admin_cookies(server: Server) -> list[Any]:
    """The cookies of the superuser "admin", who logs in once for this file."""
    return cookies_of(server)


@pytest.fixture(scope="module")
def shared_context(
    browser: Browser, server: Server, admin_cookies: list[Any]
) -> Iterator[BrowserContext]:
    """A context of the superuser "admin", which the tests of this file share."""
    with context_of(browser, server) as context:
        context.add_cookies(admin_cookies)
        yield context


@pytest.fixture
def reader(
    shared_context: BrowserContext, server: Server, admin_cookies: list[Any]
) -> Iterator[Page]:
    """A page of the superuser "admin", on the store as it is."""
    with as_new(shared_context, server, admin_cookies) as page:
        yield page


@pytest.fixture
def page(reader: Page, http: Client) -> Page:
    """A page of the superuser "admin", on an empty store."""
    return reader
