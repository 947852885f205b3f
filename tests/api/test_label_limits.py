"""A contact has at most 500 tags and 500 lists, and a request attaches at most 100,000 times."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from crm.contacts import create
from crm.labels import LabelKind, memberships
from crm.models import List, Subscriber, Tag
from tests.api.pages import CONTACTS, form_of, hidden_fields_of, open_page

ADA = "ada@example.com"
BULK, SYNC = "/subscribers/bulk-add-update", "/subscribers/sync-segments"
ACTION = "/subscribers/do-bulk-action"
LABELS = """
INSERT INTO crm_{name} (title, slug, created_at, updated_at{column})
SELECT '{name} ' || lpad(n::text, 5, '0'), '{name}-' || n, now(), now(){value}
FROM generate_series(1, {number}) n RETURNING id
"""


def add_labels(kind: LabelKind, number: int) -> list[int]:
    """Create labels "tag 00001", "tag 00002", … and return their ids."""
    public = {"column": ", is_public", "value": ", false"} if kind == "lists" else {}
    parts = {"name": kind[:-1], "column": "", "value": "", "number": number} | public
    with connection.cursor() as cursor:
        cursor.execute(LABELS.format(**parts))
        return [row[0] for row in cursor.fetchall()]


def put_on(kind: LabelKind, contact: Subscriber, ids: list[int]) -> None:
    """Attach labels as before they were limited."""
    getattr(contact, kind).through.objects.bulk_create(
        [
            getattr(contact, kind).through(subscriber_id=contact.pk, **{f"{kind[:-1]}_id": each})
            for each in ids
        ]
    )


def count(kind: LabelKind, contact: Subscriber) -> int:
    """Return the number of the contact's tags or lists."""
    rows, _ = memberships(kind)
    return rows.filter(subscriber_id=contact.pk).count()


def too_many(kind: LabelKind, contact: Subscriber, number: int = 501) -> dict[str, Any]:
    """Return the error about too many labels."""
    message = (
        f"A contact may have 500 {kind} at most. The contact {contact.pk} would have {number}."
    )
    return {kind: {"max": message}}


@pytest.fixture
def tags(ada: Subscriber) -> list[int]:
    """501 tags, of which Ada has the first 500."""
    ids = add_labels("tags", 501)
    put_on("tags", ada, ids[:500])
    return ids


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_a_contact_may_have_500_of_a_kind_and_no_more(
    api: APIClient, ada: Subscriber, kind: LabelKind
) -> None:
    ids = add_labels(kind, 501)
    put_on(kind, ada, ids[:499])
    path = f"/subscribers/{ada.pk}"
    assert api.put(path, {f"attach_{kind}": [ids[499]]}).status_code == 200
    response = api.put(path, {f"attach_{kind}": [ids[500]], "city": "Ulm"})
    assert (response.status_code, response.json()) == (422, too_many(kind, ada))
    assert count(kind, ada) == 500
    ada.refresh_from_db()
    assert ada.city is None


def test_a_tag_of_500_can_be_exchanged_in_one_request(
    api: APIClient, ada: Subscriber, tags: list[int]
) -> None:
    change = {"attach_tags": [tags[500]], "detach_tags": [tags[0]]}
    assert api.put(f"/subscribers/{ada.pk}", change).status_code == 200
    assert count("tags", ada) == 500


def test_more_tags_of_before_stay_and_may_be_sent_again(
    api: APIClient, ada: Subscriber, tags: list[int]
) -> None:
    put_on("tags", ada, tags[500:])
    response = api.put(f"/subscribers/{ada.pk}", {"attach_tags": tags})
    assert response.status_code == 200
    assert len(response.json()["contact"]["tags"]) == 501


def test_a_new_contact_with_too_many_tags_is_422_and_makes_no_tag(api: APIClient) -> None:
    names = [*add_labels("tags", 500), "a new tag"]
    response = api.post("/subscribers", {"email": ADA, "status": "subscribed", "tags": names})
    assert (response.status_code, list(response.json())) == (422, ["tags"])
    assert not Subscriber.objects.exists()
    assert not Tag.objects.filter(title="a new tag").exists()


def test_in_a_batch_too_many_tags_cost_that_contact_alone(
    api: APIClient, ada: Subscriber, tags: list[int]
) -> None:
    contacts = [{"email": email, "tags": [tags[500]]} for email in (ADA, "bob@example.com")]
    response = api.post(BULK, {"contacts": contacts}).json()
    assert [row["email"] for row in response["created"]] == ["bob@example.com"]
    assert [row["errors"] for row in response["errors"]] == [too_many("tags", ada)]


@pytest.mark.parametrize(
    ("path", "names", "change"),
    [
        (SYNC, "subscribers", {"type": "tags", "find_by": "id", "attach": "{tag}"}),
        (ACTION, "subscriber_ids", {"action_name": "add_to_tags", "action_options": "{tag}"}),
    ],
)
def test_a_change_of_several_contacts_is_done_for_all_or_none(
    api: APIClient, ada: Subscriber, tags: list[int], path: str, names: str, change: Any
) -> None:
    bob = create({"email": "bob@example.com"})
    body = {key: [tags[500]] if value == "{tag}" else value for key, value in change.items()}
    response = api.post(path, {**body, names: [bob.pk, ada.pk]})
    assert (response.status_code, response.json()) == (422, too_many("tags", ada))
    assert count("tags", bob) == 0


def test_sync_segments_exchanges_a_tag_of_500(
    api: APIClient, ada: Subscriber, tags: list[int]
) -> None:
    body = {"type": "tags", "find_by": "id", "attach": [tags[500]], "detach": [tags[0]]}
    assert api.post(SYNC, {**body, "subscribers": [ada.pk]}).status_code == 200
    assert count("tags", ada) == 500


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (SYNC, {"type": "tags", "find_by": "id", "attach": range(1, 102)}, "subscribers"),
        (ACTION, {"action_name": "add_to_tags", "action_options": range(1, 102)}, "subscriber_ids"),
    ],
)
def test_more_than_100_000_attachments_in_a_request_are_422(
    api: APIClient, path: str, body: Any, field: str
) -> None:
    add_labels("tags", 101)
    ids = list(Tag.objects.order_by("id").values_list("id", flat=True))
    body = {name: ids if isinstance(value, range) else value for name, value in body.items()}
    response = api.post(path, {**body, field: list(range(1, 1001))})
    message = (
        "The request attaches tags and lists 101,000 times, and 100,000 times is the most. "
        f"Send fewer {field}."
    )
    assert (response.status_code, response.json()) == (422, {field: {"max": message}})


def test_more_than_100_000_names_in_a_batch_are_422_before_any_contact(api: APIClient) -> None:
    names = [str(number) for number in range(101)]
    contacts = [{"email": f"c{number}@example.com", "tags": names} for number in range(1000)]
    response = api.post(BULK, {"contacts": contacts})
    assert (response.status_code, list(response.json())) == (422, ["contacts"])
    assert not Subscriber.objects.exists()


def test_a_response_of_sync_segments_over_8_mb_is_422_and_nothing_changes(api: APIClient) -> None:
    ids = add_labels("lists", 100)
    List.objects.update(description="x" * 4096)
    contacts = [create({"email": f"c{number}@example.com"}) for number in range(20)]
    for contact in contacts:
        put_on("lists", contact, ids[:99])
    body = {"type": "lists", "find_by": "id", "attach": ids[99:], "subscribers": []}
    response = api.post(SYNC, {**body, "subscribers": [contact.pk for contact in contacts]})
    message = (
        "The response would have more than 8 MB, so nothing was changed. Send fewer subscribers."
    )
    assert (response.status_code, response.json()) == (422, {"subscribers": {"max": message}})
    assert count("lists", contacts[0]) == 99


def test_an_admin_action_reports_too_many_tags(
    admin_client: Client, ada: Subscriber, tags: list[int]
) -> None:
    form = {"action": "add_tags", "_selected_action": [ada.pk]}
    page = admin_client.post(CONTACTS, form).content.decode()
    fields = {**hidden_fields_of(page), "labels": [tags[500]]}
    shown = admin_client.post(CONTACTS, fields, follow=True).content.decode()
    assert f"The contact {ada.pk} would have 501. Stopped after 0 changes." in shown


def test_the_form_of_a_contact_reports_too_many_tags(
    admin_client: Client, ada: Subscriber, tags: list[int]
) -> None:
    path = f"{CONTACTS}{ada.pk}/change/"
    form = form_of(open_page(admin_client, path))
    shown = admin_client.post(path, {**form, "tags": tags}).content.decode()
    assert "A contact may have 500 tags at most, not 501." in shown
    assert count("tags", ada) == 500
