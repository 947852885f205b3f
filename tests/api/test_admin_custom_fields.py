"""The admin's pages of custom fields, and the fields on a contact's page and form."""

from typing import Any

import pytest
from django.test import Client

from crm.contacts import create, set_custom_values
from crm.custom_fields import replace_fields
from crm.models import CustomField, Subscriber
from crm.segments import create_segment
from tests.api.pages import (
    CONTACTS,
    ESCAPED,
    HOSTILE,
    browser_of,
    form_of,
    open_page,
    staff_user,
    text_of,
)

FIELDS = "/admin/crm/customfield/"
OPTIONS = ["Red", "Blue"]
KINDS = ("text", "textarea", "number", "select-one", "select-multi", "radio", "checkbox", "date")
VALUES: dict[str, Any] = {
    **{"text": " a ", "textarea": "two\nlines", "number": "1.50", "select-one": "Red"},
    **{"select-multi": ["Red"], "radio": "Blue", "checkbox": ["Blue"], "date": "2026-01-31"},
    "date_time": "2026-01-31 10:00:00",
}
# Values from before the fields had their type.
UNFIT: dict[str, Any] = {
    **{"text": {"a": 1}, "number": "many", "select-one": ["Pink"], "select-multi": "Pink"},
    **{"radio": "Pink", "checkbox": 7, "date": "soon", "date_time": "2026-02-31", "other": [1]},
}


@pytest.fixture
def ids(db: None) -> dict[str, int]:
    """The ids of a field of each type, whose slug is the type."""
    kinds = (*KINDS, "date_time")
    rows = [
        CustomField(label=f"The {kind}", slug=kind, type=kind, options=OPTIONS) for kind in kinds
    ]
    replace_fields(rows)
    return dict(CustomField.objects.values_list("slug", "id"))


def values_of(contact: Subscriber) -> Any:
    """Return the custom values of a contact as they are stored."""
    return Subscriber.objects.values_list("custom_values", flat=True).get(pk=contact.pk)


def posted(client: Client, path: str, **changed: Any) -> Any:
    """Send the form of a page as a browser does, with these fields changed."""
    return client.post(path, form_of(open_page(client, path), **changed))


# Definitions


def test_a_field_is_added_after_the_others_with_a_slug_of_its_label(
    admin_client: Client, ids: dict[str, int]
) -> None:
    form = {"label": " My  plan ", "type": "radio", "options": "Gold\r\nSilver\r\n\r\nGold"}
    assert posted(admin_client, f"{FIELDS}add/", **form).status_code == 302
    field = CustomField.objects.last()
    assert field
    assert (field.label, field.slug, field.options) == ("My plan", "my_plan", ["Gold", "Silver"])


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"label": "Plan", "slug": "text", "type": "text"}, "Another one has this slug."),
        ({"label": "Plan", "type": "checkbox"}, "This type needs options."),
        ({"label": "", "type": "text"}, "This field is required."),
        (
            {"label": "Plan", "type": "radio", "options": "x" * 17_000},
            "The options may not be greater than 16 KB together.",
        ),
    ],
)
def test_an_invalid_field_is_not_added(
    admin_client: Client, ids: dict[str, int], form: dict[str, str], message: str
) -> None:
    page = admin_client.post(f"{FIELDS}add/", form).content.decode()
    assert message in page
    assert CustomField.objects.count() == len(ids)


def test_of_more_than_300_fields_none_is_added(admin_client: Client, db: None) -> None:
    replace_fields([CustomField(label=str(n), slug=f"s{n}") for n in range(300)])
    page = admin_client.post(f"{FIELDS}add/", {"label": "Plan", "type": "text"}).content.decode()
    assert "There may not be more than 300 custom fields." in page
    assert CustomField.objects.count() == 300


def test_a_change_keeps_the_slug_and_the_values_of_contacts(
    admin_client: Client, ids: dict[str, int]
) -> None:
    ada = create({"email": "ada@example.com"})
    set_custom_values(ada, VALUES)
    path = f"{FIELDS}{ids['radio']}/change/"
    response = posted(admin_client, path, label="New", slug="new", type="number")
    assert response.status_code == 302
    field = CustomField.objects.get(pk=ids["radio"])
    assert (field.label, field.slug, field.type, field.options) == ("New", "radio", "number", [])
    assert values_of(ada) == VALUES


def test_the_order_is_that_of_the_positions(admin_client: Client, ids: dict[str, int]) -> None:
    response = posted(admin_client, f"{FIELDS}{ids['text']}/change/", position="99")
    assert response.status_code == 302
    assert [field.slug for field in CustomField.objects.all()][-1] == "text"


def test_the_list_leads_from_a_key_without_definition_to_the_form(
    admin_client: Client, ids: dict[str, int]
) -> None:
    set_custom_values(create({"email": "ada@example.com"}), {HOSTILE: 1, "a&b": 1, "text": "x"})
    page = open_page(admin_client, FIELDS)
    assert ESCAPED in page
    assert 'href="add/?label=a%26b&amp;slug=a%26b"' in page
    form = form_of(open_page(admin_client, f"{FIELDS}add/?label=a%26b&slug=a%26b"))
    assert (form["label"], form["slug"]) == (["a&b"], ["a&b"])


def test_keys_are_shown_to_those_who_see_contacts(db: None) -> None:
    set_custom_values(create({"email": "ada@example.com"}), {"secret-key": 1})
    page = open_page(browser_of(staff_user("view_customfield")), FIELDS)
    assert "secret-key" not in page


def test_the_page_before_a_deletion_tells_what_stays(
    admin_client: Client, ids: dict[str, int]
) -> None:
    page = text_of(open_page(admin_client, f"{FIELDS}{ids['number']}/delete/"))
    assert "Values of contacts: stay, and are text without a definition" in page
    admin_client.post(f"{FIELDS}{ids['number']}/delete/", {"post": "yes"})
    assert not CustomField.objects.filter(slug="number").exists()


def test_a_field_that_a_segment_uses_is_neither_deleted_nor_given_another_type(
    admin_client: Client, ids: dict[str, int]
) -> None:
    filters = [[{"source": ["custom_fields", "number"], "operator": ">", "value": 1}]]
    create_segment({"title": "Rich", "slug": "rich", "filters": filters})
    page = text_of(open_page(admin_client, f"{FIELDS}{ids['number']}/delete/"))
    assert "segment “Rich”: change it first" in page
    admin_client.post(f"{FIELDS}{ids['number']}/delete/", {"post": "yes"})
    form = {"label": "Number", "type": "date", "options": "", "group": "", "position": 1}
    changed = admin_client.post(f"{FIELDS}{ids['number']}/change/", form)
    assert "Segments use a field whose type would change" in changed.content.decode()
    assert CustomField.objects.get(slug="number").type == "number"


# On contacts


def test_the_page_of_a_contact_shows_its_values(admin_client: Client, ids: dict[str, int]) -> None:
    ada = create({"email": "ada@example.com"})
    set_custom_values(ada, {"checkbox": ["Red", "Blue"], "text": HOSTILE, "radio": None})
    page = open_page(admin_client, f"{CONTACTS}{ada.pk}/")
    assert ESCAPED in page
    assert "The checkbox Red, Blue" in text_of(page)
    assert "The radio" not in page


def test_the_form_has_an_input_by_type(admin_client: Client, ids: dict[str, int]) -> None:
    ada = create({"email": "ada@example.com"})
    set_custom_values(ada, VALUES)
    page = open_page(admin_client, f"{CONTACTS}{ada.pk}/change/")
    for kind, tag in (
        ("text", '<input type="text" name="{}" value=" a "'),
        ("textarea", '<textarea name="{}"'),
        ("number", '<input type="text" name="{}" value="1.50"'),
        ("select-one", '<select name="{}"'),
        ("select-multi", '<select name="{}"'),
        ("radio", '<input type="radio" name="{}"'),
        ("checkbox", '<input type="checkbox" name="{}"'),
        ("date", '<input type="text" name="{}" value="2026-01-31" class="vDateField"'),
        ("date_time", '<input type="text" name="{}" value="2026-01-31 10:00:00"'),
    ):
        assert tag.format(f"custom_field_{ids[kind]}") in page


@pytest.mark.parametrize("stored", [VALUES, UNFIT])
def test_an_unchanged_value_stays_as_it_is(
    admin_client: Client, ids: dict[str, int], stored: Any
) -> None:
    ada = create({"email": "ada@example.com"})
    set_custom_values(ada, stored)
    path = f"{CONTACTS}{ada.pk}/change/"
    assert posted(admin_client, path, city="Ulm").status_code == 302
    ada.refresh_from_db()
    assert (ada.city, values_of(ada)) == ("Ulm", stored)


@pytest.mark.parametrize(
    ("kind", "sent", "stored"),
    [
        ("text", " new ", " new "),
        ("textarea", "a\r\nb", "a\nb"),
        ("number", " 7.0 ", "7.0"),
        ("select-one", "Blue", "Blue"),
        ("select-multi", ["Red", "Blue"], ["Red", "Blue"]),
        ("radio", "Red", "Red"),
        ("checkbox", ["Red"], ["Red"]),
        ("date", "2026-02-01", "2026-02-01"),
        ("date_time", "2026-02-01 9:00", None),
        ("date_time", "2026-02-01 09:00", "2026-02-01 09:00:00"),
        ("number", "many", None),
        ("select-one", "Pink", None),
    ],
)
def test_a_changed_value_is_stored_as_its_field_has_it(
    admin_client: Client, ids: dict[str, int], kind: str, sent: Any, stored: Any
) -> None:
    ada = create({"email": "ada@example.com"})
    path = f"{CONTACTS}{ada.pk}/change/"
    response = posted(admin_client, path, **{f"custom_field_{ids[kind]}": sent})
    if stored is None:
        assert response.status_code == 200
        assert values_of(ada) == {}
    else:
        assert response.status_code == 302
        assert values_of(ada) == {kind: stored}


def test_an_emptied_value_goes(admin_client: Client, ids: dict[str, int]) -> None:
    ada = create({"email": "ada@example.com"})
    set_custom_values(ada, {"text": "a", "checkbox": ["Red"], "other": 1})
    form = form_of(open_page(admin_client, f"{CONTACTS}{ada.pk}/change/"))
    form[f"custom_field_{ids['text']}"] = [""]
    del form[f"custom_field_{ids['checkbox']}"]
    admin_client.post(f"{CONTACTS}{ada.pk}/change/", form)
    assert values_of(ada) == {"other": 1}


def test_a_new_contact_has_custom_values(admin_client: Client, ids: dict[str, int]) -> None:
    new = {"email": "ada@example.com", f"custom_field_{ids['number']}": "7"}
    assert posted(admin_client, f"{CONTACTS}add/", **new).status_code == 302
    assert values_of(Subscriber.objects.get()) == {"number": "7"}


def test_too_many_custom_values_are_told_and_the_rest_is_stored(
    admin_client: Client, ids: dict[str, int]
) -> None:
    ada = create({"email": "ada@example.com"})
    set_custom_values(ada, {"other": "x" * 40_000})
    path = f"{CONTACTS}{ada.pk}/change/"
    long = {f"custom_field_{ids['textarea']}": "y" * 40_000}
    form = form_of(open_page(admin_client, path), city="Ulm") | long
    page = admin_client.post(path, form, follow=True).content.decode()
    assert "may not be greater than 64 KB together. They were not changed." in page
    ada.refresh_from_db()
    assert (ada.city, list(values_of(ada))) == ("Ulm", ["other"])


def test_fields_of_a_group_stand_under_its_name(admin_client: Client, db: None) -> None:
    replace_fields(
        [
            CustomField(label="Plan", slug="plan", group="Contract"),
            CustomField(label="Age", slug="age"),
        ]
    )
    page = text_of(open_page(admin_client, f"{CONTACTS}add/"))
    assert page.index("Contract") < page.index("Plan") < page.index("Custom fields Age")


def test_an_admin_user_who_may_not_change_contacts_sees_no_inputs(ids: dict[str, int]) -> None:
    ada = create({"email": "ada@example.com"})
    viewer = browser_of(staff_user("view_subscriber", "view_tag", "view_list"))
    page = open_page(viewer, f"{CONTACTS}{ada.pk}/change/")
    assert "custom_field_" not in page
