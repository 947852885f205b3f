"""PUT and bulk POST of tags and lists: the slug that a label keeps, and items that are ignored."""

import pytest
from rest_framework.test import APIClient

from crm.models import List, Tag

MODELS: dict[str, type[Tag] | type[List]] = {"tags": Tag, "lists": List}


def test_a_tag_that_is_renamed_without_a_slug_gets_one_from_its_title(api: APIClient) -> None:
    tag = Tag.objects.create(title="Gold", slug="gold")
    assert api.put(f"/tags/{tag.id}", {"title": "Gold Member"}).status_code == 200
    tag.refresh_from_db()
    assert (tag.title, tag.slug) == ("Gold Member", "gold-member")


def test_a_list_that_is_renamed_without_a_slug_keeps_its_own(api: APIClient) -> None:
    news = List.objects.create(title="News", slug="news")
    assert api.put(f"/lists/{news.id}", {"title": "Daily News"}).status_code == 200
    news.refresh_from_db()
    assert (news.title, news.slug) == ("Daily News", "news")


@pytest.mark.parametrize(("kind", "noun"), [("tags", "Tag"), ("lists", "List")])
def test_a_change_by_an_unknown_slug_is_rejected(api: APIClient, kind: str, noun: str) -> None:
    change = {"title": "x", "slug": "unknown", "update_by": "slug"}
    response = api.put(f"/{kind}/0", change)
    assert response.status_code == 422
    assert response.json() == {"message": f"{noun} could not be found"}


@pytest.mark.parametrize("kind", ["tags", "lists"])
@pytest.mark.parametrize(
    ("item", "field"),
    [
        *((item, "title") for item in ({}, {"title": " "}, {"title": None, "slug": "x"})),
        *((item, "title") for item in ({"title": ["Gold"]}, {"title": "a\0"})),
        *((item, "item") for item in ("Gold", 5, None)),
    ],
)
def test_an_item_without_a_title_is_told_and_costs_itself(
    api: APIClient, kind: str, item: object, field: str
) -> None:
    response = api.post(f"/{kind}/bulk", {"items": [{"title": "Silver"}, item]})
    assert response.status_code == 200
    silver = MODELS[kind].objects.get()
    body = response.json()
    assert (silver.title, body["ids"]) == ("Silver", [silver.id])
    assert [(error["index"], list(error["errors"])) for error in body["errors"]] == [(1, [field])]


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_the_items_may_be_json_text(api: APIClient, kind: str) -> None:
    body = api.post(f"/{kind}/bulk", {kind: '[{"title": "Silver"}]'}).json()
    assert "errors" not in body
    assert MODELS[kind].objects.get().title == "Silver"
