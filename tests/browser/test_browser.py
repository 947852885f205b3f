"""The admin in a real browser: what its scripts do, both themes, a phone, hostile text."""

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import psycopg
import pytest
from playwright.sync_api import Browser, Dialog, HttpCredentials, Page, expect

from tests.browser.chromium import (
    FLAWLESS,
    context_of,
    cookies_of,
    flaws,
    log_in,
    log_in_elsewhere,
    overflow,
)
from tests.system.server import API, Client, Server, basic

HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>‮\u200f😀 &amp; {{ 7*7 }}"
# A letter with 150 combining characters.
COMBINED = "e" + "\u0336" * 150
LONG_EMAIL = f"{'x' * 60}@{'y' * 60}.{'z' * 60}.example.com"
AUTHORIZE = "/wp-admin/authorize-application.php"
# {} is the id of a contact.
PAGES = (
    *("/admin/", "/admin/crm/subscriber/", "/admin/crm/subscriber/{}/"),
    "/admin/crm/subscriber/{}/change/",
    *("/admin/events/trackedevent/", "/admin/events/eventoccurrence/?contact={}"),
    *("/admin/crm/segment/", "/admin/crm/segment/add/"),
    *("/admin/crm/customfield/", "/admin/crm/customfield/add/"),
    *("/admin/crm/subscribernote/", "/admin/crm/subscribernote/add/?contact={}"),
    *("/admin/crm/applicationpassword/", "/admin/crm/applicationpassword/add/"),
    *("/admin/events/trackingkey/", "/admin/crm/subscriber/{}/erase/"),
    "/admin/crm/subscriber/duplicates/",
    *("/admin/crm/historyentry/", "/admin/crm/subscriber/?did=checkoud"),
    *("/admin/crm/job/", "/admin/transfers/import/add/", "/admin/transfers/export/add/"),
    "/admin/events/eventoccurrence/take-back/?key=checkout",
    *("/admin/automations/endpoint/", "/admin/automations/delivery/"),
    f"{AUTHORIZE}?app_name=%3Cimg%20src=x%20onerror=alert(1)%3E{'W' * 192}"
    f"&success_url=https://{'x' * 60}.{'y' * 60}.example.com/",
)
CONTACT_PAGES = ("", "change/", "delete/", "history/", "erase/")


@pytest.fixture(scope="class")
def class_client(server: Server, sql: psycopg.Connection, emptying: str) -> Iterator[Client]:
    """An API client on a store that was emptied once for a class of tests, which only read."""
    sql.execute(emptying)
    client = server.client()
    yield client
    client.close()


def create_learner(client: Client) -> int:
    """Create Ada Lovelace with an event an hour in the last 60 hours, and return her id."""
    contact_id = client.contact(
        "ada@example.com", first_name="Ada", last_name="Lovelace", tags=["VIP"]
    )
    now = datetime.now(UTC).replace(microsecond=0)
    events = [
        {
            "event_key": "lesson" if number % 3 else "checkout",
            "title": f"Lesson {number}" if number % 3 else "Order placed",
            "value": str(number),
            "properties": {"order": {"total": number}},
            "subscriber_id": contact_id,
            "occurred_at": (now - timedelta(hours=number)).isoformat(),
        }
        for number in range(60)
    ]
    answer = client("POST", "/subscribers/track-events", {"events": events})
    assert answer.json()["tracked"] == 60
    return contact_id


@pytest.fixture
def learner_id(http: Client) -> int:
    """The id of Ada Lovelace, with 60 events on three or four days: 20 checkouts, 40 lessons."""
    return create_learner(http)


def contact_page(contact_id: int) -> str:
    """Return the path of a contact's page."""
    return f"/admin/crm/subscriber/{contact_id}/"


def test_a_wrong_password_is_rejected_with_a_message(browser: Browser, server: Server) -> None:
    with context_of(browser, server) as context:
        page = context.new_page()
        log_in(page, "admin", "wrong")
        expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()


def test_the_right_password_opens_the_overview(browser: Browser, server: Server) -> None:
    with context_of(browser, server) as context:
        page = context.new_page()
        log_in(page, "admin", server.admin_password())
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()


def test_a_contact_is_found_by_name(page: Page, learner_id: int) -> None:
    page.goto("/admin/crm/subscriber/")
    page.get_by_label("E-mail or name").fill("lovelace")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="ada@example.com").click()
    expect(page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    expect(page.locator(".profile")).to_contain_text("60")


def open_take_back(page: Page, contact_id: int) -> None:
    """Open the page that takes the newest occurrence back, from the timeline."""
    page.goto(contact_page(contact_id))
    entry = page.locator(".day li").first
    entry.locator("summary").click()
    entry.get_by_role("link", name="Take back").click()
    expect(page.get_by_role("heading", name="Take back occurrence")).to_be_visible()


def test_an_occurrence_is_taken_back_from_the_timeline(page: Page, learner_id: int) -> None:
    open_take_back(page, learner_id)
    expect(page.get_by_text("Counter of the event: 19 instead of 20")).to_be_visible()
    page.get_by_role("button", name="Yes, take back").click()
    expect(page.get_by_text("The event's counter is 19 now.")).to_be_visible()
    expect(page.locator(".profile").first).to_contain_text("59")


def test_an_occurrence_is_unfolded_with_its_properties(page: Page, learner_id: int) -> None:
    page.goto(contact_page(learner_id))
    newest = page.locator(".day li").first
    expect(newest).to_contain_text("Order placed")
    expect(newest.get_by_text("total")).to_be_hidden()
    newest.locator("summary").click()
    expect(newest.get_by_text('"total": 0')).to_be_visible()


def test_older_occurrences_are_loaded_below_the_newer_ones(page: Page, learner_id: int) -> None:
    page.goto(contact_page(learner_id))
    expect(page.locator(".day li")).to_have_count(50)
    page.get_by_role("link", name="Load older").dblclick()
    expect(page.locator(".day li")).to_have_count(60)
    expect(page.get_by_role("link", name="Load older")).to_have_count(0)
    days = page.locator(".day h3").all_inner_texts()
    assert len(days) == len(set(days))
    assert page.url.endswith(f"/{learner_id}/")


def test_the_timeline_is_filtered_by_key(page: Page, learner_id: int) -> None:
    page.goto(contact_page(learner_id))
    page.get_by_label("Event key").select_option("checkout")
    page.get_by_role("button", name="Filter").click()
    expect(page.locator(".day li")).to_have_count(20)
    assert set(page.locator(".day .key").all_inner_texts()) == {"checkout"}
    page.get_by_role("link", name="Show all").click()
    expect(page.locator(".day li")).to_have_count(50)


def test_the_chart_has_90_days_and_a_bar_for_each_with_events(page: Page, learner_id: int) -> None:
    page.goto(contact_page(learner_id))
    chart = page.get_by_role("img", name=re.compile("60 events from .* to today; most, "))
    expect(chart.locator(".chart-day")).to_have_count(90)
    assert 3 <= chart.locator(".chart-bar").count() <= 4


def test_the_chart_follows_the_theme_which_is_kept(page: Page, learner_id: int) -> None:
    page.goto(contact_page(learner_id))
    lines = page.locator(".chart-lines")
    stroke = "lines => getComputedStyle(lines).stroke"
    light = lines.evaluate(stroke)
    # From the theme of the system, which is light, to the dark one.
    page.get_by_role("button", name=re.compile("Toggle theme")).click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert lines.evaluate(stroke) != light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_an_application_password_made_in_the_admin_tracks_an_event(
    page: Page, learner_id: int, server: Server
) -> None:
    page.goto("/admin/crm/applicationpassword/add/")
    page.get_by_label("User:").select_option(label="admin")
    page.get_by_label("Name").fill("shop")
    page.get_by_label("Scope").select_option("track")
    page.get_by_role("button", name="Save", exact=True).click()
    secret = re.search(r"(\w{4} ){5}\w{4}", page.locator(".messagelist").inner_text())
    assert secret
    shop = server.client(basic("admin", secret[0]))
    event = {"event_key": "purchase", "title": "Tea", "subscriber_id": learner_id}
    assert shop("POST", "/subscribers/track-event", event).status == 200
    shop.close()
    page.goto(contact_page(learner_id))
    expect(page.locator(".day li").first).to_contain_text("purchase")


def test_the_overview_refreshes_itself_without_a_page_load(
    browser: Browser, server: Server, admin_cookies: list[Any], http: Client, learner_id: int
) -> None:
    # The clock of a context cannot be removed.
    with context_of(browser, server) as context:
        context.add_cookies(admin_cookies)
        page = context.new_page()
        page.clock.install()
        page.goto("/admin/")
        page.evaluate("window.sameDocument = true")
        expect(page.locator("#overview")).to_contain_text("Order placed")
        event = {"event_key": "refund", "title": "Money back", "subscriber_id": learner_id}
        assert http("POST", "/subscribers/track-event", event).status == 200
        page.clock.run_for(31_000)
        expect(page.locator("#overview")).to_contain_text("Money back")
        assert page.evaluate("window.sameDocument")


def test_a_segment_is_built_while_its_contacts_are_counted(
    page: Page, http: Client, learner_id: int
) -> None:
    http.contact("bob@example.com")
    http.contact("cyd@example.com")
    page.goto("/admin/crm/segment/add/")
    page.get_by_label("Title").fill("Often at the till")
    count = page.locator(".segment-count")
    expect(count).to_have_text("3 contacts")
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


def test_contacts_are_counted_after_a_login_in_another_tab(page: Page, learner_id: int) -> None:
    page.goto("/admin/crm/segment/add/")
    log_in_elsewhere(page)
    page.get_by_role("button", name="Add condition").click()
    page.get_by_label("Provider", exact=True).select_option(label="Event Tracking")
    page.get_by_label("Property", exact=True).select_option(label="Has Not Done Event")
    page.get_by_label("For event key", exact=True).fill("checkout")
    page.get_by_label("Value", exact=True).fill("14")
    expect(page.locator(".segment-count")).to_have_text("0 contacts")


def test_the_builder_suggests_an_event_key_that_exists(page: Page, learner_id: int) -> None:
    page.goto("/admin/crm/segment/add/")
    page.get_by_role("button", name="Add condition").click()
    page.get_by_label("Provider", exact=True).select_option(label="Event Tracking")
    page.get_by_label("Property", exact=True).select_option(label="Has Not Done Event")
    page.get_by_label("For event key", exact=True).fill("checkoud")
    page.get_by_label("Value", exact=True).fill("14")
    count = page.locator(".segment-count")
    expect(count).to_have_text("1 contact. There is no event “checkoud”. Did you mean “checkout”?")
    page.get_by_label("For event key", exact=True).fill("checkout")
    expect(count).to_have_text("0 contacts")


def test_a_segment_of_left_carts_is_built_by_keyboard(page: Page, http: Client) -> None:
    for name, bought in (("ada", "b"), ("bob", "a")):
        http.contact(f"{name}@example.com")
        for key, cart_id in (("cart_updated", "a"), ("checkout", bought)):
            email = f"{name}@example.com"
            http.track(event_key=key, title=key, email=email, properties={"cart_id": cart_id})
    page.goto("/admin/crm/segment/add/")
    page.get_by_role("button", name="Add condition").press("Enter")
    page.get_by_label("Provider", exact=True).select_option(label="Event Tracking")
    page.get_by_label("Property", exact=True).select_option(label="Since Last Event")
    page.get_by_label("For event key", exact=True).press_sequentially("cart_updated")
    page.keyboard.press("Tab")
    page.keyboard.type("cart_id")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.type("36")
    expect(page.get_by_label("Or in the last hours", exact=True)).to_have_value("36")
    page.get_by_label("Operator", exact=True).select_option(label="has not done")
    page.get_by_label("Value", exact=True).fill("checkout")
    count = page.locator(".segment-count")
    expect(count).to_have_text("1 contact")
    page.get_by_label("With the same property", exact=True).fill("")
    expect(count).to_have_text("0 contacts")
    expect(page.locator("#id_filters")).not_to_have_value(re.compile('"same"'))
    page.get_by_label("In the last days", exact=True).fill("2")
    expect(page.locator(".segment-mistake")).to_have_text(
        "The number of hours cannot be combined with a number of days."
    )
    expect(page.get_by_label("Or in the last hours", exact=True)).to_have_attribute(
        "aria-invalid", "true"
    )


def test_a_segment_builder_after_going_back_shows_its_json(page: Page, learner_id: int) -> None:
    page.goto("/admin/crm/segment/add/")
    page.get_by_role("button", name="Add condition").click()
    page.get_by_label("Value", exact=True).fill("Ann")
    expect(page.locator(".segment-count")).to_have_text("0 contacts")
    page.goto("/admin/")
    page.go_back()
    expect(page.locator(".segment-count")).to_have_text("1 contact")
    expect(page.locator("#id_filters")).to_have_value("[]")
    expect(page.get_by_label("Provider", exact=True)).to_have_count(0)


def test_all_data_of_a_contact_are_downloaded(page: Page, learner_id: int) -> None:
    page.goto(contact_page(learner_id))
    with page.expect_download() as download:
        page.get_by_role("link", name="Export everything").click()
    content = json.loads(download.value.path().read_text())
    assert content["contact"]["email"] == "ada@example.com"
    assert len(content["occurrences"]) == 60


def test_a_contact_is_erased_with_a_receipt(page: Page, learner_id: int) -> None:
    page.goto(contact_page(learner_id))
    page.get_by_role("link", name="Erase").click()
    expect(page.locator("#content")).to_contain_text("60")
    page.get_by_role("button", name=re.compile("erase", re.IGNORECASE)).click()
    expect(page.get_by_role("heading", name="Contact erased")).to_be_visible()
    expect(page.locator("#content")).not_to_contain_text("ada@example.com")
    page.goto("/admin/crm/subscriber/?q=ada")
    expect(page.get_by_text("0 contacts")).to_be_visible()


def test_two_contacts_are_merged_from_the_proposals_by_keyboard(
    page: Page, http: Client, learner_id: int
) -> None:
    http.contact("a.da+shop@example.com", first_name="A.", phone="0151 2345678")
    page.goto("/admin/crm/subscriber/")
    page.get_by_role("link", name="Possible duplicates").press("Enter")
    page.get_by_role("link", name="Merge a.da+shop@example.com into ada@example.com").press("Enter")
    expect(page.get_by_role("row", name="phone")).to_contain_text("0151 2345678")
    page.get_by_role("group", name="first name").get_by_label("Ada").press("ArrowDown")
    page.get_by_role("button", name="Merge").press("Enter")
    expect(page.get_by_role("heading", name="A. Lovelace")).to_be_visible()
    expect(page.get_by_text(f"has been merged into contact {learner_id}.")).to_be_visible()
    expect(page.locator(".profile").first).to_contain_text("also a.da+shop@example.com")


@pytest.fixture(scope="class")
def ids(class_client: Client) -> dict[str, int]:
    """The ids of contacts with long events, a long name and hostile texts, and of a long segment.

    The contact with long events has those of create_learner, too.
    """
    contact_id = create_learner(class_client)
    for key in ("k" * 192, COMBINED):
        answer = class_client.track(
            event_key=key, title="W" * 192, value="v" * 5000, subscriber_id=contact_id
        )
        assert answer.status == 200
    named_id = class_client.contact(
        LONG_EMAIL, first_name="N" * 190, last_name=COMBINED, tags=["T" * 190], phone="1"
    )
    fields = {"title": "S" * 190, "slug": "s", "filters": []}
    segment = class_client("POST", "/segments", fields).json()["segment"]
    timeline = class_client("GET", f"{API}/subscribers/{contact_id}/timeline").json()["timeline"]
    return {
        "events": contact_id,
        "name": named_id,
        "hostile": create_mallory(class_client),
        "segment": segment["id"],
        "occurrence": timeline["data"][0]["id"],
    }


def create_mallory(client: Client) -> int:
    """Create a contact with hostile names, labels and an event, and return its id."""
    contact_id = client.contact(
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
        "subscriber_id": contact_id,
    }
    assert client("POST", "/subscribers/track-event", event).status == 200
    return contact_id


@pytest.fixture
def quiet_page(reader: Page) -> Iterator[Page]:
    """A page that may open no dialog."""
    dialogs: list[str] = []

    def record(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    reader.on("dialog", record)
    yield reader
    reader.remove_listener("dialog", record)
    assert dialogs == []


def hostile_elements(page: Page) -> int:
    """Return the number of elements that hostile texts have become."""
    return page.locator("img[src=x]").count()


class TestPages:
    """Every page in both themes and on a phone, with long and hostile texts, in one visit."""

    @pytest.mark.parametrize(
        "path",
        [
            *(path.replace("{}", "{events}") for path in PAGES),
            "/admin/events/eventoccurrence/{occurrence}/take-back/",
            "/admin/crm/subscriber/{events}/merge/?other={name}",
        ],
    )
    def test_a_page_suits_both_themes_and_a_phone_and_shows_html_as_text(
        self, quiet_page: Page, ids: dict[str, int], path: str
    ) -> None:
        quiet_page.goto(path.format(**ids))
        assert hostile_elements(quiet_page) == 0
        assert flaws(quiet_page) == FLAWLESS

    def test_the_login_page_suits_both_themes_and_a_phone(
        self, browser: Browser, server: Server
    ) -> None:
        with context_of(browser, server) as context:
            page = context.new_page()
            page.goto("/admin/")
            expect(page.get_by_role("button", name="Log in")).to_be_visible()
            assert flaws(page) == FLAWLESS

    def test_the_page_after_logging_out_suits_both_themes_and_a_phone(
        self, browser: Browser, server: Server
    ) -> None:
        with context_of(browser, server) as context:
            context.add_cookies(cookies_of(server))
            page = context.new_page()
            page.goto("/admin/")
            page.get_by_role("button", name="Log out").click()
            expect(page.get_by_role("heading", name="Logged out")).to_be_visible()
            assert flaws(page) == FLAWLESS

    @pytest.mark.parametrize(
        "path",
        [
            *(f"/admin/crm/subscriber/{{name}}/{page}" for page in CONTACT_PAGES),
            *(f"/admin/crm/segment/{{segment}}/{page}/" for page in ("change", "delete")),
        ],
    )
    def test_a_page_with_long_texts_is_as_wide_as_a_phone(
        self, reader: Page, ids: dict[str, int], path: str
    ) -> None:
        reader.goto(path.format(**ids))
        assert overflow(reader) == 0

    @pytest.mark.parametrize("path", [path for path in PAGES if "{}" in path])
    def test_a_page_of_a_contact_shows_html_as_text(
        self, quiet_page: Page, ids: dict[str, int], path: str
    ) -> None:
        quiet_page.goto(path.format(ids["hostile"]))
        assert hostile_elements(quiet_page) == 0

    @pytest.mark.parametrize("place", [".key", ".main", "dl"])
    def test_an_unfolded_occurrence_shows_html_as_text(
        self, quiet_page: Page, ids: dict[str, int], place: str
    ) -> None:
        quiet_page.goto(contact_page(ids["hostile"]))
        entry = quiet_page.locator(".day li").first
        entry.locator("summary").click()
        expect(entry.locator(place)).to_contain_text("<script>alert(2)</script>")

    def test_a_url_with_a_script_is_no_link(self, quiet_page: Page, ids: dict[str, int]) -> None:
        quiet_page.goto(contact_page(ids["hostile"]))
        entry = quiet_page.locator(".day li").first
        entry.locator("summary").click()
        expect(entry).to_contain_text("javascript:alert(3)")
        assert quiet_page.locator("a[href^=javascript]").count() == 0


def test_a_browser_is_not_asked_for_an_application_password(
    browser: Browser, server: Server, http: Client
) -> None:
    """It has one at hand, and would remember that it was asked for it."""
    name, _, secret = b64decode(str(http.auth).removeprefix("Basic ")).decode().partition(":")
    login = HttpCredentials(username=name, password=secret)
    with browser.new_context(http_credentials=login) as context:
        response = context.new_page().goto(f"http://127.0.0.1:{server.port}{API}/subscribers")
        assert response
        assert response.status == 401


def test_a_form_of_another_site_deletes_no_contact(
    browser: Browser, server: Server, http: Client, learner_id: int
) -> None:
    assert http.auth
    # As if the browser remembered the login.
    with browser.new_context(extra_http_headers={"Authorization": http.auth}) as context:
        page = context.new_page()
        # For a browser, localhost and 127.0.0.1 are two sites.
        page.goto(f"http://localhost:{server.port}/healthz")
        page.set_content(
            f'<form method="post" action="http://127.0.0.1:{server.port}{API}/subscribers/'
            'do-bulk-action"><input name="action_name" value="delete_contacts">'
            f'<input name="subscriber_ids[]" value="{learner_id}"><button>Win</button></form>'
        )
        with page.expect_navigation() as navigation:
            page.get_by_role("button", name="Win").click()
        assert navigation.value.status == 403
    assert http("GET", f"{API}/subscribers/{learner_id}").status == 200


@pytest.fixture
def shop(browser: Browser, server: Server, http: Client) -> Iterator[Page]:
    """A page of another site, in a browser that sends the login of `http` by itself."""
    assert http.auth
    with browser.new_context(extra_http_headers={"Authorization": http.auth}) as context:
        page = context.new_page()
        # For a browser, localhost and 127.0.0.1 are two sites.
        page.goto(f"http://localhost:{server.port}/healthz")
        yield page


FETCH = """async ([url, options]) => {
    try {
        const response = await fetch(url, options);
        return response.ok ? await response.json() : response.status;
    } catch (error) {
        return error.name;
    }
}"""


# A response to a request with credentials is hidden from the script.
@pytest.mark.parametrize(("credentials", "seen"), [("omit", 403), ("include", "TypeError")])
def test_a_script_of_another_site_deletes_no_contact_by_a_form(
    shop: Page,
    server: Server,
    http: Client,
    learner_id: int,
    credentials: str,
    seen: int | str,
) -> None:
    url = f"http://127.0.0.1:{server.port}{API}/subscribers/do-bulk-action"
    body = f"action_name=delete_contacts&subscriber_ids[]={learner_id}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    options = {"method": "POST", "body": body, "headers": headers, "credentials": credentials}
    assert shop.evaluate(FETCH, [url, options]) == seen
    assert http("GET", f"{API}/subscribers/{learner_id}").status == 200


def test_a_script_of_another_site_reads_nothing_by_a_login_that_the_browser_remembers(
    shop: Page, server: Server, learner_id: int
) -> None:
    url = f"http://127.0.0.1:{server.port}{API}/subscribers"
    assert shop.evaluate(FETCH, [url, {"credentials": "include"}]) == "TypeError"


def test_a_script_of_another_site_sends_a_password_of_its_own_and_reads_the_response(
    browser: Browser, server: Server, http: Client
) -> None:
    page = browser.new_page()
    page.goto(f"http://localhost:{server.port}/healthz")
    url = f"http://127.0.0.1:{server.port}{API}/tags"
    headers = {
        "Authorization": http.auth,
        "Content-Type": "application/json",
        "Idempotency-Key": "1",
    }
    options = {"method": "POST", "body": '{"title": "From a page"}', "headers": headers}
    assert page.evaluate(FETCH, [url, options])["item"]["title"] == "From a page"
    assert page.evaluate(FETCH, [url, {"headers": {"Authorization": "Bearer wrong"}}]) == 401
    page.close()


def test_a_program_is_authorized_by_keyboard_and_led_back_with_a_password(
    browser: Browser, server: Server, http: Client
) -> None:
    with browser.new_context() as context:
        page = context.new_page()
        back = f"http://localhost:{server.port}/readyz?page=crm"
        page.goto(
            f"http://127.0.0.1:{server.port}{AUTHORIZE}?"
            + urlencode({"app_name": "My shop", "success_url": back})
        )
        page.get_by_label("Username").fill("admin")
        page.get_by_label("Password").fill(server.admin_password())
        page.keyboard.press("Enter")
        expect(page.get_by_text("Your browser takes the password to")).to_be_visible()
        page.get_by_label("Post events").focus()
        page.keyboard.press("Space")
        for _ in range(2):
            page.keyboard.press("Tab")
        expect(page.get_by_role("button", name="Decline")).to_be_focused()
        page.keyboard.press("Shift+Tab")
        with page.expect_request(re.compile("//localhost")) as request:
            page.keyboard.press("Enter")
        page.wait_for_url(f"{back}&*")
        assert "referer" not in request.value.all_headers()
    given = parse_qs(urlsplit(page.url).query)
    assert given["site_url"] == [f"http://127.0.0.1:{server.port}"]
    shop = server.client(basic(given["user_login"][0], given["password"][0]))
    assert shop("GET", "/wp-json/wp/v2/users/me").json()["name"] == "admin"
    assert shop("GET", f"{API}/tags").status == 403
    shop.close()
    assert given["password"][0] not in server.output()
