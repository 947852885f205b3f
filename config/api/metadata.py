"""Answer OPTIONS."""

from typing import Any

from rest_framework.metadata import SimpleMetadata
from rest_framework.request import Request
from typing_extensions import override


class Metadata(SimpleMetadata):
    """DRF's metadata without `actions`, because input has no serializers to derive them from."""

    @override
    def determine_actions(self, request: Request, view: Any) -> dict[str, Any]:
        return {}
