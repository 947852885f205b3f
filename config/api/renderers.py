"""Render responses as JSON, whatever the request accepts, because FluentCRM has nothing else."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from typing_extensions import override


class JSONRenderer(BaseRenderer):
    """`application/json`, by orjson."""

    media_type = "application/json"
    format = "json"
    charset = None

    @override
    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """Return the JSON of `data`; whole numbers beyond 64 bits become floating-point ones."""
        try:
            return orjson.dumps(data)
        except orjson.JSONEncodeError:
            # PostgreSQL writes 1e20 as a whole number, and Django reads it as one.
            return orjson.dumps(orjson.loads(json.dumps(data)))


class JSONOnlyNegotiation(BaseContentNegotiation):
    """Select the parser by the content type, and the only renderer of the view."""

    @override
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        content_type = request.content_type.partition(";")[0].strip().lower()
        return next((parser for parser in parsers if parser.media_type == content_type), None)

    @override
    def select_renderer(
        self,
        request: Request,
        renderers: Iterable[BaseRenderer],
        format_suffix: str | None = None,
    ) -> tuple[BaseRenderer, str]:
        renderer = next(iter(renderers))
        return renderer, renderer.media_type
