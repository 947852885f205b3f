"""A store of an earlier version, brought up to date."""

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.core.management import call_command
from django.db import connection

from crm.contacts import create
from events.models import EventName
from events.tracking import track


@pytest.mark.django_db(transaction=True)
def test_the_catalogue_gets_the_names_of_the_events_that_are_there() -> None:
    ada = create({"email": "ada@example.com"})
    for number, key in enumerate("bab"):
        track({"event_key": key, "title": str(number), "subscriber_id": ada.pk})
    try:
        call_command("migrate", "events", "0001", verbosity=0)
    finally:
        call_command("migrate", verbosity=0)
    assert [name.name for name in EventName.objects.all()] == ["a", "b"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT min(created_at) FROM events_trackedevent WHERE event_key = 'b'")
        first = cursor.fetchone()
    assert EventName.objects.get(name="b").first_seen_at == first[0]


@pytest.mark.django_db(transaction=True)
def test_groups_that_have_the_names_of_the_roles_keep_what_they_have_and_get_the_rest() -> None:
    call_command("migrate", "events", "0002", verbosity=0)
    try:
        Group.objects.filter(name__in=("viewer", "manager")).delete()
        viewer = Group.objects.create(name="viewer")
        viewer.permissions.set(Permission.objects.filter(codename="delete_tag"))
        viewer.user_set.add(User.objects.create_user("ada"))
        # As in a new store, where Django makes permissions after the last migration.
        Permission.objects.filter(content_type__app_label="events").delete()
    finally:
        call_command("migrate", verbosity=0)
    ada = User.objects.get()
    assert ada.has_perms(["crm.delete_tag", "crm.view_tag", "events.view_trackedevent"])
    assert not ada.has_perm("crm.change_tag")
    assert Group.objects.get(name="manager").permissions.filter(codename="change_tag").exists()
