"""A real browser for tests: Debian's chromium, driven by Playwright."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    ViewportSize,
    WebError,
    sync_playwright,
)

from tests.system.server import ROOT, Server

AXE = ROOT / "tests" / "clients" / "node_modules" / "axe-core" / "axe.min.js"
# The last ones keep chromium from looking up hosts of its maker.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
FLAWLESS: dict[str, Any] = {"light": [], "dark": [], "pixels too wide": 0}
PHONE: ViewportSize = {"width": 390, "height": 844}
# The rules that axe-core runs by default, and whose errors are serious or critical.
RULES = """() => axe._audit.rules
    .filter(rule => rule.enabled && ["serious", "critical"].includes(rule.impact))
    .filter(rule => !rule.tags.includes("experimental") && !rule.tags.includes("deprecated"))
    .map(rule => rule.id)"""


def skip_without(program: str, install: str) -> NoReturn:
    """Skip the test because a program is missing, or fail it with TALLYBOOK_REQUIRE_BROWSER."""
    reason = f"{program} is not installed: {install}"
    if os.environ.get("TALLYBOOK_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the browser."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        skip_without("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Violations:
    """Errors in the console, and requests to other hosts, which no page may cause."""

    host: str
    console: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @contextmanager
    def none_in(self, context: BrowserContext) -> Iterator[None]:
        """Record the violations of all pages of a context, and fail at the end if there are any."""
        context.on("console", self._on_console)
        context.on("weberror", self._on_error)
        context.on("request", self._on_request)
        yield
        context.remove_listener("console", self._on_console)
        context.remove_listener("weberror", self._on_error)
        context.remove_listener("request", self._on_request)
        assert (self.console, self.requests) == ([], [])

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console.append(f"{message.location['url']}: {message.text}")

    def _on_error(self, error: WebError) -> None:
        self.console.append(str(error.error))

    def _on_request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.requests.append(request.url)


@contextmanager
def context_of(browser: Browser, server: Server, **options: Any) -> Iterator[BrowserContext]:
    """Open a browser context on the server, and check at the end that no page violated anything."""
    host = f"127.0.0.1:{server.port}"
    context = browser.new_context(**{"viewport": DESKTOP, "base_url": f"http://{host}"} | options)
    context.set_default_timeout(10_000)
    with Violations(host).none_in(context):
        yield context
        context.close()


@contextmanager
def as_new(context: BrowserContext, server: Server, cookies: list[Any]) -> Iterator[Page]:
    """Open the page of a context that tests share, because each context costs a second.

    Check at the end that no page violated anything, and leave nothing to the next test.

    Args:
        context: the context that tests share.
        server: the server of its pages.
        cookies: the cookies that each test starts with.
    """
    page = context.pages[0] if context.pages else context.new_page()
    host = f"127.0.0.1:{server.port}"
    with Violations(host).none_in(context):
        yield page
        for other in context.pages[1:]:
            other.close()
        page.unroute_all()
        # A page of the same site, so that chromium does not start another process for the next one.
        page.goto("/admin/password_change/")
        page.set_viewport_size(DESKTOP)
        page.emulate_media(color_scheme="null")
        storage = {"origin": f"http://{host}", "storageTypes": "local_storage"}
        session = context.new_cdp_session(page)
        session.send("Storage.clearDataForOrigin", storage)
        session.detach()
        context.clear_cookies()
        context.add_cookies(cookies)


def log_in(page: Page, username: str, password: str) -> None:
    """Submit the form of the login page."""
    page.goto("/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def log_in_elsewhere(page: Page) -> None:
    """Replace the CSRF cookie, as a login in another tab does. The tokens of open forms are old."""
    cookies: list[Any] = page.context.cookies()
    page.context.add_cookies(
        [each | {"value": "x" * 32} for each in cookies if each["name"] == "tallybook_csrftoken"]
    )


def cookies_of(server: Server) -> list[Any]:
    """Log the superuser "admin" in by a request, and return the cookies."""
    client = server.client(auth=None)
    page = client("GET", "/admin/login/")
    token = re.search('name="csrfmiddlewaretoken" value="(.+?)"', page.body.decode())
    assert token
    [cookie] = page.headers.get_all("Set-Cookie", [])
    form = {
        "csrfmiddlewaretoken": token[1],
        "username": "admin",
        "password": server.admin_password(),
    }
    answer = client(
        "POST", "/admin/login/", form=form, headers={"Cookie": cookie.partition(";")[0]}
    )
    client.close()
    assert answer.status == 302, answer.body
    pairs = [line.partition(";")[0] for line in answer.headers.get_all("Set-Cookie", [])]
    url = f"http://127.0.0.1:{server.port}"
    return [
        {"name": name, "value": value, "url": url}
        for name, _, value in (pair.partition("=") for pair in pairs)
    ]


def accessibility_errors(page: Page, *rules: str) -> list[str]:
    """Return the serious and critical errors that axe-core finds, each with its HTML.

    Args:
        page: an open page, which has loaded axe-core.
        rules: the names of axe-core's rules.
    """
    # Colours in the middle of an animation belong to neither theme.
    page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
    options = {"resultTypes": ["violations"], "runOnly": rules}
    results = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in results["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than the window of a phone."""
    page.set_viewport_size(PHONE)
    page.wait_for_function("width => innerWidth === width", arg=PHONE["width"])
    pixels: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return pixels


def flaws(page: Page) -> dict[str, Any]:
    """Return what is wrong with an open page, which is FLAWLESS if nothing is.

    In one visit, because loading pages takes long: the accessibility errors in light, those of
    contrast in dark, and the overflow on a phone.
    """
    if not AXE.exists():
        skip_without("axe-core", "make install, with nodejs and npm")
    # The page's content security policy would reject a script element.
    page.evaluate(AXE.read_text())
    page.set_viewport_size(DESKTOP)
    page.emulate_media(color_scheme="light")
    light = accessibility_errors(page, *page.evaluate(RULES))
    page.emulate_media(color_scheme="dark")
    dark = accessibility_errors(page, "color-contrast")
    return {"light": light, "dark": dark, "pixels too wide": overflow(page)}
