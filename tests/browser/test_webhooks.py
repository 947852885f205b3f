"""The pages of outgoing webhooks in chromium: themes, a phone, and the secret on demand."""

from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import FLAWLESS, PHONE, flaws
from tests.system.server import Server

ENDPOINT = """
INSERT INTO automations_endpoint (url, secret, old_secret, old_secret_until, enabled,
    disabled_reason, failures, failing_since)
VALUES ('https://hook.example/' || repeat('u', 1900), 'whsec_' || repeat('A', 44), '', now(), false,
    'All attempts have failed. ' || repeat('r', 300), 12, now())
RETURNING id
"""
DELIVERY = """
INSERT INTO automations_delivery (message_id, endpoint_id, subscriber_id, run_id, step_id, body,
    status, attempts, tries)
VALUES ('msg_' || repeat('a', 32), %s, 1, 1, 1, '{"data": {"name": "' || repeat('n', 500) || '"}}',
    'failed', 3, 3)
RETURNING id
"""
ATTEMPTS = """
INSERT INTO automations_attempt (delivery_id, number, at, took_ms, http_status, error, answer)
VALUES (%(id)s, 1, now(), 20000, NULL, repeat('e', 300), ''),
       (%(id)s, 2, now(), 12, 500, '', repeat('W', 1024))
"""
PAGES = (
    *("/admin/automations/endpoint/", "/admin/automations/endpoint/{endpoint}/change/"),
    "/admin/automations/endpoint/{endpoint}/remove/",
    *("/admin/automations/delivery/", "/admin/automations/delivery/{delivery}/change/"),
    "/admin/automations/delivery/?status=failed&since=2026-01-01",
)


@pytest.fixture(scope="class")
def ids(server: Server, sql: psycopg.Connection, emptying: str) -> Iterator[dict[str, int]]:
    """The ids of an endpoint and a delivery with texts as long as they may be."""
    sql.execute(emptying)
    [endpoint] = sql.execute(ENDPOINT).fetchone() or [0]
    [delivery] = sql.execute(DELIVERY, [endpoint]).fetchone() or [0]
    sql.execute(ATTEMPTS, {"id": delivery})
    # Another one is held since a restore, which the list says.
    sql.execute(
        "INSERT INTO automations_delivery (message_id, endpoint_id, body, status, attempts, tries)"
        " VALUES ('msg_b', %s, '{}', 'held', 0, 0)",
        [endpoint],
    )
    yield {"endpoint": endpoint, "delivery": delivery}
    sql.execute(emptying)


class TestPages:
    @pytest.mark.parametrize("path", PAGES)
    def test_a_page_suits_both_themes_and_a_phone(
        self, reader: Page, ids: dict[str, int], path: str
    ) -> None:
        reader.goto(path.format(**ids))
        assert flaws(reader) == FLAWLESS

    @pytest.mark.usefixtures("ids")
    def test_the_list_of_deliveries_shows_all_columns(self, reader: Page) -> None:
        reader.goto("/admin/automations/delivery/")
        hidden = "table => table.scrollWidth - table.clientWidth"
        assert reader.locator(".results").evaluate(hidden) == 0

    def test_the_secret_is_shown_on_demand(self, reader: Page, ids: dict[str, int]) -> None:
        reader.set_viewport_size(PHONE)
        reader.goto(f"/admin/automations/endpoint/{ids['endpoint']}/change/")
        expect(reader.get_by_text("whsec_")).to_have_count(0)
        reader.get_by_role("button", name="Show the secret").click()
        expect(reader.get_by_text("whsec_A")).to_be_visible()

    def test_a_test_leads_to_its_delivery(self, reader: Page, ids: dict[str, int]) -> None:
        reader.set_viewport_size(PHONE)
        reader.goto(f"/admin/automations/endpoint/{ids['endpoint']}/change/")
        reader.get_by_role("button", name="Send a test").click()
        expect(reader.get_by_text("tallybook.test")).to_be_visible()
