"""Every described operation is sent random requests: no 5xx, no response that is not described."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from django.contrib.auth.models import User
from django.core.management.color import no_style
from django.db import connection
from django.db.models import Model
from django.test import Client
from django.utils import timezone
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoDbBlocker
from rest_framework.test import APIClient
from schemathesis import Case, GenerationMode, Response
from schemathesis.config import SchemathesisConfig

from automations.models import Automation, Run
from automations.starting import start_by_hand
from automations.writing import create_automation, pause
from crm.models import (
    CustomField,
    IncomingWebhook,
    List,
    Segment,
    Subscriber,
    SubscriberNote,
    Tag,
)
from crm.passwords import create_application_password
from events.models import EventOccurrence, TrackedEvent, TrackingKey
from tests.api.automation import HOUR, published
from tests.api.conftest import basic
from tests.api.rsgi import RSGIAdapter
from tests.api.savepoints import rolled_back

EMAILS = ["ada@example.com", "bob@example.com", "admin@example.com"]
EVENT = {"event_key": "order", "title": "Order placed", "email": EMAILS[0]}
FILTER = [
    [
        {
            "source": ["event_tracking", "event_tracking_total"],
            "operator": ">=",
            "value": 1,
            "extra_value": EVENT["event_key"],
        }
    ]
]
ACTID, KEY = "123456789", "a-key"
# What lets a request through: what is stored, and texts whose format the description does not say.
# These places have them more often than random values.
KNOWN: dict[str, tuple[list[Any], list[str]]] = {
    "path id": (
        ["1", "2", "3"],
        [
            "path.run_id",
            *("path.contact_id", "path.segment_id", "path.label_id", "path.event_id"),
            *(
                "path.occurrence_id",
                "path.note_id",
                "path.webhook_id",
                "path.field_id",
                "path.membership_id",
            ),
            *(f"body.{each}.contact" for each in ("contactTag", "contactList", "fieldValue")),
            *("body.contactTag.tag", "body.contactList.list", "body.fieldValue.field"),
            *("query.contact", "body.contact.fieldValues[*].field"),
        ],
    ),
    "id": (
        [1, 2, 3],
        [
            *("body.subscriber_id", "query.subscriber_id"),
            "query.subscriber_ids[][*]",
            *("body.subscribers[*]", "body.subscriber_ids[*]", "body.action_options[*]"),
            *("body.tagIds[*]", "body.listIds[*]", "query.current_id", "body.other_id"),
        ],
    ),
    "automation": (["1", "2", "3", "4"], ["path.automation_id", "path.funnel_id"]),
    "funnel": ([1, 2, 3, 4], ["body.funnel_ids[*]", "body.funnel_id"]),
    "run": ([1, 2, 3], ["body.funnel_subscriber_ids[*]"]),
    "status": (["cancelled", "subscribed"], ["body.status"]),
    "trigger name": (
        ["fluent_crm/contact_created", "tallybook/manual"],
        ["body.trigger_name", "body.funnel.trigger_name"],
    ),
    "value id": (["1000000001", "2000000002"], ["path.value_id"]),
    "email": ([*EMAILS, "new@example.com"], ["body.email", "body.contacts[*].email"]),
    "new email": (["new@example.com", "x@example.com", EMAILS[0]], ["body.contact.email"]),
    "known email": (
        EMAILS,
        ["body.events[*].email", "query.get_by_email", "body.other_email"],
    ),
    "event": ([EVENT["event_key"]], ["path.name", "body.eventTrackingEvent.name"]),
    "key": ([EVENT["event_key"]], ["query.event_key"]),
    "fields": (["lists,tags,segments", "statuses"], ["query.fields"]),
    "option": (["event_tracking_keys"], ["query.option_key"]),
    "label": (["1", "2", "3"], ["body.tags[*]", "body.lists[*]"]),
    "column": (["email", "title", "created_at"], ["query.sort_by"]),
    "direction": (["ASC", "DESC"], ["query.sort_type", "query.sort_order"]),
    "true": (["true"], ["query.custom_fields"]),
    "day": (
        ["2024-01-17", "2024-01-17 10:00:00"],
        ["query.from", "query.to", "query.created_after"],
    ),
    "time": (
        ["2024-01-17 10:00:00", "2024-01-17T10:00:00+02:00"],
        ["body.occurred_at", "body.events[*].occurred_at", "body.note.created_at"],
    ),
    "property": (["contact_type"], ["body.property"]),
    "value": (["customer", "pending", "/a.png"], ["body.value", "body.new_status"]),
    "filter type": (["advanced"], ["query.filter_type"]),
    "filter": ([json.dumps(FILTER), "[[]]"], ["query.advanced_filters"]),
    "filters": ([json.dumps(FILTER)], ["body.filters"]),
    "segment": (["bought"], ["query.segment"]),
    "since": (["30d", "2024-01-17"], ["query.event_since"]),
    "times": ([1, 2], ["query.event_count_min"]),
    "taken column": (["first_name", "phone"], ["body.take[*]"]),
    "idempotency key": (EMAILS, ["body.idempotency_key"]),
    "actid": ([ACTID], ["body.actid"]),
    "event key": ([KEY], ["body.key"]),
    "trigger": (["manual"], ["body.trigger.type"]),
    "visit": ([f'{{"email":"{EMAILS[0]}","url":"u"}}'], ["body.visit"]),
}
CONFIG = SchemathesisConfig.from_dict(
    {
        "dictionaries": {name: {"values": values} for name, (values, _) in KNOWN.items()},
        "parameters": {
            place: {"dictionary": name, "probability": 0.85}
            for name, (_, places) in KNOWN.items()
            for place in places
        },
        "generation": {"with-security-parameters": False},
        "checks": {
            # More is accepted than is described, as in FluentCRM: "1" for 1, unknown fields.
            "negative_data_rejection": {"enabled": False},
            # No description says which ids exist, which e-mails are free, that NUL is rejected.
            "positive_data_acceptance": {"enabled": False},
            # The test of 401 below asks for more: whatever is sent, not only where it succeeds.
            "ignored_auth": {"enabled": False},
        },
    }
)


def close(schema: dict[str, Any]) -> None:
    """Leave no room in a schema for fields that it does not name."""
    if "properties" in schema:
        schema["additionalProperties"] = False
    parts = [*schema.get("properties", {}).values()]
    parts += [schema[name] for name in ("items", "additionalProperties") if name in schema]
    for name in ("oneOf", "anyOf", "allOf"):
        parts += schema.get(name, [])
    for part in parts:
        if isinstance(part, dict):
            close(part)


def closed(description: dict[str, Any]) -> dict[str, Any]:
    """Return the description with closed schemas, those of components and those of responses."""
    copy: dict[str, Any] = json.loads(json.dumps(description))
    for schema in copy["components"]["schemas"].values():
        close(schema)
    for operations in copy["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                for content in response.get("content", {}).values():
                    close(content["schema"])
    return copy


DESCRIPTION = Client(SERVER_NAME="localhost").get("/api/schema/").json()
DESCRIBED = schemathesis.openapi.from_dict(closed(DESCRIPTION), config=CONFIG)
each_operation = pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param(method, path, id=f"{method.upper()} {path}")
        for path, methods in DESCRIPTION["paths"].items()
        for method in methods
    ],
)


@schemathesis.serializer("application/x-ndjson")
def lines(_: object, value: str) -> bytes:
    """Return a valid event, and then the random line."""
    return f"{json.dumps(EVENT)}\n{value}".encode()


class Caller:
    """Sends cases to the application; a response that is not as described raises."""

    def __init__(self, session: requests.Session) -> None:
        self.session = session

    def __call__(self, case: Case[Any], authorization: str | None) -> Response:
        headers = {"Authorization": authorization} if authorization else {}
        with rolled_back():
            response = case.call_and_validate("http://localhost", self.session, headers)
            # As a commit would.
            connection.check_constraints()
        return response


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """A session whose requests the application answers in this process."""
    with requests.Session() as session:
        session.mount("http://", RSGIAdapter())
        yield session


@pytest.fixture
def call(session: requests.Session, db: None) -> Caller:
    """Send a case and check the response: `call(case, authorization)`; all is rolled back."""
    return Caller(session)


def restart_ids(*models: type[Model]) -> None:
    """Have the next rows of these empty tables get the ids 1, 2, and so on."""
    tables = [{"table": model._meta.db_table, "column": "id"} for model in models]
    with connection.cursor() as cursor:
        for statement in connection.ops.sequence_reset_by_name_sql(no_style(), tables):
            cursor.execute(statement)


# Of each operation, in make test and in make test-long. An operation that rejects all of them gets
# ten times as many.
EXAMPLES = {"short": 20, "long": 1000}


def numbered(noun: str) -> list[str]:
    """Return three titles."""
    return [f"{noun} {number}" for number in (1, 2, 3)]


def store(api: APIClient) -> None:
    """Store contacts, labels, segments, events, notes, webhooks, fields, each with the ids 1 to 3.

    Automations have the ids 1 to 4. The second and third are paused, and the last is a draft.
    ActiveCampaign's event call has its credential.
    """
    TrackingKey.objects.create(id=1, actid=ACTID, key=KEY, created_at=timezone.now())
    restart_ids(Subscriber, Tag, List, Segment, TrackedEvent, SubscriberNote, IncomingWebhook)
    restart_ids(Subscriber.tags.through, CustomField, EventOccurrence, Automation, Run)
    CustomField.objects.bulk_create(CustomField(label=slug, slug=slug) for slug in ("a", "b", "c"))
    odd: dict[str, Any] = {"number": 1e20, "nothing": None, "list": [{}]}
    values = {**odd, "a": "x", "b": "y"}
    contact = {"tags": numbered("Tag"), "lists": numbered("List"), "custom_values": values}
    contacts = [contact | {"email": email} for email in EMAILS]
    api.post("/subscribers/bulk-add-update", {"contacts": contacts})
    event = EVENT | {"properties": odd}
    events = [event | {"email": email, "idempotency_key": email} for email in EMAILS]
    response = api.post("/subscribers/track-events", {"events": events})
    assert response.json()["tracked"] == len(EMAILS), response.content
    for contact_id in (1, 2, 3):
        note = {"title": "Call", "description": "Likes tea.", "type": "call"}
        api.post(f"/subscribers/{contact_id}/notes", {"note": note})
    for title in ("Bought", *numbered("Segment")[1:]):
        response = api.post("/segments", {"title": title, "filters": FILTER})
        assert response.status_code == 200, response.content
    automations = [published(HOUR, title=title) for title in numbered("Automation")]
    for automation in automations:
        start_by_hand([1], automation.pk)
    for automation in automations[1:]:
        pause(automation.pk)
    create_automation({"title": "Draft", "trigger": {"type": "manual"}})
    for name in numbered("Webhook"):
        response = api.post("/webhooks", {"name": name, "status": "subscribed"})
        assert response.status_code == 200, response.content


@pytest.fixture(scope="module")
def authorization(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The credentials that stored what the tests of this file find. Each test rolls back its own.

    One store serves all, because making one takes longer than the requests of a test.
    """
    with django_db_blocker.unblock(), rolled_back():
        admin = User.objects.create(username="admin", is_superuser=True, is_staff=True)
        _, secret = create_application_password(admin, "test", "manage")
        header = basic("admin", secret.replace(" ", ""))
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=header)
        store(client)
        yield header


@each_operation
def test_the_response_to_a_random_request_is_as_described(
    call: Caller, authorization: str, method: str, path: str
) -> None:
    operation = DESCRIBED[path][method]
    got_through = 0

    def play(case: Case[Any]) -> None:
        nonlocal got_through
        response = call(case, authorization)
        # ActiveCampaign's call fails with 200 and success 0.
        got_through += response.status_code < 300 and b'"success":0' not in response.content

    examples = EXAMPLES[settings.get_current_profile_name()]
    cases = given(st.one_of([operation.as_strategy(mode) for mode in GenerationMode]))
    settings(max_examples=examples)(cases(play))()
    if not got_through:
        settings(max_examples=10 * examples)(cases(play))()
    assert got_through, "All were rejected: KNOWN lacks what this operation looks for."


@pytest.mark.parametrize("wrong", [None, "Bearer wrong"])
@each_operation
def test_a_random_request_without_a_password_or_with_a_wrong_one_is_401(
    call: Caller, authorization: str, method: str, path: str, wrong: str | None
) -> None:
    needs_password = "security" in DESCRIPTION["paths"][path][method]
    assert needs_password or path == "/event"

    @settings(max_examples=2)
    @given(DESCRIBED[path][method].as_strategy())
    def play(case: Case[Any]) -> None:
        status = call(case, wrong).status_code
        assume(status != 411)  # sent before Django, to an empty form in chunks
        assert status == (401 if needs_password else 200)

    play()
