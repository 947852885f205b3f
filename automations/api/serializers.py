"""Serialize automations, their runs, and why contacts did not start."""

from rest_framework import serializers

from automations.models import AutomationStatus, RunStatus
from config.api.serializers import FluentDateTimeField, RowSerializer


def optional_time() -> serializers.CharField:
    """Return the description of a datetime that may be missing."""
    return FluentDateTimeField(allow_null=True)


class RunCountsSerializer(RowSerializer):
    """The numbers of runs by how they stand: automations.reports.RunCounts."""

    inside = serializers.IntegerField()
    completed = serializers.IntegerField()
    cancelled = serializers.IntegerField()
    failed = serializers.IntegerField()


class AutomationRowSerializer(RowSerializer):
    """An automation in a list, which has no document. The view sets `counts` and `version_number`.

    `trigger` is the type of the trigger.
    """

    id = serializers.IntegerField()
    title = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField(choices=AutomationStatus.choices)
    paused_reason = serializers.CharField(allow_blank=True)
    trigger = serializers.CharField()
    version = serializers.IntegerField(source="version_number")
    armed_at = optional_time()
    created_by = serializers.IntegerField(source="created_by_id", allow_null=True)
    created_at = FluentDateTimeField()
    updated_at = FluentDateTimeField()
    counts = RunCountsSerializer()
    last_started_at = optional_time()


class AutomationSerializer(AutomationRowSerializer):
    """An automation with its document, which can be sent back as it is."""

    trigger = serializers.DictField()  # type: ignore[assignment]
    conditions = serializers.ListField(child=serializers.ListField(child=serializers.DictField()))
    steps = serializers.ListField(child=serializers.DictField())
    only_subscribed = serializers.BooleanField()
    reentry = serializers.CharField()
    max_starts_per_hour = serializers.IntegerField()
    overdue = serializers.IntegerField(
        help_text="How many contacts inside would go on at once. Counted while it is paused."
    )


class RunSerializer(RowSerializer):
    """A run of a contact, as RunPagination reads it."""

    id = serializers.IntegerField()
    automation_id = serializers.IntegerField()
    subscriber_id = serializers.IntegerField()
    email = serializers.CharField()
    number = serializers.IntegerField(help_text="1 for the contact's first run.")
    version = serializers.IntegerField(source="version_number")
    status = serializers.ChoiceField(choices=RunStatus.choices)
    reason = serializers.CharField(allow_blank=True, help_text="Why it has ended early.")
    step_id = serializers.IntegerField(allow_null=True, help_text="The step where it is.")
    entered_at = optional_time()
    due_at = optional_time()
    # Of the outbox, "segment" or "manual".
    source_kind = serializers.CharField(help_text="What it started by.")
    source_key = serializers.CharField(allow_blank=True)
    occurrence_id = serializers.IntegerField(allow_null=True)
    source_at = FluentDateTimeField()
    attempts = serializers.IntegerField(help_text="How often its step has failed.")
    error = serializers.CharField(allow_blank=True)
    created_at = FluentDateTimeField()
    ended_at = optional_time()
    automation_title = serializers.CharField(required=False)
    automation_status = serializers.ChoiceField(choices=AutomationStatus.choices, required=False)
    step = serializers.DictField(
        required=False, allow_null=True, help_text="The step where it is, as the document has it."
    )


class RunStepSerializer(RowSerializer):
    """What a step did in a run."""

    step_id = serializers.IntegerField()
    outcome = serializers.CharField(help_text="done, skipped, yes, no, removed.")
    detail = serializers.DictField()
    at = FluentDateTimeField()


class RefusalSerializer(RowSerializer):
    """Why a contact did not start, and how often."""

    subscriber_id = serializers.IntegerField()
    email = serializers.CharField()
    reason = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    times = serializers.IntegerField()
    last_at = FluentDateTimeField()


class StepReportSerializer(RowSerializer):
    """What happened at a step: automations.reports.StepReport."""

    step_id = serializers.IntegerField()
    type = serializers.CharField(allow_blank=True, help_text="Empty if the step was removed.")
    place = serializers.CharField(allow_blank=True, help_text="Such as steps.2.then.0.")
    entered = serializers.IntegerField()
    passed = serializers.IntegerField()
    inside = serializers.IntegerField()
    left = serializers.IntegerField()
    failed = serializers.IntegerField()
    outcomes = serializers.DictField(child=serializers.IntegerField())


class ConditionResultSerializer(RowSerializer):
    """Whether a contact matches a condition: automations.explaining.ConditionResult."""

    group = serializers.IntegerField()
    item = serializers.DictField(help_text="The condition.")
    matches = serializers.BooleanField()
    value = serializers.CharField(allow_blank=True, help_text="What it compares, for people.")
    error = serializers.CharField(allow_blank=True, help_text="Why it is invalid.")


class EarlierRunSerializer(RowSerializer):
    """A run of the contact that an explanation is about."""

    id = serializers.IntegerField()
    number = serializers.IntegerField()
    status = serializers.ChoiceField(choices=RunStatus.choices)
    reason = serializers.CharField(allow_blank=True)
    step_id = serializers.IntegerField(allow_null=True)
    due_at = optional_time()
    created_at = FluentDateTimeField()
    ended_at = optional_time()


class EarlierRefusalSerializer(RowSerializer):
    """Why the contact that an explanation is about did not start before."""

    reason = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    times = serializers.IntegerField()
    last_at = FluentDateTimeField()


class ExplanationSerializer(RowSerializer):
    """What decides whether a contact starts: automations.explaining.Explanation."""

    would_start = serializers.BooleanField(help_text="If the trigger happened now.")
    automation_status = serializers.ChoiceField(choices=AutomationStatus.choices)
    contact_status = serializers.CharField()
    status_allows = serializers.BooleanField()
    conditions_match = serializers.BooleanField()
    reentry_allows = serializers.BooleanField()
    count = serializers.IntegerField(
        allow_null=True, help_text="How often the event of the trigger has happened."
    )
    last_at = optional_time()
    conditions = ConditionResultSerializer(many=True)
    runs = EarlierRunSerializer(many=True)
    refusals = EarlierRefusalSerializer(many=True)


class DryStepSerializer(RowSerializer):
    """What a step would do: automations.explaining.DryStep."""

    step_id = serializers.IntegerField()
    type = serializers.CharField()
    outcome = serializers.CharField()
    detail = serializers.DictField()
    at = FluentDateTimeField(help_text="When, if all waits took their time.")


class DryRunSerializer(RowSerializer):
    """What an automation would do with a contact: automations.explaining.DryRun."""

    steps = DryStepSerializer(many=True)
    status = serializers.ChoiceField(choices=RunStatus.choices)
    reason = serializers.CharField(allow_blank=True)
