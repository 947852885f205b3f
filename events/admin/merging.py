"""Admin pages that merge two contacts, and that propose which ones."""

from typing import Any, NamedTuple

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from typing_extensions import override

from config.api.errors import InvalidFields, ObjectNotFound
from config.api.validation import MAX_ID, is_valid_id
from config.database import in_transaction
from crm.admin.history import log_contacts
from crm.aliases import find_holder
from crm.contacts import find_by_id
from crm.duplicates import MAX_CONTACTS, MAX_PAIRS, find_duplicates
from crm.merge_plans import CHOICES, VALUES, Choice, Merge
from crm.merging import MAX_ROWS, merge_contacts, messages_of, name_of, shown
from crm.models import Subscriber
from events.api.merging import record_merge
from events.models import MERGE_CONTACTS

# Before the name of a column in the form, and what takes the other contact's value.
TAKE, OTHER = "take_", "other"
# Characters of a value.
MAX_SHOWN = 200


class MergeMixin(admin.ModelAdmin):
    """The pages `<id>/merge/` and `duplicates/` of contacts."""

    @override
    def get_urls(self) -> list[URLPattern]:
        # First, because the contact's own pages accept any path.
        return [
            path(
                "<int:contact_id>/merge/",
                self.admin_site.admin_view(self.merge_view),
                name="crm_subscriber_merge",
            ),
            path(
                "duplicates/",
                self.admin_site.admin_view(self.duplicates_view),
                name="crm_subscriber_duplicates",
            ),
            *super().get_urls(),
        ]

    def survivor_page(self, contact_id: int) -> HttpResponseRedirect | None:
        """Return a redirection to the page of the contact that a contact was merged into."""
        survivor = find_holder(("contact", str(contact_id)))
        if survivor is None:
            return None
        return HttpResponseRedirect(reverse("admin:crm_subscriber_contact", args=[survivor]))

    # Where Django leads from the history's links to contacts that do not exist.
    def _get_obj_does_not_exist_redirect(
        self, request: HttpRequest, opts: Any, object_id: str
    ) -> HttpResponse:
        page = self.survivor_page(int(object_id)) if is_valid_id(object_id) else None
        return page or super()._get_obj_does_not_exist_redirect(request, opts, object_id)  # type: ignore[misc]

    def may_merge(self, request: HttpRequest) -> bool:
        """Return whether the admin user may merge contacts."""
        return self.has_view_permission(request) and request.user.has_perms(MERGE_CONTACTS)

    def merge_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """Ask which contact is merged into this one, then compare both, and merge."""
        if not self.may_merge(request):
            raise PermissionDenied
        contact = find_by_id(min(contact_id, MAX_ID))
        if contact is None:
            messages.warning(request, f"There is no contact {contact_id}.")
            return HttpResponseRedirect(reverse("admin:crm_subscriber_changelist"))
        text = (request.POST or request.GET).get("other", "").strip()
        context: dict[str, Any] = {"contact": contact, "other_text": text}
        if text and "\0" not in text:
            try:
                if request.method == "POST":
                    return self._merge(request, contact, text)
                context |= self._comparison(contact, text)
            except InvalidFields as error:
                context["errors"] = messages_of(error)
            except ObjectNotFound:  # deleted since it was read
                context["errors"] = ["The contact was deleted meanwhile."]
        return self._render_page(request, "merge", {"title": "Merge contacts", **context})

    def duplicates_view(self, request: HttpRequest) -> HttpResponse:
        """List pairs of contacts that may be one person."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        pairs = find_duplicates()
        context = {
            "title": "Possible duplicates",
            "pairs": pairs,
            "is_capped": len(pairs) == MAX_PAIRS,
            "max_contacts": MAX_CONTACTS,
            "may_merge": self.may_merge(request),
        }
        return self._render_page(request, "duplicates", context)

    def _comparison(self, contact: Subscriber, text: str) -> dict[str, Any]:
        """Return the context of both contacts side by side.

        Raises:
            InvalidFields: they cannot be merged.
        """
        merge = merge_contacts(contact.pk, name_of(text), dry_run=True, max_rows=MAX_ROWS)
        if merge.other is None:
            return {"errors": [merge.sentence()]}
        counts = [(name.replace("_", " "), number) for name, number in merge.counts.items()]
        return {"other": merge.other, "rows": compared(merge), "counts": counts}

    def _merge(self, request: HttpRequest, contact: Subscriber, text: str) -> HttpResponse:
        """Merge as the form says, and return to the survivor's page.

        Raises:
            InvalidFields: the contacts cannot be merged.
        """
        fields = request.POST.items()
        columns = [name.removeprefix(TAKE) for name, value in fields if value == OTHER]
        choice = Choice(columns, request.POST.get(f"{TAKE}status") or None)
        merge = merge_and_log(request, contact.pk, text, choice)
        messages.success(request, f"{merge.sentence()} Moved: {merge.numbers()}.")
        url = reverse("admin:crm_subscriber_contact", args=[merge.survivor.pk])
        return HttpResponseRedirect(url)

    def _render_page(
        self, request: HttpRequest, name: str, context: dict[str, Any]
    ) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/crm/subscriber/{name}.html", context)


@in_transaction
def merge_and_log(request: HttpRequest, contact_id: int, text: str, choice: Choice) -> Merge:
    """Merge contacts with an entry in the survivor's history and in the audit log."""
    merge = merge_contacts(contact_id, name_of(text), choice, max_rows=MAX_ROWS)
    if merge.other:
        message = f"Merged contact {merge.other.pk} into this one: {merge.numbers()}."
        log_contacts(request, [merge.survivor.pk], message)
        record_merge(request, merge)
    return merge


class Row(NamedTuple):
    """A column in which two contacts differ.

    Attributes:
        name: what the form calls it.
        label: what the page calls it.
        own: the value of the contact that stays.
        other: the value of the other contact.
        result: the value by the rules.
        alternative: the value that may be chosen instead, or None.
        chosen: what the form sends for the alternative.
    """

    name: str
    label: str
    own: str
    other: str
    result: str
    alternative: str | None
    chosen: str = OTHER


def compared(merge: Merge) -> list[Row]:
    """Return the columns in which the contacts differ, with what the rules make of them."""
    pairs: dict[str, tuple[Any, Any]] = {
        name: (getattr(merge.survivor, name), getattr(merge.other, name))
        for name in (*CHOICES, "status")
    }
    pairs |= {f"{VALUES}{key}": values for key, values in merge.values.items()}
    rows = []
    for name, values in pairs.items():
        result = merge.changes[name][1] if name in merge.changes else values[0]
        own, others, result = (shown(value)[:MAX_SHOWN] for value in (*values, result))
        if own == others:
            continue
        label = name.removeprefix(VALUES).replace("_", " ")
        row = Row(name, label, own, others, result, None if result == others else others)
        if name == "status":
            # Chosen by its name, because an opt-out is not replaced otherwise.
            status = own if result == others else others
            row = row._replace(alternative=status, chosen=status)
        rows.append(row)
    return rows
