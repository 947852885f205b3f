"""A tag or list is its title: two titles are two labels, also where they make the same slug."""

import unicodedata
from typing import Any

import pytest
from rest_framework.test import APIClient

from crm.labels import ResolvedLabels, resolve_labels
from crm.models import List, Subscriber, Tag

pytestmark = [pytest.mark.django_db, pytest.mark.parametrize("kind", ["tags", "lists"])]
MODELS: dict[str, type[Tag | List]] = {"tags": Tag, "lists": List}
NO_LIST = {"array": "The {} must be an array, because a title may have a comma."}


def write(api: APIClient, kind: str, names: Any, email: str = "ada@example.com") -> list[str]:
    """Write a contact with labels, and return their titles as the response shows them."""
    fields = {"email": email, "status": "subscribed", "__force_update": "yes", kind: names}
    response = api.post("/subscribers", fields)
    assert response.status_code == 200, response.content
    return [label["title"] for label in response.json()["contact"][kind]]


def labels(kind: str) -> list[tuple[str, str]]:
    """Return title and slug of all tags or lists, the oldest first."""
    return list(MODELS[kind]._default_manager.order_by("id").values_list("title", "slug"))


@pytest.mark.parametrize(
    ("first", "second", "slug"),
    [
        ("Score > 50", "Score < 50", "score-50"),
        ("VIP", "VIP ✓", "vip"),
        ("VIP ✓", "VIP", "vip"),
        ("A&B", "A+B", "a-b"),
    ],
)
def test_two_titles_with_one_slug_are_two_labels(
    api: APIClient, kind: str, first: str, second: str, slug: str
) -> None:
    assert write(api, kind, [first], "ada@example.com") == [first]
    assert write(api, kind, [second], "bob@example.com") == [second]
    assert labels(kind) == [(first, slug), (second, f"{slug}-2")]


def test_a_third_title_of_one_slug_gets_the_next_number(api: APIClient, kind: str) -> None:
    write(api, kind, ["Kids (boys)", "Kids/boys", "Kids boys"])
    assert [slug for _, slug in labels(kind)] == ["kids-boys", "kids-boys-2", "kids-boys-3"]


def test_a_number_fits_behind_the_longest_slug(api: APIClient, kind: str) -> None:
    write(api, kind, ["x" * 191 + "!", "x" * 191 + "y", "x" * 191 + "Y", "X" * 192])
    write(api, kind, ["ß" * 96, "ß" * 97])
    assert [slug for _, slug in labels(kind)][-2:] == ["s" * 192, "s" * 190 + "-2"]


@pytest.mark.parametrize(
    "name", ["early bird", "EARLY BIRD", " Early  Bird ", "early-bird", "Early-Bird"]
)
def test_a_label_is_found_by_title_or_slug_in_any_case(
    api: APIClient, kind: str, name: str
) -> None:
    write(api, kind, ["Early Bird"])
    assert write(api, kind, [name], "bob@example.com") == ["Early Bird"]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_title_is_found_in_any_normal_form(api: APIClient, kind: str, form: Any) -> None:
    write(api, kind, [unicodedata.normalize("NFC", "Café")])
    write(api, kind, [unicodedata.normalize(form, "CAFÉ")])
    assert len(labels(kind)) == 1


def test_a_title_wins_over_another_labels_slug(api: APIClient, kind: str) -> None:
    write(api, kind, ["VIP", "VIP ✓"])
    MODELS[kind]._default_manager.filter(title="VIP").update(title="vip-2")
    assert write(api, kind, ["vip-2"], "bob@example.com") == ["vip-2"]


def test_a_name_that_two_titles_have_attaches_the_older_label(api: APIClient, kind: str) -> None:
    for slug in ("first", "second"):
        api.post(f"/{kind}", {"title": "VIP", "slug": slug})
    write(api, kind, ["vip"])
    [label] = getattr(Subscriber.objects.get(), kind).all()
    assert label.slug == "first"


@pytest.mark.parametrize("name", ["日本", "会員", "Öl"])
def test_a_title_of_three_bytes_creates_a_label(api: APIClient, kind: str, name: str) -> None:
    assert write(api, kind, [name]) == [name]


@pytest.mark.parametrize("name", ["ab", "é", "a"])
def test_a_shorter_title_creates_none(api: APIClient, kind: str, name: str) -> None:
    assert write(api, kind, [name]) == []
    assert labels(kind) == []


@pytest.mark.parametrize("name", ["ab", "é", "東"])
def test_a_label_that_exists_is_found_however_short(api: APIClient, kind: str, name: str) -> None:
    api.post(f"/{kind}", {"title": name})
    assert write(api, kind, [name.upper()]) == [name]


@pytest.mark.parametrize("name", ["2024", 2024])
def test_a_number_that_is_no_id_is_a_title(api: APIClient, kind: str, name: Any) -> None:
    api.post(f"/{kind}", {"title": "2024"})
    assert write(api, kind, [name]) == ["2024"]


@pytest.mark.parametrize("digits", ["{}", "00{}"])
def test_an_id_wins_over_a_title_of_digits(api: APIClient, kind: str, digits: str) -> None:
    gold = api.post(f"/{kind}", {"title": "Gold"}).json()["item"]
    api.post(f"/{kind}", {"title": str(gold["id"]), "slug": "digits"})
    assert write(api, kind, [digits.format(gold["id"])]) == ["Gold"]


@pytest.mark.parametrize("name", ["987654", "0", "9" * 18, "9" * 40])
def test_a_number_that_no_label_has_creates_none(api: APIClient, kind: str, name: str) -> None:
    assert write(api, kind, [name]) == []
    assert labels(kind) == []


def test_a_write_knows_the_names_that_no_label_has(kind: Any) -> None:
    gold = MODELS[kind]._default_manager.create(title="Gold", slug="gold")
    names = ["ab", "gold", "987654", "", "Silver", "GOLD"]
    resolved = resolve_labels(kind, names, create=False)
    assert resolved == ResolvedLabels([gold.pk], ["ab", "987654", "Silver"])


def test_names_that_were_created_are_not_missing(kind: Any) -> None:
    resolved = resolve_labels(kind, ["ab", "Silver"], create=True)
    assert resolved == ResolvedLabels([MODELS[kind]._default_manager.get().pk], ["ab"])


@pytest.mark.parametrize("title", ["VIP", "vip"])
def test_a_label_whose_title_exists_is_not_created_again(
    api: APIClient, kind: str, title: str
) -> None:
    api.post(f"/{kind}", {"title": "VIP"})
    response = api.post(f"/{kind}", {"title": title})
    assert (response.status_code, list(response.json())) == (422, ["slug"])
    assert len(labels(kind)) == 1


def test_a_title_in_another_script_is_not_created_again(api: APIClient, kind: str) -> None:
    api.post(f"/{kind}", {"title": "日本"})
    assert api.post(f"/{kind}", {"title": "日本"}).status_code == 422


def test_a_label_with_another_title_of_the_same_slug_is_created(api: APIClient, kind: str) -> None:
    api.post(f"/{kind}", {"title": "VIP"})
    item = api.post(f"/{kind}", {"title": "VIP!"}).json()["item"]
    assert (item["title"], item["slug"]) == ("VIP!", "vip-2")


def test_a_list_of_titles_creates_a_label_for_each(api: APIClient, kind: str) -> None:
    items = [{"title": title} for title in ("VIP!", "VIP", "vip", "日本", "日本")]
    ids = api.post(f"/{kind}/bulk", {"items": items}).json()["ids"]
    assert [title for title, _ in labels(kind)] == ["VIP!", "VIP", "日本"]
    assert ids == [ids[0], ids[1], ids[1], ids[3], ids[3]]


def test_a_list_of_titles_renames_no_label(api: APIClient, kind: str) -> None:
    api.post(f"/{kind}", {"title": "VIP"})
    api.post(f"/{kind}/bulk", {"items": [{"title": "vip"}, {"title": "VIP ✓"}]})
    assert [title for title, _ in labels(kind)] == ["VIP", "VIP ✓"]


def test_a_slug_in_another_script_does_not_make_a_label_twice(api: APIClient, kind: str) -> None:
    items = [{"title": "日本", "slug": "日本"}]
    first = api.post(f"/{kind}/bulk", {"items": items}).json()["ids"]
    assert api.post(f"/{kind}/bulk", {"items": items}).json()["ids"] == first


def test_a_change_without_a_slug_keeps_the_number(api: APIClient, kind: str) -> None:
    api.post(f"/{kind}", {"title": "VIP"})
    other = api.post(f"/{kind}", {"title": "VIP ✓"}).json()["item"]
    change = {"title": "VIP ✓", "description": "With a tick"}
    assert api.put(f"/{kind}/{other['id']}", change).status_code == 200
    assert labels(kind)[1] == ("VIP ✓", "vip-2")


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("post", "/subscribers", "{kind}"),
        ("put", "/subscribers/{id}", "attach_{kind}"),
        ("put", "/subscribers/{id}", "detach_{kind}"),
        ("post", "/subscribers/sync-segments", "attach"),
        ("post", "/subscribers/sync-segments", "detach"),
        ("get", "/subscribers", "{kind}"),
    ],
)
def test_a_text_with_a_comma_is_no_list_of_names(
    api: APIClient, ada: Subscriber, kind: str, method: str, path: str, field: str
) -> None:
    name = field.format(kind=kind)
    fields = {"email": "bob@example.com", "status": "pending"} if path == "/subscribers" else {}
    sync = {"type": kind, "subscribers": [ada.id]} if "sync" in path else {}
    response = getattr(api, method)(path.format(id=ada.id), {**fields, **sync, name: "vip, buyer"})
    assert response.status_code == 422, response.content
    assert response.json() == {name: {"array": NO_LIST["array"].format(name)}}
    assert labels(kind) == []


def test_a_contact_of_a_batch_with_a_comma_text_is_invalid(api: APIClient, kind: str) -> None:
    item = {"email": "bob@example.com", kind: "vip, buyer"}
    response = api.post("/subscribers/bulk-add-update", {"contacts": [item]})
    assert response.json()["invalids"] == [item]


def test_a_title_in_a_list_may_have_a_comma(api: APIClient, kind: str) -> None:
    assert write(api, kind, ["vip, buyer"]) == ["vip, buyer"]


def test_a_text_without_a_comma_is_one_name(api: APIClient, kind: str) -> None:
    assert write(api, kind, "vip buyer") == ["vip buyer"]


def test_a_sync_by_title_compares_normal_forms(api: APIClient, ada: Subscriber, kind: str) -> None:
    api.post(f"/{kind}", {"title": unicodedata.normalize("NFD", "Café")})
    fields = {"type": kind, "subscribers": [ada.id], "find_by": "title", "attach": ["CAFÉ"]}
    rows = api.post("/subscribers/sync-segments", fields).json()["subscribers"]
    assert len(rows[0][kind]) == 1
