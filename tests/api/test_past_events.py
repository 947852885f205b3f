"""Events of the past: imported many at a time, and each once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.utils import timezone
from psycopg.errors import SerializationFailure

from config.database import TEMPORARY, fetch_one
from crm.contacts import create, delete_contacts, update
from crm.identities import Name, add_names
from crm.merging import merge_contacts
from crm.models import Subscriber
from events.maintenance import prune_idempotency_keys
from events.models import EventName, EventOccurrence, IdempotencyKey, TrackedEvent, TrackingSwitch
from events.signals import event_tracked
from events.tracking import imports, track
from events.tracking.corrections import take_back
from events.tracking.imports import EventChunk, Imported, import_events, import_owner
from events.verification import find_differences
from tests.api.counts import counted
from tests.api.history import SOURCE, added, events, import_rows, occurrences, past_events
from tests.api.plans import rows_scanned

pytestmark = pytest.mark.django_db
ADA = "ada@example.com"
EVENT = {
    "event_key": "checkout",
    "title": "Order placed",
    "email": ADA,
    "occurred_at": "2024-01-17 14:27:35",
}
OTHER_KEYS = """
INSERT INTO events_idempotencykey
    (occurrence_id, subscriber_id, credential, key, content, created_at)
SELECT -n, 1, %(owner)s, md5(n::text), '', now() FROM generate_series(1, 20000) n
"""
LATER = EVENT | {"occurred_at": "2024-01-18 00:00:00"}


@pytest.fixture(autouse=True)
def contact(ada: Subscriber) -> Subscriber:
    """The contact of EVENT."""
    return ada


def test_events_count_up_in_the_order_of_the_file() -> None:
    rows = [LATER | {"value": "1"}, EVENT | {"value": "2"}, LATER | {"value": "3"}]
    assert import_rows(rows) == [Imported(1)] * 3
    assert events() == [("checkout", "Order placed", "3", 3, 0)]
    assert occurrences() == [("1", 1), ("2", 2), ("3", 3)]
    event = TrackedEvent.objects.get()
    assert (event.created_at, event.updated_at) == (
        datetime(2024, 1, 17, 14, 27, 35, tzinfo=timezone.get_default_timezone()),
        datetime(2024, 1, 18, tzinfo=timezone.get_default_timezone()),
    )


def test_an_imported_event_counts_up_a_tracked_one() -> None:
    track({"event_key": "checkout", "title": "Order placed", "email": ADA, "value": "now"})
    import_rows([EVENT | {"value": "then"}])
    assert events() == [("checkout", "Order placed", "now", 2, 0)]
    assert find_differences() == []


def test_rows_that_do_not_repeat_have_events_of_their_own() -> None:
    import_rows([EVENT | {"repeatable": False}, LATER | {"repeatable": False}, LATER])
    assert [event[3] for event in events()] == [1, 1, 1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        '"a","b"',
        "a\r\nb",
        "a\rb",
        "a\nb",
        "\\.",
        "\\N",
        "\\t",
        "a\tb",
        " ",
        "NULL",
        "ä €\u2028😀",
    ],
)
def test_texts_are_stored_as_tracking_stores_them(text: str) -> None:
    fields = {"value": text, "properties": {"a": text}, "context": {text: [text]}}
    track(EVENT | fields)
    import_rows([EVENT | fields])
    columns = ("value", "properties", "context", "provider", "event_key", "occurred_at")
    tracked, imported = EventOccurrence.objects.order_by("id").values_list(*columns)
    assert imported == tracked


def test_names_are_added_to_the_catalogue() -> None:
    import_rows([EVENT, EVENT | {"event_key": "login"}])
    assert [name.name for name in EventName.objects.all()] == ["checkout", "login"]


def test_the_same_file_again_changes_nothing() -> None:
    rows = [EVENT, LATER, EVENT | {"event_key": "login"}]
    import_rows(rows)
    before = events(), occurrences()
    assert import_rows(rows) == [Imported(0)] * 3
    assert (events(), occurrences()) == before


def test_the_same_file_again_reads_no_keys_of_other_rows() -> None:
    rows = [EVENT | {"value": str(number)} for number in range(2_000)]
    import_rows(rows)
    with connection.cursor() as cursor:
        cursor.execute(OTHER_KEYS, {"owner": import_owner(SOURCE)})
        cursor.execute("ANALYZE events_idempotencykey")
    before = rows_scanned("events_idempotencykey")
    assert added(import_rows(rows)) == [0] * 2_000
    assert rows_scanned("events_idempotencykey") == before


def test_two_equal_rows_are_two_events() -> None:
    assert added(import_rows([EVENT, LATER, EVENT])) == [1, 1, 1]
    assert added(import_rows([EVENT, LATER, EVENT])) == [0, 0, 0]


def test_a_file_that_overlaps_counts_only_what_is_new() -> None:
    import_rows([EVENT, LATER])
    assert added(import_rows([LATER, EVENT | {"title": "New"}], b"another file")) == [0, 1]


def test_a_row_in_another_spelling_is_the_same_event() -> None:
    import_rows([EVENT | {"properties": {"a": 2, "b": 1}}])
    spelled = EVENT | {
        "email": "ADA@Example.com",
        "occurred_at": datetime(2024, 1, 17, 14, 27, 35, tzinfo=timezone.get_default_timezone())
        .astimezone(UTC)
        .isoformat(),
        "properties": '{"b": 1.0, "a": 2}',
    }
    assert added(import_rows([spelled])) == [0]


def test_rows_without_a_time_are_other_events_in_another_file() -> None:
    row = {name: value for name, value in EVENT.items() if name != "occurred_at"}
    assert added(import_rows([row, row])) == [1, 1]
    assert added(import_rows([row, row])) == [0, 0]
    assert added(import_rows([row, row], b"the file of tomorrow")) == [1, 1]


def test_a_key_of_the_row_counts_once_in_any_file() -> None:
    row = EVENT | {"idempotency_key": "order-17"}
    assert added(import_rows([row, row])) == [1, 0]
    assert added(import_rows([EVENT, row], b"another file")) == [1, 0]


def test_a_key_with_other_content_is_rejected() -> None:
    row = EVENT | {"idempotency_key": "order-17"}
    assert added(import_rows([row, row | {"value": "2"}])) == [1, "IdempotencyMismatch"]
    assert added(import_rows([row | {"value": "3"}])) == ["IdempotencyMismatch"]
    assert counted() == (1, 1)


def test_keys_of_another_source_and_of_programs_are_others() -> None:
    row = EVENT | {"idempotency_key": "order-17"}
    import_rows([row])
    assert added(import_rows([row], source="another shop")) == [1]
    assert not track(row).replayed


@pytest.mark.parametrize(
    ("source", "owner"),
    [
        ("shop", "import:shop"),
        ("s" * 33, f"import:{'s' * 33}"),
        ("s" * 34, "import:447bf3f8a7f97a9f4c8d3434ae555dfe5"),
    ],
)
def test_the_owner_of_the_keys_is_the_source(source: str, owner: str) -> None:
    assert import_owner(source) == owner
    import_rows([EVENT], source=source)
    assert IdempotencyKey.objects.get().credential == owner


def test_unknown_contacts_and_unnamed_ones_are_reported() -> None:
    rows = [EVENT | {"email": "eve@example.com"}, EVENT, EVENT | {"email": ""}]
    assert added(import_rows(rows)) == ["SubscriberNotFound", 1, "SubscriberNotFound"]
    create({"email": "eve@example.com"})
    assert added(import_rows(rows)) == [1, 0, "SubscriberNotFound"]


def test_contacts_are_found_by_the_ids_of_the_source(contact: Subscriber) -> None:
    add_names([(contact.pk, Name("user", "crm", "7")), (contact.pk, Name("user", "", "8"))])
    rows = [EVENT | {"email": "", "user_id": user_id} for user_id in ("7", "8")]
    outcomes = import_events(EventChunk(past_events(rows), SOURCE), "crm")
    assert added(outcomes) == [1, "SubscriberNotFound"]
    assert added(import_rows(rows)) == [0, 1]


def test_a_merged_contact_is_found(contact: Subscriber) -> None:
    bob = create({"email": "bob@example.com"})
    merge_contacts(contact.pk, ("contact", str(bob.pk)))
    by_id = EVENT | {"email": "", "subscriber_id": bob.pk}
    assert added(import_rows([EVENT | {"email": "bob@example.com"}, by_id])) == [1, 1]
    assert TrackedEvent.objects.get().subscriber_id == contact.pk


def test_a_row_whose_contact_has_another_email_by_now_is_there_already(
    contact: Subscriber,
) -> None:
    import_rows([EVENT])
    update(contact, {"email": "countess@example.com"})
    assert added(import_rows([EVENT])) == [0]


def test_a_contact_that_is_made_again_gets_its_events_again(contact: Subscriber) -> None:
    import_rows([EVENT])
    delete_contacts([contact.pk])
    create({"email": ADA})
    assert added(import_rows([EVENT])) == [1]


def test_an_occurrence_that_was_taken_back_stays_so(contact: Subscriber) -> None:
    import_rows([EVENT, LATER])
    take_back(contact.pk, [EventOccurrence.objects.earliest("occurred_at").pk])
    assert added(import_rows([EVENT, LATER])) == [0, 0]
    assert counted() == (1, 1)


def test_counter_and_arrival_of_another_store_are_kept() -> None:
    received_at = datetime(2024, 2, 1, tzinfo=UTC)
    [event] = past_events([EVENT])
    import_events(
        EventChunk([event._replace(counter=7, received_at=received_at)], SOURCE),
    )
    occurrence = EventOccurrence.objects.get()
    assert (occurrence.counter, occurrence.received_at) == (7, received_at)
    assert events() == [("checkout", "Order placed", "", 1, 0)]


def test_the_switch_does_not_stop_imports() -> None:
    TrackingSwitch.set_enabled(False)
    assert added(import_rows([EVENT])) == [1]


@pytest.fixture
def signals() -> Iterator[list[Any]]:
    """The arguments of each event_tracked signal that was sent."""
    received: list[Any] = []

    def receive(**arguments: Any) -> None:
        received.append(arguments)

    event_tracked.connect(receive)
    yield received
    event_tracked.disconnect(receive)


def test_no_signal_is_sent(signals: list[Any], django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        import_rows([EVENT])
    assert signals == []


def test_keys_of_imports_are_kept_for_ninety_days() -> None:
    import_rows([EVENT, LATER])
    for days, key in zip((91, 89), IdempotencyKey.objects.all(), strict=True):
        IdempotencyKey.objects.filter(pk=key.pk).update(
            created_at=timezone.now() - timedelta(days=days)
        )
    assert prune_idempotency_keys() == 1


def test_a_key_that_is_pruned_meanwhile_lets_the_transaction_be_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import_rows([EVENT])
    monkeypatch.setattr(imports, "CLAIMED", "SELECT '{}'::int[], '{}'::int[]")
    with pytest.raises(OperationalError) as error:
        import_rows([EVENT])
    assert isinstance(error.value.__cause__, SerializationFailure)
    assert isinstance(error.value.__cause__, TEMPORARY)


def test_many_chunks_of_one_transaction_take_no_more_locks() -> None:
    count = "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid()"
    for _ in range(2):
        import_rows([EVENT])
    before = fetch_one(count, {})
    for _ in range(3):
        import_rows([EVENT])
    assert fetch_one(count, {}) == before


def test_an_empty_chunk_is_accepted() -> None:
    assert import_events(EventChunk([], SOURCE)) == []
