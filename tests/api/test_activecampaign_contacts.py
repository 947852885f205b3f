"""ActiveCampaign's contacts, version 3: create, sync, read, search, change, delete, and consent."""

from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission, User
from rest_framework.test import APIClient

from crm.bulk_columns import set_column
from crm.contacts import create
from crm.models import CustomField, List, Status, Subscriber, Tag
from events.personal_data import erase_contact
from tests.api.conftest import MakePassword

SYNC, CONTACTS = "/api/3/contact/sync", "/api/3/contacts"
OPTED_OUT = ["unsubscribed", "bounced", "complained", "spammed"]


@pytest.fixture
def plan(db: None) -> CustomField:
    return CustomField.objects.create(label="Plan", slug="plan")


@pytest.fixture
def news(db: None) -> List:
    return List.objects.create(title="News", slug="news")


def errors(response: Any) -> tuple[int, list[tuple[str, str]]]:
    """Return the status, and code and pointer of each error."""
    found = response.json()["errors"]
    return response.status_code, [(each["code"], each["source"]["pointer"]) for each in found]


def test_an_unknown_email_becomes_a_subscribed_contact(token: APIClient, plan: CustomField) -> None:
    body = {
        "contact": {
            "email": "ada@example.com",
            "firstName": "Ada",
            "lastName": "Byron",
            "phone": "7223224241",
            "fieldValues": [{"field": str(plan.pk), "value": "Pro"}],
        }
    }
    response = token.post(SYNC, body)
    contact = Subscriber.objects.get()
    assert (contact.status, contact.custom_values) == ("subscribed", {"plan": "Pro"})
    answer = response.json()
    assert (response.status_code, list(answer)) == (201, ["fieldValues", "contact"])
    assert (
        answer["contact"].items()
        >= {
            **{"id": str(contact.pk), "email": "ada@example.com", "phone": "7223224241"},
            **{"firstName": "Ada", "lastName": "Byron", "orgid": "0", "deleted": "0"},
        }.items()
    )
    [value] = answer["fieldValues"]
    assert (value["contact"], value["field"], value["value"]) == (
        *(str(contact.pk), str(plan.pk), "Pro"),
    )


def test_a_known_email_is_updated_and_empty_fields_change_nothing(
    token: APIClient, ada: Subscriber
) -> None:
    create({"email": "bob@example.com", "first_name": "Bob"})
    sent = {"email": "ADA@example.com", "firstName": "Ada", "lastName": "", "phone": None}
    response = token.post(SYNC, {"contact": sent})
    ada.refresh_from_db()
    assert (response.status_code, response.json()["contact"]["id"]) == (200, str(ada.pk))
    assert (ada.first_name, ada.last_name) == ("Ada", None)
    assert Subscriber.objects.count() == 2


def test_json_without_a_content_type_is_read(
    send: Any, admin: User, make_password: MakePassword
) -> None:
    secret = make_password(admin)
    body = b'{"contact":{"email":"ada@example.com"}}'
    headers = {"host": "localhost", "api-token": secret, "content-length": str(len(body))}
    status, _, _ = send(body, method="POST", path=SYNC, headers=headers)
    assert (status, Subscriber.objects.get().email) == (201, "ada@example.com")


@pytest.mark.parametrize(
    ("contact", "expected"),
    [
        ({}, [("required", "email")]),
        ({"email": ""}, [("required", "email")]),
        ({"email": "ada"}, [("email", "email")]),
        ({"email": ["ada@example.com"]}, [("email", "email")]),
        ({"email": "a@example.com", "firstName": {}}, [("string", "firstName")]),
        ({"email": "a@example.com", "phone": "\0"}, [("string", "phone")]),
        ({"email": "a@example.com", "fieldValues": {"a": 1}}, [("array", "fieldValues")]),
        ({"email": "a@example.com", "fieldValues": ["x"]}, [("required", "field")]),
        (
            {"email": "a@example.com", "fieldValues": [{"field": "99", "value": "x"}]},
            [("exists", "fieldValues")],
        ),
    ],
)
@pytest.mark.parametrize("path", [SYNC, CONTACTS])
def test_an_invalid_contact_is_422_and_stores_nothing(
    token: APIClient, path: str, contact: Any, expected: list[tuple[str, str]]
) -> None:
    pointed = [(code, f"/data/attributes/{field}") for code, field in expected]
    assert errors(token.post(path, {"contact": contact})) == (422, pointed)
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize("body", [[], "x", {"contact": "ada@example.com"}, {"contact": [1]}])
def test_a_body_without_the_object_contact_is_422(token: APIClient, body: Any) -> None:
    assert token.post(SYNC, body, format="json").status_code == 422


def test_an_email_that_was_encoded_twice_is_decoded(token: APIClient) -> None:
    token.post(SYNC, {"contact": {"email": "ada%40example.com"}})
    assert Subscriber.objects.get().email == "ada@example.com"


def test_a_new_contact_is_201_and_a_known_email_a_duplicate(token: APIClient) -> None:
    body = {"contact": {"email": "ada@example.com"}}
    assert token.post(CONTACTS, body).status_code == 201
    response = token.post(CONTACTS, body)
    assert errors(response) == (422, [("duplicate", "/data/attributes/email")])
    assert response.json()["errors"][0]["title"] == "Email address already exists in the system"


def test_a_contact_that_an_event_made_is_created(token: APIClient) -> None:
    contact = Subscriber.objects.create(
        email="ada@example.com", status="pending", made_by_track=True
    )
    response = token.post(CONTACTS, {"contact": {"email": "ada@example.com", "firstName": "Ada"}})
    assert (response.status_code, response.json()["contact"]["id"]) == (201, str(contact.pk))


def test_put_changes_the_sent_fields_alone(
    token: APIClient, ada: Subscriber, plan: CustomField
) -> None:
    Subscriber.objects.update(first_name="Ada", last_name="Byron", custom_values={"plan": "a"})
    fields = [{"field": plan.pk, "value": "b"}]
    contact = {"lastName": "", "email": "ada@example.org", "fieldValues": fields}
    response = token.put(f"{CONTACTS}/{ada.pk}", {"contact": contact})
    ada = Subscriber.objects.get()
    assert response.status_code == 200
    assert (ada.first_name, ada.last_name, ada.email) == ("Ada", "", "ada@example.org")
    assert ada.custom_values == {"plan": "b"}


def test_put_of_the_email_of_another_contact_is_a_duplicate(
    token: APIClient, ada: Subscriber
) -> None:
    create({"email": "bob@example.com"})
    response = token.put(f"{CONTACTS}/{ada.pk}", {"contact": {"email": "bob@example.com"}})
    assert errors(response) == (422, [("duplicate", "/data/attributes/email")])


def test_a_contact_is_read_with_its_lists_and_values(
    token: APIClient, ada: Subscriber, plan: CustomField, news: List
) -> None:
    ada.lists.add(news)
    Subscriber.objects.update(custom_values={"plan": "Pro", "undeclared": 1})
    body = token.get(f"{CONTACTS}/{ada.pk}").json()
    assert body["contact"]["email"] == "ada@example.com"
    assert [each["value"] for each in body["fieldValues"]] == ["Pro"]
    [membership] = body["contactLists"]
    assert (membership["list"], membership["status"]) == (str(news.pk), "1")
    assert body["deals"] == body["geoIps"] == body["contactAutomations"] == []


@pytest.mark.parametrize(
    ("method", "below"),
    [
        *((method, "") for method in ("get", "put", "delete")),
        *(("get", f"/{name}") for name in ("contactTags", "contactLists", "fieldValues")),
        ("get", "/trackingLogs"),
    ],
)
def test_an_unknown_contact_is_404(token: APIClient, method: str, below: str) -> None:
    response = getattr(token, method)(f"{CONTACTS}/99{below}")
    message = {"message": "No Result found for Subscriber with id 99"}
    assert (response.status_code, response.json()) == (404, message)


def test_a_contact_is_deleted(token: APIClient, ada: Subscriber) -> None:
    response = token.delete(f"{CONTACTS}/{ada.pk}")
    assert (response.status_code, response.json()) == (200, {})
    assert not Subscriber.objects.exists()


@pytest.fixture
def three(db: None, news: List) -> list[Subscriber]:
    """Ada, subscribed, on the list and with a tag; Bob, unsubscribed; and Cyd, pending."""
    statuses = {"ada": "subscribed", "bob": "unsubscribed", "cyd": "pending"}
    people = [
        create({"email": f"{name}@example.com", "first_name": name.title(), "status": status})
        for name, status in statuses.items()
    ]
    people[0].lists.add(news)
    people[0].tags.add(Tag.objects.create(title="VIP", slug="vip"))
    return people


def found(token: APIClient, **params: Any) -> list[str]:
    """Return the names before the @ of the contacts that the list has, and check the total."""
    response = token.get(f"{CONTACTS}?{urlencode(params, doseq=True)}")
    assert response.status_code == 200, response.content
    body = response.json()
    assert list(body) == ["scoreValues", "contacts", "meta"]
    names = [contact["email"].partition("@")[0] for contact in body["contacts"]]
    if not {"limit", "offset"} & params.keys():
        assert body["meta"] == {"total": str(len(names))}
    return names


@pytest.mark.parametrize(
    ("params", "names"),
    [
        ({}, ["ada", "bob", "cyd"]),
        ({"limit": 2}, ["ada", "bob"]),
        ({"limit": 2, "offset": 2}, ["cyd"]),
        ({"offset": 99}, []),
        ({"email": "ADA@example.com"}, ["ada"]),
        ({"email": "ada%40example.com"}, ["ada"]),
        ({"filters[email]": "bob@example.com"}, ["bob"]),
        ({"search": "cyd"}, ["cyd"]),
        ({"search": ""}, ["ada", "bob", "cyd"]),
        ({"status": 1}, ["ada"]),
        ({"status": 2}, ["bob"]),
        ({"status": 0}, ["cyd"]),
        ({"status": -1}, ["ada", "bob", "cyd"]),
        ({"status": 3}, []),
        ({"orders[email]": "DESC"}, ["cyd", "bob", "ada"]),
        ({"orders[id]": "desc", "status": -1}, ["cyd", "bob", "ada"]),
        ({"filters[created_after]": "2000-01-01"}, ["ada", "bob", "cyd"]),
        ({"filters[updated_before]": "2000-01-01"}, []),
        ({"segmentid": 0}, ["ada", "bob", "cyd"]),
        # A client takes the first contact, so that no e-mail must not find all.
        ({"email": ""}, []),
        ({"email": "nonsense"}, []),
        ({"filters[email]": ""}, []),
        ({"ids": ""}, []),
    ],
)
def test_contacts_are_found(
    token: APIClient, three: list[Subscriber], params: dict[str, Any], names: list[str]
) -> None:
    assert found(token, **params) == names


def test_contacts_are_found_by_id_list_and_tag(
    token: APIClient, three: list[Subscriber], news: List
) -> None:
    first, second, third = (contact.pk for contact in three)
    assert found(token, **{"ids[]": [first, third]}) == ["ada", "cyd"]
    assert found(token, id_greater=second) == ["cyd"]
    assert found(token, id_less=second) == ["ada"]
    assert found(token, listid=news.pk) == ["ada"]
    assert found(token, tagid=Tag.objects.get().pk) == ["ada"]
    assert found(token, listid=news.pk, status=2) == []


@pytest.mark.parametrize(
    "query",
    [
        *("formid=3", "segmentid=1", "phone=1", "email_like=a", "exclude=1", "filters[name]=x"),
        *("Email=ada@example.com", "emial=a", "contact[email]=a", "query=a", "tag=1", "page=2"),
        *("filters=x", "orders=x", "orders[score]=ASC", "listid=x", "listid=0", "ids=x"),
        *("status=7", "status=subscribed", "limit=x", "limit=-1", "filters[created_after]=x"),
        *("email=%00", "search=%00", "search[a]=b", "email[]=a"),
    ],
)
def test_a_filter_that_is_not_understood_is_422(
    token: APIClient, three: list[Subscriber], query: str
) -> None:
    response = token.get(f"{CONTACTS}?{query}")
    assert (response.status_code, list(response.json())) == (422, ["errors"])


def test_a_page_has_100_contacts_at_most(token: APIClient) -> None:
    rows = [Subscriber(email=f"{number}@example.com") for number in range(101)]
    Subscriber.objects.bulk_create(rows)
    assert len(found(token, limit=1000)) == 100
    assert len(token.get(CONTACTS).json()["contacts"]) == 20


# ---- Consent


@pytest.mark.parametrize("status", OPTED_OUT)
def test_no_call_subscribes_who_opted_out(
    token: APIClient, ada: Subscriber, news: List, status: str
) -> None:
    set_column([ada.pk], "status", status)
    token.post(SYNC, {"contact": {"email": ada.email, "firstName": "Ada", "status": "1"}})
    token.put(f"{CONTACTS}/{ada.pk}", {"contact": {"lastName": "B", "status": "subscribed"}})
    body = {"contactList": {"list": news.pk, "contact": ada.pk, "status": 1, "sourceid": 4}}
    response = token.post("/api/3/contactLists", body)
    ada.refresh_from_db()
    assert ada.status == status
    assert response.status_code == 200
    [warning] = response.json()["warnings"]
    assert warning["rule"] == "keep_opt_outs"


def test_the_contact_of_an_erased_email_is_pending(token: APIClient, ada: Subscriber) -> None:
    erase_contact(ada.pk, "test")
    response = token.post(SYNC, {"contact": {"email": "ada@example.com"}})
    contact = Subscriber.objects.get()
    assert (response.status_code, contact.status) == (201, "pending")
    [warning] = response.json()["warnings"]
    assert warning["rule"] == "erased"


def test_status_2_on_a_list_unsubscribes_the_contact(
    token: APIClient, ada: Subscriber, news: List
) -> None:
    body = {"contactList": {"list": str(news.pk), "contact": str(ada.pk), "status": "2"}}
    response = token.post("/api/3/contactLists", body)
    ada.refresh_from_db()
    assert (response.status_code, ada.status) == (200, "unsubscribed")
    assert response.json()["contactList"]["status"] == "2"
    [membership] = token.get(f"{CONTACTS}/{ada.pk}/contactLists").json()["contactLists"]
    assert (membership["list"], membership["status"]) == (str(news.pk), "2")


@pytest.mark.parametrize("status", ["bounced", "complained"])
def test_status_2_keeps_an_opt_out_that_says_more(
    token: APIClient, ada: Subscriber, news: List, status: str
) -> None:
    set_column([ada.pk], "status", status)
    body = {"contactList": {"list": news.pk, "contact": ada.pk, "status": 2}}
    token.post("/api/3/contactLists", body)
    ada.refresh_from_db()
    assert ada.status == status


def test_status_1_puts_a_contact_on_a_list(token: APIClient, ada: Subscriber, news: List) -> None:
    body = {"contactList": {"list": news.pk, "contact": ada.pk, "status": 1}}
    response = token.post("/api/3/contactLists", body)
    assert (response.status_code, response.json()["contactList"]["status"]) == (200, "1")
    assert "warnings" not in response.json()
    assert [each["id"] for each in response.json()["contacts"]] == [str(ada.pk)]
    assert list(ada.lists.all()) == [news]


@pytest.mark.parametrize("status", [0, 3, "", None, "active", False, [1]])
def test_another_status_of_a_list_is_422_and_changes_nothing(
    token: APIClient, ada: Subscriber, news: List, status: Any
) -> None:
    body = {"contactList": {"list": news.pk, "contact": ada.pk, "status": status}}
    response = token.post("/api/3/contactLists", body)
    assert (response.status_code, Subscriber.objects.get().status) == (422, Status.SUBSCRIBED)


@pytest.mark.parametrize(("contact", "list_id"), [("99", None), (None, "99")])
def test_a_list_status_of_what_does_not_exist_is_404(
    token: APIClient, ada: Subscriber, news: List, contact: str | None, list_id: str | None
) -> None:
    ids = {"contact": contact or ada.pk, "list": list_id or news.pk}
    response = token.post("/api/3/contactLists", {"contactList": {**ids, "status": 2}})
    noun = "Subscriber" if contact else "List"
    message = {"message": f"No Result found for {noun} with id 99"}
    assert (response.status_code, response.json()) == (404, message)
    assert Subscriber.objects.get().status == "subscribed"


def test_who_may_only_add_contacts_changes_none(
    anonymous: APIClient, ada: Subscriber, make_password: MakePassword
) -> None:
    clerk = User.objects.create(username="clerk")
    clerk.user_permissions.add(Permission.objects.get(codename="add_subscriber"))
    anonymous.credentials(HTTP_API_TOKEN=make_password(clerk))
    assert anonymous.post(SYNC, {"contact": {"email": "new@example.com"}}).status_code == 201
    response = anonymous.post(SYNC, {"contact": {"email": ada.email, "firstName": "Eve"}})
    ada.refresh_from_db()
    assert (response.status_code, ada.first_name) == (403, None)


# ---- The user, site tracking and what a contact did


@pytest.mark.parametrize("scope", ["track", "read", "manage"])
def test_a_login_is_tested_by_its_user(
    anonymous: APIClient, admin: User, make_password: MakePassword, scope: str
) -> None:
    anonymous.credentials(HTTP_API_TOKEN=make_password(admin, scope))
    user = anonymous.get("/api/3/users/me").json()["user"]
    assert (user["username"], user["email"], user["id"]) == (
        *("admin", "admin@example.com", str(admin.pk)),
    )


def test_site_tracking_is_off_and_refused(token: APIClient) -> None:
    assert token.get("/api/3/siteTracking").json() == {"siteTracking": {"enabled": False}}
    domains = {"siteTrackingDomains": [], "meta": {"total": "0"}}
    assert token.get("/api/3/siteTrackingDomains").json() == domains
    message = {"message": "Tallybook has no site tracking. Send events to /event."}
    for response in (
        token.put("/api/3/siteTracking", {"siteTracking": {"enabled": True}}),
        token.post("/api/3/siteTrackingDomains", {"siteTrackingDomain": {"name": "example.com"}}),
    ):
        assert (response.status_code, response.json()) == (422, message)


@pytest.fixture
def seen(api: APIClient, ada: Subscriber) -> None:
    """Three events of Ada, of the days 1 to 3."""
    for day in (1, 2, 3):
        event = {"event_key": "seen", "title": "Seen it", "email": ada.email, "value": str(day)}
        at = f"2024-01-0{day} 10:00:00"
        api.post("/subscribers/track-event", {**event, "occurred_at": at})


@pytest.mark.parametrize(
    ("query", "values"),
    [
        ("", ["3", "2", "1"]),
        ("?limit=2", ["3", "2"]),
        ("?limit=2&offset=2", ["1"]),
        ("?limit=0", []),
        ("?offset=9", []),
    ],
)
def test_tracking_logs_are_what_a_contact_did(
    token: APIClient, ada: Subscriber, seen: None, query: str, values: list[str]
) -> None:
    response = token.get(f"{CONTACTS}/{ada.pk}/trackingLogs{query}")
    logs = response.json()["trackingLogs"]
    assert (response.status_code, [log["value"] for log in logs]) == (200, values)


def test_a_tracking_log_has_the_name_and_the_time_of_the_event(
    token: APIClient, ada: Subscriber, seen: None
) -> None:
    log = token.get(f"{CONTACTS}/{ada.pk}/trackingLogs").json()["trackingLogs"][0]
    assert (log["type"], log["subscriberid"]) == ("seen", str(ada.pk))
    assert log["tstamp"] == "2024-01-03T10:00:00+00:00"


def test_activities_are_those_of_a_contact(token: APIClient, ada: Subscriber, seen: None) -> None:
    body = token.get(f"/api/3/activities?contact={ada.pk}").json()
    types = {activity["reference_type"] for activity in body["activities"]}
    assert (types, len(body["trackingLogs"])) == ({"TrackingLog"}, 3)
    assert errors(token.get("/api/3/activities")) == (
        *(422, [("required", "/data/attributes/contact")]),
    )
