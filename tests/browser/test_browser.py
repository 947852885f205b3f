"""The admin in a real browser: found, read, filtered, changed, in both themes and on a phone."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import PHONE, chromium, context_of, log_in, overflow, violations
from tests.system.server import Client, Server, basic

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>‮\u200f😀 &amp; {{ 7*7 }}"


# Not longer than this file: while Playwright runs, Django takes its thread for an asynchronous one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def logged_in(browser: Browser, server: Server) -> dict[str, Any]:
    """The cookies of the first user, who logs in once."""
    with context_of(browser, server) as context:
        page = context.new_page()
        log_in(page, "admin", server.admin_password())
        page.wait_for_url("**/admin/")
        return dict(context.storage_state())


@pytest.fixture
def page(
    browser: Browser, server: Server, logged_in: dict[str, Any], http: Client
) -> Iterator[Page]:
    """A page of the first user, over an empty store."""
    with context_of(browser, server, storage_state=logged_in) as context:
        yield context.new_page()


@pytest.fixture
def ada(http: Client) -> int:
    """A contact who did 60 things, on three days."""
    contact = http.contact("ada@example.com", first_name="Ada", last_name="Lovelace", tags=["VIP"])
    now = datetime.now(UTC).replace(microsecond=0)
    events = [
        {
            "event_key": "lesson" if number % 3 else "checkout",
            "title": f"Lesson {number}" if number % 3 else "Order placed",
            "value": str(number),
            "properties": {"order": {"total": number}},
            "subscriber_id": contact,
            "occurred_at": (now - timedelta(hours=number)).isoformat(),
        }
        for number in range(60)
    ]
    answer = http("POST", "/subscribers/track-events", {"events": events})
    assert answer.json()["tracked"] == 60
    return contact


def test_a_wrong_password_is_told_and_the_right_one_lets_in(
    browser: Browser, server: Server, logged_in: dict[str, Any]
) -> None:
    with context_of(browser, server) as context:
        page = context.new_page()
        log_in(page, "admin", "wrong")
        expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
    with context_of(browser, server, storage_state=logged_in) as context:
        page = context.new_page()
        page.goto("/admin/")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_contact_is_found_and_the_timeline_unfolded(page: Page, ada: int) -> None:
    page.goto("/admin/crm/subscriber/")
    page.get_by_label("E-mail or name").fill("lovelace")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="ada@example.com").click()
    expect(page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    expect(page.locator(".profile")).to_contain_text("60")
    newest = page.locator(".day li").first
    expect(newest).to_contain_text("Order placed")
    expect(newest.get_by_text("total")).to_be_hidden()
    newest.locator("summary").click()
    expect(newest.get_by_text('"total": 0')).to_be_visible()


def test_older_occurrences_are_loaded_below_the_newer_ones(page: Page, ada: int) -> None:
    page.goto(f"/admin/crm/subscriber/{ada}/")
    expect(page.locator(".day li")).to_have_count(50)
    page.get_by_role("link", name="Load older").dblclick()
    expect(page.locator(".day li")).to_have_count(60)
    expect(page.get_by_role("link", name="Load older")).to_have_count(0)
    days = page.locator(".day h3").all_inner_texts()
    assert len(days) == len(set(days))
    assert page.url.endswith(f"/{ada}/")


def test_the_timeline_is_filtered_by_key(page: Page, ada: int) -> None:
    page.goto(f"/admin/crm/subscriber/{ada}/")
    page.get_by_label("Event key").select_option("checkout")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".day li")).to_have_count(20)
    assert set(page.locator(".day .key").all_inner_texts()) == {"checkout"}
    page.get_by_role("link", name="Show all").click()
    expect(page.locator(".day li")).to_have_count(50)


def test_the_chart_shows_each_day_and_follows_the_theme(page: Page, ada: int) -> None:
    page.goto(f"/admin/crm/subscriber/{ada}/")
    chart = page.get_by_role("img", name=re.compile("60 events from .* to today; most, "))
    expect(chart.locator(".chart-day")).to_have_count(90)
    bars = chart.locator(".chart-bar")
    assert 3 <= bars.count() <= 4
    line = chart.locator(".chart-lines")
    colour = "line => getComputedStyle(line).stroke"
    light = line.evaluate(colour)
    toggle = page.get_by_role("button", name=re.compile("Toggle theme"))
    # From the system's to light to dark.
    while page.locator("html").get_attribute("data-theme") != "dark":
        toggle.click()
    assert line.evaluate(colour) != light
    page.reload()
    assert page.locator("html").get_attribute("data-theme") == "dark"


def test_an_application_password_made_here_tracks_an_event(
    page: Page, ada: int, server: Server
) -> None:
    page.goto("/admin/crm/applicationpassword/add/")
    page.get_by_label("User").select_option(label="admin")
    page.get_by_label("Name").fill("shop")
    page.get_by_label("Scope").select_option("track")
    page.get_by_role("button", name="Save", exact=True).click()
    told = page.locator(".messagelist").inner_text()
    secret = re.search(r"(\w{4} ){5}\w{4}", told)
    assert secret
    shop = server.client(basic("admin", secret[0]))
    event = {"event_key": "purchase", "title": "Tea", "subscriber_id": ada}
    assert shop("POST", "/subscribers/track-event", event).status == 200
    shop.close()
    page.goto(f"/admin/crm/subscriber/{ada}/")
    expect(page.locator(".day li").first).to_contain_text("purchase")


def test_the_overview_refreshes_itself_without_a_page_load(
    page: Page, http: Client, ada: int
) -> None:
    page.clock.install()
    page.goto("/admin/")
    page.evaluate("window.sameDocument = true")
    expect(page.locator("#overview")).to_contain_text("Order placed")
    event = {"event_key": "refund", "title": "Money back", "subscriber_id": ada}
    assert http("POST", "/subscribers/track-event", event).status == 200
    page.clock.run_for(31_000)
    expect(page.locator("#overview")).to_contain_text("Money back")
    assert page.evaluate("window.sameDocument")


PAGES = (
    *("/admin/", "/admin/crm/subscriber/", "/admin/crm/subscriber/{}/"),
    "/admin/crm/subscriber/{}/change/",
    *("/admin/events/trackedevent/", "/admin/events/eventoccurrence/?contact={}"),
    *("/admin/crm/segment/", "/admin/crm/segment/add/"),
    *("/admin/crm/applicationpassword/", "/admin/crm/applicationpassword/add/"),
    *("/admin/events/trackingkey/", "/admin/crm/subscriber/{}/erase/"),
)
CONTACT_PAGES = ("", "change/", "delete/", "history/", "erase/")


def test_pages_can_be_read_by_everybody_in_both_themes(
    browser: Browser, server: Server, logged_in: dict[str, Any], ada: int
) -> None:
    found = []
    # axe-core tries styles of its own on the page.
    with context_of(browser, server, storage_state=logged_in, bypass_csp=True) as context:
        page = context.new_page()
        for address in (*PAGES, "/admin/logged-out/"):
            if address == "/admin/logged-out/":
                context.clear_cookies()
            page.emulate_media(color_scheme="light")
            page.goto(address.format(ada))
            found += [f"{address} {mistake}" for mistake in violations(page)]
            page.emulate_media(color_scheme="dark")
            mistakes = violations(page, "color-contrast")
            found += [f"{address} in dark: {mistake}" for mistake in mistakes]
    assert not found, "\n".join(found)


def test_pages_fit_a_phone(
    browser: Browser, server: Server, logged_in: dict[str, Any], http: Client, ada: int
) -> None:
    marked = "e" + "\u0336" * 150
    for key in ("k" * 192, marked):
        http.track(event_key=key, title="W" * 192, value="v" * 5000, subscriber_id=ada)
    name = f"{'x' * 60}@{'y' * 60}.{'z' * 60}.example.com"
    long = http.contact(name, first_name="N" * 190, last_name=marked, tags=["T" * 190])
    segment = {"title": "S" * 190, "slug": "s", "filters": []}
    segment_id = http("POST", "/segments", segment).json()["segment"]["id"]
    addresses = [
        *(address.format(ada) for address in PAGES),
        *(f"/admin/crm/subscriber/{long}/{page}" for page in CONTACT_PAGES),
        *(f"/admin/crm/segment/{segment_id}/{page}/" for page in ("change", "delete")),
    ]
    wider = {}
    with context_of(browser, server, storage_state=logged_in, viewport=PHONE) as context:
        page = context.new_page()
        for address in addresses:
            page.goto(address)
            if pixels := overflow(page):
                wider[address] = pixels
    assert wider == {}


def test_what_callers_send_shows_as_text(
    page: Page, http: Client, store: psycopg.Connection
) -> None:
    contact = http.contact(
        "mallory@example.com",
        first_name=HOSTILE,
        last_name=HOSTILE,
        tags=[HOSTILE],
        lists=[HOSTILE],
    )
    event = {
        "event_key": HOSTILE,
        "title": HOSTILE,
        "value": HOSTILE + "x" * 65_000,
        "provider": HOSTILE[:50],
        "properties": {HOSTILE: HOSTILE, "more": {HOSTILE: [HOSTILE]}},
        "context": {"url": "javascript:alert(3)"},
        "subscriber_id": contact,
    }
    assert http("POST", "/subscribers/track-event", event).status == 200
    page.on("dialog", lambda dialog: pytest.fail(f"a dialog: {dialog.message}"))
    for address in PAGES:
        page.goto(address.format(contact))
        assert page.locator("img[src=x]").count() == 0, address
    page.goto(f"/admin/crm/subscriber/{contact}/")
    entry = page.locator(".day li").first
    entry.locator("summary").click()
    for place in (".key", ".main", "dl"):
        expect(entry.locator(place)).to_contain_text("<script>alert(2)</script>")
    assert page.locator("a[href^=javascript]").count() == 0


def test_a_segment_is_built_and_its_contacts_counted_meanwhile(
    page: Page, http: Client, ada: int
) -> None:
    for name in ("bob", "cyd"):
        http.contact(f"{name}@example.com")
    page.goto("/admin/crm/segment/add/")
    page.get_by_label("Title").fill("Often at the till")
    count = page.locator("#segment-count")
    expect(count).to_have_text("3 contacts")
    if not page.get_by_label("Provider", exact=True).count():
        page.get_by_role("button", name="Add condition").click()
    page.get_by_label("Provider", exact=True).select_option(label="Event Tracking")
    page.get_by_label("Property", exact=True).select_option(label="Event Total")
    page.get_by_label("For event key", exact=True).fill("checkout")
    page.get_by_label("Operator", exact=True).select_option(">")
    page.get_by_label("Value", exact=True).fill("5")
    expect(count).to_have_text("1 contact")
    page.get_by_label("Value", exact=True).fill("50")
    expect(count).to_have_text("0 contacts")
    page.get_by_label("Value", exact=True).fill("5")
    expect(page.locator("#id_filters")).to_have_value(re.compile('"event_tracking_total"'))
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("link", name="Show contacts").click()
    expect(page.get_by_role("link", name="ada@example.com")).to_be_visible()
    expect(page.locator("#result_list tbody tr")).to_have_count(1)


def test_a_builder_that_a_browser_goes_back_to_shows_what_its_json_says(
    page: Page, ada: int
) -> None:
    page.goto("/admin/crm/segment/add/")
    page.get_by_role("button", name="Add condition").click()
    page.get_by_label("Value", exact=True).fill("Ann")
    expect(page.locator("#segment-count")).to_have_text("0 contacts")
    page.goto("/admin/")
    page.go_back()
    expect(page.locator("#segment-count")).to_have_text("1 contact")
    expect(page.locator("#id_filters")).to_have_value("[]")
    expect(page.get_by_label("Provider", exact=True)).to_have_count(0)


def test_everything_about_a_contact_is_downloaded_and_then_erased_with_a_receipt(
    page: Page, ada: int
) -> None:
    page.goto(f"/admin/crm/subscriber/{ada}/")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export everything").click()
    exported = json.loads(download.value.path().read_text())
    assert exported["contact"]["email"] == "ada@example.com"
    assert len(exported["occurrences"]) == 60
    page.get_by_role("link", name="Erase").click()
    expect(page.locator("#content")).to_contain_text("60")
    page.get_by_role("button", name=re.compile("erase", re.IGNORECASE)).click()
    expect(page.get_by_role("heading", name="Contact erased")).to_be_visible()
    expect(page.locator("#content")).not_to_contain_text("ada@example.com")
    page.goto("/admin/crm/subscriber/?q=ada")
    expect(page.get_by_text("0 contacts")).to_be_visible()
