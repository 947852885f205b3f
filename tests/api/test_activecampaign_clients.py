"""Requests of public programs for ActiveCampaign, as their source sends them, in their order."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User

from crm.models import CustomField, FieldType, List, Subscriber, Tag
from events.activecampaign.credentials import tracking_key
from events.models import EventName, EventOccurrence
from tests.api.conftest import MakePassword

FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def key(admin: User, make_password: MakePassword) -> str:
    """A manage password of the superuser."""
    return make_password(admin)


@pytest.fixture
def request_(send: Any, key: str) -> Any:
    """Send a request through the web server: `request_("POST /path?query", body, **headers)`.

    Returns the status and the JSON of the response.
    """

    def call(target: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        method, _, url = target.partition(" ")
        path, _, query = url.partition("?")
        content = b"" if body is None else body.encode()
        sent = {
            "host": "localhost",
            **({"content-length": str(len(content))} if content else {}),
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        parts = {"method": method, "path": path, "query_string": query, "headers": sent}
        status, _, answer = send(*([content] if content else []), **parts)
        return status, json.loads(answer)

    return call


def test_rudderstacks_identify_stores_contact_tags_lists_and_fields(
    request_: Any, key: str
) -> None:
    """See rudder-transformer, src/v0/destinations/active_campaign/transform.js."""
    Tag.objects.create(title="known", slug="known")
    news = List.objects.create(title="News", slug="news")
    color = CustomField.objects.create(label="Color", slug="color", type=FieldType.CHECKBOX)
    headers = {"content_type": "application/json", "api_token": key}

    def post(path: str, body: Any) -> Any:
        status, answer = request_(f"POST {path}", json.dumps(body), **headers)
        assert status in (200, 201), answer
        return answer

    contact = {"email": "ada@example.com", "firstName": "Ada", "phone": "1"}
    contact_id = post("/api/3/contact/sync", {"contact": contact})["contact"]["id"]
    _, page = request_("GET /api/3/tags?limit=100", **headers)
    stored = {tag["tag"]: tag["id"] for tag in page["tags"]}
    assert int(page["meta"]["total"]) == 1
    tag = {"tag": "new", "tagType": "contact", "description": ""}
    status, created = request_("POST /api/3/tags", json.dumps({"tag": tag}), **headers)
    assert status == 201
    for tag_id in (stored["known"], created["tag"]["id"]):
        post("/api/3/contactTags", {"contactTag": {"contact": contact_id, "tag": tag_id}})
    member = {"list": news.pk, "contact": contact_id, "status": "1"}
    post("/api/3/contactLists", {"contactList": member})
    _, page = request_("GET /api/3/fields?limit=100", **headers)
    ids = {field["title"]: field["id"] for field in page["fields"]}
    values = [{"field": ids["Color"], "value": "||red||blue||"}]
    post("/api/3/contact/sync", {"contact": {**contact, "fieldValues": values}})
    ada = Subscriber.objects.get()
    assert ada.custom_values == {color.slug: ["red", "blue"]}
    assert {each.title for each in ada.tags.all()} == {"known", "new"}
    assert list(ada.lists.all()) == [news]


def test_rudderstacks_track_finds_or_creates_its_name_among_many(
    request_: Any, key: str, ada: Subscriber
) -> None:
    """It lists 100 names, creates its own if it is not among them, and takes 201 alone."""
    names = [EventName(name=f"a{number:03}", first_seen_at=ada.created_at) for number in range(101)]
    EventName.objects.bulk_create([*names, EventName(name="z", first_seen_at=ada.created_at)])
    pair = tracking_key()
    headers = {"content_type": "application/json", "api_token": key}
    _, page = request_("GET /api/3/eventTrackingEvents", **headers)
    assert "z" not in [each["name"] for each in page["eventTrackingEvents"]]
    body = json.dumps({"eventTrackingEvent": {"name": "z"}})
    status, _ = request_("POST /api/3/eventTrackingEvents", body, **headers)
    assert status == 201
    visit = '{"email":"ada@example.com"}'
    form = {"event": "z", "actid": pair.actid, "key": pair.key, "visit": visit}
    _, answer = request_("POST /event", urlencode(form), content_type=FORM, api_token=key)
    assert (answer["success"], EventOccurrence.objects.count()) == (1, 1)


@pytest.mark.parametrize(
    ("chosen", "status"), [("subscribe", "subscribed"), ("unsubscribe", "unsubscribed")]
)
def test_stapes_tag_sends_json_without_a_content_type(
    request_: Any, key: str, chosen: str, status: str
) -> None:
    """See stape-io/activecampaign-tag, template.js."""
    news = List.objects.create(title="News", slug="news")
    contact = {"email": "ada@example.com", "firstName": "Ada", "lastName": "B", "phone": "1"}
    code, answer = request_(
        "POST /api/3/contact/sync", json.dumps({"contact": contact}), api_token=key
    )
    assert code == 201
    member = {
        "list": str(news.pk),
        "contact": answer["contact"]["id"],
        "status": "2" if chosen == "unsubscribe" else "1",
        "sourceid": "0",
    }
    code, _ = request_(
        "POST /api/3/contactLists", json.dumps({"contactList": member}), api_token=key
    )
    assert (code, Subscriber.objects.get().status) == (200, status)


def test_dowebanalytics_tag_posts_a_form_to_the_old_door(request_: Any, key: str) -> None:
    """See dowebanalytics/activecampaign-ss-tag, template.tpl: the e-mail is not encoded."""
    news = List.objects.create(title="News", slug="news")
    plan = CustomField.objects.create(label="Plan", slug="plan")
    body = (
        f"email=ada+1@example.com&first_name=Ada&phone=1&tags=vip&p[{news.pk}]={news.pk}"
        f"&field[{plan.pk},0]=Pro"
    )
    status, _ = request_(
        "POST /admin/api.php?api_action=contact_sync", body, content_type=FORM, api_token=key
    )
    ada = Subscriber.objects.get()
    assert (status, ada.email, ada.custom_values) == (200, "ada+1@example.com", {"plan": "Pro"})
    assert (ada.tags.get().title, ada.lists.get()) == ("vip", news)


def test_the_official_php_wrappers_calls(request_: Any, key: str) -> None:
    """See ActiveCampaign/activecampaign-api-php, includes/ and examples.php."""
    door = f"/admin/api.php?api_key={key}&api_action={{}}&api_output=json"
    news = List.objects.create(title="News", slug="news")

    def call(action: str, form: str | None = None, more: str = "") -> Any:
        method = "GET" if form is None else "POST"
        headers = {} if form is None else {"content_type": FORM}
        status, answer = request_(f"{method} {door.format(action)}{more}", form, **headers)
        assert (status, answer["result_code"]) == (200, 1), answer
        return answer

    assert call("user_me")["eventkey"] == tracking_key().key
    assert call("account_view")["account"] == "localhost"
    member = f"p[{news.pk}]={news.pk}&status[{news.pk}]=1"
    form = f"email=test%40example.com&first_name=Test&last_name=Test&{member}"
    contact_id = call("contact_sync", form)["subscriber_id"]
    assert call("contact_view_email", more="&email=test@example.com")["id"] == str(contact_id)
    call("contact_tag_add", f"id={contact_id}&tags[0]=vip&tags[1]=new")
    assert call("contact_view", more=f"&id={contact_id}")["tags"] == ["vip", "new"]
    call("contact_tag_remove", f"id={contact_id}&tags[0]=vip")
    call("contact_edit", f"first_name=T&id={contact_id}&overwrite=0")
    assert call("contact_view", more=f"&id={contact_id}")["first_name"] == "T"


def test_the_official_node_package_encodes_brackets_and_writes_objects_as_json(
    request_: Any, key: str
) -> None:
    """See ActiveCampaign/activecampaign-api-nodejs, lib/Connector.js."""
    news = List.objects.create(title="News", slug="news")
    door = f"/admin/api.php?api_key={key}&api_action=contact_sync&api_output=json"
    lists = json.dumps({str(news.pk): news.pk})
    form = urlencode({"email": "ada@example.com", "p": lists})
    _, answer = request_(f"POST {door}", form, content_type=FORM)
    assert answer["result_code"] == 1
    assert Subscriber.objects.get().lists.get() == news
    form = urlencode({"email": "bob@example.com", f"p[{news.pk}]": str(news.pk)})
    request_(f"POST {door}", form, content_type=FORM)
    assert news.subscribers.count() == 2


def test_testmonitors_client_finds_creates_tags_and_lists(request_: Any, key: str) -> None:
    """See testmonitor/activecampaign, src/Actions."""
    headers = {"content_type": "application/json", "api_token": key}

    def post(path: str, **body: Any) -> Any:
        status, answer = request_(f"POST /api/3/{path}", json.dumps(body), **headers)
        assert status in (200, 201), answer
        return answer

    find = "GET /api/3/contacts?email=ada%40example.com"
    assert request_(find, **headers)[1]["contacts"] == []
    contact = {"email": "ada@example.com", "firstName": "Ada", "lastName": "B", "phone": None}
    created = post("contacts", contact=contact)["contact"]
    assert [each["id"] for each in request_(find, **headers)[1]["contacts"]] == [created["id"]]
    assert request_("GET /api/3/tags?search=vip", **headers)[1]["tags"] == []
    tag = post("tags", tag={"tag": "vip"})["tag"]
    post("contactTags", contactTag={"contact": created["id"], "tag": tag["id"]})
    fields = {"name": "News", "stringid": "news", "sender_url": "https://example.com"}
    found = post("lists", list=fields)["list"]
    status = {"list": found["id"], "contact": created["id"], "status": 2}
    post("contactLists", contactList=status)
    ada = Subscriber.objects.get()
    assert (ada.tags.get().title, ada.lists.get().title, ada.status) == (
        *("vip", "News", "unsubscribed"),
    )
