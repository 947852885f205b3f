"""What the law lets a contact ask for: everything in one file, and to be erased."""

import json
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from config.api.errors import ObjectNotFound
from config.database import in_transaction
from crm.contacts import count_contacts
from crm.models import Subscriber
from events.admin.downloads import download
from events.models import VIEW_EVENTS
from events.personal_data import ERASED, erase_contact, export_contact

RECEIPT_BEGINS = '{"contact_id":'


class PersonalDataMixin(admin.ModelAdmin):
    """Pages of a contact: export, erase, and what was erased."""

    def get_urls(self) -> list[URLPattern]:
        """Theirs, before the contact's own, which take any path."""
        pages = (
            ("export/", self.export_view, "export"),
            ("erase/", self.erase_view, "erase"),
            ("erased/", self.erased_view, "erased"),
            ("erased/receipt.json", self.receipt_view, "receipt"),
        )
        return [
            path(
                f"<int:contact_id>/{address}",
                self.admin_site.admin_view(view),
                name=f"crm_subscriber_{name}",
            )
            for address, view, name in pages
        ] + super().get_urls()

    def export_view(self, request: HttpRequest, contact_id: int) -> HttpResponseBase:
        """All that is kept about the contact, as a file."""
        contact = self.get_object(request, str(contact_id))
        if not (self.has_view_permission(request, contact) and request.user.has_perms(VIEW_EVENTS)):
            raise PermissionDenied
        if contact is None:
            return self._missing(request, contact_id)
        try:
            write_into = partial(export_contact, contact_id)
            return download(f"contact-{contact_id}.json", "application/json", write_into)
        except ObjectNotFound:  # since we looked
            return self._missing(request, contact_id)

    def erase_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """Ask, naming what goes; and erase."""
        if not self.has_delete_permission(request):
            raise PermissionDenied
        contact = self.get_object(request, str(contact_id))
        if contact is None:
            return self._missing(request, contact_id)
        if request.method == "POST":
            try:
                in_transaction(self._erase)(request, contact_id)
            except ObjectNotFound:  # by somebody else, since we looked
                return self._missing(request, contact_id)
            return HttpResponseRedirect(reverse("admin:crm_subscriber_erased", args=[contact_id]))
        counts = count_contacts([contact_id])
        del counts["contacts"]
        labels = {"tags": "tags that it has", "lists": "lists that it is on"}
        named = {labels.get(name, name): number for name, number in counts.items()}
        more = {"title": "Erase contact", "contact": contact, "counts": named.items()}
        return self._page(request, "erase", more)

    def erased_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """The receipt, which the admin's history keeps."""
        receipt = self._receipt(request, contact_id)
        if receipt is None:
            return self._missing(request, contact_id)
        more = {"title": "Contact erased", "contact_id": contact_id, "receipt": json.loads(receipt)}
        return self._page(request, "erased", more)

    def receipt_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """The receipt as a file."""
        receipt = self._receipt(request, contact_id)
        if receipt is None:
            return self._missing(request, contact_id)
        name = f"attachment; filename=erased-contact-{contact_id}.json"
        body = json.dumps(json.loads(receipt), indent=2) + "\n"
        return HttpResponse(body, "application/json", headers={"Content-Disposition": name})

    def _erase(self, request: HttpRequest, contact_id: int) -> None:
        receipt = erase_contact(contact_id, by=request.user.get_username())
        user_id = request.user.pk
        assert user_id  # whoever may delete is logged in
        # After its entries were made nameless: this one is the receipt, and keeps no e-mail.
        LogEntry.objects.create(
            user_id=user_id,
            content_type=ContentType.objects.get_for_model(Subscriber),
            object_id=str(contact_id),
            object_repr=ERASED,
            action_flag=DELETION,
            change_message=json.dumps(receipt, separators=(",", ":")),
        )

    def _receipt(self, request: HttpRequest, contact_id: int) -> str | None:
        if not self.has_delete_permission(request):
            raise PermissionDenied
        return self.receipt_of(contact_id)

    def receipt_of(self, contact_id: int) -> str | None:
        """The receipt of an erased contact, as JSON, or None."""
        entries = LogEntry.objects.filter(
            content_type=ContentType.objects.get_for_model(Subscriber),
            object_id=str(contact_id),
            action_flag=DELETION,
            change_message__startswith=RECEIPT_BEGINS,
        )
        return entries.values_list("change_message", flat=True).first()

    def _missing(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """To the start, saying that there is no such contact."""
        messages.warning(request, f"There is no contact {contact_id}; it may have been deleted.")
        return HttpResponseRedirect(reverse("admin:index"))

    def _page(self, request: HttpRequest, name: str, more: dict[str, Any]) -> HttpResponse:
        context = {**self.admin_site.each_context(request), "opts": self.opts, **more}
        return TemplateResponse(request, f"admin/crm/subscriber/{name}.html", context)
