"""What automations add to the pages of contacts: an action that starts one, and their runs."""

from collections import Counter
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString

from automations.admin.runs import describe_runs
from automations.models import Automation, AutomationStatus, Run, RunStatus
from automations.rights import SEE_RUNS, START_RUNS, require_writing
from automations.sentences import REASONS
from automations.starting import start_by_hand
from automations.writing import document_of
from config.api.errors import ApiError
from config.database import chunked
from crm.admin.contacts import register_contact_section
from crm.admin.history import log_contacts
from crm.admin.label_actions import confirmation_context, selected_ids
from crm.models import Subscriber
from events.admin.contacts import ContactAdmin

CONTACTS_PER_TRANSACTION = 500
# On a contact's page.
SHOWN_RUNS = 10


class StartForm(forms.Form):
    """The choice of an automation."""

    automation = forms.ModelChoiceField(
        Automation.objects.filter(status=AutomationStatus.PUBLISHED)
        .select_related("version")
        .order_by("title", "pk"),
        empty_label=None,
        help_text="Its conditions and its other rules count as they do for its trigger.",
    )


@admin.action(description="Start an automation for the selected contacts", permissions=["change"])
def start_automation(
    model_admin: ContactAdmin, request: HttpRequest, queryset: QuerySet[Subscriber]
) -> TemplateResponse | None:
    """Start an automation that the admin user chooses, and tell how many have started."""
    # The form names automations.
    if not request.user.has_perms((*START_RUNS, "automations.view_automation")):
        raise PermissionDenied
    contact_ids = selected_ids(queryset)
    form = StartForm(request.POST if "chosen" in request.POST else None)
    if form.is_valid():
        _start(request, form.cleaned_data["automation"], contact_ids)
        return None
    number = f"{len(contact_ids):,} contact{'' if len(contact_ids) == 1 else 's'}"
    context = {
        **model_admin.admin_site.each_context(request),
        **confirmation_context(request),
        "opts": model_admin.opts,
        "title": f"Start an automation for {number}",
        "action": "start_automation",
        "form": form,
    }
    return TemplateResponse(request, "admin/automations/start.html", context)


def _start(request: HttpRequest, automation: Automation, contact_ids: list[int]) -> None:
    require_writing(document_of(automation), request.user.has_perm)
    outcomes: Counter[str] = Counter()
    try:
        for ids in chunked(contact_ids, CONTACTS_PER_TRANSACTION):
            outcomes.update(start_by_hand(ids, automation.pk))
    except ApiError as error:
        # It was paused or deleted meanwhile. The earlier transactions stay.
        messages.error(request, str(error))
    started = outcomes.pop("started", 0)
    log_contacts(request, contact_ids, f"Automation “{automation}” started: {started:,}.")
    others = [f"{number:,}: {REASONS.get(name, name)}" for name, number in outcomes.items()]
    message = " ".join([f"“{automation}” started for {started:,}.", *others])
    messages.success(request, message)


def runs_section(request: HttpRequest, contact: Subscriber) -> SafeString:
    """Return the newest runs of a contact, with where they are and why."""
    if not request.user.has_perms(SEE_RUNS):
        return SafeString("")
    runs: list[Any] = list(
        Run.objects.filter(subscriber_id=contact.pk, automation__deleted_at=None)
        .select_related("automation")
        .order_by("-id")[:SHOWN_RUNS]
    )
    if not runs:
        return SafeString("")
    # Those that go on come first.
    runs.sort(key=lambda run: run.status != RunStatus.ACTIVE)
    describe_runs(runs, request)
    context = {"contact": contact, "runs": runs}
    return render_to_string("automations/contact.html", context, request)


register_contact_section(runs_section)
ContactAdmin.actions.append(start_automation)
