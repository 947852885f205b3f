"""Admin actions that delete contacts: they name the true counts first, and delete in batches."""

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
from typing_extensions import override

from config.database import chunked, in_transaction
from crm.admin.history import log_contacts
from crm.admin.label_actions import CONTACTS_PER_TRANSACTION, confirmation_context, selected_ids
from crm.contacts import Counts, count_contacts, delete_contacts
from crm.labels import LABEL_MODELS
from crm.models import Subscriber

logger = logging.getLogger(__name__)
MAX_NAMED = 20


def count_labels(counts: Counts) -> dict[str, str]:
    """Return counts of rows as the admin shows them; labels lose contacts and are not deleted."""
    names = {"tags": "tags on them", "lists": "lists they are on"}
    return {
        names.get(name, name.replace("_", " ")): f"{number:,}" for name, number in counts.items()
    }


def selection_digest(ids: Sequence[int]) -> str:
    """Return a digest of ids, by which a page recognizes the selection that it named."""
    return hashlib.sha256(repr(list(ids)).encode()).hexdigest()


class DeleteContactsMixin(admin.ModelAdmin):
    """Delete contacts with all their events, after a page that names the counts."""

    @override
    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[Any], dict[str, Any], set[Any], list[Any]]:
        ids = selected_ids(objs) if isinstance(objs, QuerySet) else [obj.pk for obj in objs]
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
        """Ask, naming what will be deleted, and then delete it."""
        ids = selected_ids(queryset)
        # Only the contacts that were named, because with all pages selected others may match now.
        digest = request.POST.get("digest")
        if request.POST.get("post") and digest == selection_digest(ids):
            self._delete(request, ids)
            return None
        objects, counts, _, _ = self.get_deleted_objects(queryset.filter(pk__in=ids), request)
        context = {
            **self.admin_site.each_context(request),
            **confirmation_context(request),
            "opts": self.opts,
            "title": f"Delete {len(ids):,} contact{'' if len(ids) == 1 else 's'}",
            "changed": digest is not None,
            "digest": selection_digest(ids),
            "model_count": counts.items(),
            "deleted_objects": objects,
            "media": self.media,
        }
        template = "admin/crm/subscriber/delete_selected_confirmation.html"
        return TemplateResponse(request, template, context)

    @override
    def delete_model(self, request: HttpRequest, obj: Subscriber) -> None:
        delete_contacts([obj.pk])

    @override
    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Subscriber]) -> None:
        for ids in chunked(selected_ids(queryset), CONTACTS_PER_TRANSACTION):
            delete_contacts(ids)

    def _delete(self, request: HttpRequest, ids: list[int]) -> None:
        """Delete in batches, each of which is committed, and report the numbers."""
        deleted: Counter[str] = Counter()
        stopped = False
        try:
            for batch in chunked(ids, CONTACTS_PER_TRANSACTION):
                deleted.update(self._delete_batch(request, batch))
        except DatabaseError:
            logger.exception("Deleting %d contacts stopped after %s", len(ids), dict(deleted))
            stopped = True
        # Tags and lists are not deleted.
        numbers = ", ".join(
            f"{number:,} {name}"
            for name, number in deleted.items()
            if number and name not in LABEL_MODELS
        )
        outcome = f"Deleted: {numbers or 'nothing'}."
        if stopped:
            outcome = f"Stopped by the database. {outcome}"
            messages.error(request, f"{outcome} Select the rest again.")
        else:
            messages.success(request, outcome)
        # A single contact has its own entry.
        if len(ids) > 1:
            log_contacts(request, ids, outcome)

    @in_transaction
    def _delete_batch(self, request: HttpRequest, ids: Sequence[int]) -> Counts:
        # Locked as delete_contacts locks them, so that the history names the deleted contacts.
        contacts = Subscriber.objects.filter(pk__in=ids).order_by("pk").only("pk", "email")
        self.log_deletions(request, contacts.select_for_update())
        return delete_contacts(ids)
