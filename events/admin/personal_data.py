"""Admin pages of personal data: export a contact, erase it, and the receipt of an erasure."""

import json
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.audit import of_ids, record
from config.database import in_transaction
from config.downloads import TOO_LONG, ExportTooLong, Write, download
from crm.admin.base import ReadOnlyAdmin
from crm.admin.history import log_contacts, log_entry
from crm.contacts import count_contacts
from crm.emails import email_hashes
from crm.models import Erasure
from events.models import VIEW_EVENTS
from events.personal_data import ERASED, erase_contact, export_contact


class PersonalDataMixin(admin.ModelAdmin):
    """The pages below a contact's page: export, erase, and the receipt."""

    @override
    def get_urls(self) -> list[URLPattern]:
        pages = (
            ("export/", self.export_view, "export"),
            ("erase/", self.erase_view, "erase"),
            ("erased/", self.erased_view, "erased"),
            ("erased/receipt.json", self.receipt_view, "receipt"),
        )
        # First, because the contact's own pages accept any path.
        return [
            path(
                f"<int:contact_id>/{suffix}",
                self.admin_site.admin_view(view),
                name=f"crm_subscriber_{name}",
            )
            for suffix, view, name in pages
        ] + super().get_urls()

    def export_view(self, request: HttpRequest, contact_id: int) -> HttpResponseBase:
        """Send all data of the contact as a file."""
        contact = self.get_object(request, str(contact_id))
        if not (self.has_view_permission(request, contact) and request.user.has_perms(VIEW_EVENTS)):
            raise PermissionDenied
        if contact is None:
            return self._redirect_to_start(request, contact_id)

        def write_into(write: Write) -> None:
            export_contact(contact_id, write)
            log_contacts(request, [contact_id], "Exported everything.")
            record(request, "exported", what="contact", **of_ids([contact_id]))

        try:
            return download(f"contact-{contact_id}.json", "application/json", write_into)
        except ObjectNotFound:  # deleted since it was read
            return self._redirect_to_start(request, contact_id)
        except ExportTooLong:
            messages.error(request, f"{TOO_LONG} Use manage.py export_contact {contact_id}.")
            return HttpResponseRedirect(reverse("admin:crm_subscriber_contact", args=[contact_id]))

    def erase_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """Ask, naming the counts, and erase the contact."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        contact = self.get_object(request, str(contact_id))
        if contact is None:
            return self._redirect_to_start(request, contact_id)
        if request.method == "POST":
            try:
                self._erase(request, contact_id)
            except ObjectNotFound:  # deleted since it was read
                return self._redirect_to_start(request, contact_id)
            return HttpResponseRedirect(reverse("admin:crm_subscriber_erased", args=[contact_id]))
        counts = count_contacts([contact_id])
        del counts["contacts"]
        names = {"tags": "tags that it has", "lists": "lists that it is on"}
        named_counts = {
            names.get(name, name.replace("_", " ")): number for name, number in counts.items()
        }
        context = {"title": "Erase contact", "contact": contact, "counts": named_counts.items()}
        return self._render(request, "erase", context)

    def erased_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """Show the receipt of an erasure."""
        erasure = self._erasure(request, contact_id)
        if erasure is None:
            return self._redirect_to_start(request, contact_id)
        context = {
            "title": "Contact erased",
            "contact_id": contact_id,
            "receipt": erasure.receipt(),
        }
        return self._render(request, "erased", context)

    def receipt_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """Send the receipt of an erasure as a file."""
        erasure = self._erasure(request, contact_id)
        if erasure is None:
            return self._redirect_to_start(request, contact_id)
        disposition = f"attachment; filename=erased-contact-{contact_id}.json"
        body = json.dumps(erasure.receipt(), indent=2) + "\n"
        headers = {"Content-Disposition": disposition}
        return HttpResponse(body, "application/json", headers=headers)

    @in_transaction
    def _erase(self, request: HttpRequest, contact_id: int) -> None:
        erase_contact(contact_id, by=request.user.get_username())
        log_entry(request, str(contact_id), ERASED, DELETION)
        record(request, "erased", what="contact", **of_ids([contact_id]))

    def _erasure(self, request: HttpRequest, contact_id: int) -> Erasure | None:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        return Erasure.latest(contact_id)

    def _redirect_to_start(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        messages.warning(request, f"There is no contact {contact_id}; it may have been deleted.")
        return HttpResponseRedirect(reverse("admin:index"))

    def _render(self, request: HttpRequest, name: str, context: dict[str, Any]) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **context}
        return TemplateResponse(request, f"admin/crm/subscriber/{name}.html", context)


@admin.register(Erasure)
class ErasureAdmin(ReadOnlyAdmin):
    """The receipts of erased contacts."""

    list_display = ("receipt_link", "erased_at", "erased_by", "email_sha256")
    fields = ("contact_id", "email_sha256", "erased_at", "erased_by", "version", "counts")
    list_display_links = None
    # Read by get_search_results, and needed so that Django shows the search box.
    search_fields = ("email_sha256",)
    search_help_text = "E-mail or contact id"
    sortable_by = ()
    ordering = ("-id",)

    @override
    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Erasure], search_term: str
    ) -> tuple[QuerySet[Erasure], bool]:
        term = search_term.strip()
        if "@" in term:
            return queryset.filter(email_sha256__in=email_hashes(term)), False
        if term.isascii() and term.isdigit() and len(term) < 19:
            return queryset.filter(contact_id=int(term)), False
        return super().get_search_results(request, queryset, term)

    @admin.display(description="contact")
    def receipt_link(self, erasure: Erasure) -> SafeString:
        """Return the contact's id as a link to its receipt."""
        url = reverse("admin:crm_subscriber_erased", args=[erasure.contact_id])
        return format_html('<a href="{}">{}</a>', url, erasure.contact_id)
