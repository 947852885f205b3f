"""Custom fields, tags and lists of a source, beside those that are here."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crm.custom_fields import add_field
from crm.labels import create_label
from crm.models import CustomField, Tag
from transfers.sources import SourceLabel
from transfers.sources.definitions import write_fields, write_labels

pytestmark = pytest.mark.django_db
LATER = datetime.now(UTC) + timedelta(days=1)


def label(number: int, title: Any, slug: Any = "", at: datetime | None = None) -> SourceLabel:
    return SourceLabel(str(number), {"title": title, "slug": slug, "description": None}, at)


def tags() -> list[tuple[str, str]]:
    return [*Tag.objects.order_by("id").values_list("title", "slug")]


def test_a_field_that_is_here_stays() -> None:
    add_field(CustomField(label="Plan", slug="plan", type="text"))
    fields = [{"label": "Other", "slug": "plan", "type": "text"}]
    assert write_fields(fields) == (0, [])
    number, [remark] = write_fields([{"label": "Plan", "slug": "plan", "type": "number"}])
    assert (number, CustomField.objects.get().type) == (0, "text")
    assert "has the type text here and number at the source" in remark


def test_fields_that_are_none_are_named_and_others_come() -> None:
    fields = ["x", {"label": "A", "slug": "a", "type": "company"}, {"slug": "b", "type": "date"}]
    number, remarks = write_fields(fields)
    assert (number, len(remarks)) == (1, 2)
    assert CustomField.objects.get().slug == "b"


def test_a_label_is_found_by_its_title() -> None:
    vip = create_label("tags", {"title": "VIP", "slug": "gold"})
    assert write_labels("tags", [label(7, "vip", "vip")], {}) == (0, {"7": vip.pk}, [])
    assert tags() == [("VIP", "gold")]


def test_a_label_with_the_slug_of_another_one_gets_one_of_its_own() -> None:
    create_label("tags", {"title": "Score > 50", "slug": "score-50"})
    number, ids, [remark] = write_labels("tags", [label(7, "Score < 50", "score-50")], {})
    assert (number, [*ids]) == (1, ["7"])
    assert tags() == [("Score > 50", "score-50"), ("Score < 50", "score-50-2")]
    assert "that of another label" in remark


@pytest.mark.parametrize(
    ("at", "title"), [(LATER, "Gold"), (None, "VIP"), (datetime(2020, 1, 1, tzinfo=UTC), "VIP")]
)
def test_a_label_that_is_known_gets_a_later_title(at: datetime | None, title: str) -> None:
    vip = create_label("tags", {"title": "VIP", "slug": "vip"})
    number, ids, _ = write_labels("tags", [label(7, "Gold", "gold", at)], {"7": vip.pk})
    assert (number, ids, tags()) == (0, {"7": vip.pk}, [(title, "vip")])


def test_a_label_without_a_title_has_its_slug() -> None:
    number, ids, remarks = write_labels(
        "tags", [label(1, None, "vip"), label(2, {}), label(3, ""), label(4, "a\0")], {}
    )
    assert (number, [*ids], len(remarks)) == (1, ["1"], 3)
    assert tags() == [("vip", "vip")]


def test_a_description_that_is_none_is_left_out() -> None:
    row = SourceLabel("1", {"title": "VIP", "slug": "vip", "description": ["x"]}, None)
    write_labels("tags", [row], {})
    assert Tag.objects.values_list("description", flat=True).get() is None
