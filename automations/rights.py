"""Limit what documents may ask for by the permissions of the user who reads or writes them."""

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any

from automations.documents import filters_in, happenings, walk
from config.api.errors import FieldErrors, Forbidden, InvalidFields
from crm.filters import compile_filters, providers, require_providers
from crm.filters.types import HasPerm
from crm.models import Segment
from crm.segments import user_id_errors

VIEW_CONTACTS = "crm.view_subscriber"
# A start lets steps change contacts.
CHANGE_CONTACTS = "crm.change_subscriber"
VIEW_SEGMENTS = "crm.view_segment"
VIEW_EVENTS = "events.view_trackedevent"
ADD_EVENTS = "events.add_trackedevent"
VIEW_ENDPOINTS = "automations.view_endpoint"
WEBHOOK_SECRETS = ("url", "data")
# A run may tell what its contact did.
SEE_RUNS = ("automations.view_run", VIEW_CONTACTS, VIEW_EVENTS)
START_RUNS = ("automations.change_run", CHANGE_CONTACTS)
# A dry run tells what an explanation tells, and the texts of steps with the contact's values.
DRY_RUN = (*SEE_RUNS, *START_RUNS)
# The body of a delivery holds a contact and an event, and goes to a URL that may hold a secret.
SEE_DELIVERIES = ("automations.view_delivery", VIEW_ENDPOINTS, VIEW_CONTACTS, VIEW_EVENTS)


def require_reading(document: Mapping[str, Any], has_perm: HasPerm) -> None:
    """Check that a user may see what a document names, such as conditions about events.

    Raises:
        Forbidden: 403.
    """
    filters = [groups for _, groups in filters_in(document)]
    for each in happenings(document):
        if each["type"] == "event" and not has_perm(VIEW_EVENTS):
            raise Forbidden("You may not see events.")
        if each["type"] == "segment_entered":
            if not has_perm(VIEW_SEGMENTS):
                raise Forbidden("You may not see segments.")
            filters += [each.filters for each in Segment.objects.filter(pk=each["segment"])]
    require_providers(_provider_names(filters), has_perm)


def require_no_user_ids(document: Mapping[str, Any], user_source: str) -> None:
    """Check that a document asks for no user_id, if the caller's password has a source for it.

    It would be about other persons than those whom the caller means.

    Raises:
        InvalidFields: 422 by place.
    """
    if not user_source:
        return
    errors: FieldErrors = {}
    for place, groups in filters_in(document):
        errors |= user_id_errors(compile_filters(groups, place))
    if errors:
        raise InvalidFields(errors)


def _provider_names(filters: list[list[list[dict[str, Any]]]]) -> Iterator[str]:
    """Yield the providers that stored filters ask."""
    for groups in filters:
        for group in groups:
            for item in group:
                name = item["source"][0]
                # A stored filter may be older than its provider's end.
                if name in providers():
                    yield name


def without_secrets(document: Mapping[str, Any], has_perm: HasPerm) -> dict[str, Any]:
    """Return a document as a user may see it.

    URLs and texts of webhooks may hold secrets, so that they are left out for users who may not see
    the endpoints of webhooks.
    """
    copy = {**document}
    if not has_perm(VIEW_ENDPOINTS):
        copy["steps"] = deepcopy(document["steps"])
        for step in walk(copy["steps"]):
            if step["type"] == "webhook":
                for name in WEBHOOK_SECRETS:
                    step.pop(name, None)
    return copy


def hide_urls(steps: Iterable[dict[str, Any]], has_perm: HasPerm) -> None:
    """Remove the URLs of webhooks from what steps did, as `without_secrets` does from a document.

    Args:
        steps: what each step did, with `detail`.
        has_perm: tells what the user may see.
    """
    for step in steps:
        step["detail"] = without_url(step["detail"], has_perm)


def without_url(detail: Mapping[str, Any], has_perm: HasPerm) -> dict[str, Any]:
    """Return what a step noted, without the URL of a webhook unless the user may see it."""
    may_see = has_perm(VIEW_ENDPOINTS)
    return {name: each for name, each in detail.items() if may_see or name != "url"}


def require_export(document: Mapping[str, Any], has_perm: HasPerm) -> None:
    """Check that a user may see all of a document.

    Raises:
        Forbidden: 403.
    """
    require_reading(document, has_perm)
    if without_secrets(document, has_perm) != document:
        raise Forbidden("You may not see webhooks.")


def require_writing(document: Mapping[str, Any], has_perm: HasPerm) -> None:
    """Check that a user may have a document done, whose steps act by themselves later.

    Raises:
        Forbidden: 403.
    """
    require_reading(document, has_perm)
    types = {step["type"] for step in walk(document["steps"])}
    if "track_event" in types and not has_perm(ADD_EVENTS):
        raise Forbidden("You may not track events.")
    # A webhook sends the contact.
    if "webhook" in types and not has_perm(VIEW_CONTACTS):
        raise Forbidden("You may not see contacts.")
