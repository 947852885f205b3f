"""`make screenshots`: the pictures of docs/screenshots, of demo data in a new store.

Needs chromium, and fonts for the scripts that people's names are written in (Debian: fonts-noto).
"""

import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.browser.chromium import chromium, context_of, log_in
from tests.system.server import ROOT, Server

FOLDER = ROOT / "docs" / "screenshots"
WINDOW = {"width": 1200, "height": 800}
SEGMENT = {
    "title": "Came back this month",
    "slug": "came-back",
    "filters": [
        [
            {
                "source": ["event_tracking", "event_tracking_count_within"],
                "operator": ">=",
                "value": 2,
                "extra_value": "login",
                "within_days": 30,
            },
            {"source": ["subscriber", "status"], "operator": "=", "value": "subscribed"},
        ],
        [
            {
                "source": ["event_tracking", "event_tracking_total"],
                "operator": ">",
                "value": 4,
                "extra_value": "purchase",
            }
        ],
    ],
}


def main() -> None:
    """Seed a store and take the pictures, in light; the contact's page in dark as well."""
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        server = Server(Path(name), TALLYBOOK_WORKERS="1").start()
        try:
            server.manage("seed_demo", "--contacts", "400", "--events-per-contact", "12")
            client = server.client()
            segment = client("POST", "/segments", SEGMENT).json()["segment"]["id"]
            with chromium() as browser, context_of(browser, server, viewport=WINDOW) as context:
                page = context.new_page()
                log_in(page, "admin", server.admin_password())
                page.wait_for_url("**/admin/")
                take(page, "overview", "/admin/")
                take(page, "contacts", "/admin/crm/subscriber/?segment=came-back")
                busy = busiest(page)
                take(page, "contact", busy)
                take(page, "segment", f"/admin/crm/segment/{segment}/change/")
                page.emulate_media(color_scheme="dark")
                take(page, "contact-dark", busy)
        finally:
            server.stop()


def busiest(page: Page) -> str:
    """The page of the contact with the most events of those that are listed."""
    rows = page.locator("#result_list tbody tr").all()
    numbers = [int(row.locator(".field-event_count").inner_text()) for row in rows]
    link = rows[numbers.index(max(numbers))].locator("th a").get_attribute("href")
    assert link
    return link


def take(page: Page, name: str, address: str) -> None:
    """A picture of what the window shows."""
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=FOLDER / f"{name}.png")
    sys.stdout.write(f"docs/screenshots/{name}.png\n")


if __name__ == "__main__":
    main()
