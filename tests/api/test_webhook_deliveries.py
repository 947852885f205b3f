"""Deliveries of webhooks: what is sent, when it is sent again, and when an endpoint is left."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from pytest_django import Settings as SettingsFixture
from standardwebhooks import Webhook

from automations.models import Attempt, Delivery, DeliveryStatus, Endpoint
from automations.upkeep import own_deliveries
from automations.webhooks import attempts, deliveries, endpoints
from automations.webhooks.attempts import LEASE_SECONDS, Claimed, claim, deliver, deliver_due
from automations.webhooks.client import Answer
from automations.webhooks.deliveries import (
    MAX_BODY_BYTES,
    cancel,
    count_deliveries_of,
    create_delivery,
    hold_restored_deliveries,
    move_deliveries,
    prune_bodies,
    release_deliveries,
    send_again,
    send_test,
)
from automations.webhooks.endpoints import InvalidWebhook, rotate_secret, switch_off, switch_on
from crm.contacts import count_contacts, delete_contacts
from crm.models import Subscriber
from tests.api.receivers import Answering, Receiver, receiver, says
from tests.api.webhooks import deliver_to, let_time_pass, statuses

pytestmark = pytest.mark.django_db
Serve = Callable[[Answering], Receiver]
# A little more than the longest pause of the schedule.
A_DAY = timedelta(hours=27)
NOWHERE = "https://hook.example/"


@pytest.fixture(autouse=True)
def loopback_is_allowed(settings: SettingsFixture) -> None:
    settings.WEBHOOK_ALLOWED_NETS = [ip_network("127.0.0.0/8")]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda answering: stack.enter_context(receiver(answering))


def endpoint_at(url: str) -> Endpoint:
    return Endpoint.objects.get(url=url)


def fail(url: str, times: int) -> None:
    """Let so many attempts of other deliveries fail in a row."""
    for _ in range(times):
        deliver_to(url)
        let_time_pass(timedelta(hours=2))
        claimed = claim(1)
        deliver(claimed[0])


def pause_of(delivery: Delivery) -> float:
    """Return the seconds until the next attempt."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXTRACT(epoch FROM next_at - clock_timestamp()) FROM automations_delivery"
            " WHERE id = %s",
            [delivery.pk],
        )
        return float(cursor.fetchone()[0])


def test_a_message_has_its_type_time_id_and_data(serve: Serve) -> None:
    running = serve(says(204))
    delivery = deliver_to(running.url, name="Zoë")
    assert deliver_due() == 1
    [request] = running.requests
    body = json.loads(request.body)
    assert body.keys() == {"type", "timestamp", "id", "data"}
    assert (body["type"], body["data"]) == ("test.happened", {"name": "Zoë"})
    assert body["id"] == request.headers["webhook-id"] == delivery.message_id
    assert abs(datetime.fromisoformat(body["timestamp"]) - timezone.now()) < timedelta(minutes=1)


def test_a_receiver_verifies_each_attempt_by_standard_webhooks(serve: Serve) -> None:
    running = serve(says(500))
    delivery = deliver_to(running.url)
    for _ in range(2):
        deliver_due()
        let_time_pass(timedelta(minutes=10))
    secret = endpoint_at(running.url).secret
    for request in running.requests:
        assert Webhook(secret).verify(request.body, request.headers)["id"] == delivery.message_id
    assert running.requests[0].body == running.requests[1].body


def test_what_was_delivered_has_its_attempt_with_status_time_and_response(serve: Serve) -> None:
    delivery = deliver_to(serve(says(202, b"x" * 3000)).url)
    deliver_due()
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.DELIVERED
    assert delivery.delivered_at
    attempt = Attempt.objects.get()
    assert (attempt.delivery_id, attempt.number, attempt.http_status) == (delivery.pk, 1, 202)
    assert attempt.answer == "x" * 1024
    assert attempt.took_ms >= 0
    assert deliver_due() == 0


def test_the_endpoint_of_a_url_is_made_once() -> None:
    first, second = deliver_to(NOWHERE), deliver_to(NOWHERE)
    assert first.endpoint_id == second.endpoint_id
    assert Endpoint.objects.get().secret.startswith("whsec_")


def test_a_step_has_one_delivery_in_a_run() -> None:
    ids = {"run_id": 7, "step_id": 8, "contact_id": 9}
    create_delivery(NOWHERE, "a.b", {}, **ids)
    with pytest.raises(IntegrityError), transaction.atomic():
        create_delivery(NOWHERE, "a.b", {}, **ids)


@pytest.mark.parametrize(
    ("url", "body_type", "data", "message"),
    [
        ("https://user:secret@hook.example/", "a.b", {}, "user or a password"),
        (NOWHERE, "", {}, "The type of a webhook"),
        (NOWHERE, "a b", {}, "The type of a webhook"),
        (NOWHERE, "a.b", {"text": "x" * MAX_BODY_BYTES}, "may have 131,072 bytes at most"),
        (NOWHERE, "a.b", {"number": 2**64}, "cannot be written as JSON"),
        (NOWHERE, "a.b", {"text": "\ud800"}, "cannot be written as JSON"),
    ],
)
def test_what_no_webhook_can_be_is_refused_and_stores_nothing(
    url: str, body_type: str, data: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidWebhook, match=message):
        create_delivery(url, body_type, data, run_id=1, step_id=1, contact_id=1)
    assert not Delivery.objects.exists()
    assert not Endpoint.objects.exists()


def test_the_number_of_endpoints_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 1)
    deliver_to(NOWHERE)
    with pytest.raises(InvalidWebhook, match="belongs into the data"):
        deliver_to(f"{NOWHERE}?email=ada@example.com")


def test_attempts_follow_the_schedule_and_end_after_ten(serve: Serve) -> None:
    running = serve(says(500))
    delivery = deliver_to(running.url)
    pauses = []
    while deliver_due():
        pauses.append(pause_of(delivery))
        # Neither the pause of the endpoint nor its end, which other tests are about.
        switch_on(delivery.endpoint)
        Delivery.objects.update(next_at=timezone.now() - timedelta(minutes=1))
    for pause, seconds in zip(
        pauses, (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400), strict=False
    ):
        assert 0.89 * seconds < pause < 1.1 * seconds
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts) == (DeliveryStatus.FAILED, 10)
    assert {request.headers["webhook-id"] for request in running.requests} == {delivery.message_id}


@pytest.mark.parametrize("status", [301, 400, 404, 500])
def test_whatever_is_not_2xx_is_a_failure(serve: Serve, status: int) -> None:
    delivery = deliver_to(serve(says(status)).url)
    deliver_due()
    delivery.refresh_from_db()
    assert (delivery.status, statuses(delivery)) == (DeliveryStatus.PENDING, [status])


def test_a_private_address_is_an_attempt_whose_error_names_the_setting(
    settings: SettingsFixture, serve: Serve
) -> None:
    settings.WEBHOOK_ALLOWED_NETS = []
    running = serve(says(200))
    deliver_to(running.url)
    deliver_due()
    attempt = Attempt.objects.get()
    assert attempt.http_status is None
    assert "TALLYBOOK_WEBHOOK_ALLOWED_NETS" in attempt.error
    assert not running.connections


def test_what_is_no_http_is_an_attempt_that_fails(serve: Serve) -> None:
    nonsense = serve(lambda connection, _: connection.sendall(b"\0\1\2 nonsense\r\n\r\n"))
    delivery = deliver_to(nonsense.url)
    deliver_due()
    assert statuses(delivery) == [None]
    assert "sends no HTTP" in Attempt.objects.get().error
    assert endpoint_at(nonsense.url).failures == 1


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (Answer(None, "a\0"), DeliveryStatus.PENDING),
        (Answer(500, text="\ud800"), DeliveryStatus.PENDING),
        (Answer(200, text="a\0"), DeliveryStatus.DELIVERED),
        (RuntimeError("broken"), DeliveryStatus.PENDING),
    ],
    ids=["error", "failure", "success", "fault of the client"],
)
def test_an_attempt_counts_whatever_fails_while_it_is_recorded(
    monkeypatch: pytest.MonkeyPatch, answer: Answer | Exception, status: str
) -> None:
    def respond(*_: object) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(attempts, "post", respond)
    delivery = deliver_to(NOWHERE)
    deliver_due()
    delivery.refresh_from_db()
    assert delivery.status == status
    assert Attempt.objects.get().error
    assert endpoint_at(NOWHERE).failures == (status == DeliveryStatus.PENDING)


def test_retry_after_holds_back_the_endpoint_and_the_delivery(serve: Serve) -> None:
    running = serve(says(503, Retry_After="1200"))
    delivery = deliver_to(running.url)
    deliver_to(running.url)
    assert deliver_due() == 1
    assert pause_of(delivery) > 1199
    let_time_pass(timedelta(seconds=1100))
    assert deliver_due() == 0
    let_time_pass(timedelta(seconds=101))
    assert deliver_due() == 1


@pytest.mark.parametrize(("status", "sent"), [(429, 1), (502, 1), (504, 1), (500, 2)])
def test_a_receiver_that_has_too_much_to_do_is_left_in_peace(
    serve: Serve, status: int, sent: int
) -> None:
    running = serve(says(status))
    deliver_to(running.url)
    deliver_to(running.url)
    assert deliver_due() == sent


def test_after_five_failures_one_delivery_at_a_time_tries_the_endpoint(serve: Serve) -> None:
    running = serve(says(500))
    fail(running.url, 5)
    assert deliver_due() == 0
    let_time_pass(timedelta(hours=1))
    assert len(claim(8)) == 1
    assert claim(8) == []


def test_a_success_lets_all_deliveries_of_the_endpoint_go(serve: Serve) -> None:
    running = serve(says(500))
    fail(running.url, 6)
    running.answering = says(200)
    let_time_pass(A_DAY)
    assert deliver_due() == 6
    assert endpoint_at(running.url).failures == 0
    assert set(Delivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_a_dead_endpoint_holds_up_no_other(serve: Serve) -> None:
    dead, alive = serve(says(500)), serve(says(200))
    fail(dead.url, 5)
    let_time_pass(timedelta(seconds=1))
    delivery = deliver_to(alive.url)
    assert deliver_due() == 1
    delivery.refresh_from_db()
    assert delivery.status == DeliveryStatus.DELIVERED


def test_the_endpoint_that_was_served_longest_ago_is_next() -> None:
    older, newer, new = (deliver_to(f"{NOWHERE}{number}") for number in range(3))
    served = [newer.endpoint_id, older.endpoint_id]
    order = [claim(1, served=served)[0].delivery for _ in range(3)]
    assert order == [new.pk, newer.pk, older.pk]


def test_410_switches_the_endpoint_off_and_fails_the_delivery(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    running = serve(says(410))
    delivery, waiting = deliver_to(running.url), deliver_to(running.url)
    with caplog.at_level(logging.WARNING):
        assert deliver_due() == 1
    endpoint = endpoint_at(running.url)
    assert not endpoint.enabled
    assert endpoint.disabled_reason == "The receiver asks for no more webhooks."
    assert "is switched off" in caplog.text
    delivery.refresh_from_db()
    waiting.refresh_from_db()
    assert (delivery.status, waiting.status) == (DeliveryStatus.FAILED, DeliveryStatus.PENDING)


def test_five_days_of_nothing_but_failures_switch_the_endpoint_off(serve: Serve) -> None:
    running = serve(says(500))
    fail(running.url, 1)
    let_time_pass(timedelta(days=4, hours=20))
    fail(running.url, 1)
    assert endpoint_at(running.url).enabled
    let_time_pass(timedelta(hours=4))
    fail(running.url, 1)
    endpoint = endpoint_at(running.url)
    assert not endpoint.enabled
    assert endpoint.disabled_reason.startswith("All attempts since 20")
    assert endpoint.disabled_reason.endswith("status 500.")
    let_time_pass(A_DAY)
    assert deliver_due() == 0


def test_a_success_begins_the_five_days_again(serve: Serve) -> None:
    running = serve(says(500))
    fail(running.url, 1)
    running.answering = says(200)
    let_time_pass(timedelta(days=3))
    deliver_due()
    running.answering = says(500)
    let_time_pass(timedelta(days=3))
    fail(running.url, 1)
    assert endpoint_at(running.url).enabled


def test_a_good_test_switches_the_endpoint_on_and_what_waits_goes(serve: Serve) -> None:
    running = serve(says(410))
    deliver_to(running.url)
    waiting = deliver_to(running.url)
    deliver_due()
    endpoint = endpoint_at(running.url)
    running.answering = says(200)
    test = send_test(endpoint)
    assert deliver_due() == 2
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason, endpoint.failures) == (True, "", 0)
    waiting.refresh_from_db()
    assert waiting.status == DeliveryStatus.DELIVERED
    assert json.loads(running.requests[1].body)["type"] == "tallybook.test"
    assert running.requests[1].headers["webhook-id"] == test.message_id


def test_a_bad_test_changes_nothing_and_is_not_repeated(serve: Serve) -> None:
    running = serve(says(500))
    fail(running.url, 1)
    test = send_test(endpoint_at(running.url))
    deliver_due()
    test.refresh_from_db()
    assert (test.status, statuses(test)) == (DeliveryStatus.FAILED, [500])
    assert endpoint_at(running.url).failures == 1


def test_nothing_is_sent_to_an_endpoint_that_was_switched_off(serve: Serve) -> None:
    running = serve(says(200))
    deliver_to(running.url)
    switch_off(endpoint_at(running.url), "Switched off by ada.")
    assert deliver_due() == 0
    switch_on(endpoint_at(running.url))
    assert deliver_due() == 1


def test_during_a_rotation_the_new_and_the_old_secret_verify(serve: Serve) -> None:
    running = serve(says(200))
    deliver_to(running.url)
    old = endpoint_at(running.url).secret
    rotate_secret(endpoint_at(running.url))
    deliver_due()
    new = endpoint_at(running.url).secret
    assert new != old
    [request] = running.requests
    for secret in (old, new):
        assert Webhook(secret).verify(request.body, request.headers)


def test_a_day_after_the_rotation_only_the_new_secret_signs(serve: Serve) -> None:
    running = serve(says(200))
    deliver_to(running.url)
    rotate_secret(endpoint_at(running.url))
    let_time_pass(timedelta(hours=25))
    deliver_due()
    [request] = running.requests
    assert len(request.headers["webhook-signature"].split()) == 1
    assert Webhook(endpoint_at(running.url).secret).verify(request.body, request.headers)


def claimed_by_another(url: str) -> Claimed:
    """Claim a delivery, and let the lease end, as if its process had died."""
    [claimed] = claim(1)
    assert claim(1) == []
    let_time_pass(timedelta(seconds=LEASE_SECONDS + 1))
    return claimed


def test_a_delivery_whose_process_died_is_sent_again_under_the_same_id(serve: Serve) -> None:
    running = serve(says(200))
    delivery = deliver_to(running.url)
    lost = claimed_by_another(running.url)
    assert deliver_due() == 1
    [request] = running.requests
    assert request.headers["webhook-id"] == lost.message_id == delivery.message_id
    assert [each.number for each in Attempt.objects.all()] == [2]


def test_a_late_success_counts(serve: Serve) -> None:
    running = serve(says(500))
    delivery = deliver_to(running.url)
    late = claimed_by_another(running.url)
    deliver_due()
    running.answering = says(200)
    deliver(late)
    delivery.refresh_from_db()
    assert (delivery.status, statuses(delivery)) == (DeliveryStatus.DELIVERED, [200, 500])


def test_a_late_failure_is_noted_and_changes_nothing(serve: Serve) -> None:
    running = serve(says(200))
    delivery = deliver_to(running.url)
    late = claimed_by_another(running.url)
    deliver_due()
    running.answering = says(500)
    deliver(late)
    delivery.refresh_from_db()
    assert (delivery.status, statuses(delivery)) == (DeliveryStatus.DELIVERED, [500, 200])
    assert endpoint_at(running.url).failures == 0


def test_a_late_failure_leaves_the_lease_of_the_attempt_that_is_current(serve: Serve) -> None:
    running = serve(says(500))
    delivery = deliver_to(running.url)
    late = claimed_by_another(running.url)
    claim(1)
    deliver(late)
    assert pause_of(delivery) > LEASE_SECONDS - 5
    assert endpoint_at(running.url).failures == 0


def test_what_was_cancelled_on_its_way_stays_cancelled_when_it_fails(serve: Serve) -> None:
    delivery = deliver_to(serve(says(500)).url)
    [claimed] = claim(1)
    cancel([delivery.pk])
    deliver(claimed)
    delivery.refresh_from_db()
    assert (delivery.status, statuses(delivery)) == (DeliveryStatus.CANCELLED, [500])


@pytest.mark.parametrize("status", [200, 500])
def test_what_has_ended_is_sent_again_with_its_id_and_the_whole_schedule(
    serve: Serve, status: int
) -> None:
    running = serve(says(status))
    delivery = deliver_to(running.url)
    deliver_due()
    Delivery.objects.filter(status="pending").update(status="failed", tries=10)
    running.answering = says(500)
    assert send_again([delivery.pk]) == 1
    deliver_due()
    delivery.refresh_from_db()
    assert (delivery.status, delivery.attempts, delivery.tries) == (DeliveryStatus.PENDING, 2, 1)
    assert running.requests[0].body == running.requests[1].body


def test_what_is_on_its_way_is_not_sent_again(serve: Serve) -> None:
    delivery = deliver_to(serve(says(200)).url)
    claim(1)
    assert send_again([delivery.pk]) == 0


def test_what_waits_for_its_next_attempt_is_sent_at_once(serve: Serve) -> None:
    delivery = deliver_to(serve(says(500)).url)
    deliver_due()
    assert send_again([delivery.pk]) == 1
    assert deliver_due() == 1


def test_what_is_cancelled_is_not_sent(serve: Serve) -> None:
    delivery = deliver_to(serve(says(200)).url)
    assert cancel([delivery.pk]) == 1
    assert deliver_due() == 0


def test_after_a_restore_deliveries_are_held_until_they_are_released(serve: Serve) -> None:
    deliver_to(serve(says(200)).url)
    [line] = hold_restored_deliveries(None)
    assert line == "1 webhooks of the backup are held. Release or cancel them in the admin."
    assert deliver_due() == 0
    assert release_deliveries() == 1
    assert deliver_due() == 1


def test_bodies_and_responses_are_deleted_after_30_days(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    delivery = deliver_to(serve(says(200, b"Zoe")).url)
    deliver_due()
    let_time_pass(timedelta(days=29))
    assert prune_bodies() == 0
    let_time_pass(timedelta(days=1))
    call_command("prune_automations")
    assert capsys.readouterr().out == "1 rows, details and bodies of webhooks deleted.\n"
    delivery.refresh_from_db()
    assert (delivery.body, Attempt.objects.get().answer) == ("", "")
    assert send_again([delivery.pk]) == 0


def test_bodies_are_deleted_some_at_a_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "PER_STATEMENT", 1)
    for _ in range(3):
        deliver_to(serve(says(200)).url)
    deliver_due()
    let_time_pass(timedelta(days=30))
    assert prune_bodies() == 3


@pytest.mark.parametrize("is_off", [True, False], ids=["switched off", "on"])
def test_what_waits_for_30_days_fails_if_its_endpoint_is_off(is_off: bool) -> None:
    delivery = deliver_to(NOWHERE)
    Endpoint.objects.update(enabled=not is_off)
    let_time_pass(timedelta(days=31))
    prune_bodies()
    delivery.refresh_from_db()
    assert (delivery.status == DeliveryStatus.FAILED) == is_off


def test_a_contact_takes_its_deliveries_along(serve: Serve, ada: Subscriber) -> None:
    running = serve(says(200))
    deliver_to(running.url, ada.pk)
    deliver_due()
    deliver_to(running.url, ada.pk)
    other = deliver_to(running.url, ada.pk + 1)
    assert count_contacts([ada.pk])["webhook_deliveries"] == 2
    assert delete_contacts([ada.pk])["webhook_deliveries"] == 2
    assert list(Delivery.objects.all()) == [other]
    assert not Attempt.objects.exists()


def test_the_deliveries_of_a_merged_contact_are_those_of_the_survivor(ada: Subscriber) -> None:
    deliver_to(NOWHERE, ada.pk + 1)
    move_deliveries(ada.pk, ada.pk + 1)
    assert count_deliveries_of([ada.pk]) == {"webhook_deliveries": 1}


def test_the_personal_data_of_a_contact_have_its_webhooks(ada: Subscriber) -> None:
    url = "https://example.com/hook?key=secret"
    create_delivery(url, "test", {"name": "Ada"}, run_id=1, step_id=1, contact_id=ada.pk)
    [text] = own_deliveries(ada.pk)
    webhook = json.loads(text)
    assert (webhook["host"], webhook["status"]) == ("example.com", "pending")
    assert "secret" not in text
    assert json.loads(webhook["body"])["data"] == {"name": "Ada"}
