"""What FluentCRM's programs read first: options, figures, a test of credentials, and users."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from rest_framework.test import APIClient

from crm.attachments import attach
from crm.contacts import create
from crm.labels import create_label
from crm.models import Subscriber
from crm.segments import create_segment
from tests.api.conftest import MakePassword, basic

OPTIONS = "/reports/options"
ADAS = [[{"source": ["subscriber", "email"], "operator": "contains", "value": "ada"}]]


@pytest.mark.parametrize("fields", [{}, {"fields": ""}, {"fields": ","}])
def test_options_without_fields_are_what_tests_credentials(
    api: APIClient, fields: dict[str, str]
) -> None:
    response = api.get(OPTIONS, fields)
    assert response.status_code == 422
    assert response.json() == {"message": "Missing requested fields field."}


def test_lists_and_tags_are_sorted_by_title(api: APIClient) -> None:
    ids = {title: create_label("lists", {"title": title}).pk for title in ("news", "Blog")}
    tag = create_label("tags", {"title": "VIP"}).pk
    options = api.get(OPTIONS, {"fields": "lists,tags"}).json()["options"]
    blog, news = (
        {"id": ids[title], "slug": title.lower(), "title": title} for title in ("Blog", "news")
    )
    vip = {
        "id": tag,
        "slug": "vip",
        "title": "VIP",
        "value": str(tag),
        "label": "VIP",
    }
    assert options == {"lists": [blog, news], "tags": [vip]}


def test_lists_have_their_numbers_of_subscribed_contacts_on_request(
    api: APIClient, ada: Subscriber
) -> None:
    news = create_label("lists", {"title": "News"}).pk
    bob = create({"email": "bob@example.com", "status": "unsubscribed"})
    attach("lists", [ada.pk, bob.pk], [news])
    [row] = api.get(f"{OPTIONS}?fields=lists&with_count[]=lists").json()["options"]["lists"]
    assert row["subscribersCount"] == 1


def test_segments_are_options(api: APIClient) -> None:
    segment = create_segment({"title": "Adas", "slug": "adas", "filters": ADAS})
    options = api.get(OPTIONS, {"fields": "segments"}).json()["options"]
    assert options == {"segments": [{"id": segment.pk, "slug": "adas", "title": "Adas"}]}


@pytest.mark.parametrize(
    ("field", "ids"),
    [
        ("editable_statuses", ["subscribed", "pending", "unsubscribed", "transactional"]),
        ("contact_types", ["lead", "customer"]),
    ],
)
def test_words_of_contacts_are_options(api: APIClient, field: str, ids: list[str]) -> None:
    rows = api.get(OPTIONS, {"fields": field}).json()["options"][field]
    assert rows == [{"id": name, "slug": name, "title": name.capitalize()} for name in ids]


def test_statuses_are_options(api: APIClient) -> None:
    rows = api.get(OPTIONS, {"fields": "statuses"}).json()["options"]["statuses"]
    assert rows[-1] == {"id": "spammed", "slug": "spammed", "title": "Spammed"}
    assert len(rows) == 7


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, []) for name in ("countries", "campaigns", "email_sequences")),
        *((name, []) for name in ("automation_funnels", "companies", "custom_fields")),
        ("sampleCsv", ""),
    ],
)
def test_fields_without_data_are_empty(api: APIClient, field: str, value: Any) -> None:
    assert api.get(OPTIONS, {"fields": field}).json() == {"options": {field: value}}


def test_roles_are_the_groups(api: APIClient) -> None:
    options = api.get(OPTIONS, {"fields": "roles,user_roles_options"}).json()["options"]
    assert options["roles"]["viewer"] == {"name": "viewer", "capabilities": {}}
    assert options["roles"] == api.get("/users/roles").json()["roles"]
    assert {"id": "manager", "title": "manager", "slug": "manager"} in options["user_roles_options"]


def test_a_contact_has_the_section_of_notes(api: APIClient) -> None:
    sections = api.get(OPTIONS, {"fields": "profile_sections"}).json()["options"]
    assert list(sections["profile_sections"]) == ["subscriber", "subscriber_notes"]


def test_unknown_fields_are_ignored(api: APIClient) -> None:
    assert api.get(OPTIONS, {"fields": "index,getAjaxOptions,x"}).json() == {"options": []}


def test_fields_that_are_no_text_are_rejected(api: APIClient) -> None:
    response = api.get(f"{OPTIONS}?fields[]=tags")
    assert (response.status_code, list(response.json())) == (422, ["fields"])


@pytest.mark.parametrize("field", ["lists", "tags", "segments", "roles", "user_roles_options"])
def test_options_that_the_user_may_not_see_are_403(
    make_password: MakePassword, db: None, field: str
) -> None:
    clerk = User.objects.create(username="clerk")
    clerk.user_permissions.set(Permission.objects.filter(codename="view_subscriber"))
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("clerk", make_password(clerk, "read")))
    assert client.get(OPTIONS, {"fields": f"statuses,{field}"}).status_code == 403


def test_a_ping_is_answered(api: APIClient) -> None:
    assert api.get("/reports/ping").json() == {"message": "pong"}


def test_the_dashboard_counts_subscribed_contacts_and_tags(api: APIClient, ada: Subscriber) -> None:
    create({"email": "bob@example.com", "status": "unsubscribed"})
    create_label("tags", {"title": "VIP"})
    body = api.get("/reports/dashboard-stats").json()
    assert body["stats"]["total_subscribers"] == {
        "title": "Active Contacts",
        "count": 1,
        "route": {"name": "subscribers"},
    }
    assert body["stats"]["tags"] == {"title": "Tags", "count": 1, "route": {"name": "tags"}}
    assert {figure["count"] for figure in body["stats"].values()} == {0, 1}


def test_users_are_listed_by_name_five_by_default(api: APIClient, admin: User) -> None:
    for number in range(5):
        User.objects.create(username=f"user{number}", first_name="Grace", last_name="Hopper")
    body = api.get("/users").json()
    shown = {"ID": str(admin.pk), "id": str(admin.pk)}
    assert body["users"][0] == shown | {"display_name": "admin", "user_email": "admin@example.com"}
    assert body["users"][1]["display_name"] == "Grace Hopper"
    assert (len(body["users"]), body["total"]) == (5, 6)
    assert len(api.get("/users", {"limit": 6}).json()["users"]) == 6


@pytest.mark.parametrize(("role", "names"), [("manager", ["grace"]), ("editor", [])])
def test_users_are_filtered_by_their_groups(api: APIClient, role: str, names: list[str]) -> None:
    grace = User.objects.create(username="grace")
    grace.groups.add(Group.objects.get(name="manager"))
    body = api.get(f"/users?roles[]={role}").json()
    assert [user["display_name"] for user in body["users"]] == names
    assert body["total"] == len(names)
