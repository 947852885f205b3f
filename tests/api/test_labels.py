"""Tags and lists, beyond what was recorded of FluentCRM."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from crm.contacts import create
from crm.models import List, Subscriber, Tag
from tests.api.calls import send

KINDS = ["tags", "lists"]
MODELS: dict[str, type[Tag | List]] = {"tags": Tag, "lists": List}


def created(api: APIClient, kind: str, title: str, **fields: str) -> dict[str, Any]:
    """Create a tag or list by the API, and return it as shown."""
    item: dict[str, Any] = api.post(f"/{kind}", {"title": title, **fields}).json()["item"]
    return item


@pytest.mark.parametrize("kind", KINDS)
def test_a_slug_that_is_longer_than_its_title_is_cut(api: APIClient, kind: str) -> None:
    label = created(api, kind, "ß" * 192)
    assert (label["title"], label["slug"]) == ("ß" * 192, "s" * 192)


@pytest.mark.parametrize("kind", KINDS)
def test_a_slug_created_in_bulk_is_cut_as_well(api: APIClient, kind: str) -> None:
    response = api.post(f"/{kind}/bulk", {"items": [{"title": "æ" * 192}]})
    assert response.status_code == 200
    assert MODELS[kind].objects.get().slug == "ae" * 96


@pytest.mark.parametrize("kind", KINDS)
def test_a_slug_created_with_a_contact_is_cut_as_well(api: APIClient, kind: str) -> None:
    created(api, kind, "ß" * 192)
    contact = {"email": "ada@example.com", "status": "subscribed", kind: ["ß" * 192, "ﬀ" * 192]}
    assert api.post("/subscribers", contact).status_code == 200
    shown = api.get(f"/subscribers/{Subscriber.objects.get().id}").json()["subscriber"][kind]
    assert [label["slug"] for label in shown] == ["s" * 192, "f" * 192]


# PostgreSQL's lower() makes ASCII of these two, the Kelvin sign and the dotted I; its upper() does
# not make them of ASCII.
@pytest.mark.parametrize(("slug", "lower"), [("\u212a" * 3, "kkk"), ("\u0130" * 3, "iii")])
def test_a_slug_is_found_by_the_rule_that_keeps_it_unique(
    api: APIClient, slug: str, lower: str
) -> None:
    label = created(api, "tags", "x", slug=slug)
    response = api.post("/tags/bulk", {"items": [{"title": lower, "slug": lower}]})
    assert (response.status_code, response.json()["ids"]) == (200, [label["id"]])


@pytest.mark.parametrize("kind", KINDS)
def test_a_slug_is_made_of_the_title(api: APIClient, kind: str) -> None:
    assert created(api, kind, "Große & spät  -- Vögel")["slug"] == "grosse-spat-vogel"


@pytest.mark.parametrize("kind", KINDS)
def test_a_title_in_another_script_gets_a_random_slug(api: APIClient, kind: str) -> None:
    assert len(created(api, kind, "日本語")["slug"]) == 11


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_to_the_slug_of_another_label_is_rejected(api: APIClient, kind: str) -> None:
    created(api, kind, "Gold")
    other = created(api, kind, "日本語")
    response = api.put(f"/{kind}/{other['id']}", {"title": "x", "slug": "gold"})
    assert response.status_code == 422
    assert "already exist" in response.json()["message"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_label_is_renamed_by_its_slug(api: APIClient, kind: str) -> None:
    label = created(api, kind, "Gold")
    change = {"title": "Renamed", "slug": "gold", "update_by": "slug"}
    assert api.put(f"/{kind}/0", change).json()["lists"] == 1
    renamed = MODELS[kind].objects.get()
    assert (renamed.id, renamed.title, renamed.slug) == (label["id"], "Renamed", "gold")


def titles(page: Any) -> list[str]:
    return [row["title"] for row in page]


def test_tags_are_searched_without_regard_to_case(api: APIClient) -> None:
    created(api, "tags", "Renamed")
    created(api, "tags", "Other")
    assert titles(api.get("/tags?search=renamed").json()["tags"]["data"]) == ["Renamed"]


def test_lists_are_searched_without_regard_to_case(api: APIClient) -> None:
    created(api, "lists", "Renamed")
    created(api, "lists", "Other")
    assert titles(api.get("/lists?search=renamed").json()["lists"]) == ["Renamed"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_slug_that_exists_in_another_case_is_rejected(api: APIClient, kind: str) -> None:
    created(api, kind, "Gold Member", slug="gold")
    response = api.post(f"/{kind}", {"title": "x", "slug": "GOLD"})
    assert (response.status_code, list(response.json()["slug"])) == (422, ["unique"])
    assert MODELS[kind].objects.count() == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("column", "name"), [("slug", "GOLD"), ("title", "gold member")])
def test_a_sync_finds_a_label_in_any_case(
    api: APIClient, ada: Subscriber, kind: str, column: str, name: str
) -> None:
    label = created(api, kind, "Gold Member", slug="gold")
    fields = {"type": kind, "subscribers": [ada.id], "find_by": column, "attach": [name]}
    rows = api.post("/subscribers/sync-segments", fields).json()["subscribers"]
    assert [one["id"] for one in rows[0][kind]] == [label["id"]]


@pytest.mark.parametrize("kind", KINDS)
def test_contacts_are_filtered_by_the_title_of_a_label_in_any_case(
    api: APIClient, ada: Subscriber, kind: str
) -> None:
    label = created(api, kind, "Gold Member", slug="gold")
    getattr(ada, kind).add(label["id"])
    create({"email": "bob@example.com"})
    page = api.get(f"/subscribers?{kind}[]=GOLD+MEMBER").json()["subscribers"]
    assert [row["id"] for row in page["data"]] == [ada.id]


@pytest.mark.parametrize(("kind", "noun"), [("tags", "Tag"), ("lists", "List")])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("number", [987654321, 2**63])
def test_a_label_that_does_not_exist_is_404(
    api: APIClient, kind: str, noun: str, method: str, number: int
) -> None:
    response = send(api, method, f"/{kind}/{number}", {"title": "x"})
    assert (response.status_code, response.json()) == (404, {"message": f"{noun} not found"})


@pytest.fixture
def news(ada: Subscriber) -> List:
    """The list "News", with ada and a contact who is pending."""
    news = List.objects.create(title="News", slug="news")
    news.subscribers.set([ada, create({"email": "bob@example.com", "status": "pending"})])
    return news


def test_a_list_shows_how_many_contacts_it_has(api: APIClient, news: List) -> None:
    row = api.get("/lists").json()["lists"][0]
    assert (row["totalCount"], row["subscribersCount"]) == (2, 1)


@pytest.mark.parametrize("word", ["1", "True", "yes"])
def test_all_lists_are_shown_on_request(api: APIClient, news: List, word: str) -> None:
    shown = api.get(f"/lists?all_lists={word}").json()["all_lists"]
    assert shown == [{"id": str(news.id), "title": "News", "slug": "news"}]


@pytest.mark.parametrize("word", ["0", "false", "no", "maybe"])
def test_all_lists_are_not_shown_by_another_word(api: APIClient, news: List, word: str) -> None:
    assert "all_lists" not in api.get(f"/lists?all_lists={word}").json()


@pytest.mark.parametrize("word", ["no", "False", "0"])
def test_counts_are_shown_unless_a_word_for_true_leaves_them_out(
    api: APIClient, news: List, word: str
) -> None:
    assert api.get(f"/lists?exclude_counts={word}").json()["lists"][0]["totalCount"] == 2


@pytest.mark.parametrize("word", ["1", "TRUE", "on"])
def test_counts_are_left_out_on_request(api: APIClient, news: List, word: str) -> None:
    row = api.get(f"/lists?exclude_counts={word}").json()["lists"][0]
    assert "totalCount" not in row
    assert "subscribersCount" not in row


def test_deleting_a_list_takes_its_contacts_off_it(
    api: APIClient, ada: Subscriber, news: List
) -> None:
    assert api.delete(f"/lists/{news.id}").status_code == 200
    assert api.get(f"/subscribers/{ada.id}").json()["subscriber"]["lists"] == []
