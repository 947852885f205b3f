"""The admin's pages of outgoing webhooks."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from html import unescape
from ipaddress import ip_network
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings as SettingsFixture

from automations.models import Delivery, DeliveryStatus, Endpoint
from automations.webhooks.attempts import deliver_due
from automations.webhooks.deliveries import hold_deliveries
from crm.models import HistoryEntry, Subscriber
from tests.api.pages import ESCAPED, HOSTILE, browser_of, open_page, rows_of, staff_user, text_of
from tests.api.receivers import Answering, Receiver, receiver, says
from tests.api.webhooks import deliver_to, let_time_pass

pytestmark = pytest.mark.django_db
Serve = Callable[[Answering], Receiver]
ENDPOINTS, DELIVERIES = "/admin/automations/endpoint/", "/admin/automations/delivery/"
URL = "https://hook.example/"


@pytest.fixture
def serve(settings: SettingsFixture) -> Iterator[Serve]:
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("127.0.0.0/8")]
    with ExitStack() as stack:
        yield lambda answering: stack.enter_context(receiver(answering))


def page_of(endpoint: Endpoint, path: str = "change") -> str:
    return f"{ENDPOINTS}{endpoint.pk}/{path}/"


def test_an_endpoint_shows_its_secret_on_demand_alone(admin_client: Client) -> None:
    endpoint = deliver_to(URL).endpoint
    assert endpoint.secret not in open_page(admin_client, page_of(endpoint))
    shown = admin_client.post(page_of(endpoint, "secret")).content.decode()
    assert endpoint.secret in unescape(shown)


def test_who_reads_a_secret_is_in_the_audit_log_without_it(
    admin_client: Client, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    endpoint = deliver_to(URL).endpoint
    with (
        caplog.at_level(logging.INFO, "tallybook.audit"),
        django_capture_on_commit_callbacks(execute=True),
    ):
        admin_client.post(page_of(endpoint, "secret"))
    line = json.loads(caplog.messages[-1])
    assert (line["action"], line["by"], line["id"]) == ("read the secret", "admin", endpoint.pk)
    assert endpoint.secret not in caplog.text


def test_the_page_of_a_viewer_has_no_buttons() -> None:
    endpoint = deliver_to(URL).endpoint
    page = open_page(browser_of(staff_user("view_endpoint")), page_of(endpoint))
    assert "Show the secret" not in page
    assert "Send a test" not in page


def test_a_rotation_shows_the_new_secret_and_stands_in_the_history(admin_client: Client) -> None:
    endpoint = deliver_to(URL).endpoint
    shown = admin_client.post(page_of(endpoint, "rotate")).content.decode()
    rotated = Endpoint.objects.get()
    assert (rotated.old_secret, rotated.secret in unescape(shown)) == (endpoint.secret, True)
    assert HistoryEntry.objects.get().change_message == "Rotated the secret."


def test_a_switched_off_endpoint_says_why_and_is_switched_on(
    admin_client: Client, serve: Serve
) -> None:
    running = serve(says(410))
    endpoint = deliver_to(running.url).endpoint
    deliver_to(running.url)
    deliver_due()
    page = text_of(open_page(admin_client, page_of(endpoint)))
    assert "The receiver asks for no more webhooks. Deliveries wait" in page
    assert "1 endpoint is switched off" in text_of(open_page(admin_client, DELIVERIES))
    admin_client.post(page_of(endpoint, "switch"), {"to": "on"})
    assert Endpoint.objects.get().enabled


def test_an_endpoint_is_switched_off_by_an_admin_user(admin_client: Client) -> None:
    endpoint = deliver_to(URL).endpoint
    page = admin_client.post(page_of(endpoint, "switch"), {"to": "off"}, follow=True)
    assert "admin has switched it off." in page.content.decode()


def test_a_test_leads_to_its_delivery_where_the_response_appears(
    admin_client: Client, serve: Serve
) -> None:
    endpoint = deliver_to(serve(says(200, b"Hello, Tallybook.")).url).endpoint
    response = admin_client.post(page_of(endpoint, "test"))
    deliver_due()
    page = open_page(admin_client, response.headers["Location"])
    assert "Hello, Tallybook." in page
    assert "tallybook.test" in page


def test_a_delivery_shows_its_message_and_each_attempt(
    admin_client: Client, serve: Serve, ada: Subscriber
) -> None:
    running = serve(says(500, b"Out of order."))
    delivery = deliver_to(running.url, ada.pk, name="Zoë")
    deliver_due()
    running.answering = says(200, b"Thanks.")
    let_time_pass(timedelta(minutes=1))
    deliver_due()
    page = text_of(open_page(admin_client, f"{DELIVERIES}{delivery.pk}/change/"))
    for text in ("Out of order.", "500", "Thanks.", "200", "Delivered", "Zoë", running.url):
        assert text in unescape(page)
    assert f"/admin/crm/subscriber/{ada.pk}/" in open_page(
        admin_client, f"{DELIVERIES}{delivery.pk}/change/"
    )


def test_what_a_receiver_answers_is_escaped(admin_client: Client, serve: Serve) -> None:
    delivery = deliver_to(serve(says(200, HOSTILE.encode())).url, name=HOSTILE)
    deliver_due()
    page = open_page(admin_client, f"{DELIVERIES}{delivery.pk}/change/")
    assert HOSTILE not in page
    assert page.count(ESCAPED) == 2


def test_the_part_that_is_refreshed_says_when_the_delivery_has_ended(
    admin_client: Client, serve: Serve
) -> None:
    delivery = deliver_to(serve(says(200)).url)
    url = f"{DELIVERIES}{delivery.pk}/progress/"
    assert "data-ended" not in open_page(admin_client, url)
    deliver_due()
    assert "data-ended" in open_page(admin_client, url)


@pytest.fixture
def some(ada: Subscriber) -> list[Delivery]:
    """Deliveries: failed and two days old, to another endpoint, delivered, about Ada."""
    rows = [
        deliver_to(URL),
        deliver_to("https://other.example/"),
        deliver_to(URL),
        deliver_to(URL, ada.pk),
    ]
    Delivery.objects.filter(pk=rows[0].pk).update(status="failed")
    let_time_pass(timedelta(days=2))
    Delivery.objects.filter(pk=rows[2].pk).update(status="delivered")
    Delivery.objects.exclude(pk=rows[0].pk).update(created_at="2026-11-26T12:00Z")
    Delivery.objects.filter(pk=rows[0].pk).update(created_at="2026-11-24T12:00Z")
    return rows


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("status=failed", [0]),
        ("status=delivered", [2]),
        ("contact=ada@example.com", [3]),
        ("since=2026-11-25", [3, 2, 1]),
        ("since=2026-11-24+12:00", [3, 2, 1, 0]),
        ("status=failed&since=2026-11-25", []),
    ],
)
def test_deliveries_are_filtered(
    admin_client: Client, some: list[Delivery], query: str, found: list[int]
) -> None:
    assert rows_of(admin_client, f"{DELIVERIES}?{query}") == [some[n].message_id for n in found]


def test_a_delivery_is_found_by_its_message_id(admin_client: Client, some: list[Delivery]) -> None:
    message_id = some[1].message_id
    assert rows_of(admin_client, f"{DELIVERIES}?message={message_id}") == [message_id]


def test_deliveries_of_an_endpoint_are_found(admin_client: Client, some: list[Delivery]) -> None:
    url = f"{DELIVERIES}?endpoint={some[1].endpoint_id}"
    assert rows_of(admin_client, url) == [some[1].message_id]


@pytest.mark.parametrize("query", ["status=x", "endpoint=x", "since=yesterday", "contact=x"])
def test_an_invalid_filter_is_said_and_finds_nothing(
    admin_client: Client, some: list[Delivery], query: str
) -> None:
    page = open_page(admin_client, f"{DELIVERIES}?{query}")
    assert "There is no " in page
    assert rows_of(admin_client, f"{DELIVERIES}?{query}") == []


def test_all_that_failed_since_a_time_are_sent_again(
    admin_client: Client, some: list[Delivery]
) -> None:
    Delivery.objects.update(status=DeliveryStatus.FAILED)
    form = {"action": "send_again_selected", "_selected_action": some[1].pk, "select_across": "1"}
    response = admin_client.post(f"{DELIVERIES}?status=failed&since=2026-11-25", form, follow=True)
    assert "3 are sent again." in response.content.decode()
    statuses = list(Delivery.objects.order_by("pk").values_list("status", flat=True))
    assert statuses == ["failed", "pending", "pending", "pending"]


def test_what_has_no_body_is_not_sent_again_and_said(
    admin_client: Client, some: list[Delivery]
) -> None:
    Delivery.objects.filter(pk=some[0].pk).update(body="")
    form = {"action": "send_again_selected", "_selected_action": [some[0].pk, some[2].pk]}
    page = admin_client.post(DELIVERIES, form, follow=True).content.decode()
    assert "1 are sent again." in page
    assert "1 are not sent again" in page


def test_one_delivery_is_sent_again_from_its_page(
    admin_client: Client, some: list[Delivery]
) -> None:
    admin_client.post(f"{DELIVERIES}{some[0].pk}/send-again/")
    some[0].refresh_from_db()
    assert some[0].status == DeliveryStatus.PENDING
    assert json.loads(some[0].body)["id"] == some[0].message_id


def test_what_is_held_since_a_restore_is_shown_and_released(
    admin_client: Client, some: list[Delivery]
) -> None:
    hold_deliveries()
    assert "2 webhooks are held since a restore" in text_of(open_page(admin_client, DELIVERIES))
    page = admin_client.post(f"{DELIVERIES}release/", follow=True).content.decode()
    assert "2 are released." in page
    assert "held since a restore" not in page
