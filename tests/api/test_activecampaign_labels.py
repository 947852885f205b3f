"""ActiveCampaign's tags, lists, custom fields and their values, version 3."""

from typing import Any
from urllib.parse import urlencode

import pytest
from rest_framework.test import APIClient

from crm.models import CustomField, FieldType, List, Subscriber, Tag
from crm.segments import create_segment

TAGS, LISTS, FIELDS, VALUES = (
    f"/api/3/{name}" for name in ("tags", "lists", "fields", "fieldValues")
)


@pytest.fixture
def vip(db: None) -> Tag:
    return Tag.objects.create(title="VIP", slug="vip")


@pytest.fixture
def color(db: None) -> CustomField:
    """A field of choices: `||red||blue||` in ActiveCampaign."""
    return CustomField.objects.create(
        label="Color", slug="color", type=FieldType.CHECKBOX, options=["red", "blue"]
    )


def not_found(noun: str, object_id: int | str) -> tuple[int, dict[str, str]]:
    """Return the response for an id that no object has."""
    return 404, {"message": f"No Result found for {noun} with id {object_id}"}


def sent(response: Any) -> tuple[int, Any]:
    """Return the status and the body of a response."""
    return response.status_code, response.json()


def test_a_tag_is_created_read_changed_and_deleted(token: APIClient) -> None:
    body = {"tag": {"tag": "VIP", "tagType": "contact", "description": "Best"}}
    status, created = sent(token.post(TAGS, body))
    tag = created["tag"]
    assert (status, tag["tag"], tag["description"], tag["tagType"]) == (
        *(201, "VIP", "Best", "contact"),
    )
    path = f"{TAGS}/{tag['id']}"
    assert token.get(path).json() == created
    changed = token.put(path, {"tag": {"tag": "Guest"}})
    assert (changed.status_code, changed.json()["tag"]["tag"]) == (200, "Guest")
    assert Tag.objects.get().slug == "vip"
    assert sent(token.delete(path)) == (200, {})
    assert sent(token.get(path)) == not_found("Tag", tag["id"])


def test_a_tag_that_exists_in_another_case_is_201_with_its_id(token: APIClient, vip: Tag) -> None:
    status, body = sent(token.post(TAGS, {"tag": {"tag": "vip", "tagType": "contact"}}))
    assert (status, body["tag"]["id"], body["tag"]["tag"]) == (201, str(vip.pk), "VIP")
    assert Tag.objects.count() == 1


def test_a_tag_may_not_get_the_title_of_another(token: APIClient, vip: Tag) -> None:
    guest = Tag.objects.create(title="Guest", slug="guest")
    response = token.put(f"{TAGS}/{guest.pk}", {"tag": {"tag": "vip"}})
    [error] = response.json()["errors"]
    assert (response.status_code, error["code"]) == (422, "duplicate")


@pytest.mark.parametrize("body", [{}, {"tag": "VIP"}, {"tag": {}}, {"tag": {"tag": " "}}])
def test_a_tag_without_a_title_is_422(token: APIClient, body: Any) -> None:
    response = token.post(TAGS, body)
    [error] = response.json()["errors"]
    assert (response.status_code, error["source"]) == (422, {"pointer": "/data/attributes/tag"})


def test_a_list_is_created_read_and_deleted(token: APIClient) -> None:
    fields = {"name": "Big news", "stringid": "x", "sender_url": "https://example.com"}
    status, created = sent(token.post(LISTS, {"list": fields}))
    shown = created["list"]
    assert (status, shown["name"], shown["stringid"]) == (201, "Big news", "big-news")
    path = f"{LISTS}/{shown['id']}"
    assert token.get(path).json() == created
    assert sent(token.delete(path)) == (200, {})
    assert sent(token.delete(path)) == not_found("List", shown["id"])


def test_a_label_that_a_segment_uses_is_not_deleted(token: APIClient, vip: Tag) -> None:
    condition = {"source": ["segment", "tags"], "operator": "in", "value": [vip.pk]}
    create_segment({"title": "Best", "slug": "best", "filters": [[condition]]})
    response = token.delete(f"{TAGS}/{vip.pk}")
    [error] = response.json()["errors"]
    assert (response.status_code, error["code"]) == (422, "in_use")
    assert Tag.objects.exists()


@pytest.mark.parametrize(
    ("params", "titles"),
    [
        ({}, ["VIP", "Guest", "Vip guest"]),
        ({"limit": 1}, ["VIP"]),
        ({"limit": 100, "offset": 1}, ["Guest", "Vip guest"]),
        ({"search": "guest"}, ["Guest", "Vip guest"]),
        ({"filters[tag]": "vip"}, ["VIP"]),
    ],
)
def test_tags_are_found(
    token: APIClient, vip: Tag, params: dict[str, Any], titles: list[str]
) -> None:
    for title in ("Guest", "Vip guest"):
        Tag.objects.create(title=title, slug=title.lower().replace(" ", "-"))
    body = token.get(f"{TAGS}?{urlencode(params)}").json()
    assert [tag["tag"] for tag in body["tags"]] == titles
    assert "limit" in params or body["meta"] == {"total": str(len(titles))}


def test_lists_are_found_by_name(token: APIClient) -> None:
    for title in ("News", "Offers"):
        List.objects.create(title=title, slug=title.lower())
    body = token.get(f"{LISTS}?filters[name]=news").json()
    assert [each["name"] for each in body["lists"]] == ["News"]
    assert token.get(f"{LISTS}?filters[owner]=1").status_code == 422


def test_a_tag_is_attached_once_and_detached(token: APIClient, ada: Subscriber, vip: Tag) -> None:
    body = {"contactTag": {"contact": ada.pk, "tag": str(vip.pk)}}
    status, attached = sent(token.post("/api/3/contactTags", body))
    assert (status, attached["contactTag"]["tag"]) == (201, str(vip.pk))
    assert sent(token.post("/api/3/contactTags", body)) == (200, attached)
    assert token.get(f"/api/3/contacts/{ada.pk}/contactTags").json() == {
        "contactTags": [attached["contactTag"]]
    }
    path = f"/api/3/contactTags/{attached['contactTag']['id']}"
    assert sent(token.delete(path)) == (200, {})
    assert not ada.tags.exists()
    assert token.delete(path).status_code == 404


@pytest.mark.parametrize(("ids", "noun"), [({"contact": 99}, "Subscriber"), ({"tag": 99}, "Tag")])
def test_a_tag_of_what_does_not_exist_is_404(
    token: APIClient, ada: Subscriber, vip: Tag, ids: dict[str, int], noun: str
) -> None:
    body = {"contactTag": {"contact": ada.pk, "tag": vip.pk, **ids}}
    assert sent(token.post("/api/3/contactTags", body)) == not_found(noun, 99)


@pytest.mark.parametrize("value", [None, "", 0, "VIP", -1, 1.5, True, [1], 2**63])
def test_an_id_that_is_none_is_422(token: APIClient, ada: Subscriber, value: Any) -> None:
    body = {"contactTag": {"contact": ada.pk, "tag": value}}
    assert token.post("/api/3/contactTags", body).status_code == 422


def test_a_custom_field_is_created_read_changed_and_deleted(token: APIClient) -> None:
    body = {"field": {"type": "dropdown", "title": "Favourite colour", "perstag": "COLOR"}}
    status, created = sent(token.post(FIELDS, body))
    field = created["field"]
    assert status == 201
    assert (field["title"], field["type"], field["perstag"]) == (
        *("Favourite colour", "dropdown", "COLOR"),
    )
    stored = CustomField.objects.get()
    assert (stored.slug, stored.type) == ("color", FieldType.SELECT_ONE)
    path = f"{FIELDS}/{field['id']}"
    assert token.get(path).json() == created
    changed = token.put(path, {"field": {"title": "Colour"}}).json()["field"]
    assert (changed["title"], changed["type"], changed["perstag"]) == (
        "Colour",
        "dropdown",
        "COLOR",
    )
    assert sent(token.delete(path)) == (200, {})
    assert sent(token.get(path)) == not_found("Field", field["id"])


def test_a_custom_field_without_a_perstag_gets_a_slug(token: APIClient) -> None:
    token.post(FIELDS, {"field": {"type": "text", "title": "My plan"}})
    assert CustomField.objects.get().slug == "my_plan"


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ({"title": "A"}, "required"),
        ({"title": "A", "type": "magic"}, "in"),
        ({"type": "text"}, "required"),
        ({"title": "A", "type": "text", "perstag": "color"}, "duplicate"),
    ],
)
def test_an_invalid_custom_field_is_422(
    token: APIClient, color: CustomField, field: dict[str, str], code: str
) -> None:
    response = token.post(FIELDS, {"field": field})
    [error] = response.json()["errors"]
    assert (response.status_code, error["code"]) == (422, code)
    assert CustomField.objects.count() == 1


def test_custom_fields_are_listed_with_their_options(token: APIClient, color: CustomField) -> None:
    CustomField.objects.create(label="Plan", slug="plan", position=1)
    body = token.get(f"{FIELDS}?limit=100").json()
    assert [field["title"] for field in body["fields"]] == ["Color", "Plan"]
    assert (body["fieldRels"], body["meta"]) == ([], {"total": "2"})
    options = body["fieldOptions"]
    assert [option["value"] for option in options] == ["red", "blue"]
    assert body["fields"][0]["options"] == [option["id"] for option in options]
    for query in ("search=lan", "filters[perstag]=PLAN", "filters[title]=plan"):
        found = token.get(f"{FIELDS}?{query}").json()["fields"]
        assert [field["title"] for field in found] == ["Plan"]


def test_a_value_is_set_read_changed_and_removed(
    token: APIClient, ada: Subscriber, color: CustomField
) -> None:
    body = {"fieldValue": {"contact": ada.pk, "field": color.pk, "value": "||red||blue||"}}
    status, created = sent(token.post(VALUES, body))
    value = created["fieldValue"]
    assert (status, value["value"]) == (201, "||red||blue||")
    assert [contact["id"] for contact in created["contacts"]] == [str(ada.pk)]
    assert Subscriber.objects.get().custom_values == {"color": ["red", "blue"]}
    path = f"{VALUES}/{value['id']}"
    assert token.get(path).json() == {"fieldValue": value}
    listed = token.get(f"/api/3/contacts/{ada.pk}/fieldValues").json()
    assert listed == {"fieldValues": [value]}
    changed = token.put(path, {"fieldValue": {"value": "blue"}})
    assert (changed.status_code, changed.json()["fieldValue"]["value"]) == (200, "||blue||")
    assert sent(token.delete(path)) == (200, {})
    assert Subscriber.objects.get().custom_values == {}
    assert sent(token.get(path)) == not_found("FieldValue", value["id"])


@pytest.mark.parametrize("value_id", ["0", "1", "999999999", "9" * 28, "1000000000"])
def test_a_value_that_no_contact_has_is_404(
    token: APIClient, color: CustomField, value_id: str
) -> None:
    for method in ("get", "put", "delete"):
        response = getattr(token, method)(f"{VALUES}/{value_id}")
        assert response.status_code == 404, method


def test_a_value_of_an_unknown_field_or_contact_is_rejected(
    token: APIClient, ada: Subscriber, color: CustomField
) -> None:
    body = {"contact": ada.pk, "field": 99, "value": "x"}
    assert token.post(VALUES, {"fieldValue": body}).status_code == 422
    body = {"contact": 99, "field": color.pk, "value": "x"}
    assert sent(token.post(VALUES, {"fieldValue": body})) == not_found("Subscriber", 99)


def test_a_value_that_its_field_cannot_have_is_422(token: APIClient, ada: Subscriber) -> None:
    day = CustomField.objects.create(label="Day", slug="day", type=FieldType.DATE)
    body = {"fieldValue": {"contact": ada.pk, "field": day.pk, "value": "soon"}}
    response = token.post(VALUES, body)
    [error] = response.json()["errors"]
    assert (response.status_code, error["code"]) == (422, "date")
    assert error["source"] == {"pointer": "/data/attributes/fieldValues"}


def test_keys_that_no_field_declares_are_kept(
    token: APIClient, ada: Subscriber, color: CustomField
) -> None:
    Subscriber.objects.update(custom_values={"other": {"a": 1}})
    body = {"fieldValue": {"contact": ada.pk, "field": color.pk, "value": "red"}}
    token.post(VALUES, body)
    assert Subscriber.objects.get().custom_values == {"other": {"a": 1}, "color": ["red"]}


@pytest.mark.parametrize("url", [f"{TAGS}?tag=VIP", f"{LISTS}?name=News", f"{FIELDS}?perstag=PLAN"])
def test_a_parameter_that_a_list_does_not_read_is_422(token: APIClient, url: str) -> None:
    status, body = sent(token.get(url))
    assert (status, body["errors"][0]["code"]) == (422, "in")
