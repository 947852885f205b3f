"""Deleting contacts: the true counts are named before, and large selections go in batches."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db import DatabaseError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html

from config.database import chunked, in_transaction
from crm.admin.label_actions import CONTACTS_PER_TRANSACTION, confirmation_context, selected_ids
from crm.contacts import Counts, count_contacts, delete_contacts
from crm.labels import LABEL_MODELS
from crm.models import Subscriber

logger = logging.getLogger(__name__)
MAX_NAMED = 20


def count_labels(counts: Counts) -> dict[str, str]:
    """Counts for people to read: contacts are deleted, tags and lists only lose them."""
    labels = {"tags": "tags on them", "lists": "lists they are on"}
    return {labels.get(name, name): f"{number:,}" for name, number in counts.items()}


def selection_digest(ids: Sequence[int]) -> str:
    """The contacts in one word, which a page carries to the next."""
    return hashlib.sha256(repr(list(ids)).encode()).hexdigest()


class DeleteContactsMixin(admin.ModelAdmin):
    """Deletes contacts with all their events, after saying how many."""

    actions: tuple[str, ...] = ("delete_selected",)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, Any], set[Any], list[Any]]:
        """The first contacts by name, and how much goes with all of them."""
        ids = selected_ids(objs) if isinstance(objs, QuerySet) else [one.pk for one in objs]
        named: list[Any] = [
            format_html(
                'Contact: <a href="{}">{}</a>',
                reverse("admin:crm_subscriber_change", args=[contact.pk]),
                contact,
            )
            for contact in Subscriber.objects.filter(pk__in=ids[:MAX_NAMED]).order_by("pk")
        ]
        if len(ids) > MAX_NAMED:
            named.append(f"and {len(ids) - MAX_NAMED:,} more")
        lacking = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return named, dict(count_labels(count_contacts(ids))), lacking, []

    @admin.action(description="Delete selected contacts", permissions=["delete"])
    def delete_selected(
        self, request: HttpRequest, queryset: QuerySet[Subscriber]
    ) -> TemplateResponse | None:
        """Ask, naming what goes; and delete."""
        ids = selected_ids(queryset)
        # Those that were named and no others: with all pages selected, others may fit by now.
        named = request.POST.get("which")
        if request.POST.get("post") and named == selection_digest(ids):
            self._delete(request, ids)
            return None
        objects, counts, _, _ = self.get_deleted_objects(queryset.filter(pk__in=ids), request)
        context = {
            **self.admin_site.each_context(request),
            **confirmation_context(request),
            "opts": self.opts,
            "title": f"Delete {len(ids):,} contact{'' if len(ids) == 1 else 's'}",
            "changed": named is not None,
            "which": selection_digest(ids),
            "model_count": counts.items(),
            "deleted_objects": objects,
            "media": self.media,
        }
        name = "admin/crm/subscriber/delete_selected_confirmation.html"
        return TemplateResponse(request, name, context)

    def delete_model(self, request: HttpRequest, obj: Subscriber) -> None:  # noqa: ARG002
        """Delete the contact and its events."""
        delete_contacts([obj.pk])

    def delete_queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Subscriber],
    ) -> None:
        """Delete the contacts and their events."""
        for some in chunked(selected_ids(queryset), CONTACTS_PER_TRANSACTION):
            delete_contacts(some)

    def _delete(self, request: HttpRequest, ids: list[int]) -> None:
        """Delete in batches, each of which is committed, and say how much was deleted."""
        deleted: Counter[str] = Counter()
        stopped = False
        try:
            for some in chunked(ids, CONTACTS_PER_TRANSACTION):
                deleted.update(in_transaction(self._delete_batch)(request, some))
        except DatabaseError:
            logger.exception("Deleting %d contacts stopped after %s", len(ids), dict(deleted))
            stopped = True
        # Tags and lists are still there.
        gone = {
            name: deleted[name] for name in deleted if name not in LABEL_MODELS and deleted[name]
        }
        numbers = ", ".join(f"{number:,} {name}" for name, number in gone.items())
        if stopped:
            messages.error(
                request,
                f"Stopped by the database. Deleted: {numbers or 'nothing'}. Select the rest again.",
            )
        else:
            messages.success(request, f"Deleted: {numbers or 'nothing'}.")

    def _delete_batch(self, request: HttpRequest, ids: Sequence[int]) -> Counts:
        # Locked as delete_contacts does it: the history names those that it deletes.
        contacts = Subscriber.objects.filter(pk__in=ids).order_by("pk").only("pk", "email")
        self.log_deletions(request, contacts.select_for_update())
        return delete_contacts(ids)
