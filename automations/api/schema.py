"""Describe the endpoints of automations."""

from rest_framework import serializers

from automations.api.serializers import (
    AutomationRowSerializer,
    AutomationSerializer,
    DryRunSerializer,
    ExplanationSerializer,
    RefusalSerializer,
    RunCountsSerializer,
    RunSerializer,
    RunStepSerializer,
    StepReportSerializer,
)
from automations.kinds import REENTRIES, TRIGGERS
from automations.models import AutomationStatus
from config.api.schema import describe, envelope, ids, parameter
from crm.api.schema.base import MESSAGE, choice, objects, optional_text

__all__ = ["MESSAGE"]

CONDITIONS = serializers.ListField(
    child=objects(), required=False, help_text="A filter, as advanced_filters of contacts."
)
DOCUMENT = {
    "title": serializers.CharField(min_length=1),
    "description": optional_text(),
    "trigger": envelope("AutomationTrigger", type=choice(*TRIGGERS)),
    "only_subscribed": serializers.BooleanField(required=False),
    "reentry": choice(*REENTRIES, required=False),
    "max_starts_per_hour": serializers.IntegerField(required=False, min_value=1),
}
STEPS = serializers.ListField(
    child=serializers.DictField(),
    required=False,
    max_length=100,
    help_text="docs/reference/automations.md describes each type of step.",
)
NEW = envelope("NewAutomation", **DOCUMENT, conditions=CONDITIONS, steps=STEPS)
LIST = describe(AutomationRowSerializer(many=True), filters=False)
RETRIEVE = describe(envelope("RetrievedAutomation", automation=AutomationSerializer()))
STORED = envelope(
    "StoredAutomation", message=serializers.CharField(), automation=AutomationSerializer()
)
CREATE = describe(STORED, request=NEW)
UPDATE = describe(
    STORED,
    request=envelope(
        "AutomationVersion",
        **DOCUMENT,
        conditions=serializers.ListField(child=objects()),
        steps=serializers.ListField(child=serializers.DictField(), max_length=100),
        version=serializers.IntegerField(
            required=False, min_value=1, help_text="The version that was changed."
        ),
    ),
    conflict=envelope(
        "OutdatedAutomation", message=serializers.CharField(), version=serializers.IntegerField()
    ),
)
WRITTEN = describe(STORED)
RESUME = describe(
    envelope(
        "ResumedAutomation",
        message=serializers.CharField(),
        overdue=serializers.IntegerField(),
        automation=AutomationSerializer(),
    ),
    request=envelope("AutomationResumption", overdue=choice("run", "cancel", required=False)),
    unprocessable=envelope(
        "OverdueRuns",
        message=serializers.CharField(),
        error_code=serializers.CharField(),
        overdue=serializers.IntegerField(),
    ),
)
EXPORT = describe(
    envelope(
        "ExportedAutomation",
        automation=serializers.DictField(help_text="The document, with titles instead of ids."),
    )
)
IMPORT = describe(
    envelope(
        "ImportedAutomation",
        message=serializers.CharField(),
        automation=AutomationSerializer(),
        created_labels=envelope(
            "CreatedLabelTitles",
            tags=serializers.ListField(child=serializers.CharField()),
            lists=serializers.ListField(child=serializers.CharField()),
        ),
    ),
    request=NEW,
)
START = describe(
    envelope(
        "StartedRuns",
        message=serializers.CharField(),
        outcomes=serializers.DictField(
            child=serializers.IntegerField(),
            help_text="started, inside, before, conditions, status, loop, error, unknown.",
        ),
    ),
    request=envelope("ContactsToStart", subscriber_ids=ids()),
)
REPORT = describe(
    envelope(
        "AutomationReport",
        report=envelope(
            "ReportOfRuns",
            status=serializers.ChoiceField(choices=AutomationStatus.choices),
            started=serializers.IntegerField(),
            counts=RunCountsSerializer(),
            steps=StepReportSerializer(many=True),
        ),
    )
)
RUNS = describe(RunSerializer(many=True), filters=False)
REFUSALS = describe(RefusalSerializer(many=True), filters=False)
RUN = describe(
    envelope(
        "RunWithPath",
        run=RunSerializer(),
        path=RunStepSerializer(many=True, help_text="What its steps did, in their order."),
    )
)
EXPLAIN = describe(
    envelope("ExplainedStart", explanation=ExplanationSerializer()),
    parameters=[parameter("subscriber_id", "The contact.", {"type": "integer", "minimum": 1})],
    names_row=True,
)
DRY_RUN = describe(
    envelope("DryRunResponse", dry_run=DryRunSerializer()),
    request=envelope(
        "DryRunRequest",
        subscriber_id=serializers.IntegerField(min_value=1),
        happens=serializers.BooleanField(
            required=False, help_text="Whether what the automation waits for happens in time."
        ),
    ),
    names_row=True,
)
