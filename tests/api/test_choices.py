"""Choices of forms are capped, and say so."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from rest_framework.test import APIClient

from crm.labels import LabelKind
from crm.models import Segment, Subscriber
from tests.api.pages import CONTACTS, form_of, open_page
from tests.api.test_label_limits import add_labels, count, put_on

KEYS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_at, updated_at)
SELECT %s, 'key ' || lpad(n::text, 5, '0'), 't', '', 'custom', 1, 1, true, now(), now()
FROM generate_series(1, 10001) n
"""
TOO_LARGE = {
    "per_page": {"max": "The rows of this page have more than 8 MB. Send a smaller per_page."}
}


def first_only(field: str) -> Any:
    """Return the warning that choices are capped."""
    message = f"The {field} are the first 10,000 only."
    return [{"field": field, "rule": "max", "message": message}]


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_all_tags_or_lists_are_capped_at_10_000_and_say_so(api: APIClient, kind: LabelKind) -> None:
    ids = add_labels(kind, 10_001)
    response = api.get(f"/{kind}?all_{kind}=true").json()
    assert [int(choice["id"]) for choice in response[f"all_{kind}"]] == ids[:10_000]
    assert response["warnings"] == first_only(f"all_{kind}")


def test_the_choices_of_event_keys_are_capped_at_10_000_and_say_so(
    api: APIClient, ada: Subscriber
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(KEYS, [ada.pk])
    response = api.get("/reports/ajax-options?option_key=event_tracking_keys").json()
    assert len(response["options"]) == 10_000
    assert response["options"][-1]["id"] == "key 10000"
    assert response["warnings"] == first_only("options")


@pytest.mark.usefixtures("ada")
def test_a_search_for_choices_does_not_read_custom_values(api: APIClient) -> None:
    with connection.cursor() as cursor:
        # A statement that reads them fails.
        cursor.execute("ALTER TABLE crm_subscriber RENAME COLUMN custom_values TO hidden")
    response = api.get("/subscribers/search-contacts?search=ada")
    assert [row["email"] for row in response.json()["contacts"].values()] == ["ada@example.com"]


def test_the_form_of_a_contact_offers_its_tags_and_the_first_1_000(
    admin_client: Client, ada: Subscriber
) -> None:
    ids = add_labels("tags", 1005)
    put_on("tags", ada, [ids[-1]])
    path = f"{CONTACTS}{ada.pk}/change/"
    page = open_page(admin_client, path)
    assert "The first 1,000 tags by title. The API attaches any." in page
    assert page.count('<input type="checkbox" name="tags"') == 1001
    assert form_of(page)["tags"] == [str(ids[-1])]


def test_an_action_offers_the_first_1_000_tags(admin_client: Client, ada: Subscriber) -> None:
    add_labels("tags", 1005)
    form = {"action": "add_tags", "_selected_action": [ada.pk]}
    page = admin_client.post(CONTACTS, form).content.decode()
    assert "The first 1,000 tags by title." in page
    assert page.count('<input type="checkbox" name="labels"') == 1000


def test_a_contact_with_500_tags_and_lists_can_be_saved(
    admin_client: Client, ada: Subscriber
) -> None:
    kinds: tuple[LabelKind, LabelKind] = ("tags", "lists")
    for kind in kinds:
        put_on(kind, ada, add_labels(kind, 500))
    path = f"{CONTACTS}{ada.pk}/change/"
    response = admin_client.post(path, form_of(open_page(admin_client, path), city="Ulm"))
    assert response.status_code == 302
    assert [count(kind, ada) for kind in kinds] == [500, 500]


def test_the_list_of_contacts_shows_20_tags_of_each(admin_client: Client, ada: Subscriber) -> None:
    put_on("tags", ada, add_labels("tags", 21))
    page = open_page(admin_client, CONTACTS)
    assert page.count('<span class="pill">tag ') == 20
    assert "and more" in page


def test_the_form_shows_the_start_of_custom_values(admin_client: Client, ada: Subscriber) -> None:
    Subscriber.objects.update(custom_values={"a": "x" * 5000})
    page = open_page(admin_client, f"{CONTACTS}{ada.pk}/change/")
    assert "… and 1,009 more characters" in page


@pytest.mark.parametrize(
    "path", [CONTACTS, f"{CONTACTS}{{ada}}/", "/admin/events/eventoccurrence/"]
)
def test_admin_pages_do_not_read_custom_values(
    admin_client: Client, ada: Subscriber, path: str
) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE crm_subscriber RENAME COLUMN custom_values TO hidden")
    open_page(admin_client, path.format(ada=ada.pk))


@pytest.mark.parametrize("per_page", ["1000", "16"])
def test_a_page_of_tags_over_8_mb_is_422(api: APIClient, per_page: str) -> None:
    add_labels("tags", 20)
    with connection.cursor() as cursor:
        # From before descriptions were limited.
        cursor.execute("UPDATE crm_tag SET description = repeat('x', 600000)")
    response = api.get(f"/tags?per_page={per_page}")
    assert (response.status_code, response.json()) == (422, TOO_LARGE)


def test_a_page_of_segments_over_8_mb_is_422(api: APIClient, db: None) -> None:
    words: Any = [[{"value": ["x" * 60_000]}]]
    Segment.objects.bulk_create(
        Segment(title=str(number), slug=str(number), filters=words) for number in range(150)
    )
    assert api.get("/segments?per_page=1000").json() == TOO_LARGE
    assert api.get("/segments?per_page=100").status_code == 200


@pytest.mark.parametrize("path", ["/tags", "/tags/{tag}"])
def test_a_description_of_4_096_characters_is_the_longest(api: APIClient, path: str) -> None:
    [tag] = add_labels("tags", 1)
    method = api.post if path == "/tags" else api.put
    url, new = path.format(tag=tag), {"title": "New", "slug": "new"}
    response = method(url, {**new, "description": "x" * 4097})
    message = "The description may not be greater than 4096 characters."
    assert (response.status_code, response.json()) == (422, {"description": {"max": message}})
    assert method(url, {**new, "description": "x" * 4096}).status_code == 200
