"""Contacts for people, with what they did: crm's pages of contacts, and ours beside them."""

from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Max, Model, OuterRef, QuerySet, Subquery, Sum
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode

from config.api.validation import MAX_ID
from crm.admin.base import PageByIds, ValueFilter
from crm.admin.contacts import SubscriberAdmin
from crm.filters import ContactSet
from crm.models import Subscriber
from events.admin.events import KeyFilter
from events.admin.exports import ExportActionsMixin
from events.admin.personal_data import PersonalDataMixin
from events.admin.timeline import days_of
from events.history import Cursor, Timeline
from events.models import VIEW_EVENTS, TrackedEvent
from events.stats.contact import contact_stats
from events.templatetags.events import moment

ENTRIES_PER_PAGE = 50

admin.site.unregister(Subscriber)


class HasEventFilter(KeyFilter):
    """Contacts with an event."""

    title = "did event"
    parameter_name = "did"

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The contacts."""
        return rows.filter(ContactSet(TrackedEvent.objects.filter(event_key=value)).q())


class ContactList(PageByIds):
    """Contacts, each with a link to its page."""

    def url_for_result(self, result: Model) -> str:
        """The contact's page."""
        return reverse("admin:crm_subscriber_contact", args=[result.pk])


@admin.register(Subscriber)
class ContactAdmin(PersonalDataMixin, ExportActionsMixin, SubscriberAdmin):
    """Contacts and their events."""

    list_display: tuple[str, ...] = ("email", "name", "status", "times", "last_seen", "tagged")
    list_filter: ClassVar[tuple[type[ValueFilter], ...]] = (
        *SubscriberAdmin.list_filter,
        HasEventFilter,
    )

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """What contacts did is for those who may see events."""
        if request.user.has_perms(VIEW_EVENTS):
            return self.list_display
        return SubscriberAdmin.list_display

    def get_list_filter(self, request: HttpRequest) -> tuple[type[ValueFilter], ...]:
        """What contacts did is for those who may see events."""
        if request.user.has_perms(VIEW_EVENTS):
            return self.list_filter
        return SubscriberAdmin.list_filter

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """With links to the contacts' pages."""
        return ContactList

    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """With the sum of their counters and when they were last seen."""
        events = TrackedEvent.objects.filter(subscriber=OuterRef("pk")).values("subscriber")
        return super().page_rows(
            rows.annotate(
                times=Subquery(events.annotate(number=Sum("counter")).values("number")),
                last_seen=Subquery(events.annotate(last=Max("updated_at")).values("last")),
            )
        )

    @admin.display(description="events")
    def times(self, contact: Any) -> int:
        """How many events in all."""
        return contact.times or 0

    @admin.display(description="last seen")
    def last_seen(self, contact: Any) -> str:
        """When the last one was."""
        last: datetime | None = contact.last_seen
        return moment(last) or "-"

    def get_urls(self) -> list[URLPattern]:
        """Django's, and the contact's page."""
        page = self.admin_site.admin_view(self.contact_view)
        return [path("<int:contact_id>/", page, name="crm_subscriber_contact"), *super().get_urls()]

    def contact_view(self, request: HttpRequest, contact_id: int) -> HttpResponse:
        """What the contact did: figures, a chart and the timeline.

        With `piece` it is a piece of the timeline alone. A contact that was erased has a receipt.
        """
        contact = Subscriber.objects.filter(pk=min(contact_id, MAX_ID)).first()
        if not self.has_view_permission(request, contact):
            raise PermissionDenied
        if contact is None:
            if self.has_delete_permission(request) and self.receipt_of(contact_id):
                receipt = reverse("admin:crm_subscriber_erased", args=[contact_id])
                return HttpResponseRedirect(receipt)
            raise Http404
        context = {"contact": contact, **self._timeline(request, contact.pk)}
        if "piece" in request.GET:
            return TemplateResponse(request, "events/timeline.html", context)
        if context["sees_events"]:
            context["profile"] = contact_stats(contact.pk)
            offered = {*context["profile"].providers, *context["providers"]}
            context["providers"] = sorted(offered - {""})
        context |= {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": contact.full_name or contact.email,
            "may_change": self.has_change_permission(request, contact),
            "may_delete": self.has_delete_permission(request, contact),
            "history": reverse("admin:crm_subscriber_history", args=[contact.pk]),
        }
        return TemplateResponse(request, "admin/crm/subscriber/contact.html", context)

    def _timeline(self, request: HttpRequest, contact_id: int) -> dict[str, Any]:
        """A page of the timeline as the address asks for it. Raises Http404 for a broken cursor."""
        if not request.user.has_perms(VIEW_EVENTS):
            return {"sees_events": False}
        asked = {name: request.GET.get(name, "") for name in ("event_key", "provider")}
        if any("\0" in text for text in asked.values()):
            raise Http404
        try:
            before = request.GET.get("before")
            cursor = Cursor.parse(before) if before else None
        except (ValueError, OverflowError):
            raise Http404 from None
        timeline = Timeline(contact_id, asked["event_key"], asked["provider"], cursor=cursor)
        rows, following = timeline.page(ENTRIES_PER_PAGE)
        given = {name: text for name, text in asked.items() if text}
        return {
            "sees_events": True,
            "asked": asked,
            "given": given,
            "from_the_start": cursor is None,
            "days": list(days_of(rows)),
            "providers": [asked["provider"], *(row.provider for row in rows)],
            "older": following and urlencode({**given, "before": str(following)}),
        }

    def response_post_save_change(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Subscriber,
    ) -> HttpResponseRedirect:
        """To the contact's page."""
        return HttpResponseRedirect(reverse("admin:crm_subscriber_contact", args=[obj.pk]))

    response_post_save_add = response_post_save_change
