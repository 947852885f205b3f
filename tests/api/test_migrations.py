"""Migrations of a store that an earlier version of Tallybook filled."""

from collections.abc import Iterator
from contextlib import contextmanager
from unicodedata import normalize

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection
from django.db.models import Min
from pytest_django import DjangoDbBlocker

from crm.bulk_changes import undo_change
from crm.contacts import create
from crm.jobs import create_job
from crm.models import Job, JobState, Subscriber, Tag
from events.models import EventName, TrackedEvent
from events.tracking import track
from tests.api.jobs import run_next
from tests.api.savepoints import rolled_back

INSERT_CONTACT = """
INSERT INTO crm_subscriber (email, status, contact_type, total_points, life_time_value,
    custom_values, created_at, updated_at)
VALUES (%s, 'subscribed', 'lead', 0, 0, '{}', now(), now())
"""
INSERT_CHANGE = """
INSERT INTO crm_labelchange (job_id, kind, label_id, is_attached, contact_ids)
VALUES (%s, 'tags', %s, %s, ARRAY[%s]::bigint[])
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


# The e-mails of contacts of one mailbox, the oldest first, and the keys that they get.
MAILBOXES = [
    (["Ada@Example.com"], ["ada@example.com"]),
    (["jo\u0308rg@x.example", "JÖRG@x.example"], ["jo\u0308rg@x.example", "jörg@x.example"]),
    (["JÖRG@y.example", "jo\u0308rg@y.example"], ["jörg@y.example", "jo\u0308rg@y.example"]),
    (
        ["a@bücher.example", normalize("NFD", "a@BÜCHER.example")],
        ["a@xn--bcher-kva.example", normalize("NFD", "a@bücher.example")],
    ),
    (
        ["b@bücher.example", "b@xn--bcher-kva.example"],
        ["b@bücher.example", "b@xn--bcher-kva.example"],
    ),
]


@pytest.fixture(scope="class")
def mailboxes(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Contacts from before they had keys. All are migrated at once, because that takes seconds."""
    with django_db_blocker.unblock(), rolled_back():
        with migrated_back("crm", "0004"), connection.cursor() as cursor:
            for email in (email for emails, _ in MAILBOXES for email in emails):
                cursor.execute(INSERT_CONTACT, [email])
        yield


@pytest.fixture(scope="class")
def jobs(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[dict[bool, Job]]:
    """Jobs of a version that could not undo them: one attached a tag, and one removed another.

    They come by whether they attached their tag.
    """
    with django_db_blocker.unblock(), rolled_back():
        ada = create({"email": "ada@example.com"})
        tags = {
            True: ada.tags.create(title="VIP", slug="vip"),
            False: Tag.objects.create(title="Old", slug="old"),
        }
        jobs = {
            is_attached: create_job("change_labels", "Add tags", {}, state=JobState.DONE)
            for is_attached in tags
        }
        with migrated_back("crm", "0015"), connection.cursor() as cursor:
            for is_attached, job in jobs.items():
                change = [job.pk, tags[is_attached].pk, is_attached, ada.pk]
                cursor.execute(INSERT_CHANGE, change)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        yield jobs


@pytest.mark.usefixtures("mailboxes")
class TestMailboxes:
    @pytest.mark.parametrize(("emails", "keys"), MAILBOXES)
    def test_the_newer_contact_keeps_its_email_in_lower_case_as_key(
        self, emails: list[str], keys: list[str]
    ) -> None:
        rows = Subscriber.objects.filter(email__in=emails).order_by("id")
        found = rows.values_list("email", "email_key")
        assert list(found) == list(zip(emails, keys, strict=True))


class TestChangesOfLabels:
    @pytest.mark.parametrize("is_attached", [True, False])
    def test_one_can_be_undone(self, jobs: dict[bool, Job], admin: User, is_attached: bool) -> None:
        job = jobs[is_attached]
        job.refresh_from_db()
        undo_change(job, admin)
        assert (run_next().counts, job.kind) == ({"changes": 1}, "change_contacts")
        slugs = Tag.objects.filter(subscribers__isnull=False).values_list("slug", flat=True)
        assert set(slugs) == (set() if is_attached else {"vip", "old"})
