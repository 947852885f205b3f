"""The undo of a change that was made to several contacts."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from rest_framework.test import APIClient

from crm.attachments import attach
from crm.contacts import create, delete_contacts
from crm.jobs import KEEP_UNDO, prune_files
from crm.models import BulkChange, Job, List, Subscriber, Tag
from events.personal_data import erase_contact
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
    assert undo(browser, job).counts == {"changes": 0, "left_out": 1}


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
    assert BulkChange.objects.exists()
    Job.objects.update(created_at=timezone.now() - KEEP_UNDO)
    prune_files()
    page = browser.post(f"/admin/crm/job/{job.pk}/undo/", follow=True).content.decode()
    assert "There is nothing to undo." in text_of(page)
    assert open_page(browser, "/admin/crm/job/")


def send(api: APIClient, action: str, **options: object) -> Job:
    """Send a bulk action about all contacts, and return its record."""
    body = {"action_name": action, "subscriber_ids": contact_ids(), **options}
    response = api.post("/subscribers/do-bulk-action", body, format="json")
    assert response.status_code == 200, response.json()
    return Job.objects.latest("pk")


def set_status(api: APIClient, status: str, **options: object) -> Job:
    """Set the status of all contacts, and return the record."""
    return send(api, "change_contact_status", new_status=status, **options)


def values(column: str) -> list[object]:
    """The values of a column, by the contact."""
    return list(Subscriber.objects.order_by("pk").values_list(column, flat=True))


@pytest.fixture
def statuses(db: None) -> list[object]:
    """The statuses of three contacts."""
    before = ["subscribed", "pending", "unsubscribed"]
    for number, status in enumerate(before):
        create({"email": f"{number}@example.com", "status": status})
    return [*before]


def test_an_undone_status_is_that_of_before(
    api: APIClient, browser: Client, statuses: list[object]
) -> None:
    job = set_status(api, "unsubscribed")
    title = "Set the status of 3 contacts to “unsubscribed”"
    assert (job.title, job.counts, job.done) == (title, {"changes": 2}, 2)
    assert values("status") == ["unsubscribed"] * 3
    assert undo(browser, job).counts == {"changes": 2}
    assert values("status") == statuses


def test_an_undone_status_is_set_again(
    api: APIClient, browser: Client, statuses: list[object]
) -> None:
    undo(browser, undo(browser, set_status(api, "bounced")))
    assert values("status") == ["bounced"] * 3


@pytest.mark.parametrize("status", ["unsubscribed", "complained", "subscribed"])
@pytest.mark.parametrize(
    "write",
    [
        lambda api, status: api.put(f"/subscribers/{contact_ids()[0]}", {"status": status}),
        lambda api, status: api.post(
            "/subscribers", {"email": "0@example.com", "status": status, "__force_update": "yes"}
        ),
        lambda api, status: api.post(
            "/subscribers/bulk-add-update",
            {
                "contacts": [{"email": "0@example.com", "status": status}],
                "keep_opt_outs": False,
                "force_update": True,
            },
        ),
        lambda api, status: api.post(
            "/subscribers/do-bulk-action",
            {
                "action_name": "change_contact_status",
                "subscriber_ids": contact_ids()[:1],
                "new_status": status,
                "keep_opt_outs": False,
            },
        ),
    ],
    ids=["PUT", "POST", "batch", "action"],
)
def test_a_status_that_was_written_since_stays(
    api: APIClient,
    browser: Client,
    statuses: list[object],
    write: Callable[[APIClient, str], Any],
    status: str,
) -> None:
    job = set_status(api, "unsubscribed")
    assert write(api, status).status_code == 200
    assert undo(browser, job).counts == {"changes": 1, "left_out": 1}
    assert values("status") == [status, *statuses[1:]]


def test_an_opt_out_that_activecampaign_sends_since_stays(
    api: APIClient, token: APIClient, browser: Client, statuses: list[object]
) -> None:
    job = set_status(api, "bounced")
    news = List.objects.create(title="News", slug="news")
    body = {"contactList": {"list": news.pk, "contact": contact_ids()[0], "status": 2}}
    assert token.post("/api/3/contactLists", body).status_code in (200, 201)
    undo(browser, job)
    assert values("status") == ["bounced", *statuses[1:]]


def test_a_status_that_is_not_written_over_an_opt_out_does_not_prevent_the_undo(
    api: APIClient, browser: Client, statuses: list[object]
) -> None:
    job = set_status(api, "unsubscribed")
    sync = {"contacts": [{"email": "0@example.com", "status": "subscribed", "city": "Rome"}]}
    api.post("/subscribers/bulk-add-update", sync)
    undo(browser, job)
    assert values("status") == statuses
    assert values("city")[0] == "Rome"


def test_an_undo_subscribes_no_contact_that_got_the_email_of_an_erased_one(
    api: APIClient, browser: Client, statuses: list[object]
) -> None:
    erase_contact(create({"email": "ada@example.com"}).pk, by="test")
    job = set_status(api, "unsubscribed")
    api.put(f"/subscribers/{contact_ids()[0]}", {"email": "ada@example.com"})
    undo(browser, job)
    assert values("status") == ["unsubscribed", *statuses[1:]]


def test_a_second_change_of_the_status_is_undone_before_the_first(
    api: APIClient, browser: Client, statuses: list[object]
) -> None:
    first, second = set_status(api, "unsubscribed"), set_status(api, "bounced")
    assert undo(browser, first).counts == {"changes": 0, "left_out": 2}
    undo(browser, second)
    assert values("status") == ["unsubscribed"] * 3


def test_a_status_of_one_contact_is_no_bulk_change(api: APIClient, statuses: list[object]) -> None:
    body = {"property": "status", "value": "bounced", "subscribers": contact_ids()[:1]}
    assert api.put("/subscribers/subscribers-property", body, format="json").status_code == 200
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("column", "value", "before"),
    [("contact_type", "customer", ["lead"] * 3), ("avatar", "https://e.example/a", ["/b", None])],
)
def test_an_undone_property_is_that_of_before(
    api: APIClient,
    browser: Client,
    statuses: list[object],
    column: str,
    value: str,
    before: list[object],
) -> None:
    Subscriber.objects.filter(email="0@example.com").update(**{column: before[0]})
    body = {"property": column, "value": value, "subscribers": contact_ids()}
    assert api.put("/subscribers/subscribers-property", body, format="json").status_code == 200
    assert values(column) == [value] * 3
    undone = undo(browser, Job.objects.get())
    assert values(column)[:2] == before[:2]
    undo(browser, undone)
    assert values(column) == [value] * 3


def test_a_property_that_was_changed_since_stays(
    api: APIClient, browser: Client, statuses: list[object]
) -> None:
    job = send(api, "change_contact_type", new_status="customer")
    Subscriber.objects.filter(email="0@example.com").update(contact_type="other")
    assert undo(browser, job).counts == {"changes": 2, "left_out": 1}
    assert values("contact_type") == ["other", "lead", "lead"]


SIZES: list[dict[str, Any]] = [{"size": "L"}, {"size": 1.5, "plan": "Pro"}, {}]


@pytest.fixture
def sizes(statuses: list[object]) -> list[object]:
    """The custom values of three contacts."""
    for contact_id, size in zip(contact_ids(), SIZES, strict=True):
        Subscriber.objects.filter(pk=contact_id).update(custom_values=size)
    return [*SIZES]


@pytest.mark.parametrize("value", ["M", "L", ["M"], ""])
def test_an_undone_custom_value_is_that_of_before(
    api: APIClient, browser: Client, sizes: list[object], value: object
) -> None:
    job = send(api, "update_custom_fields", custom_field={"key": "size", "value": value})
    changed = values("custom_values")
    undone = undo(browser, job)
    assert values("custom_values") == sizes
    assert undone.counts == job.counts
    undo(browser, undone)
    assert values("custom_values") == changed


def test_a_custom_value_that_was_changed_since_stays(
    api: APIClient, browser: Client, sizes: list[object]
) -> None:
    job = send(api, "update_custom_fields", custom_field={"key": "size", "value": "M"})
    api.put(f"/subscribers/{contact_ids()[0]}", {"custom_values": {"size": "S"}}, format="json")
    assert undo(browser, job).counts == {"changes": 2, "left_out": 1}
    assert values("custom_values") == [{"size": "S"}, *sizes[1:]]


def test_custom_values_that_would_be_too_large_stay(
    api: APIClient, browser: Client, sizes: list[object]
) -> None:
    Subscriber.objects.update(custom_values={"size": "x" * 40_000})
    job = send(api, "update_custom_fields", custom_field={"key": "size", "value": "M"})
    Subscriber.objects.update(custom_values={"size": "M", "more": "x" * 40_000})
    undone = undo(browser, job)
    message = "The custom_values may not be greater than 64 KB together."
    assert (undone.state, undone.error) == ("failed", message)


@pytest.mark.parametrize("delete", [delete_contacts, lambda ids: erase_contact(ids[0], by="test")])
def test_the_values_of_a_deleted_contact_are_deleted_from_the_record(
    api: APIClient, sizes: list[object], delete: Callable[[list[int]], object]
) -> None:
    Subscriber.objects.filter(pk__in=contact_ids()[1:]).update(custom_values={"size": "XL"})
    send(api, "update_custom_fields", custom_field={"key": "size", "value": "M"})
    first, second, third = contact_ids()
    delete([first])
    delete([second])
    change = BulkChange.objects.get()
    assert (change.before, change.contact_ids) == ({"size": "XL"}, [third])
