"""A real browser for tests: Debian's chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.system.server import ROOT, Server

AXE = ROOT / "tests" / "clients" / "node_modules" / "axe-core" / "axe.min.js"
# The last ones keep chromium from looking up hosts of its maker.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DESKTOP = {"width": 1280, "height": 900}
NO_ERRORS: dict[str, list[str]] = {"light": [], "dark": []}
PHONE = {"width": 390, "height": 844}


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

    def record(self, context: BrowserContext) -> None:
        """Record the violations of all pages of a context."""
        context.on("console", self._on_console)
        context.on("weberror", lambda error: self.console.append(str(error.error)))
        context.on("request", lambda request: self._on_request(request.url))

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.console.append(f"{message.location['url']}: {message.text}")

    def _on_request(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme in ("http", "https", "ws", "wss") and parts.netloc != self.host:
            self.requests.append(url)


@contextmanager
def context_of(browser: Browser, server: Server, **options: Any) -> Iterator[BrowserContext]:
    """Open a browser context on the server, and check at the end that no page violated anything."""
    options = {"viewport": DESKTOP, "base_url": f"http://127.0.0.1:{server.port}"} | options
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    violations = Violations(f"127.0.0.1:{server.port}")
    violations.record(context)
    yield context
    context.close()
    assert (violations.console, violations.requests) == ([], [])


def log_in(page: Page, username: str, password: str) -> None:
    """Submit the form of the login page."""
    page.goto("/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def accessibility_errors(page: Page, *rules: str) -> list[str]:
    """Return the serious and critical errors that axe-core finds, each with its HTML.

    Args:
        page: an open page, in a context with bypass_csp.
        rules: the names of axe-core's rules, all by default.
    """
    if not AXE.exists():
        skip_without("axe-core", "make install, with nodejs and npm")
    # Colours in the middle of an animation belong to neither theme.
    page.evaluate("Promise.all(document.getAnimations().map(animation => animation.finished))")
    # The page's content security policy would reject a script element.
    page.evaluate(AXE.read_text())
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = rules
    results = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in results["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def overflow(page: Page) -> int:
    """Return by how many pixels a page is wider than the window."""
    pixels: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return pixels


def errors_in_both_themes(page: Page, path: str) -> dict[str, list[str]]:
    """Return the accessibility errors of a page in light, and those of contrast in dark."""
    page.emulate_media(color_scheme="light")
    page.goto(path)
    light = accessibility_errors(page)
    page.emulate_media(color_scheme="dark")
    return {"light": light, "dark": accessibility_errors(page, "color-contrast")}
