"""Automations in a real browser: built, tried, published, and seen at work."""

import json
import re
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.chromium import FLAWLESS, context_of, flaws, log_in_elsewhere
from tests.system.server import API, Client, Server, wait_until

ADD = "/admin/automations/automation/add/"
# The worker looks for work every second, and publishing waits for older transactions.
WORK = 30.0  # seconds


def step(page: Page, name: str) -> Locator:
    """Return a step of the builder, such as "Step 1 then 2"."""
    return page.get_by_role("listitem", name=f"Step {name}", exact=True)


def add_step(place: Locator, label: str) -> None:
    """Add a step at the end of a list."""
    add = place.locator(".automation-add").last
    add.get_by_label("New step").select_option(label=label)
    add.get_by_role("button", name="Add step").click()


def branch(page: Page, name: str) -> Locator:
    """Return a branch of the builder by its heading."""
    return page.get_by_role("group", name=name, exact=True)


def build_abandoned_cart(page: Page) -> None:
    """Build an automation that waits for the checkout of a cart, and save the draft."""
    page.goto(ADD)
    page.get_by_label("Title", exact=True).first.fill("Left behind")
    starts = page.get_by_role("region", name="Starts when")
    starts.get_by_label("Event key").fill("cart")
    steps = page.get_by_role("region", name="Steps")
    add_step(steps, "Wait until something happens")
    waits = step(page, "1")
    waits.get_by_label("Event key").fill("checkout")
    waits.get_by_label("Hours", exact=True).fill("1")
    add_step(branch(page, "If it happens"), "Track an event")
    bought = step(page, "1 then 1")
    bought.get_by_label("Event key").fill("cart_bought")
    bought.get_by_label("Title").fill("Bought {{event.title}}")
    add_step(branch(page, "If the time ends before"), "Add tags")
    step(page, "1 else 1").get_by_label("Left a cart").check()
    expect(page.get_by_text("Complete.")).to_be_visible()
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.get_by_text("is a draft now")).to_be_visible()


@pytest.fixture
def cart(page: Page, http: Client) -> Page:
    """A page with the report of an abandoned cart that was built, and is a draft."""
    assert http("POST", f"{API}/tags", {"title": "Left a cart", "slug": "left"}).status == 200
    build_abandoned_cart(page)
    return page


def why(page: Page, contact_id: int, happens: str) -> Locator:
    """Open the page that tries an automation with a contact, and return the dry run."""
    page.get_by_role("link", name="Why, and a dry run").click()
    page.get_by_label("Contact", exact=True).fill(str(contact_id))
    page.get_by_label("What it waits for").select_option(label=happens)
    page.get_by_role("button", name="Show").click()
    return page.get_by_role("region", name=re.compile("Dry run"))


def test_an_abandoned_cart_is_built_tried_published_and_seen_at_work(
    cart: Page, http: Client
) -> None:
    page, ada = cart, http.contact("ada@example.com")
    report = page.url
    tried = why(page, ada, "does not happen")
    expect(tried).to_contain_text("Add the tag “Left a cart”")
    expect(page.get_by_role("row", name="The automation is published")).to_contain_text("no")
    page.goto(report)
    page.get_by_role("button", name="Publish").click()
    until_seen(page, report, page.get_by_text("starts what happens since"))
    http.track(subscriber_id=ada, event_key="cart", title="Tea")
    inside = page.get_by_role("link", name="1 inside")
    until_seen(page, report, inside)
    inside.click()
    page.get_by_role("link", name="ada@example.com").click()
    expect(page.get_by_text("Wait until “checkout” is tracked")).to_be_visible()
    page.goto(f"/admin/crm/subscriber/{ada}/")
    expect(page.get_by_role("region", name="Automations")).to_contain_text("Wait until “checkout”")
    http.track(subscriber_id=ada, event_key="checkout", title="Order")
    until_seen(page, report, page.get_by_text("1 happened"))
    page.goto(f"/admin/crm/subscriber/{ada}/")
    page.get_by_role("link", name="Left behind").click()
    expect(page.get_by_text("Bought Tea", exact=True)).to_be_visible()


def until_seen(page: Page, url: str, what: Locator) -> None:
    """Reload a page until it shows something."""

    def is_seen() -> bool:
        page.goto(url)
        return what.count() > 0

    wait_until(is_seen, WORK)


def test_steps_are_moved_into_branches_and_out_by_the_keyboard(page: Page, http: Client) -> None:
    page.goto(ADD)
    steps = page.get_by_role("region", name="Steps")
    add_step(steps, "Stop")
    add_step(steps, "If")
    down = step(page, "1").get_by_role("button", name="Move down: step 1", exact=True)
    down.focus()
    page.keyboard.press("Enter")
    expect(branch(page, "If they match").locator(".automation-step")).to_have_count(1)
    expect(page.get_by_role("button", name="Move down: step 1 then 1")).to_be_focused()
    page.keyboard.press("Enter")
    expect(branch(page, "If not").locator(".automation-step")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(step(page, "2").locator("summary").first).to_contain_text("Stop")
    expect(page.get_by_role("button", name="Move up: step 2", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(branch(page, "If not").locator(".automation-step")).to_have_count(1)


def test_an_error_is_shown_at_its_step_and_nothing_typed_is_lost(page: Page, http: Client) -> None:
    page.goto(ADD)
    page.get_by_label("Title", exact=True).first.fill("Mine")
    add_step(page.get_by_role("region", name="Steps"), "Track an event")
    step(page, "1").get_by_label("Event key").fill("{{nothing}}")
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.locator(".errornote")).to_contain_text("Step 1:")
    expect(page.get_by_label("Title", exact=True).first).to_have_value("Mine")
    expect(step(page, "1").get_by_label("Event key")).to_have_value("{{nothing}}")
    expect(step(page, "1").locator(".segment-mistake")).to_contain_text("title")


def test_conditions_are_built_as_those_of_a_segment(page: Page, http: Client) -> None:
    http.contact("ada@example.com", first_name="Ada")
    page.goto(ADD)
    page.get_by_label("Title", exact=True).first.fill("Adas")
    page.get_by_role("region", name="Starts when").get_by_label("Trigger").select_option(
        label="By hand"
    )
    may = page.get_by_role("region", name="Who may start")
    may.get_by_role("button", name="Add condition").click()
    may.get_by_label("Value", exact=True).fill("Ada")
    expect(may.locator(".segment-count")).to_have_text("1 contact")
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.get_by_text("First Name equal “Ada”")).to_be_visible()


def test_what_was_typed_stays_when_the_login_has_ended_meanwhile(page: Page, http: Client) -> None:
    page.goto(ADD)
    page.get_by_label("Title", exact=True).first.fill("Mine")
    cookies = page.context.cookies()
    page.context.clear_cookies(name="tallybook_sessionid")
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.get_by_text("Not saved: the server cannot be reached")).to_be_visible()
    page.context.add_cookies(cookies)  # type: ignore[arg-type]  # as `cookies` returns them
    log_in_elsewhere(page)
    starts = page.get_by_role("region", name="Starts when")
    starts.get_by_label("Trigger").select_option(label="By hand")
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.get_by_role("heading", name="Mine")).to_be_visible()


def test_a_check_that_ends_late_does_not_hide_that_saving_failed(page: Page, http: Client) -> None:
    held: list[Route] = []

    def hold_the_first(route: Route) -> None:
        if held:
            # The page reads it as no answer, and the console has no error of it.
            route.fulfill(status=204)
        else:
            held.append(route)

    page.route("**/automation/check/", hold_the_first)
    with page.expect_request("**/automation/check/"):
        page.goto(ADD)
        page.get_by_label("Title", exact=True).first.fill("Mine")
    page.get_by_role("button", name="Save as a draft").click()
    failed = page.get_by_text("Not saved: the server cannot be reached")
    expect(failed).to_be_visible()
    with page.expect_response("**/automation/check/"):
        held[0].fulfill(status=204)
    # The page reads the response before its next frame.
    page.evaluate("() => new Promise(requestAnimationFrame)")
    expect(failed).to_be_visible()


def test_json_that_is_no_document_is_shown_again_with_its_error(page: Page, http: Client) -> None:
    page.goto(ADD)
    page.get_by_text("The same as JSON").click()
    page.get_by_label("Document").fill('{"steps": [1, null]}')
    page.get_by_role("button", name="Save as a draft").click()
    expect(page.locator(".errornote")).to_contain_text("Step 1:")
    expect(page.get_by_label("Document")).to_have_value('{"steps": [1, null]}')
    expect(page.get_by_label("Document")).to_be_visible()


@pytest.mark.parametrize(
    "document",
    [
        {"steps": [5]},
        {"trigger": 5},
        {"steps": [{"type": "if", "then": ["x"]}]},
        {"steps": [{"type": "wait", "wait": 5}]},
    ],
)
def test_a_file_of_another_shape_is_shown_as_json_with_its_errors(
    page: Page, http: Client, document: Any
) -> None:
    faults: list[Any] = []
    page.on("pageerror", lambda fault: faults.append(fault))
    page.goto(ADD)
    content = json.dumps(document).encode()
    page.get_by_label("A file that was exported").set_input_files(
        {"name": "a.json", "mimeType": "application/json", "buffer": content}
    )
    page.get_by_role("button", name="Import").click()
    expect(page.get_by_text("The builder cannot show this JSON.")).to_be_visible()
    expect(page.get_by_text("must be an object.").last).to_be_visible()
    expect(page.get_by_label("Document")).to_be_visible()
    assert faults == []


CONDITION = {"source": ["subscriber", "first_name"], "operator": "=", "value": "Ada" * 30}
LONG = f"{'x' * 190}"
# Every kind of steps, with texts that are hard to fit.
DOCUMENT = {
    "title": LONG,
    "description": "What it is for.",
    "trigger": {"type": "event", "event_key": LONG},
    "conditions": [[CONDITION]],
    "steps": [
        {"type": "track_event", "event_key": LONG, "title": "<b>{{event.title}}</b>"},
        {"type": "set_fields", "fields": {"city": "Rome", "custom_values.plan": LONG}},
        {
            "type": "wait_until",
            "happens": {"type": "status_changed", "statuses": ["pending"]},
            "timeout": {"hours": 1, "between": ["09:00", "17:00"], "weekdays": ["mon", "tue"]},
            "then": [
                {
                    "type": "if",
                    "conditions": [[CONDITION]],
                    "then": [{"type": "add_tags", "tags": ["VIP"]}],
                    "else": [{"type": "webhook", "url": "https://example.com/"}],
                }
            ],
            "else": [
                {"type": "wait", "wait": {"field": "date_of_birth", "days": -3, "yearly": True}},
                {"type": "wait", "wait": {"until": "2026-12-24T09:00"}},
                {"type": "wait", "wait": {"weekdays": ["fri"], "at": "09:00"}},
                {"type": "stop"},
            ],
        },
    ],
}
# {} is the id of the automation.
PAGES = (
    *("/admin/automations/automation/", ADD, "/admin/automations/run/"),
    *("/admin/automations/automation/{}/", "/admin/automations/automation/{}/change/"),
    *("/admin/automations/automation/{}/why/?contact=ada@example.com",),
    "/admin/automations/automation/{}/delete/",
)


@pytest.fixture(scope="class")
def automation_id(
    browser: Browser,
    server: Server,
    admin_cookies: list[Any],
    sql: psycopg.Connection,
    emptying: str,
) -> str:
    """The id of an automation with every kind of steps, saved as JSON."""
    sql.execute(emptying)
    client = server.client()
    client("POST", f"{API}/tags", {"title": "VIP", "slug": "vip"})
    client.contact("ada@example.com")
    client.close()
    with context_of(browser, server) as context:
        context.add_cookies(admin_cookies)
        page = context.new_page()
        page.goto(ADD)
        page.get_by_text("The same as JSON").click()
        page.get_by_label("Document").fill(json.dumps(DOCUMENT))
        page.get_by_role("button", name="Save as a draft").click()
        expect(page.get_by_role("button", name="Publish")).to_be_visible()
        page.get_by_role("button", name="Publish").click()
        return page.url.rstrip("/").rpartition("/")[2]


class TestPages:
    """Every page, with an automation that has every kind of steps."""

    @pytest.mark.parametrize("path", PAGES)
    def test_a_page_suits_both_themes_and_a_phone(
        self, reader: Page, automation_id: str, path: str
    ) -> None:
        reader.goto(path.format(automation_id))
        assert flaws(reader) == FLAWLESS

    def test_the_builder_with_every_step_unfolded_suits_both_themes_and_a_phone(
        self, reader: Page, automation_id: str
    ) -> None:
        reader.goto(f"/admin/automations/automation/{automation_id}/change/")
        expect(reader.get_by_text("Complete.")).to_be_visible()
        for summary in reader.locator(".automation-step summary").all():
            summary.click()
        assert flaws(reader) == FLAWLESS
