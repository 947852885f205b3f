"""What a contact's write reports: fields that were not stored as sent, and rows of a batch."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from crm.labels import create_label
from crm.models import Subscriber, Tag

ADA = "ada@example.com"
NEW = {"email": ADA, "status": "subscribed"}
BULK = "/subscribers/bulk-add-update"


def shown(api: APIClient) -> dict[str, Any]:
    """Return Ada as the API shows her, with her custom values."""
    query = {"get_by_email": ADA, "with[]": "subscriber.custom_values"}
    found: dict[str, Any] = api.get("/subscribers/0", query).json()["subscriber"]
    return found


def titles(api: APIClient, kind: str = "tags") -> list[str]:
    """Return the titles of Ada's tags or lists, in alphabetical order."""
    return sorted(label["title"] for label in shown(api)[kind])


def test_a_request_that_is_done_as_sent_has_no_warnings(api: APIClient) -> None:
    assert "warnings" not in api.post("/subscribers", NEW).json()


@pytest.mark.parametrize("broken", [r'"\ud83d"', "NaN"])
def test_a_contact_that_is_no_json_costs_itself(api: APIClient, broken: str) -> None:
    contacts = f'{{"email": "ada@example.com"}}, {{"email": "b@example.com", "city": {broken}}}'
    body = f'{{"contacts": [{contacts}, {{"email": "c@example.com"}}]}}'
    response = api.post(BULK, body, content_type="application/json")
    answer = response.json()
    assert [row["email"] for row in answer["created"]] == [ADA, "c@example.com"]
    assert answer["invalids"] == [None]
    [error] = answer["errors"]
    assert (error["index"], error["email"], list(error["errors"])) == (1, None, ["contact"])


BROKEN_DATE = {
    "field": "date_of_birth",
    "rule": "date",
    "message": "The date_of_birth is not a valid date. Send YYYY-MM-DD.",
}


def test_a_broken_date_costs_a_new_contact_the_date_alone(api: APIClient) -> None:
    response = api.post("/subscribers", NEW | {"date_of_birth": "31.12.1990", "city": "Paris"})
    assert response.json()["warnings"] == [BROKEN_DATE]
    assert (shown(api)["city"], shown(api)["date_of_birth"]) == ("Paris", None)


def test_a_broken_date_of_an_update_leaves_the_stored_one(api: APIClient, ada: Subscriber) -> None:
    api.put(f"/subscribers/{ada.pk}", {"date_of_birth": "1815-12-10"})
    change = {"date_of_birth": "2026-02-30", "city": "Paris"}
    response = api.put(f"/subscribers/{ada.pk}", change)
    assert response.json()["warnings"] == [BROKEN_DATE]
    assert (shown(api)["city"], shown(api)["date_of_birth"]) == ("Paris", "1815-12-10")


def test_a_broken_date_costs_a_row_of_a_batch_the_date_alone(api: APIClient) -> None:
    contacts = [NEW | {"date_of_birth": "31.12.1990"}, {"email": "bob@example.com"}]
    response = api.post(BULK, {"contacts": contacts}).json()
    assert [row.get("warnings") for row in response["created"]] == [[BROKEN_DATE], None]
    assert "errors" not in response


def test_a_date_of_zeros_is_stored_as_none_without_a_word(api: APIClient) -> None:
    zeros = {"date_of_birth": "0000-00-00", "last_activity": "0000-00-00 00:00:00"}
    response = api.post(BULK, {"contacts": [NEW | zeros]}).json()
    assert "warnings" not in response["created"][0]
    assert (shown(api)["date_of_birth"], shown(api)["last_activity"]) == (None, None)


def test_a_date_of_zeros_of_an_update_removes_the_date(api: APIClient, ada: Subscriber) -> None:
    api.put(f"/subscribers/{ada.pk}", {"date_of_birth": "1815-12-10"})
    api.put(f"/subscribers/{ada.pk}", {"date_of_birth": "0000-00-00"})
    assert shown(api)["date_of_birth"] is None


def test_a_text_that_is_cut_is_reported(api: APIClient) -> None:
    response = api.post("/subscribers", NEW | {"phone": "1" * 51})
    message = "The phone was cut at 50 characters."
    assert response.json()["warnings"] == [{"field": "phone", "rule": "max", "message": message}]
    assert shown(api)["phone"] == "1" * 50


@pytest.mark.parametrize("url", ["javascript:alert(1)" + "x" * 200, "x" * 193])
def test_a_long_text_that_is_no_url_is_rejected(api: APIClient, url: str) -> None:
    response = api.post("/subscribers", NEW | {"avatar": url})
    assert (response.status_code, list(response.json()["avatar"])) == (422, ["url"])


@pytest.mark.parametrize("title", ["a" * 193, {"title": "a" * 193}])
def test_a_title_of_a_tag_that_is_cut_is_reported(api: APIClient, title: Any) -> None:
    response = api.post("/subscribers", NEW | {"tags": [title]}).json()
    assert [warning["field"] for warning in response["warnings"]] == ["tags"]
    assert titles(api) == ["a" * 192]


def test_created_at_of_a_single_contact_is_reported(api: APIClient) -> None:
    response = api.post("/subscribers", NEW | {"created_at": "2020-01-02 03:04:05"}).json()
    message = "The created_at was ignored. Send it to bulk-add-update, or with __force_update."
    warning = {"field": "created_at", "rule": "ignored", "message": message}
    assert response["warnings"] == [warning]


@pytest.mark.parametrize("field", ["created_at", "last_activity"])
def test_a_datetime_that_an_update_does_not_write_is_reported(
    api: APIClient, ada: Subscriber, field: str
) -> None:
    response = api.put(f"/subscribers/{ada.pk}", {field: "2020-01-02 03:04:05"}).json()
    assert [warning["field"] for warning in response["warnings"]] == [field]


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_an_update_attaches_labels_as_a_new_contact_does(
    api: APIClient, ada: Subscriber, kind: str
) -> None:
    api.put(f"/subscribers/{ada.pk}", {kind: ["First"]})
    response = api.put(f"/subscribers/{ada.pk}", {"subscriber": {kind: ["Second"]}}).json()
    assert titles(api, kind) == ["First", "Second"]
    assert len(response["contact"][kind]) == 2


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_an_update_attaches_labels_beside_the_subscriber(
    api: APIClient, ada: Subscriber, kind: str
) -> None:
    fields = {"subscriber": {"city": "London"}, kind: ["First"]}
    response = api.put(f"/subscribers/{ada.pk}", fields).json()
    assert (response["contact"]["city"], titles(api, kind)) == ("London", ["First"])


def test_other_fields_beside_the_subscriber_are_reported(api: APIClient, ada: Subscriber) -> None:
    inside = {"city": "London", "state": "x"}
    beside = {"city": "Paris", "state": "x", "email": "other@example.com", "phone": ""}
    response = api.put(f"/subscribers/{ada.pk}", {"subscriber": inside, **beside}).json()
    contact = response["contact"]
    assert (contact["city"], contact["email"]) == ("London", "ada@example.com")
    assert [warning["field"] for warning in response["warnings"]] == ["email", "city"]


class TestARejectedRowOfABatch:
    """A rejected row stands in `invalids` as sent, and in `errors` with the reason."""

    def test_has_its_position_and_the_errors_of_its_fields(self, api: APIClient) -> None:
        broken = {"email": "bad", "latitude": 200}
        rows = [{"email": "bob@example.com"}, broken, NEW, "text", {"city": "Paris"}]
        response = api.post(BULK, {"contacts": rows}).json()
        assert response["invalids"] == [broken, "text", {"city": "Paris"}]
        assert response["errors"] == [
            {
                "index": 1,
                "email": "bad",
                "errors": {
                    "email": {"email": "The email must be a valid email address."},
                    "latitude": {"numeric": "The latitude must be a number."},
                },
            },
            {
                "index": 3,
                "email": None,
                "errors": {"contact": {"object": "The contact must be an object."}},
            },
            {
                "index": 4,
                "email": None,
                "errors": {"email": {"required": "The email field is required."}},
            },
        ]

    def test_has_the_error_that_is_found_while_it_is_written(self, api: APIClient) -> None:
        rows = [NEW | {"user_id": "7"}, {"email": "bob@example.com", "user_id": "7"}]
        response = api.post(BULK, {"contacts": rows}).json()
        assert [(row["index"], list(row["errors"])) for row in response["errors"]] == [
            (1, ["user_id"])
        ]
        assert Subscriber.objects.count() == 1


FULL = NEW | {
    "prefix": "Ms",
    "first_name": "Ada",
    "last_name": "King Lovelace",
    "timezone": "Europe/London",
    "address_line_1": "12 St James's Square",
    "address_line_2": "",
    "postal_code": "01067",
    "city": "London",
    "state": "",
    "country": "GB",
    "ip": "192.0.2.1",
    "phone": "+44 20",
    "source": "shop",
    "avatar": "https://example.com/ada.png",
    "latitude": "51.50000000",
    "longitude": "-0.13000000",
    "total_points": "7",
    "life_time_value": "30",
    "status": "unsubscribed",
    "contact_type": "customer",
    "date_of_birth": "1815-12-10",
    "created_at": "2020-01-02 03:04:05",
    "last_activity": "2026-01-02 03:04:05",
    "user_id": "auth0|5f7c",
    "custom_values": {"size": "M", "tried": [1, {"a": None}]},
    "tags": ["Buyer", "Früh & spät"],
    "lists": ["News"],
}


class TestAContactAsTheApiShowsIt:
    """What GET shows of a contact, another store accepts."""

    @pytest.fixture
    def stored(self, api: APIClient) -> dict[str, Any]:
        """A contact with all fields as it is shown, deleted together with its labels."""
        row = api.post(BULK, {"contacts": [FULL]}).json()["created"][0]
        contact = shown(api)
        api.delete(f"/subscribers/{row['id']}")
        Tag.objects.all().delete()
        # In the other store the ids of the tags are those of others.
        for tag in contact["tags"]:
            Tag.objects.create(id=tag["id"], title=f"Other {tag['id']}", slug=f"other-{tag['id']}")
        return contact

    def without_ids(self, contact: dict[str, Any]) -> dict[str, Any]:
        """Return a contact without what another store chooses itself."""
        labels = {
            kind: sorted((label["title"], label["slug"]) for label in contact[kind])
            for kind in ("tags", "lists")
        }
        kept = {key: value for key, value in contact.items() if key not in ("id", "updated_at")}
        return kept | labels

    def test_is_accepted_by_a_batch(self, api: APIClient, stored: dict[str, Any]) -> None:
        response = api.post(BULK, {"contacts": [stored]}).json()
        assert "warnings" not in response["created"][0]
        assert self.without_ids(shown(api)) == self.without_ids(stored)

    def test_is_accepted_by_a_request(self, api: APIClient, stored: dict[str, Any]) -> None:
        response = api.post("/subscribers", stored | {"__force_update": "yes"})
        assert "warnings" not in response.json()
        assert self.without_ids(shown(api)) == self.without_ids(stored)

    def test_is_accepted_by_an_update(self, api: APIClient, stored: dict[str, Any]) -> None:
        contact_id = api.post("/subscribers", NEW).json()["contact"]["id"]
        response = api.put(f"/subscribers/{contact_id}", stored).json()
        ignored = {"created_at", "last_activity"}
        assert {warning["field"] for warning in response["warnings"]} == ignored
        own = {field: shown(api)[field] for field in ignored}
        assert self.without_ids(shown(api)) == self.without_ids(stored | own)

    def test_is_accepted_with_all_fields_empty(self, api: APIClient) -> None:
        api.post("/subscribers", NEW)
        empty = shown(api)
        Subscriber.objects.all().delete()
        response = api.post(BULK, {"contacts": [empty]}).json()
        assert "warnings" not in response["created"][0]
        assert self.without_ids(shown(api)) == self.without_ids(empty)

    def test_is_accepted_with_custom_fields_as_the_list_shows_them(self, api: APIClient) -> None:
        api.post("/subscribers", NEW | {"custom_values": {"size": "M"}})
        row = api.get("/subscribers?custom_fields=true").json()["subscribers"]["data"][0]
        Subscriber.objects.all().delete()
        api.post(BULK, {"contacts": [row]})
        assert shown(api)["custom_values"] == {"size": "M"}


def test_custom_values_may_be_json_text(api: APIClient) -> None:
    api.post(BULK, {"contacts": [NEW | {"custom_values": '{"size":"M"}'}]})
    assert shown(api)["custom_values"] == {"size": "M"}


def test_the_id_of_a_label_of_another_store_attaches_nothing(api: APIClient) -> None:
    tag = create_label("tags", {"title": "Do not contact", "slug": "dnc"})
    response = api.post("/subscribers", NEW | {"tags": [{"id": tag.pk}]})
    assert (response.status_code, list(response.json()["tags"])) == (422, ["string"])
    assert not Subscriber.objects.exists()


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_a_label_as_shown_is_attached_though_its_title_is_a_number(
    api: APIClient, kind: str
) -> None:
    other = api.post(f"/{kind}", {"title": "Other", "slug": "other"}).json()["item"]
    label = {"id": 1, "title": str(other["id"]), "slug": str(other["id"])}
    response = api.post("/subscribers", NEW | {kind: [label]})
    assert "warnings" not in response.json()
    assert titles(api, kind) == [str(other["id"])]
    api.post("/subscribers", NEW | {kind: [label], "__force_update": "yes"})
    assert titles(api, kind) == [str(other["id"])]


def test_a_name_that_no_tag_has_and_that_is_no_title_is_told(api: APIClient) -> None:
    response = api.post("/subscribers", NEW | {"tags": ["987654", "ab", "VIP"]})
    assert response.json()["warnings"] == [
        {"field": "tags", "rule": "exists", "message": "The tags name no tags: 987654, ab."}
    ]
    assert titles(api) == ["VIP"]


@pytest.mark.parametrize(
    ("by", "names", "missing"),
    [
        ("slug", ["vip", "gold"], "gold"),
        ("title", ["VIP", "gold", {"title": "Gold"}], "gold, Gold"),
        ("id", [987654], "987654"),
    ],
)
@pytest.mark.parametrize("field", ["attach", "detach"])
def test_a_synchronization_tells_the_names_that_no_tag_has(
    api: APIClient, ada: Subscriber, field: str, by: str, names: list[Any], missing: str
) -> None:
    create_label("tags", {"title": "VIP", "description": ""})
    fields = {"type": "tags", field: names, "find_by": by, "subscribers": [ada.pk]}
    response = api.post("/subscribers/sync-segments", fields)
    message = f"The {field} name no tags: {missing}."
    assert response.json()["warnings"] == [{"field": field, "rule": "exists", "message": message}]


def test_a_bulk_action_tells_the_ids_that_no_list_has(api: APIClient, ada: Subscriber) -> None:
    news = create_label("lists", {"title": "News", "description": ""})
    fields = {"action_name": "add_to_lists", "action_options": [news.id, 987654]}
    response = api.post("/subscribers/do-bulk-action", fields | {"subscriber_ids": [ada.pk]})
    [warning] = response.json()["warnings"]
    assert warning["message"] == "The action_options name no lists: 987654."
    assert titles(api, "lists") == ["News"]


@pytest.mark.parametrize(
    ("method", "url", "fields"),
    [
        ("post", "/tags", {"title": "a" * 193}),
        ("put", "/lists/{news}", {"title": "a" * 193}),
        ("post", "/lists/bulk", {"items": [{"title": "a" * 193}]}),
        ("post", "/segments", {"title": "a" * 193, "filters": []}),
    ],
)
def test_a_title_that_is_cut_is_told(
    api: APIClient, method: str, url: str, fields: dict[str, Any]
) -> None:
    news = create_label("lists", {"title": "News", "description": ""})
    response = getattr(api, method)(url.format(news=news.id), fields)
    assert response.status_code == 200
    [warning] = response.json()["warnings"]
    assert warning["message"] == "The title was cut at 192 characters."


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_a_synchronization_attaches_the_label_that_is_shown(
    api: APIClient, ada: Subscriber, kind: str
) -> None:
    api.post(f"/{kind}", {"title": "VIP ✓", "slug": "vip"})
    shown_label = api.post(f"/{kind}", {"title": "VIP", "slug": "vip-2"}).json()["item"]
    fields = {"type": kind, "attach": [shown_label], "subscribers": [ada.pk]}
    response = api.post("/subscribers/sync-segments", fields)
    assert "warnings" not in response.json()
    assert titles(api, kind) == ["VIP"]


@pytest.mark.parametrize("names", [True, [True], [{"slug": "1"}], "[true]"])
@pytest.mark.parametrize("field", ["attach_tags", "detach_tags", "tags"])
def test_what_is_no_name_of_a_tag_is_rejected(
    api: APIClient, ada: Subscriber, field: str, names: Any
) -> None:
    response = api.put(f"/subscribers/{ada.pk}", {field: names})
    assert (response.status_code, list(response.json())) == (422, [field])


@pytest.mark.parametrize(
    ("text", "tags"),
    [('["Buyer", "VIP"]', ["Buyer", "VIP"]), ('{"0": "VIP"}', ["VIP"]), ("[VIP", ["[VIP"])],
)
def test_tags_may_be_json_text(api: APIClient, text: str, tags: list[str]) -> None:
    api.post("/subscribers", NEW | {"tags": text})
    assert titles(api) == tags
