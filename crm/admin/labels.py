"""Tags, lists and saved segments for people."""

from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import InterfaceError, OperationalError
from django.db.models import Func, IntegerField, OuterRef, QuerySet, Subquery
from django.forms import ModelForm, Script
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from config.api.errors import InvalidFields
from crm import labels, segments
from crm.admin.base import StrictModelAdmin
from crm.admin.segment_form import SegmentForm, filters_as_json, filters_from_json
from crm.filters import contacts_matching
from crm.filters.describe import FilterDescriber, humanize_errors
from crm.filters.options import builder_table
from crm.labels import slugify
from crm.models import List, Segment, Subscriber, Tag
from crm.selectors import page_ids_and_total

MAX_COUNTED = 10_000
VIEW_CONTACTS = "crm.view_subscriber"
TOO_LONG = "Counting takes too long. The segment can be saved all the same."
LinkText = Callable[[Any], str]


def link_to_contacts(text: str, **filters: Any) -> SafeString:
    """A link to the list of contacts, filtered."""
    address = f"{reverse('admin:crm_subscriber_changelist')}?{urlencode(filters)}"
    return format_html('<a href="{}">{}</a>', address, text)


class LabelForm(ModelForm):
    """A tag's or a list's form."""

    def clean_slug(self) -> str:
        """The slug as the API makes it."""
        return slugify(self.cleaned_data["slug"])


@admin.register(Tag, List)
class LabelAdmin(StrictModelAdmin):
    """Tags, and lists, with how many contacts each has."""

    form = LabelForm
    list_display = ("title", "slug", "created_at")
    search_fields = ("title", "slug")
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012
    list_per_page = 50

    @property
    def kind(self) -> labels.LabelKind:
        """Which of the two."""
        return "tags" if self.model is Tag else "lists"

    def on_them(self) -> tuple[QuerySet[Any], str]:
        """Who is on them, as rows, and the column that says on which."""
        through = getattr(Subscriber, self.kind).through
        return through.objects.all(), f"{self.kind[:-1]}_id"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Each with `number`: its contacts, counted no further than one more than is shown."""
        rows, column = self.on_them()
        some = rows.filter(**{column: OuterRef("pk")}).values("id")[: MAX_COUNTED + 1]
        number = Func(
            Subquery(some),
            template="(SELECT count(*) FROM %(expressions)s counted)",
            output_field=IntegerField(),
        )
        counted: QuerySet[Any] = super().get_queryset(request).annotate(number=number)
        return counted

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        """Contacts for those who may see them."""
        shown = self.list_display
        return (*shown, "contacts") if request.user.has_perm(VIEW_CONTACTS) else shown

    @admin.display(description="contacts")
    def contacts(self, segment: Any) -> SafeString:
        """How many there are, and the way to them."""
        more = segment.number > MAX_COUNTED
        text = f"more than {MAX_COUNTED:,}" if more else f"{segment.number:,}"
        return link_to_contacts(text, **{self.kind[:-1]: segment.pk})

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Any,
        form: ModelForm,
        change: bool,
    ) -> None:
        """Save as the API does. Raises SlugTaken, and Http404 for one that was just deleted."""
        fields = dict(form.cleaned_data)
        if not change:
            obj.__dict__.update(labels.create_label(self.kind, fields).__dict__)
        elif not labels.update_label(self.kind, obj.pk, fields):
            raise Http404

    def get_deleted_objects(self, objs: Iterable[Any], request: HttpRequest) -> Any:
        """What goes: not each contact by its name, there may be any number."""
        rows, column = self.on_them()
        ids = [segment.pk for segment in objs]
        counts = {
            str(self.opts.verbose_name_plural): len(ids),
            "contacts that they are taken off": rows.filter(**{f"{column}__in": ids}).count(),
        }
        denied = set() if self.has_delete_permission(request) else {self.opts.verbose_name}
        return [str(segment) for segment in objs], counts, denied, []

    def delete_model(self, request: HttpRequest, obj: Any) -> None:  # noqa: ARG002
        """Delete it, in the order of locks that all deletions take."""
        labels.delete_labels(self.kind, [obj.pk])

    def delete_queryset(
        self,
        request: HttpRequest,  # noqa: ARG002
        queryset: QuerySet[Any],
    ) -> None:
        """Delete them, in the order of locks that all deletions take."""
        labels.delete_labels(self.kind, queryset.values_list("pk", flat=True))


@admin.register(Segment)
class SegmentAdmin(StrictModelAdmin):
    """Saved segments: filters, made of the filter table while their contacts are counted."""

    form = SegmentForm
    list_display = ("title", "slug")
    search_fields = ("title",)
    prepopulated_fields = {"slug": ("title",)}  # noqa: RUF012
    list_per_page = 50

    class Media:
        css = {"all": ("crm/segment.css",)}  # noqa: RUF012
        js = (Script("crm/segment.js", type="module"),)

    def get_urls(self) -> list[URLPattern]:
        """The count besides."""
        count = self.admin_site.admin_view(require_POST(self.count))
        return [path("count/", count, name="crm_segment_count"), *super().get_urls()]

    def get_list_display(self, request: HttpRequest) -> tuple[Any, ...]:
        """What each asks; the way to the contacts for those who may see them."""
        # Of this request: a title may be another one at the next.
        sentences = FilterDescriber(request.user.has_perm)

        @admin.display(description="asks for")
        def asks(segment: Segment) -> str:
            return sentences.describe(segment.filters)

        contacts = ("contacts",) if request.user.has_perm(VIEW_CONTACTS) else ()
        return (*self.list_display, asks, *contacts)

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Segment | None:
        """The segment, with its sentence for this person."""
        found = super().get_object(request, object_id, from_field)
        if found:
            found.sentence = FilterDescriber(request.user.has_perm).describe(found.filters)
        return found

    @admin.display(description="asks for")
    def asks(self, segment: Segment) -> str:
        """The filter as a sentence."""
        sentence: str = segment.sentence  # type: ignore[attr-defined]  # by get_object
        return sentence

    @admin.display(description="contacts")
    def contacts(self, segment: Segment) -> str:
        """The way to its contacts."""
        return link_to_contacts("Show contacts", segment=segment.slug)

    @admin.display(description="JSON")
    def as_json(self, segment: Segment) -> str:
        """The filter to be looked at, and to be counted by the page."""
        return format_html(
            '<textarea id="id_filters" aria-label="JSON" rows="8" cols="80" readonly>{}</textarea>',
            filters_as_json(segment.filters),
        )

    def get_fields(self, request: HttpRequest, obj: Segment | None = None) -> tuple[str, ...]:
        """The form, or the same to be read."""
        changes = obj is None or self.has_change_permission(request, obj)
        contacts = ("contacts",) if obj and request.user.has_perm(VIEW_CONTACTS) else ()
        return ("title", "slug", *(("filters",) if changes else ("asks", "as_json")), *contacts)

    def get_readonly_fields(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Segment | None = None,  # noqa: ARG002
    ) -> tuple[str, ...]:
        """What is made of the filter."""
        return ("asks", "as_json", "contacts")

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Give the page what its builder is made of."""
        may_count = self.has_view_permission(request) and request.user.has_perm(VIEW_CONTACTS)
        table = builder_table(request.user.has_perm)
        count = reverse("admin:crm_segment_count") if may_count else ""
        context["segment_table"] = {**table, "count": count}
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(
        self,
        request: HttpRequest,  # noqa: ARG002
        obj: Segment,
        form: ModelForm,
        change: bool,
    ) -> None:
        """Save as the API does. Raises SlugTaken, and Http404 for one that was just deleted."""
        fields = {name: form.cleaned_data[name] for name in SegmentForm.Meta.fields}
        if change:
            saved = segments.update_segment(obj.pk, fields)
        else:
            saved = segments.create_segment(fields)
        if saved is None:
            raise Http404
        obj.__dict__.update(saved.__dict__)

    def delete_model(self, request: HttpRequest, obj: Segment) -> None:  # noqa: ARG002
        """Delete it; its contacts stay."""
        segments.delete_segment(obj.pk)

    def count(self, request: HttpRequest) -> JsonResponse:
        """How many contacts a filter means, as JSON: `count`, or `errors` by their places.

        Errors are 200: a filter that is not finished yet is no failure that a browser reports.
        """
        if not (self.has_view_permission(request) and request.user.has_perm(VIEW_CONTACTS)):
            raise PermissionDenied
        # Django has read it as a form, and its body cannot be read again.
        if request.content_type == "multipart/form-data":
            return JsonResponse({"message": "The filter is to be sent as JSON."}, status=415)
        try:
            found = contacts_matching(filters_from_json(request.body))
            # All contacts are counted by themselves: that needs no filter to be planned.
            number = page_ids_and_total(found, 0, 1)[1] if found.query.where else found.count()
        except InvalidFields as wrong:
            return JsonResponse({"errors": humanize_errors(wrong.detail)})
        except (OperationalError, InterfaceError):
            return JsonResponse({"message": TOO_LONG}, status=503)
        return JsonResponse({"count": number})
