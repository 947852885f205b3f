"""Limit what documents may ask for by the permissions of the user who reads or writes them."""

from collections.abc import Iterator, Mapping
from typing import Any

from automations.documents import happenings, walk
from config.api.errors import Forbidden
from crm.filters import providers, require_providers
from crm.filters.types import HasPerm
from crm.models import Segment

VIEW_SEGMENTS = "crm.view_segment"
VIEW_EVENTS = "events.view_trackedevent"
ADD_EVENTS = "events.add_trackedevent"


def require_reading(document: Mapping[str, Any], has_perm: HasPerm) -> None:
    """Check that a user may see what a document names, such as conditions about events.

    Raises:
        Forbidden: 403.
    """
    filters = [document["conditions"]]
    filters += [step["conditions"] for step in walk(document["steps"]) if "conditions" in step]
    for each in happenings(document):
        if each["type"] == "event" and not has_perm(VIEW_EVENTS):
            raise Forbidden("You may not see events.")
        if each["type"] == "segment_entered":
            if not has_perm(VIEW_SEGMENTS):
                raise Forbidden("You may not see segments.")
            filters += [each.filters for each in Segment.objects.filter(pk=each["segment"])]
    require_providers(_provider_names(filters), has_perm)


def _provider_names(filters: list[list[list[dict[str, Any]]]]) -> Iterator[str]:
    """Yield the providers that stored filters ask."""
    for groups in filters:
        for group in groups:
            for item in group:
                name = item["source"][0]
                # A stored filter may be older than its provider's end.
                if name in providers():
                    yield name


def require_writing(document: Mapping[str, Any], has_perm: HasPerm) -> None:
    """Check that a user may have a document done, whose steps act by themselves later.

    Raises:
        Forbidden: 403.
    """
    require_reading(document, has_perm)
    types = {step["type"] for step in walk(document["steps"])}
    if "track_event" in types and not has_perm(ADD_EVENTS):
        raise Forbidden("You may not track events.")
