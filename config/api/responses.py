"""Return responses as JSON, whatever the request accepts, because FluentCRM has nothing else."""

import json
from collections.abc import Mapping
from typing import Any

import orjson
from django.http import HttpResponse


def render_json(data: Any) -> bytes:
    """Return the JSON of `data`; whole numbers beyond 64 bits become floating-point ones."""
    try:
        return orjson.dumps(data)
    except orjson.JSONEncodeError:
        # PostgreSQL writes 1e20 as a whole number, and Django reads it as one.
        return orjson.dumps(orjson.loads(json.dumps(data)))


class Response(HttpResponse):
    """A response of the API.

    DRF's Response chooses a renderer and renders later, which takes longer than the JSON itself.
    """

    def __init__(
        self, data: Any, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> None:
        """Render `data`, which stays readable as an attribute."""
        super().__init__(render_json(data), "application/json", status, headers=headers)
        self.data = data
