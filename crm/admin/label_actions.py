"""What people do with the contacts they selected; on all pages, by the thousand."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse

from config.database import chunked, in_transaction
from crm.labels import LABEL_MODELS, LabelKind, attach, detach
from crm.models import Subscriber

CONTACTS_PER_TRANSACTION = 1000


def selected_ids(queryset: QuerySet[Subscriber]) -> list[int]:
    """The ids of the contacts, in order; what is done to them may change who is selected."""
    return sorted(set(queryset.order_by().values_list("pk", flat=True)))


def confirmation_context(request: HttpRequest) -> dict[str, Any]:
    """What a page between an action and its doing has to repeat."""
    selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
    across = request.POST.get("select_across") == "1"
    return {
        # Django takes the filters from the address, and wants to see that somebody is selected.
        "selected": selected[:1] if across else selected,
        "across": across,
        "action_checkbox_name": ACTION_CHECKBOX_NAME,
    }


class LabelActionsMixin(admin.ModelAdmin):
    """Put the selected contacts on tags and lists, and take them off."""

    actions: tuple[str, ...] = ("add_tags", "remove_tags", "add_lists", "remove_lists")

    @admin.action(description="Add tags to the selected contacts", permissions=["change"])
    def add_tags(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Ask which, and add them."""
        return self._move(request, queryset, "tags", on=True)

    @admin.action(description="Remove tags from the selected contacts", permissions=["change"])
    def remove_tags(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Ask which, and remove them."""
        return self._move(request, queryset, "tags", on=False)

    @admin.action(description="Add the selected contacts to lists", permissions=["change"])
    def add_lists(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Ask to which, and add them."""
        return self._move(request, queryset, "lists", on=True)

    @admin.action(description="Remove the selected contacts from lists", permissions=["change"])
    def remove_lists(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Ask from which, and remove them."""
        return self._move(request, queryset, "lists", on=False)

    def _move(
        self, request: HttpRequest, queryset: QuerySet[Subscriber], kind: LabelKind, on: bool
    ) -> TemplateResponse | None:
        contact_ids = selected_ids(queryset)
        form = label_form(kind, request.POST if "chosen" in request.POST else None)
        if form.is_valid():
            segments = form.cleaned_data["segments"]
            segment_ids = [segment.pk for segment in segments]
            changed = 0
            for some in chunked(contact_ids, CONTACTS_PER_TRANSACTION):
                changed += in_transaction(attach if on else detach)(kind, some, segment_ids)
            rest = len(contact_ids) * len(segment_ids) - changed
            done = f"{changed:,} added, {rest:,} already there"
            if not on:
                done = f"{changed:,} removed, {rest:,} not there"
            messages.success(request, f"{title(kind, on, len(contact_ids))}: {done}.")
            return None
        context = {
            **self.admin_site.each_context(request),
            **confirmation_context(request),
            "opts": self.opts,
            "title": title(kind, on, len(contact_ids)),
            "action": f"{'add' if on else 'remove'}_{kind}",
            "form": form,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/crm/subscriber/segments_action.html", context)


def title(kind: LabelKind, on: bool, contacts: int) -> str:
    """What is done, and to how many."""
    who = f"{contacts:,} contact{'' if contacts == 1 else 's'}"
    if kind == "tags":
        return f"{'Add tags to' if on else 'Remove tags from'} {who}"
    return f"{'Add' if on else 'Remove'} {who} {'to' if on else 'from'} lists"


def label_form(kind: LabelKind, data: Any) -> forms.Form:
    """A choice of tags or lists."""
    segments = forms.ModelMultipleChoiceField(
        LABEL_MODELS[kind].objects.all(),
        label=kind.capitalize(),
        widget=forms.CheckboxSelectMultiple,
    )
    form = forms.Form(data)
    form.fields["segments"] = segments
    return form
