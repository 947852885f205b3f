"""Select parsers, and the one renderer."""

from collections.abc import Iterable, Mapping
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from typing_extensions import override

from config.api.json_text import JSON_TYPE
from config.api.responses import render_json


class JSONRenderer(BaseRenderer):
    """`application/json` for what DRF renders itself, such as its answer to OPTIONS."""

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
        return render_json(data)


class JSONOnlyNegotiation(BaseContentNegotiation):
    """Select the parser by the content type, and the only renderer of the view."""

    @override
    def select_parser(self, request: Request, parsers: Iterable[BaseParser]) -> BaseParser | None:
        content_type = request.content_type.partition(";")[0].strip().lower()
        if content_type.endswith("+json") and JSON_TYPE.match(content_type):
            content_type = "application/json"
        # A body without a content type is JSON or nothing that can be read.
        content_type = content_type or "application/json"
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
