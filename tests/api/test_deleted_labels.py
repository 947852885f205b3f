"""Tags and lists that segments use: kept, or deleted by force, which the segments report."""

from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from config.api.errors import InvalidFields
from crm.filters import contacts_matching, matches
from crm.label_deletion import LabelsInUse, delete_labels
from crm.models import List, Segment, Subscriber, Tag
from crm.segments import create_segment
from tests.api.pages import CONTACTS, open_page, text_of

pytestmark = pytest.mark.django_db
MODELS: dict[str, type[Tag | List]] = {"tags": Tag, "lists": List}
KINDS = pytest.mark.parametrize("kind", ["tags", "lists"])
ERROR = 'Group 1, condition 1: The value names labels that do not exist: tag "Do not contact" ({}).'


def excluding(kind: str, label_id: int) -> Any:
    """Return the filter of the contacts without a label."""
    return [[{"source": ["segment", kind], "operator": "not_in", "value": [label_id]}]]


def segment_of(kind: str, label: Tag | List, title: str = "May be contacted") -> Segment:
    """Save the segment of the contacts without a label."""
    fields = {"title": title, "slug": title, "filters": excluding(kind, label.pk)}
    return create_segment(fields)


@pytest.fixture
def tag(ada: Subscriber) -> Tag:
    """The tag "Do not contact", which Ada has."""
    tag = Tag.objects.create(title="Do not contact", slug="dnc")
    ada.tags.add(tag)
    return tag


@pytest.fixture
def broken(tag: Tag) -> Segment:
    """A segment whose tag was deleted."""
    segment = segment_of("tags", tag)
    delete_labels("tags", [tag.pk], force=True)
    return segment


@KINDS
def test_a_label_that_segments_use_is_not_deleted(api: APIClient, kind: str) -> None:
    label = MODELS[kind]._default_manager.create(title="Do not contact", slug="dnc")
    segment_of(kind, label, "B")
    segment_of(kind, label, "A")
    response = api.delete(f"/{kind}/{label.pk}")
    assert response.status_code == 422
    assert response.json() == {
        "message": f'Segments use the {kind[:-1]} "Do not contact": "A", "B". Change them first, '
        "or send force=1. Then reading their contacts is 422 until they are changed.",
        "error_code": "label_in_use",
    }
    assert MODELS[kind]._default_manager.filter(pk=label.pk).exists()


@KINDS
def test_a_label_that_segments_use_is_deleted_by_force(api: APIClient, kind: str) -> None:
    label = MODELS[kind]._default_manager.create(title="Do not contact", slug="dnc")
    segment_of(kind, label)
    body = api.delete(f"/{kind}/{label.pk}?force=Yes").json()
    assert body["message"] == f"Successfully removed the {kind[:-1]}."
    [warning] = body["warnings"]
    assert (warning["field"], warning["rule"]) == ("force", "segments")
    assert 'The segment "May be contacted" used' in warning["message"]
    assert not MODELS[kind]._default_manager.exists()


@pytest.mark.parametrize("force", ["0", "", "false"])
def test_a_label_that_segments_use_stays_without_force(
    api: APIClient, tag: Tag, force: str
) -> None:
    segment_of("tags", tag)
    assert api.delete(f"/tags/{tag.pk}?force={force}").status_code == 422


def test_a_label_of_the_other_kind_with_the_same_id_is_deleted(api: APIClient, tag: Tag) -> None:
    segment_of("tags", tag)
    List.objects.create(id=tag.pk, title="News", slug="news")
    assert api.delete(f"/lists/{tag.pk}").json() == {"message": "Successfully removed the list."}


def test_a_label_whose_segment_was_deleted_is_deleted(api: APIClient, tag: Tag) -> None:
    segment = segment_of("tags", tag)
    api.delete(f"/segments/{segment.pk}")
    assert api.delete(f"/tags/{tag.pk}").status_code == 200


def test_labels_are_deleted_together_or_not_at_all(tag: Tag) -> None:
    other = Tag.objects.create(title="Other", slug="other")
    segment_of("tags", tag)
    with pytest.raises(LabelsInUse):
        delete_labels("tags", [other.pk, tag.pk])
    assert Tag.objects.count() == 2


@pytest.mark.parametrize("path", ["/segments/{}/subscribers", "/subscribers?segment={1}"])
def test_the_contacts_of_a_segment_without_its_label_are_an_error_with_both_names(
    api: APIClient, tag: Tag, broken: Segment, path: str
) -> None:
    response = api.get(path.format(broken.pk, broken.slug))
    assert response.status_code == 422
    assert response.json() == {
        "segment": {"invalid": 'The filter of the segment "May be contacted" is invalid.'},
        "segment.0.0.value": {
            "exists": "The segment.0.0.value names labels that do not exist: "
            f'tag "Do not contact" ({tag.pk}).'
        },
    }


def test_an_error_names_each_deleted_label_of_a_segment(api: APIClient, tag: Tag) -> None:
    other = Tag.objects.create(title="Other", slug="other")
    filters = excluding("tags", tag.pk)
    filters[0][0]["value"].append(other.pk)
    segment = create_segment({"title": "Both", "slug": "both", "filters": filters})
    delete_labels("tags", [tag.pk], force=True)
    delete_labels("tags", [other.pk], force=True)
    [*_, error] = api.get(f"/segments/{segment.pk}/subscribers").json().values()
    assert 'tag "Do not contact"' in error["exists"]
    assert 'tag "Other"' in error["exists"]


def test_a_segment_without_its_label_does_not_hide_the_others(
    api: APIClient, ada: Subscriber, tag: Tag, broken: Segment
) -> None:
    everyone = create_segment({"title": "Everyone", "slug": "everyone", "filters": []})
    body = api.get(f"/subscribers/{ada.pk}/segments").json()
    assert [segment["id"] for segment in body["segments"]] == [everyone.pk]
    message = f'The segment "May be contacted" is left out. {ERROR.format(tag.pk)}'
    assert body["warnings"] == [{"field": "segments", "rule": "invalid", "message": message}]


def test_a_segment_without_its_label_can_be_changed(api: APIClient, broken: Segment) -> None:
    assert api.put(f"/segments/{broken.pk}", {"filters": []}).status_code == 200
    page = api.get(f"/segments/{broken.pk}/subscribers").json()["subscribers"]
    assert page["total"] == 1


def test_a_segment_cannot_keep_its_deleted_label(api: APIClient, broken: Segment) -> None:
    response = api.put(f"/segments/{broken.pk}", {"filters": broken.filters})
    assert (response.status_code, list(response.json())) == (422, ["filters.0.0.value"])


@pytest.mark.parametrize("operator", ["in", "not_in", "in_all", "not_in_all"])
def test_a_filter_by_a_label_that_does_not_exist_raises(ada: Subscriber, operator: str) -> None:
    filters = excluding("tags", 7)
    filters[0][0]["operator"] = operator
    with pytest.raises(InvalidFields):
        contacts_matching(filters)
    with pytest.raises(InvalidFields):
        matches(ada, filters)


@pytest.mark.parametrize("is_selected", [False, True], ids=["one", "selected"])
def test_the_admin_names_the_segments_before_it_deletes_a_label(
    admin_client: Client, tag: Tag, is_selected: bool
) -> None:
    segment_of("tags", tag)
    path = "/admin/crm/tag/" if is_selected else f"/admin/crm/tag/{tag.pk}/delete/"
    form = {"action": "delete_selected", "_selected_action": tag.pk}
    response = admin_client.post(path, form) if is_selected else admin_client.get(path)
    page = text_of(response.content.decode())
    assert "Segments that show an error until they are changed: “May be contacted”" in page
    assert Tag.objects.exists()


@pytest.mark.parametrize("is_selected", [False, True], ids=["one", "selected"])
def test_the_admin_says_which_segments_lost_a_label(
    admin_client: Client, tag: Tag, is_selected: bool
) -> None:
    segment_of("tags", tag)
    path = "/admin/crm/tag/" if is_selected else f"/admin/crm/tag/{tag.pk}/delete/"
    form = {"action": "delete_selected", "_selected_action": tag.pk, "post": "yes"}
    page = admin_client.post(path, form, follow=True).content.decode()
    assert "The segment “May be contacted” used what was deleted." in page
    assert not Tag.objects.exists()


def test_the_admin_names_no_segment_for_a_label_that_none_uses(
    admin_client: Client, tag: Tag
) -> None:
    assert "Segments that" not in open_page(admin_client, f"/admin/crm/tag/{tag.pk}/delete/")


@pytest.mark.parametrize("path", ["", "{}/change/"], ids=["list", "form"])
def test_the_admin_marks_a_segment_without_its_label(
    admin_client: Client, tag: Tag, broken: Segment, path: str
) -> None:
    page = open_page(admin_client, "/admin/crm/segment/" + path.format(broken.pk))
    assert f"Not valid: {ERROR.format(tag.pk)}" in page.replace("&quot;", '"')


def test_the_form_of_a_valid_segment_has_no_such_mark(admin_client: Client, tag: Tag) -> None:
    segment = segment_of("tags", tag)
    assert "asks for" not in text_of(
        open_page(admin_client, f"/admin/crm/segment/{segment.pk}/change/")
    )


def test_the_admin_shows_the_error_instead_of_contacts(
    admin_client: Client, tag: Tag, broken: Segment
) -> None:
    page = open_page(admin_client, f"{CONTACTS}?segment={broken.slug.replace(' ', '+')}")
    assert ERROR.format(tag.pk) in page.replace("&quot;", '"')
    assert "ada@example.com" not in page


def test_a_form_is_validated_again_after_a_deletion_at_the_same_time(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [InvalidFields({"filters.0.0.value": {"exists": "The tag was deleted."}})]

    def create(fields: Any) -> Segment:
        if outcomes:
            raise outcomes.pop()
        return create_segment(fields)

    monkeypatch.setattr("crm.segments.create_segment", create)
    form = {"title": "Everyone", "slug": "everyone", "filters": "[]"}
    assert admin_client.post("/admin/crm/segment/add/", form).status_code == 302
    assert Segment.objects.get().title == "Everyone"


@KINDS
def test_several_labels_are_deleted_at_once_and_unknown_ids_are_ignored(
    api: APIClient, kind: str
) -> None:
    rows = [MODELS[kind]._default_manager.create(title=slug, slug=slug) for slug in "abc"]
    fields = {"action_name": f"delete_{kind}", f"{kind[:-1]}Ids": [rows[0].pk, rows[1].pk, 2**62]}
    response = api.post(f"/{kind}/do-bulk-action", fields)
    noun = kind.capitalize()
    assert response.json() == {"message": f"Selected {noun} has been removed permanently"}
    assert MODELS[kind]._default_manager.get() == rows[2]


@KINDS
def test_of_several_labels_none_is_deleted_if_a_segment_uses_one(api: APIClient, kind: str) -> None:
    rows = [MODELS[kind]._default_manager.create(title=slug, slug=slug) for slug in "ab"]
    segment_of(kind, rows[1], "Bs")
    ids = {f"{kind[:-1]}Ids": [row.pk for row in rows]}
    response = api.post(f"/{kind}/do-bulk-action", ids)
    assert (response.status_code, response.json()["error_code"]) == (422, "label_in_use")
    assert response.json()["message"].startswith(f'Segments use the {kind} "a", "b": "Bs".')
    assert MODELS[kind]._default_manager.count() == 2
    [warning] = api.post(f"/{kind}/do-bulk-action", ids | {"force": 1}).json()["warnings"]
    assert 'The segment "Bs" used' in warning["message"]
    assert not MODELS[kind]._default_manager.exists()


@KINDS
@pytest.mark.parametrize(
    "fields",
    [{}, {"Ids": []}, {"Ids": "x"}, {"Ids": [1.5]}, {"Ids": 1, "action_name": "change_title"}],
)
def test_an_unclear_deletion_of_labels_is_rejected(
    api: APIClient, kind: str, fields: dict[str, Any]
) -> None:
    label = MODELS[kind]._default_manager.create(title="a", slug="a")
    named = {name.replace("Ids", f"{kind[:-1]}Ids"): value for name, value in fields.items()}
    named = {name: label.pk if value == 1 else value for name, value in named.items()}
    assert api.post(f"/{kind}/do-bulk-action", named).status_code == 422
    assert MODELS[kind]._default_manager.get() == label
