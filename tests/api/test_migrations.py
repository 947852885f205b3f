"""Migrations of a store that an earlier version of Tallybook filled."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db.models import Min

from crm.models import Subscriber
from events.models import EventName, TrackedEvent
from events.tracking import track

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
