"""crm.labels: the slugs of tags, lists and segments."""

import re

import pytest

from crm.labels import slugify


@pytest.mark.parametrize(
    ("title", "slug"),
    [
        ("VIP customer", "vip-customer"),
        ("Größe & Maß", "grosse-mass"),
        ("Łódź, Ærø", "lodz-aero"),
        ("Þór Đorđe ð œ", "thor-dorde-d-oe"),
        ("crème  brûlée!", "creme-brulee"),
        ("ｆｕｌｌ ﬁ", "full-fi"),  # noqa: RUF001
        ("--a__b--", "a-b"),
        ("a_b", "a_b"),
        ("2024/25", "2024-25"),
        ("Straße 🎉", "strasse"),
        ("already-a-slug", "already-a-slug"),
    ],
)
def test_a_slug_is_ascii_with_single_dashes(title: str, slug: str) -> None:
    assert slugify(title) == slug


@pytest.mark.parametrize("title", ["Клиенты", "VIP клиент", "東京", "!!!", "🎉", "", "---"])
def test_a_title_in_another_script_or_without_letters_gets_a_random_slug(title: str) -> None:
    assert re.fullmatch("[a-z0-9]{11}", slugify(title))


def test_random_slugs_differ() -> None:
    assert slugify("東京") != slugify("東京")


def test_a_slug_is_cut_at_192_characters() -> None:
    assert slugify("ß" * 100) == "s" * 192


def test_a_slug_that_is_cut_does_not_end_with_a_dash() -> None:
    assert slugify(f"{'a' * 191} b") == "a" * 191
