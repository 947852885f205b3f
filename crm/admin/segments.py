"""Admin pages of segments: a builder of filters that counts the contacts meanwhile."""

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.forms import ModelForm, Script
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.views.decorators.http import require_POST
from typing_extensions import override

from config.api.errors import InvalidFields
from crm import segments
from crm.admin.base import StrictModelAdmin
from crm.admin.labels import VIEW_CONTACTS, link_to_contacts
from crm.admin.segment_form import SegmentForm, filters_as_json, filters_from_json
from crm.filters import apply_filter, read_filters
from crm.filters.describe import FilterDescriber, describe_error, humanize_errors
from crm.filters.options import builder_table, value_hints
from crm.models import Segment, Subscriber
from crm.segments import read_segments
from crm.selectors import page_ids_and_total

TOO_LONG = "Counting takes too long. The segment can be saved all the same."


def describe_segments(segments: Iterable[Segment], request: HttpRequest) -> None:
    """Set `description` of segments, a sentence for this admin user, and `is_invalid`."""
    describer = FilterDescriber(request.user.has_perm)
    for segment, groups in read_segments(segments):
        if isinstance(groups, InvalidFields):
            vars(segment).update(description=describe_error(groups), is_invalid=True)
        else:
            vars(segment).update(description=describer.describe_groups(groups), is_invalid=False)


class DescribedSegments(ChangeList):
    """Segments with what they ask for. The labels of a page are looked up together."""

    @override
    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        describe_segments(self.result_list, request)


@admin.register(Segment)
class SegmentAdmin(StrictModelAdmin):
    """Segments, with a builder made from the table of filters."""

    form = SegmentForm
    list_display = ("title", "slug", "description")
    search_fields = ("title",)
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012
    list_per_page = 50

    class Media:
        css = {"all": ("crm/segment.css",)}  # noqa: RUF012
        js = (Script("crm/segment.js", type="module"),)

    @override
    def get_urls(self) -> list[URLPattern]:
        count = self.admin_site.admin_view(require_POST(self.count))
        return [path("count/", count, name="crm_segment_count"), *super().get_urls()]

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return DescribedSegments

    @override
    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        contacts = ("contacts",) if request.user.has_perm(VIEW_CONTACTS) else ()
        return (*self.list_display, *contacts)

    @override
    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Segment | None:
        segment = super().get_object(request, object_id, from_field)
        if segment:
            describe_segments([segment], request)
        return segment

    @admin.display(description="asks for")
    def description(self, segment: Segment) -> str:
        """Return the filter as a sentence for this admin user."""
        description: str = segment.description  # type: ignore[attr-defined]  # by get_object
        return description

    @admin.display(description="contacts")
    def contacts(self, segment: Segment) -> str:
        """Return a link to the segment's contacts."""
        return link_to_contacts("Show contacts", segment=segment.slug)

    @admin.display(description="JSON")
    def filters_json(self, segment: Segment) -> str:
        """Return the filter as JSON, which the page counts the contacts of."""
        return format_html(
            '<textarea id="id_filters" aria-label="JSON" rows="8" cols="80" readonly>{}</textarea>',
            filters_as_json(segment.filters),
        )

    @override
    def get_fields(self, request: HttpRequest, obj: Segment | None = None) -> tuple[str, ...]:
        is_form = obj is None or self.has_change_permission(request, obj)
        filters = ("filters",) if is_form else ("description", "filters_json")
        if is_form and obj and vars(obj)["is_invalid"]:
            filters = ("description", "filters")
        contacts = ("contacts",) if obj and request.user.has_perm(VIEW_CONTACTS) else ()
        return ("title", "slug", *filters, *contacts)

    @override
    def get_readonly_fields(
        self, request: HttpRequest, obj: Segment | None = None
    ) -> tuple[str, ...]:
        return ("description", "filters_json", "contacts")

    @override
    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        may_count = self.has_view_permission(request) and request.user.has_perm(VIEW_CONTACTS)
        count = reverse("admin:crm_segment_count") if may_count else ""
        context["segment_table"] = {**builder_table(request.user.has_perm), "count": count}
        return super().render_change_form(request, context, *args, **kwargs)

    @override
    def save_model(self, request: HttpRequest, obj: Segment, form: ModelForm, change: bool) -> None:
        """Save as the API does.

        Raises:
            SlugTaken: another segment has the slug.
            Http404: the segment was deleted meanwhile.
        """
        fields = {name: form.cleaned_data[name] for name in SegmentForm.Meta.fields}
        segment = (
            segments.update_segment(obj.pk, fields) if change else segments.create_segment(fields)
        )
        if segment is None:
            raise Http404
        obj.__dict__.update(segment.__dict__)

    @override
    def delete_model(self, request: HttpRequest, obj: Segment) -> None:
        segments.delete_segment(obj.pk)

    def count(self, request: HttpRequest) -> JsonResponse:
        """Return the number of contacts that a filter matches: `count`, or `errors` by path.

        `hints` are sentences about values that no contact has, if there are any.
        Errors are 200, because browsers report other statuses of an unfinished filter.
        """
        if not (self.has_view_permission(request) and request.user.has_perm(VIEW_CONTACTS)):
            raise PermissionDenied
        # Django has read such a body as a form, and it cannot be read again.
        if request.content_type == "multipart/form-data":
            return JsonResponse({"message": "The filter is to be sent as JSON."}, status=415)
        try:
            filters = filters_from_json(request.body)
            groups = read_filters(filters, "filters")
            contacts = apply_filter(Subscriber.objects.all(), groups, request.user.has_perm)
            # All contacts are counted directly, because that needs no filter to be planned.
            is_filtered = bool(contacts.query.where)
            number = page_ids_and_total(contacts, 0, 1)[1] if is_filtered else contacts.count()
            hints = value_hints(groups, request.user.has_perm)
        except InvalidFields as error:
            return JsonResponse({"errors": humanize_errors(error.detail)})
        except (OperationalError, InterfaceError):
            return JsonResponse({"message": TOO_LONG}, status=503)
        return JsonResponse({"count": number, **({"hints": hints} if hints else {})})
