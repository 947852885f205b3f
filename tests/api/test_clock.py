"""A clock that goes back leaves no row that was updated before it was created."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from crm.contacts import create
from crm.labels import create_label
from crm.models import Segment, Subscriber, Tag
from crm.segments import create_segment

AHEAD = timedelta(hours=30)


def create_contact() -> Subscriber:
    return create({"email": "ada@example.com"})


def create_tag() -> Any:
    return create_label("tags", {"title": "T"})


def create_all() -> Segment:
    return create_segment({"title": "T", "slug": "t", "filters": []})


@pytest.mark.parametrize(
    ("make", "model", "method", "path", "fields"),
    [
        (create_contact, Subscriber, "put", "/subscribers/{}", {"first_name": "Ada"}),
        (
            create_contact,
            Subscriber,
            "put",
            "/subscribers/subscribers-property",
            {"property": "status", "value": "pending", "subscribers": ["{}"]},
        ),
        (create_tag, Tag, "put", "/tags/{}", {"title": "Other"}),
        (create_all, Segment, "put", "/segments/{}", {"title": "Other"}),
    ],
)
def test_a_row_is_not_updated_before_it_was_created(
    api: APIClient,
    make: Callable[[], Any],
    model: Any,
    method: str,
    path: str,
    fields: dict[str, Any],
) -> None:
    row = make()
    ahead = timezone.now() + AHEAD
    model.objects.update(created_at=ahead, updated_at=ahead)
    sent = {name: [row.pk] if value == ["{}"] else value for name, value in fields.items()}
    assert getattr(api, method)(path.format(row.pk), sent).status_code == 200
    row.refresh_from_db()
    assert row.updated_at == row.created_at


def test_a_row_is_updated_now_by_a_clock_that_is_right(api: APIClient, ada: Subscriber) -> None:
    before = timezone.now()
    api.put(f"/subscribers/{ada.id}", {"first_name": "Ada"})
    ada.refresh_from_db()
    assert before < ada.updated_at < timezone.now()
