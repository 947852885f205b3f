"""Admin actions that attach the selected contacts to tags and lists, and detach them."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from config.api.errors import InvalidFields
from config.api.validation import MAX_ITEMS
from config.database import chunked
from crm.admin.history import log_contacts
from crm.api.changes import record_change
from crm.attachments import MAX_ATTACHMENTS
from crm.bulk_changes import change_labels, create_label_change
from crm.labels import LABEL_MODELS, LabelKind
from crm.models import Subscriber

CONTACTS_PER_TRANSACTION = 1000


def selected_ids(queryset: QuerySet[Subscriber]) -> list[int]:
    """Return the ids of the selected contacts, sorted.

    They are read before anything changes, because a change may alter which contacts match.
    """
    return sorted(set(queryset.order_by().values_list("pk", flat=True)))


def confirmation_context(request: HttpRequest) -> dict[str, Any]:
    """Return the context that a confirmation page must post back."""
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    across = request.POST.get("select_across") == "1"
    return {
        # With all pages selected Django reads the filters from the URL, and wants one id.
        "selected": selected[:1] if across else selected,
        "across": across,
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
    }


class LabelActionsMixin(admin.ModelAdmin):
    """Actions that attach and detach tags and lists, after a form that asks which."""

    @admin.action(description="Add tags to the selected contacts", permissions=["change"])
    def add_tags(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Attach tags."""
        return self._change_labels(request, queryset, "tags", attached=True)

    @admin.action(description="Remove tags from the selected contacts", permissions=["change"])
    def remove_tags(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Detach tags."""
        return self._change_labels(request, queryset, "tags", attached=False)

    @admin.action(description="Add the selected contacts to lists", permissions=["change"])
    def add_lists(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Attach lists."""
        return self._change_labels(request, queryset, "lists", attached=True)

    @admin.action(description="Remove the selected contacts from lists", permissions=["change"])
    def remove_lists(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Detach lists."""
        return self._change_labels(request, queryset, "lists", attached=False)

    def _change_labels(
        self,
        request: HttpRequest,
        queryset: QuerySet[Subscriber],
        kind: LabelKind,
        attached: bool,
    ) -> TemplateResponse | None:
        contact_ids = selected_ids(queryset)
        title = action_title(kind, attached, len(contact_ids))
        form = label_form(kind, request.POST if "chosen" in request.POST else None)
        if form.is_valid():
            labels = list(form.cleaned_data["labels"])
            label_ids = [label.pk for label in labels]
            assert isinstance(request.user, User)
            job = create_label_change(kind, attached, label_ids, len(contact_ids), request.user)
            changed, error = 0, ""
            per_transaction = min(CONTACTS_PER_TRANSACTION, MAX_ATTACHMENTS // len(label_ids))
            try:
                for ids in chunked(contact_ids, per_transaction):
                    changed += change_labels(job, kind, attached, ids, label_ids)
            except InvalidFields as invalid:
                error = invalid.detail[kind]["max"]
            finally:
                # Also when the database stopped it, because the earlier transactions stay.
                titles = ", ".join(f"“{label}”" for label in labels)
                verb = "added" if attached else "removed"
                message = f"{kind.capitalize()} {verb}: {titles}. Changes: {changed:,}."
                log_contacts(request, contact_ids, message)
                record_change(request, kind, job)
            if error:
                messages.error(request, f"{error} Stopped after {changed:,} changes.")
                return None
            unchanged = len(contact_ids) * len(label_ids) - changed
            outcome = f"{changed:,} added, {unchanged:,} already there"
            if not attached:
                outcome = f"{changed:,} removed, {unchanged:,} not there"
            url = reverse("admin:crm_job_change", args=[job.pk])
            undo = format_html('{}: {}. <a href="{}">Undo</a>', title, outcome, url)
            messages.success(request, undo)
            return None
        context = {
            **self.admin_site.each_context(request),
            **confirmation_context(request),
            "opts": self.opts,
            "title": title,
            "action": f"{'add' if attached else 'remove'}_{kind}",
            "form": form,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/crm/subscriber/labels_action.html", context)


def action_title(kind: LabelKind, attached: bool, count: int) -> str:
    """Return what the action does to how many contacts, such as "Add tags to 3 contacts"."""
    contacts = f"{count:,} contact{'' if count == 1 else 's'}"
    if kind == "tags":
        return f"{'Add tags to' if attached else 'Remove tags from'} {contacts}"
    return f"{'Add' if attached else 'Remove'} {contacts} {'to' if attached else 'from'} lists"


def label_form(kind: LabelKind, data: Any) -> forms.Form:
    """Return a form with checkboxes of tags or lists."""
    form = forms.Form(data)
    form.fields["labels"] = field = forms.ModelMultipleChoiceField(
        LABEL_MODELS[kind].objects.all(),
        label=kind.capitalize(),
        widget=forms.CheckboxSelectMultiple,
    )
    offer_labels(field, kind)
    return form


def offer_labels(field: Any, kind: LabelKind, owner: Any = None) -> None:
    """Offer the first 1,000 tags or lists by title, and those of a contact or a webhook.

    A page with many thousands takes seconds. The field accepts the others as well.
    """
    labels = LABEL_MODELS[kind].objects.values_list("id", "title")
    offered = list(labels[: MAX_ITEMS + 1])
    if len(offered) > MAX_ITEMS:
        field.help_text = f"The first {MAX_ITEMS:,} {kind} by title. The API attaches any."
        own = getattr(owner, kind).values_list("id", "title") if owner and owner.pk else []
        offered = list(dict.fromkeys([*own, *offered[:MAX_ITEMS]]))
    field.choices = offered
