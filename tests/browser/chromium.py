"""A real browser for tests: Debian's chromium, driven by Playwright."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.system.server import ROOT, Server

AXE = ROOT / "tests" / "clients" / "node_modules" / "axe-core" / "axe.min.js"
# The last ones keep chromium from looking up hosts of its maker.
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
DESKTOP = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def needed(what: str, install: str) -> None:
    """Skip the test, and tell how to install what it needs; where it is required, fail."""
    reason = f"{what} is not installed: {install}"
    if os.environ.get("TALLYBOOK_REQUIRE_BROWSER"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, as long as it is needed."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        needed("chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Watch:
    """What a page did that no page may: complaints on its console, requests to other hosts."""

    host: str
    complaints: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)

    def look_at(self, context: BrowserContext) -> None:
        context.on("console", lambda said: self._heard(said.type, said.text))
        context.on("weberror", lambda error: self.complaints.append(str(error.error)))
        context.on("request", lambda request: self._asked(request.url))

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _asked(self, url: str) -> None:
        address = urlsplit(url)
        if address.scheme in ("http", "https", "ws", "wss") and address.netloc != self.host:
            self.strangers.append(url)


@contextmanager
def context_of(browser: Browser, server: Server, **options: Any) -> Iterator[BrowserContext]:
    """A context on the server that must stay quiet and at home."""
    options = {"viewport": DESKTOP, "base_url": f"http://127.0.0.1:{server.port}"} | options
    context = browser.new_context(**options)
    context.set_default_timeout(10_000)
    watch = Watch(f"127.0.0.1:{server.port}")
    watch.look_at(context)
    yield context
    context.close()
    assert (watch.complaints, watch.strangers) == ([], [])


def log_in(page: Page, username: str, password: str) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()


def violations(page: Page, *rules: str) -> list[str]:
    """What axe-core, or some of its rules, finds serious or critical, each with where it is."""
    if not AXE.exists():
        needed("axe-core", "make install, with nodejs and npm")
    # Colours that are on their way belong to neither theme.
    page.evaluate("Promise.all(document.getAnimations().map(one => one.finished))")
    # Not as a script of the page, which its content policy would refuse.
    page.evaluate(AXE.read_text())
    options: dict[str, Any] = {"resultTypes": ["violations"]}
    if rules:
        options["runOnly"] = rules
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{violation['id']}: {node['html'][:200]}"
        for violation in found["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]


def overflow(page: Page) -> int:
    """How many pixels a page is wider than the window."""
    wider: int = page.evaluate(
        "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    )
    return wider
