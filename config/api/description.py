"""Serve the API description, which each process makes once.

Making it takes longer than any other response, and two threads that make it at once get an error
(drf-spectacular's issue 1122).
"""

import gzip
import hashlib
from functools import cache
from threading import Lock
from typing import NamedTuple

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import etag
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiJsonRenderer

_lock = Lock()


class Description(NamedTuple):
    """The description as OpenAPI in JSON, the same compressed, and its entity tag."""

    plain: bytes
    compressed: bytes
    tag: str


def description() -> Description:
    """Return the description, which the first call makes."""
    with _lock:
        return make_description()


@cache
def make_description() -> Description:
    """Make the description. One thread at a time may do so."""
    schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    plain = OpenApiJsonRenderer().render(schema)
    digest = hashlib.sha256(plain).hexdigest()[:32]
    return Description(plain, gzip.compress(plain, mtime=0), f'W/"{digest}"')


@etag(lambda _: description().tag)
def describe_api(request: HttpRequest) -> HttpResponse:
    """Return the API description, compressed if the client accepts gzip."""
    accepts_gzip = "gzip" in request.headers.get("Accept-Encoding", "").lower()
    body = description().compressed if accepts_gzip else description().plain
    response = HttpResponse(
        body, OpenApiJsonRenderer.media_type, headers={"Vary": "Accept-Encoding"}
    )
    if accepts_gzip:
        response.headers["Content-Encoding"] = "gzip"
    return response
