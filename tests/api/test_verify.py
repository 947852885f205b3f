"""`manage.py verify` finds the rows of every table that have lost what they belong to."""

import io

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from crm.attachments import attach
from crm.label_deletion import delete_labels
from crm.labels import create_label
from crm.models import Subscriber
from crm.segments import create_segment
from tests.api.savepoints import rolled_back

EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


@pytest.fixture
def store(api: APIClient, ada: Subscriber) -> dict[str, int]:
    """A row of each table, and the id of the tag."""
    api.post("/subscribers/track-event", EVENT | {"idempotency_key": "once"})
    api.put(f"/subscribers/{ada.pk}", {"subscriber": {"user_id": "42"}})
    note = {"title": "Call", "description": "Likes tea.", "type": "call"}
    api.post(f"/subscribers/{ada.pk}/notes", {"note": note})
    tag, on_list = (create_label(kind, {"title": "vip"}).pk for kind in ("tags", "lists"))
    attach("tags", [ada.pk], [tag])
    attach("lists", [ada.pk], [on_list])
    named = {"source": ["segment", "tags"], "operator": "in", "value": [tag]}
    create_segment({"title": "VIPs", "slug": "vips", "filters": [[named]]})
    return {"tag": tag}


def verify() -> tuple[str, str]:
    """Run the command, which has to fail. Returns what it prints, and its error."""
    out = io.StringIO()
    with pytest.raises(CommandError) as error:
        call_command("verify", stdout=out)
    assert error.value.returncode == 1
    return out.getvalue(), str(error.value)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("statement", "faults"),
    [
        (
            "DELETE FROM crm_subscriber",
            [
                "1 events without a contact",
                "1 occurrences without a contact",
                "1 tags of contacts without the tag or the contact",
                "1 lists of contacts without the list or the contact",
                "1 identities without a contact",
                "1 notes without a contact",
            ],
        ),
        ("DELETE FROM events_trackedevent", ["1 occurrences without an event"]),
        ("UPDATE events_eventoccurrence SET subscriber_id = 0", ["occurrences without an event"]),
        ("DELETE FROM events_eventoccurrence", ["1 idempotency keys without an occurrence"]),
        ("DELETE FROM crm_tag", ["1 tags of contacts", "1 segments with an invalid filter"]),
        ("DELETE FROM crm_list", ["1 lists of contacts without the list or the contact"]),
        (
            "INSERT INTO crm_identity (subscriber_id, kind, source, value) "
            "SELECT id, 'email', '', email_key FROM crm_subscriber "
            "UNION SELECT id, 'contact', '', id::text FROM crm_subscriber",
            ["2 aliases that are the e-mail or the id of a contact"],
        ),
    ],
)
def test_a_row_that_lost_what_it_belongs_to_is_found(statement: str, faults: list[str]) -> None:
    with rolled_back(), connection.cursor() as cursor:
        # Without foreign keys, as another program may leave the tables.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)
        printed, error = verify()
    assert [fault for fault in faults if fault not in printed or fault not in error] == []


def test_a_segment_whose_label_was_deleted_is_found(store: dict[str, int]) -> None:
    delete_labels("tags", [store["tag"]], force=True)
    printed, _ = verify()
    assert printed.startswith("1 segments with an invalid filter: ")


def test_the_first_ids_are_printed(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO events_idempotencykey (occurrence_id, subscriber_id, credential, key, "
            "content, created_at) SELECT n, 0, 'x', n, '', now() FROM generate_series(101, 107) n"
        )
    printed, error = verify()
    line = "7 idempotency keys without an occurrence: 101, 102, 103, 104, 105, …\n"
    assert printed == line
    assert error == "7 idempotency keys without an occurrence."


@pytest.mark.usefixtures("store")
def test_a_store_without_faults_is_accepted() -> None:
    out = io.StringIO()
    call_command("verify", stdout=out)
    assert out.getvalue() == "1 events, every counter is right, and no row is orphaned.\n"
