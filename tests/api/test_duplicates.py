"""Duplicates that are rejected: PostgreSQL's log has no line, and so no personal data, of them."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from rest_framework.test import APIClient

from config.server.postgres import EmbeddedPostgres
from crm.contacts import create
from crm.labels import create_label
from crm.models import List, Segment, Subscriber, Tag
from crm.segments import create_segment

FILTERS = [[{"source": ["subscriber", "email"], "operator": "contains", "value": "x"}]]
NEW = {"email": "new@example.com", "status": "subscribed"}
MODELS: dict[str, Any] = {"tags": Tag, "lists": List, "segments": Segment}


@pytest.fixture
def existing(db: None) -> None:
    """A contact with a user_id, and a tag, a list and a segment of the slug "vip", and others."""
    create({"email": "grace@example.com", "user_id": "42"})
    create({"email": "other@example.com"})
    for slug in ("vip", "other"):
        create_label("tags", {"title": slug, "slug": slug})
        create_label("lists", {"title": slug, "slug": slug})
        create_segment({"title": slug, "slug": slug, "filters": FILTERS})


@pytest.mark.usefixtures("existing")
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/subscribers", NEW | {"email": "GRACE@example.com"}),
        ("/subscribers", NEW | {"user_id": "42"}),
        ("/tags", {"title": "Three", "slug": "VIP"}),
        ("/lists", {"title": "Three", "slug": "VIP"}),
        ("/segments", {"title": "Three", "slug": "VIP", "filters": FILTERS}),
    ],
    ids=["e-mail", "user_id", "tag", "list", "segment"],
)
def test_a_duplicate_is_rejected_without_a_line_in_the_log(
    path: str, body: dict[str, Any], api: APIClient, postgres: EmbeddedPostgres
) -> None:
    before = postgres.log.stat().st_size
    assert api.post(path, body).status_code == 422
    assert postgres.log.stat().st_size == before


@pytest.mark.usefixtures("existing")
@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("tags", {"title": "other", "slug": "VIP"}),
        ("lists", {"title": "other", "slug": "VIP"}),
        ("segments", {"slug": "VIP"}),
    ],
)
def test_a_slug_that_is_taken_is_rejected_without_a_line_in_the_log(
    kind: str, body: dict[str, str], api: APIClient, postgres: EmbeddedPostgres
) -> None:
    before = postgres.log.stat().st_size
    label = MODELS[kind].objects.get(slug="other")
    assert api.put(f"/{kind}/{label.id}", body).status_code == 422
    assert postgres.log.stat().st_size == before


@pytest.mark.usefixtures("existing")
def test_an_email_that_is_taken_is_rejected_without_a_line_in_the_log(
    api: APIClient, postgres: EmbeddedPostgres
) -> None:
    before = postgres.log.stat().st_size
    contact = Subscriber.objects.get(email="other@example.com")
    body = {"subscriber": {"email": "grace@example.com"}}
    assert api.put(f"/subscribers/{contact.id}", body).status_code == 422
    assert postgres.log.stat().st_size == before


@pytest.mark.usefixtures("existing")
def test_an_error_is_logged_without_its_values_and_its_statement(
    postgres: EmbeddedPostgres,
) -> None:
    before = postgres.log.stat().st_size
    with pytest.raises(IntegrityError), transaction.atomic():
        Subscriber.objects.create(email="grace@example.com")
    added = postgres.log.read_bytes()[before:]
    assert added.count(b"\n") == 1
    assert b"crm_subscriber_email_key" in added
    assert b"grace" not in added
