"""Paginate automations, their runs, and why contacts did not start."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from django.db.models import F, QuerySet
from typing_extensions import override

from automations.models import AutomationStatus, RunStatus
from config.api.pagination import (
    COUNT,
    FluentPagination,
    Schema,
    object_schema,
    query_parameter,
)
from config.api.responses import Response
from config.api.viewsets import ApiViewSet

TEXT: Schema = {"type": "string"}
CONTACT = query_parameter("subscriber_id", "Those of one contact.", COUNT)


class AutomationPagination(FluentPagination):
    """Pages of automations: `{"automations": {…}}`."""

    key = "automations"

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [
            *super().get_schema_operation_parameters(view),
            query_parameter("search", "Part of the title.", TEXT),
            query_parameter("status", "Those in this state.", {"enum": AutomationStatus.values}),
        ]


# What a run is shown with, by the columns of other tables.
RUN_NAMES = {
    "email": "subscriber__email",
    "version_number": "version__number",
    "automation_title": "automation__title",
    "automation_status": "automation__status",
}
REFUSAL_NAMES = {"email": "subscriber__email"}


def with_names(rows: QuerySet[Any], names: Mapping[str, str]) -> QuerySet[Any]:
    """Return rows with columns of other tables as attributes."""
    found: QuerySet[Any] = rows.annotate(**{name: F(source) for name, source in names.items()})
    return found


class PageOfIds(FluentPagination):
    """Pages of rows with the e-mail of their contact, which is read for the page alone.

    Otherwise a page far behind would read as many contacts as it leaves out.
    """

    names: ClassVar[Mapping[str, str]]

    @override
    def get_rows(
        self, queryset: QuerySet[Any], start: int, per_page: int
    ) -> tuple[Sequence[Any], int]:
        ids, total = super().get_rows(queryset.values_list("pk", flat=True), start, per_page)
        rows = with_names(queryset.model._default_manager.filter(pk__in=ids), self.names)
        by_id = {row.pk: row for row in rows}
        return [by_id[each] for each in ids if each in by_id], total


class RunPagination(PageOfIds):
    """Pages of runs: `{"runs": {…}}`."""

    key = "runs"
    names = RUN_NAMES

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return [
            *super().get_schema_operation_parameters(view),
            CONTACT,
            query_parameter("status", "Those in this state.", {"enum": RunStatus.values}),
            query_parameter("step_id", "Those that are at this step.", COUNT),
        ]


class ContactRunPagination(RunPagination):
    """Pages of a contact's runs: `{"automations": {…}}`."""

    key = "automations"

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        return FluentPagination.get_schema_operation_parameters(self, view)


class RefusalPagination(PageOfIds):
    """Pages of refusals, and the numbers of contacts: `{"refusals": {…}, "reasons": {…}}`."""

    key = "refusals"
    names = REFUSAL_NAMES
    # By the reason. The view sets them.
    reasons: Mapping[str, int]

    @override
    def get_paginated_response(self, data: Sequence[Any]) -> Response:
        return Response({self.key: self.get_envelope(data), "reasons": self.reasons})

    @override
    def get_paginated_response_schema(self, schema: Schema) -> Schema:
        reasons: Schema = {"type": "object", "additionalProperties": {"type": "integer"}}
        return object_schema({self.key: self.get_envelope_schema(schema), "reasons": reasons})

    @override
    def get_schema_operation_parameters(self, view: ApiViewSet) -> list[Schema]:
        reason = query_parameter("reason", "Those for this reason.", TEXT)
        return [*super().get_schema_operation_parameters(view), CONTACT, reason]
