"""GET /api/schema/: the API description, made once, compressed where the client accepts it."""

import gzip
import json

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_the_description_is_compressed_if_the_client_accepts_gzip(client: Client) -> None:
    plain = client.get("/api/schema/")
    compressed = client.get("/api/schema/", headers={"Accept-Encoding": "br, gzip"})
    assert json.loads(plain.content)["info"]["title"] == "Tallybook"
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.content) == plain.content
    assert len(compressed.content) < len(plain.content) / 8
    assert plain.headers["Vary"] == compressed.headers["Vary"] == "Accept-Encoding"


def test_a_client_that_has_the_description_gets_no_other(client: Client) -> None:
    tag = client.get("/api/schema/").headers["ETag"]
    again = client.get("/api/schema/", headers={"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


def test_the_description_is_made_once(client: Client) -> None:
    first = client.get("/api/schema/", headers={"Accept-Encoding": "gzip"})
    second = client.get("/api/schema/", headers={"Accept-Encoding": "gzip"})
    assert first.content is second.content


def test_the_description_cannot_be_posted_to(client: Client) -> None:
    assert client.post("/api/schema/").status_code == 405
