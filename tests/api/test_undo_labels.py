"""The undo of a change of tags or lists that was made to several contacts."""

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from crm.attachments import attach
from crm.contacts import create, delete_contacts
from crm.jobs import KEEP_UNDO, prune_files
from crm.models import Job, LabelChange, Subscriber, Tag
from tests.api.jobs import run_next
from tests.api.pages import CONTACTS, browser_of, open_page, staff_user, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser(admin: User) -> Client:
    """A browser of the superuser."""
    return browser_of(admin)


@pytest.fixture
def vip() -> int:
    """A tag that the first of three contacts has."""
    tag = Tag.objects.create(title="VIP", slug="vip").pk
    ids = [create({"email": f"{number}@example.com"}).pk for number in range(3)]
    attach("tags", ids[:1], [tag])
    return tag


def contact_ids() -> list[int]:
    return list(Subscriber.objects.order_by("pk").values_list("pk", flat=True))


def tagged() -> list[int]:
    """The positions of the contacts that have a tag."""
    with_tag = set(Subscriber.tags.through.objects.values_list("subscriber_id", flat=True))
    return [position for position, each in enumerate(contact_ids()) if each in with_tag]


def act(browser: Client, action: str, tag: int) -> Job:
    """Run an action of the admin on all contacts, and return its record."""
    form = {"action": action, "_selected_action": contact_ids(), "chosen": "yes", "labels": tag}
    page = browser.post(CONTACTS, form, follow=True).content.decode()
    job = Job.objects.latest("pk")
    assert f'<a href="/admin/crm/job/{job.pk}/change/">Undo</a>' in page
    return job


def undo(browser: Client, job: Job) -> Job:
    """Press Undo on the page of a job, and run what it creates."""
    browser.post(f"/admin/crm/job/{job.pk}/undo/")
    return run_next()


def test_an_undone_addition_leaves_the_tag_where_it_was_before(browser: Client, vip: int) -> None:
    job = act(browser, "add_tags", vip)
    assert (job.title, job.counts) == ("Add tags “VIP” to 3 contacts", {"changes": 2})
    assert tagged() == [0, 1, 2]
    assert undo(browser, job).counts == {"changes": 2}
    assert tagged() == [0]


def test_an_undone_removal_gives_the_tag_back_to_who_had_it(browser: Client, vip: int) -> None:
    job = act(browser, "remove_tags", vip)
    assert tagged() == []
    undo(browser, job)
    assert tagged() == [0]


def test_an_undo_is_undone(browser: Client, vip: int) -> None:
    first = undo(browser, act(browser, "add_tags", vip))
    undo(browser, first)
    assert tagged() == [0, 1, 2]


def test_a_change_is_undone_once(browser: Client, vip: int) -> None:
    job = act(browser, "add_tags", vip)
    undo(browser, job)
    page = browser.post(f"/admin/crm/job/{job.pk}/undo/", follow=True).content.decode()
    assert "There is nothing to undo." in text_of(page)
    assert "This was undone" in text_of(page)
    assert Job.objects.count() == 2


def test_contacts_and_labels_that_are_gone_are_left_out(browser: Client, vip: int) -> None:
    job = act(browser, "remove_tags", vip)
    delete_contacts(contact_ids()[:1])
    assert undo(browser, job).counts == {"changes": 0}


def test_a_bulk_action_of_the_api_is_undone(api: APIClient, browser: Client, vip: int) -> None:
    body = {
        "action_name": "add_to_tags",
        "subscriber_ids": contact_ids(),
        "action_options": [vip],
    }
    assert api.post("/subscribers/do-bulk-action", body, format="json").status_code == 200
    undo(browser, Job.objects.get())
    assert tagged() == [0]


def test_a_synchronization_of_labels_is_undone(api: APIClient, browser: Client, vip: int) -> None:
    body = {"type": "tags", "attach": ["vip"], "subscribers": contact_ids()}
    assert api.post("/subscribers/sync-segments", body, format="json").status_code == 200
    undo(browser, Job.objects.get())
    assert tagged() == [0]


def test_who_may_not_change_contacts_undoes_nothing(browser: Client, vip: int) -> None:
    job = act(browser, "add_tags", vip)
    viewer = browser_of(staff_user("view_job", "view_subscriber"))
    assert viewer.post(f"/admin/crm/job/{job.pk}/undo/").status_code == 404
    assert tagged() == [0, 1, 2]


def test_a_change_can_be_undone_for_thirty_days(browser: Client, vip: int) -> None:
    job = act(browser, "add_tags", vip)
    prune_files()
    assert LabelChange.objects.exists()
    Job.objects.update(created_at=timezone.now() - KEEP_UNDO)
    prune_files()
    page = browser.post(f"/admin/crm/job/{job.pk}/undo/", follow=True).content.decode()
    assert "There is nothing to undo." in text_of(page)
    assert open_page(browser, "/admin/crm/job/")
