"""Answers are JSON, whatever a caller says it accepts: FluentCRM has no other."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request


class JSONRenderer(BaseRenderer):
    """`application/json` by orjson."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The JSON of `data`; whole numbers beyond 64 bits become floating-point ones."""
        try:
            return orjson.dumps(data)
        except orjson.JSONEncodeError:
            # PostgreSQL writes 1e20 as a whole number, and Django reads it as one.
            return orjson.dumps(orjson.loads(json.dumps(data)))


class JSONOnlyNegotiation(BaseContentNegotiation):
    """Takes the first renderer and the first parser of the content type."""

    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        """The parser for the request's content type, or None (415)."""
        content_type = request.content_type.partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == content_type), None)

    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        """The one renderer of the view."""
        only = next(iter(renderers))
        return only, only.media_type
