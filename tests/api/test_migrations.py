"""Migrations of a store that an earlier version of Tallybook filled."""

from collections.abc import Iterator
from contextlib import contextmanager
from unicodedata import normalize

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.db.models import Min

from crm.bulk_changes import undo_change
from crm.jobs import create_job
from crm.models import JobState, Subscriber, Tag
from events.models import EventName, TrackedEvent
from events.tracking import track
from tests.api.jobs import run_next

INSERT_CONTACT = """
INSERT INTO crm_subscriber (email, status, contact_type, total_points, life_time_value,
    custom_values, created_at, updated_at)
VALUES (%s, 'subscribed', 'lead', 0, 0, '{}', now(), now())
"""
ROLES = ("viewer", "manager")
pytestmark = pytest.mark.django_db


@contextmanager
def migrated_back(app: str, migration: str) -> Iterator[None]:
    """Migrate an app back to a migration, and everything forward again at the end."""
    call_command("migrate", app, migration, verbosity=0)
    yield
    call_command("migrate", verbosity=0)


def test_the_catalogue_gets_the_names_of_existing_events(ada: Subscriber) -> None:
    for number, key in enumerate("bab"):
        track({"event_key": key, "title": str(number), "subscriber_id": ada.pk})
    with migrated_back("events", "0001"):
        pass
    first_times = TrackedEvent.objects.values("event_key").annotate(first=Min("created_at"))
    expected = sorted(first_times.values_list("event_key", "first"))
    assert [name for name, _ in expected] == ["a", "b"]
    names = EventName.objects.order_by("name").values_list("name", "first_seen_at")
    assert list(names) == expected


def test_groups_named_like_roles_keep_their_permissions_and_get_those_of_the_role() -> None:
    with migrated_back("events", "0002"):
        Group.objects.filter(name__in=ROLES).delete()
        viewer = Group.objects.create(name="viewer")
        viewer.permissions.set(Permission.objects.filter(codename="delete_tag"))
        viewer.user_set.add(User.objects.create_user("ada"))
        # In a new store Django creates permissions after the last migration.
        Permission.objects.filter(content_type__app_label="events").delete()
    user = User.objects.get()
    assert user.has_perms(["crm.delete_tag", "crm.view_tag", "events.view_trackedevent"])
    assert not user.has_perm("crm.change_tag")
    assert Group.objects.get(name="manager").permissions.filter(codename="change_tag").exists()


@pytest.mark.parametrize(
    ("emails", "keys"),
    [
        (["Ada@Example.com"], ["ada@example.com"]),
        (["jo\u0308rg@x.example", "JÖRG@x.example"], ["jo\u0308rg@x.example", "jörg@x.example"]),
        (["JÖRG@x.example", "jo\u0308rg@x.example"], ["jörg@x.example", "jo\u0308rg@x.example"]),
        (
            ["a@bücher.example", normalize("NFD", "a@BÜCHER.example")],
            ["a@xn--bcher-kva.example", normalize("NFD", "a@bücher.example")],
        ),
        (
            ["a@bücher.example", "a@xn--bcher-kva.example"],
            ["a@bücher.example", "a@xn--bcher-kva.example"],
        ),
    ],
)
def test_of_two_contacts_of_one_mailbox_the_newer_keeps_its_email_in_lower_case_as_key(
    emails: list[str], keys: list[str]
) -> None:
    with migrated_back("crm", "0004"), connection.cursor() as cursor:
        for email in emails:
            cursor.execute(INSERT_CONTACT, [email])
    rows = Subscriber.objects.order_by("id").values_list("email", "email_key")
    assert list(rows) == list(zip(emails, keys, strict=True))


@pytest.mark.parametrize("is_attached", [True, False])
def test_a_change_of_labels_becomes_one_that_can_be_undone(
    admin: User, ada: Subscriber, is_attached: bool
) -> None:
    tag = Tag.objects.create(title="VIP", slug="vip")
    if is_attached:
        ada.tags.add(tag)
    job = create_job("change_labels", "Add tags", {}, state=JobState.DONE)
    with migrated_back("crm", "0015"), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO crm_labelchange (job_id, kind, label_id, is_attached, contact_ids) "
            "VALUES (%s, 'tags', %s, %s, ARRAY[%s]::bigint[])",
            [job.pk, tag.pk, is_attached, ada.pk],
        )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    job.refresh_from_db()
    undo_change(job, admin)
    assert (run_next().counts, job.kind) == ({"changes": 1}, "change_contacts")
    assert ada.tags.exists() is not is_attached
