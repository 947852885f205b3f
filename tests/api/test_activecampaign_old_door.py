"""ActiveCampaign's old door: /admin/api.php (version 1) and /2/track/ (version 2)."""

import json
import logging
from typing import Any
from urllib.parse import parse_qsl, urlencode

import pytest
from django.contrib.auth.models import Permission, User
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from config.audit import refusal_limit
from config.refusals import MAX_REFUSALS
from config.server import work
from crm.bulk_columns import set_column
from crm.contacts import create
from crm.models import CustomField, FieldType, List, Subscriber, Tag
from events.activecampaign.credentials import tracking_key
from events.activecampaign.old_door import ACTIONS
from events.models import EventName, TrackingSwitch
from events.personal_data import erase_contact
from tests.api.conftest import MakePassword
from tests.api.rsgi import HTTPProtocol, scope
from tests.api.savepoints import rolled_back

DOOR = "/admin/api.php"
FORM = "application/x-www-form-urlencoded"
NOT_AUTHORIZED = {
    "result_code": 0,
    "result_message": "You are not authorized to access this file",
    "result_output": "json",
}
NO_SITE_TRACKING = "Tallybook has no site tracking. Send events to /event."


@pytest.fixture
def ask(send: Any) -> Any:
    """Send a form through the web server: `ask("GET /path", {"api_key": …}, {"email": …})`.

    Returns the JSON of the response, which is 200.
    """

    def call(target: str, query: Any, form: Any = None, **headers: str) -> Any:
        method, _, path = target.partition(" ")
        body = (
            b"" if form is None else form if isinstance(form, bytes) else urlencode(form).encode()
        )
        sent = {
            "host": "localhost",
            **({"content-type": FORM, "content-length": str(len(body))} if body else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        parts = {"method": method, "path": path, "headers": sent, "query_string": urlencode(query)}
        status, found, content = send(*([body] if body else []), **parts)
        assert (status, found["Content-Type"]) == (200, "application/json"), content
        return json.loads(content)

    return call


@pytest.fixture
def key(admin: User, make_password: MakePassword) -> str:
    """A manage password of the superuser."""
    return make_password(admin)


@pytest.fixture
def old(ask: Any, key: str) -> Any:
    """Do an action of version 1: `old("contact_sync", {"email": …})`, a POST if there is a form."""

    def act(action: str, form: Any = None, **query: Any) -> Any:
        method = "GET" if form is None else "POST"
        params = {"api_key": key, "api_action": action, "api_output": "json", **query}
        return ask(f"{method} {DOOR}", params, form)

    return act


def failure(message: str) -> dict[str, Any]:
    """Return the response of a call that failed."""
    return {"result_code": 0, "result_message": message, "result_output": "json"}


def added(contact: Subscriber, message: str = "Contact added") -> dict[str, Any]:
    """Return the response to a write of a contact."""
    return {
        **{"result_code": 1, "result_message": message, "result_output": "json"},
        **{"subscriber_id": contact.pk, "sendlast_should": 0, "sendlast_did": 0},
    }


# ---- The credential


def test_the_test_of_the_credentials_tells_the_tracking_key(old: Any, admin: User) -> None:
    pair = tracking_key()
    assert old("user_me") == {
        "result_code": 1,
        "result_message": "Success: Something is returned",
        "result_output": "json",
        "id": str(admin.pk),
        "username": "admin",
        "email": "admin@example.com",
        "trackid": pair.actid,
        "eventkey": pair.key,
    }


@pytest.mark.parametrize("password_scope", ["track", "read"])
def test_a_password_of_less_than_manage_does_not_tell_the_tracking_key(
    ask: Any, admin: User, make_password: MakePassword, password_scope: str
) -> None:
    key = make_password(admin, password_scope)
    body = ask(f"GET {DOOR}", {"api_key": key, "api_action": "user_me"})
    assert (body["username"], "eventkey" in body, "trackid" in body) == ("admin", False, False)


def test_a_user_who_may_not_see_the_tracking_key_is_not_told(
    ask: Any, make_password: MakePassword
) -> None:
    key = make_password(User.objects.create(username="clerk"))
    body = ask(f"GET {DOOR}", {"api_key": key, "api_action": "user_me"})
    assert (body["username"], "eventkey" in body) == ("clerk", False)


def test_the_key_may_be_in_the_header_api_token(ask: Any, key: str) -> None:
    body = ask(f"GET {DOOR}", {"api_action": "user_me", "api_output": "json"}, api_token=key)
    assert body["result_code"] == 1


def test_the_key_may_be_in_the_form(ask: Any, key: str) -> None:
    form = {"api_key": key, "api_action": "contact_add", "email": "ada@example.com"}
    assert ask(f"POST {DOOR}", {}, form) == added(Subscriber.objects.get())


@pytest.mark.parametrize("query", [{}, {"api_key": ""}, {"api_key": "wrong"}, {"api_key": "ü\0"}])
@pytest.mark.parametrize(
    "target",
    [DOOR, f"{DOOR}/", f"/{DOOR}", "/admin//api.php", "/2/track/event", "/2/track/site", "/2/x"],
)
def test_a_wrong_or_missing_key_has_an_answer_of_its_own(
    ask: Any, db: None, target: str, query: dict[str, str]
) -> None:
    for method in ("GET", "POST", "PUT", "DELETE"):
        assert ask(f"{method} {target}", {"api_action": "user_me", **query}) == NOT_AUTHORIZED


def test_too_many_wrong_keys_are_429(anonymous: APIClient) -> None:
    for _ in range(MAX_REFUSALS):
        assert anonymous.get("/activecampaign?api_key=wrong").status_code == 200
    response = anonymous.get("/activecampaign?api_key=wrong")
    assert response.status_code == 429
    assert "Retry-After" in response.headers


def test_a_key_in_the_address_is_in_no_log(
    old: Any, ask: Any, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    refusal_limit.reset()
    with caplog.at_level(logging.DEBUG):
        old("contact_view", id=1)
        ask(f"GET {DOOR}", {"api_key": f"{key[:-1]}0", "api_action": "user_me"})
    assert '"credential": "' in caplog.text
    assert key[8:-1] not in caplog.text


def test_the_old_door_is_no_page_but_a_call(rsgi: Any) -> None:
    request = rsgi.Request(rsgi.application, scope(path=DOOR), HTTPProtocol())
    assert request.target.path == "/activecampaign"
    assert request._class is work.API


def test_another_path_of_the_admin_stays_a_page(send: Any, db: None) -> None:
    headers = {"host": "localhost"}
    assert send(path="/admin/api.php/x", headers=headers)[0] in (302, 404)
    assert send(path="/admin/", headers=headers)[0] == 302


# ---- Rights


@pytest.mark.parametrize("password_scope", ["track", "read", "manage"])
@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_is_done_for_its_scope_alone(
    ask: Any, make_password: MakePassword, name: str, password_scope: str
) -> None:
    user = User.objects.create(username="clerk")
    access = ACTIONS[name].access
    codenames = [permission.partition(".")[2] for permission in access.permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
    key = make_password(user, password_scope)
    body = ask(f"POST {DOOR}", {"api_key": key, "api_action": name}, {"x": 1})
    allowed = access.scope in (None, password_scope) or password_scope == "manage"
    assert (body != NOT_AUTHORIZED) is allowed


@pytest.mark.parametrize(
    ("name", "lacking"),
    [(name, each) for name, action in ACTIONS.items() for each in action.access.permissions],
)
def test_an_action_is_refused_without_one_of_its_permissions(
    ask: Any, make_password: MakePassword, name: str, lacking: str
) -> None:
    user = User.objects.create(username="clerk")
    others = Permission.objects.exclude(codename=lacking.partition(".")[2])
    user.user_permissions.set(others)
    query = {"api_key": make_password(user), "api_action": name}
    assert ask(f"POST {DOOR}", query, {"x": 1}) == NOT_AUTHORIZED


def test_an_action_that_changes_something_has_to_be_a_post(old: Any) -> None:
    body = old("contact_sync", email="ada@example.com")
    assert body == failure("This call has to be sent as POST.")
    assert not Subscriber.objects.exists()


def test_a_head_changes_nothing(send: Any, key: str) -> None:
    query = f"api_key={key}&api_action=contact_sync&email=ada@example.com"
    parts = {"method": "HEAD", "path": DOOR, "query_string": query}
    assert send(headers={"host": "localhost"}, **parts)[0] == 200
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize("name", ["", "campaign_create", "contact_delete", "x" * 9999, "a\0"])
def test_an_action_that_there_is_not_is_refused(old: Any, name: str) -> None:
    assert old(name)["result_code"] == 0


FIELD_NAMES = (
    *("id", "email", "tags", "tags[]", "tags[a]", "p", "p[]", "p[1]", "p[1][2]", "status[1]"),
    *("status", "field", "field[1,0]", "field[%A%,0]", "field[1,0][]", "first_name[]", "event"),
    *("phone", "ip4", "overwrite", "api_output", "_method", "a[b][c]"),
)
ODD = ("", "1", "-1", "0", "9" * 30, "ada@example.com", "ada%40example.com", "a,b,,", "[]", "{}")
MORE_ODD = ('{"1":[2]}', "[[1]]", "null", "||", "\0", "\ud83d", "x" * 300, "1e400", "%00", "é")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    action=st.sampled_from([*ACTIONS]),
    form=st.dictionaries(st.sampled_from(FIELD_NAMES), st.sampled_from(ODD + MORE_ODD)),
)
def test_odd_fields_have_an_answer(
    old: Any, ada: Subscriber, action: str, form: dict[str, str]
) -> None:
    encoded = {name: value.encode(errors="surrogatepass") for name, value in form.items()}
    with rolled_back():
        assert old(action, encoded)["result_code"] in (0, 1)


# ---- Contacts


@pytest.mark.parametrize(
    "form",
    [
        "p[{id}]={id}&status[{id}]=2",
        "p[]={id}&status[]=2",
        "p[a]={id}&status[a]=2",
        "p[0{id}]=0{id}&status[0{id}]=2",
        "status[{id}]=2",
        "p[{other}]={other}&status[{id}]=2",
    ],
)
def test_an_opt_out_of_a_list_is_found_by_its_id_or_by_its_place(
    old: Any, ada: Subscriber, form: str
) -> None:
    news, other = (List.objects.create(title=name, slug=name) for name in ("news", "other"))
    sent = f"email={ada.email}&" + form.format(id=news.pk, other=other.pk)
    assert old("contact_sync", dict(parse_qsl(sent)))["result_code"] == 1
    ada.refresh_from_db()
    assert ada.status == "unsubscribed"


def test_a_status_that_belongs_to_no_list_is_refused(old: Any, ada: Subscriber) -> None:
    body = old("contact_sync", {"email": ada.email, "status[news]": "2"})
    assert body["result_message"] == "The keys of status must be ids of lists."


def test_a_contact_is_added_with_everything_that_a_form_has(old: Any) -> None:
    news, offers = (List.objects.create(title=name, slug=name) for name in ("news", "offers"))
    plan = CustomField.objects.create(label="Plan", slug="plan")
    CustomField.objects.create(label="Color", slug="color", type=FieldType.CHECKBOX)
    form = {
        **{"email": "ada+1@example.com", "first_name": "Ada", "last_name": "Byron"},
        **{"phone": "+1 312 201 0300", "ip4": "192.0.2.1", "tags": "vip, big customer"},
        **{f"field[{plan.pk},0]": "Pro", "field[%COLOR%,0]": "||red||blue||"},
        **{f"p[{news.pk}]": news.pk, f"p[{offers.pk}]": offers.pk, f"status[{news.pk}]": 1},
    }
    body = old("contact_add", form)
    ada = Subscriber.objects.get()
    assert body == added(ada)
    assert (ada.email, ada.first_name, ada.last_name) == ("ada+1@example.com", "Ada", "Byron")
    assert (ada.phone, ada.ip, ada.status) == ("+1 312 201 0300", "192.0.2.1", "subscribed")
    assert ada.custom_values == {"plan": "Pro", "color": ["red", "blue"]}
    assert {tag.title for tag in ada.tags.all()} == {"vip", "big customer"}
    assert set(ada.lists.all()) == {news, offers}


def test_a_contact_that_exists_is_not_added(old: Any, ada: Subscriber) -> None:
    body = old("contact_add", {"email": ada.email, "first_name": "Eve"})
    assert body == failure("Email address already exists in the system")
    ada.refresh_from_db()
    assert ada.first_name is None


def test_a_contact_is_synced_by_its_email(old: Any) -> None:
    body = old("contact_sync", {"email": "ada@example.com"})
    ada = Subscriber.objects.get()
    assert body == added(ada)
    body = old("contact_sync", {"email": "ada@example.com", "first_name": "Ada"})
    ada.refresh_from_db()
    assert (body, ada.first_name) == (added(ada, "Contact updated"), "Ada")


@pytest.mark.parametrize("overwrite", ["0", "1", ""])
def test_a_contact_is_edited_and_keeps_what_is_not_sent(
    old: Any, ada: Subscriber, overwrite: str
) -> None:
    news = List.objects.create(title="News", slug="news")
    ada.lists.add(news)
    Subscriber.objects.update(first_name="Ada", last_name="Byron", custom_values={"plan": "Pro"})
    body = old("contact_edit", {"last_name": "King", "id": ada.pk, "overwrite": overwrite})
    ada = Subscriber.objects.get()
    assert body == added(ada, "Contact updated")
    assert (ada.first_name, ada.last_name, ada.email) == ("Ada", "King", "ada@example.com")
    assert (ada.custom_values, list(ada.lists.all())) == ({"plan": "Pro"}, [news])


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({}, "The email field is required."),
        ({"email": "ada"}, "The email must be a valid email address."),
        ({"email": "a@example.com", "p[9]": "9"}, "List ID 9 does not exist."),
        ({"email": "a@example.com", "p[9]": "x"}, "The p must be a number."),
        ({"email": "a@example.com", "p": "9"}, "The p must be an object."),
        ({"email": "a@example.com", "field[9,0]": "x"}, "There is no custom field 9."),
        ({"email": "a@example.com", "field[%X%,0]": "x"}, "There is no custom field %X%."),
        ({"email": "a@example.com", "field": "x"}, None),
        ({"email": "a@example.com", "first_name[a]": "x"}, "The first_name must be a string."),
        (b"email=%ff", "The request could not be understood."),
        (b'{"email":"a@example.com"}', None),
    ],
)
@pytest.mark.parametrize("action", ["contact_add", "contact_sync"])
def test_an_invalid_contact_fails_with_one_sentence_and_stores_nothing(
    old: Any, action: str, form: Any, message: str | None
) -> None:
    body = old(action, form)
    assert body["result_code"] == 0
    assert message in (None, body["result_message"])
    assert not Subscriber.objects.exists()


def test_a_contact_is_viewed_by_id_and_by_email(old: Any, ada: Subscriber) -> None:
    news = List.objects.create(title="News", slug="news")
    color = CustomField.objects.create(label="Color", slug="color", type=FieldType.CHECKBOX)
    ada.lists.add(news)
    ada.tags.add(Tag.objects.create(title="VIP", slug="vip"))
    Subscriber.objects.update(first_name="Ada", custom_values={"color": ["red", "blue"]})
    body = old("contact_view", id=ada.pk)
    assert old("contact_view_email", email="ADA@example.com") == body
    assert (body["id"], body["email"], body["first_name"]) == (str(ada.pk), ada.email, "Ada")
    assert (body["tags"], body["listslist"], body["status"]) == (["VIP"], str(news.pk), "1")
    assert body["lists"][str(news.pk)]["listname"] == "News"
    assert body["fields"][str(color.pk)].items() >= {"perstag": "COLOR"}.items()
    assert body["fields"][str(color.pk)]["val"] == "||red||blue||"


@pytest.mark.parametrize(
    ("action", "query"),
    [
        ("contact_view", {"id": 99}),
        ("contact_view_email", {"email": "nobody@example.com"}),
        ("contact_view_email", {"email": ""}),
        ("contact_view_email", {}),
    ],
)
def test_an_unknown_contact_is_not_viewed(
    old: Any, ada: Subscriber, action: str, query: dict[str, Any]
) -> None:
    assert old(action, **query) == failure("Failed: Nothing is returned")


@pytest.mark.parametrize("by", ["id", "email"])
@pytest.mark.parametrize("field", ["tags", "tags[0]", "tags[]"])
def test_tags_are_added_and_removed(old: Any, ada: Subscriber, by: str, field: str) -> None:
    named = {by: getattr(ada, by), field: "Big customer"}
    assert old("contact_tag_add", named)["result_message"] == "Contact tag added"
    assert [tag.title for tag in ada.tags.all()] == ["Big customer"]
    assert old("contact_tag_remove", named)["result_message"] == "Contact tag deleted"
    assert not ada.tags.exists()


def test_a_tag_is_named_by_its_title_and_not_by_an_id(old: Any, ada: Subscriber) -> None:
    other = Tag.objects.create(title="Do not contact", slug="dnc")
    old("contact_tag_add", {"id": ada.pk, "tags": str(other.pk)})
    assert [tag.title for tag in ada.tags.all()] == [str(other.pk)]


@pytest.mark.parametrize("action", ["contact_tag_add", "contact_tag_remove"])
@pytest.mark.parametrize(
    "form", [{"tags": "x"}, {"email": "nobody@example.com", "tags": "x"}, {"id": "9", "tags": "x"}]
)
def test_tags_of_an_unknown_contact_fail(
    old: Any, ada: Subscriber, action: str, form: dict[str, str]
) -> None:
    assert old(action, form)["result_code"] == 0
    assert not Tag.objects.exists()


def test_who_may_create_no_tag_adds_none(
    ask: Any, ada: Subscriber, make_password: MakePassword
) -> None:
    user = User.objects.create(username="clerk")
    user.user_permissions.add(Permission.objects.get(codename="change_subscriber"))
    query = {"api_key": make_password(user), "api_action": "contact_tag_add"}
    assert ask(f"POST {DOOR}", query, {"id": ada.pk, "tags": "New"})["result_code"] == 0
    assert not Tag.objects.exists()


# ---- Consent


@pytest.mark.parametrize("status", ["unsubscribed", "bounced", "complained", "spammed"])
def test_no_action_subscribes_who_opted_out(old: Any, ada: Subscriber, status: str) -> None:
    news = List.objects.create(title="News", slug="news")
    set_column([ada.pk], "status", status)
    lists = {f"p[{news.pk}]": news.pk, f"status[{news.pk}]": 1}
    body = old("contact_sync", {"email": ada.email, "first_name": "Ada", **lists})
    assert [warning["rule"] for warning in body["warnings"]] == ["keep_opt_outs"]
    old("contact_edit", {"id": ada.pk, "last_name": "B", **lists})
    old("contact_tag_add", {"id": ada.pk, "tags": "VIP"})
    ada.refresh_from_db()
    assert ada.status == status


@pytest.mark.parametrize("action", ["contact_add", "contact_sync"])
def test_the_contact_of_an_erased_email_is_pending(old: Any, ada: Subscriber, action: str) -> None:
    erase_contact(ada.pk, "test")
    old(action, {"email": "ada@example.com"})
    assert Subscriber.objects.get().status == "pending"


@pytest.mark.parametrize("action", ["contact_add", "contact_sync", "contact_edit"])
def test_status_2_on_any_list_unsubscribes(old: Any, action: str) -> None:
    lists = [List.objects.create(title=name, slug=name) for name in ("news", "offers")]
    form: dict[str, Any] = {"email": "ada@example.com"}
    if action == "contact_edit":
        form["id"] = create({"email": "ada@example.com"}).pk
    for status, each in zip((1, 2), lists, strict=True):
        form |= {f"p[{each.pk}]": each.pk, f"status[{each.pk}]": status}
    assert old(action, form)["result_code"] == 1
    assert Subscriber.objects.get().status == "unsubscribed"


# ---- Events and version 2


def test_event_names_are_listed_and_removed_by_version_2(
    ask: Any, key: str, ada: Subscriber
) -> None:
    for name in ("a", "b"):
        EventName.objects.create(name=name, first_seen_at=ada.created_at)
    body = ask("GET /2/track/event", {"api_key": key})
    assert (body["0"], body["1"], body["result_code"]) == ({"name": "a"}, {"name": "b"}, 1)
    assert ask("DELETE /2/track/event", {"api_key": key}, {"event": "a"})["result_code"] == 1
    assert [row.name for row in EventName.objects.all()] == ["b"]
    body = ask("DELETE /2/track/event", {"api_key": key}, {"event": "a"})
    assert body == failure("The event does not exist.")


def test_tracking_is_switched_by_version_2(ask: Any, key: str) -> None:
    for status, enabled in (("disable", False), ("enable", True)):
        body = ask("POST /2/track/event", {"api_key": key}, {"status": status})
        assert (body["result_code"], TrackingSwitch.is_enabled()) == (1, enabled)
    body = ask("POST /2/track/event", {"api_key": key}, {"event": "a"})
    assert body == failure("The status must be enable or disable.")


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_site_tracking_is_refused(ask: Any, key: str, method: str) -> None:
    form = None if method == "GET" else {"status": "enable", "domain": "example.com"}
    assert ask(f"{method} /2/track/site", {"api_key": key}, form) == failure(NO_SITE_TRACKING)


def test_another_call_of_version_2_is_refused(ask: Any, key: str) -> None:
    body = ask("GET /2/contact/emails", {"api_key": key, "listid": 1})
    assert body == failure("Tallybook has no such call.")


def test_the_actions_about_events_are_at_the_door_too(old: Any, ada: Subscriber) -> None:
    EventName.objects.create(name="a", first_seen_at=ada.created_at)
    assert old("track_event_list")["0"] == {"name": "a"}
    assert old("track_event_delete", {"event": "a"})["result_code"] == 1
    assert old("track_event_status_edit", {"status": "disable"})["result_code"] == 1
    assert old("track_site_list") == failure(NO_SITE_TRACKING)


def test_the_account_is_the_host(old: Any) -> None:
    body = old("account_view")
    assert (body["account"], body["email"]) == ("localhost", "admin@example.com")
