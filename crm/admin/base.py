"""The base of the admin's lists: pages that are read once, and filters that are typed or chosen."""

from collections.abc import Iterable, Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR, ChangeList
from django.contrib.admin.widgets import AdminSplitDateTime
from django.core.paginator import Paginator
from django.db.models import Field, Model, QuerySet
from django.forms import Field as FormField
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import capfirst
from typing_extensions import override

from config.api.errors import Forbidden, InvalidFields
from config.api.validation import MAX_ID, MAX_ITEMS, is_valid_id
from config.audit import of_ids, record
from crm.contacts import EmailTaken, find_contact
from crm.filters.describe import error_sentences, humanize_errors
from crm.labels import SlugTaken

# A list of rows that grow without a bound shows this number at most, because counting millions
# takes longer than reading a page.
MAX_ROWS = 10_000
# The length of an e-mail, in characters.
MAX_VALUE_LENGTH = 254


class PageByIds(ChangeList):
    """Read the ids of a page and the total in one query, and then the rows of the page by id.

    Django's ChangeList runs the filtered query for the total and again for the rows.
    """

    model_admin: "PagedModelAdmin"
    # Whether there are more rows than `result_count`.
    capped = False

    @property
    def value_filters(self) -> "list[ValueFilter]":
        """The filters of the list."""
        return [spec for spec in self.filter_specs if isinstance(spec, ValueFilter)]

    @property
    def is_filtered(self) -> bool:
        """Whether the list is searched, or a filter has a value."""
        return bool(self.query) or any(spec.value() for spec in self.value_filters)

    @property
    def kept_parameters(self) -> list[tuple[str, str]]:
        """The parameters that the form of filters and search has to repeat: the order."""
        own = {SEARCH_VAR, *(spec.parameter_name for spec in self.value_filters)}
        return [(name, value) for name, value in self.params.items() if name not in own]

    @override
    def get_ordering_field(self, field_name: Any) -> Any:
        # Django sorts by any column that the URL names.
        if self.sortable_by is not None and field_name not in self.sortable_by:
            return None
        return super().get_ordering_field(field_name)

    @override
    def get_results(self, request: HttpRequest) -> None:
        per_page = self.list_per_page
        start = (self.page_num - 1) * per_page
        if not 0 <= start < MAX_ID - per_page:
            raise IncorrectLookupParameters
        ids, total, self.capped = self.model_admin.page_ids(self.queryset, start, per_page)
        if start and not ids:
            raise IncorrectLookupParameters
        positions = {row_id: position for position, row_id in enumerate(ids)}
        rows = self.model_admin.page_rows(self.root_queryset.filter(pk__in=ids))
        self.result_list = sorted(rows, key=lambda row: positions[row.pk])
        self.result_count = total
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(total)
        self.can_show_all = False
        self.multi_page = total > per_page
        self.paginator = Paginator(range(total), per_page)


class StrictModelAdmin(admin.ModelAdmin):
    """Handle invalid URLs and concurrent saves, which Django's ModelAdmin answers with an error.

    Deletions are written to the audit log too.
    """

    @override
    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        ids = of_ids([row.pk for row in queryset])
        record(request, "deleted", what=str(self.opts.verbose_name), **ids)
        return super().log_deletions(request, queryset)

    @override
    def formfield_for_dbfield(
        self, db_field: Field, request: HttpRequest, **kwargs: Any
    ) -> FormField | None:
        # Date and time get names for screen readers.
        field = super().formfield_for_dbfield(db_field, request, **kwargs)
        if field and isinstance(field.widget, AdminSplitDateTime):
            for widget, name in zip(field.widget.widgets, ("date", "time"), strict=True):
                widget.attrs["aria-label"] = f"{field.label}: {name}"
        return field

    @override
    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        # Django accepts any column with any lookup, also a slow or an invalid regex.
        filters = self.get_list_filter(request)
        return lookup in [getattr(spec, "parameter_name", None) for spec in filters]

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Django redirects here with ?e=1 when the URL was invalid.
        if ERROR_FLAG in request.GET and request.method == "GET":
            if len(request.GET) > 1:
                return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
            messages.error(request, "The URL has an invalid filter, order or page.")
        return super().changelist_view(request, extra_context)

    @override
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(*args, **kwargs)
        except (EmailTaken, SlugTaken, InvalidFields):
            # After the form was validated, a concurrent request took the e-mail or slug, or deleted
            # a label of the filter. It is committed by now, so that the form reports it.
            return super().changeform_view(*args, **kwargs)

    @override
    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        # The form has written what it rejects into the object that heading and breadcrumb name.
        if request.method == "POST" and context["original"]:
            stored = self.get_object(request, str(context["original"].pk))
            context |= {"original": stored, "subtitle": str(stored)}
        return super().render_change_form(request, context, *args, **kwargs)

    @override
    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *arguments: Any
    ) -> HttpResponse | None:
        # Ids that are no numbers are ignored. Django would answer them with an error.
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        ids = [value for value in selected if is_valid_id(value)]
        if ids != selected:
            data = request.POST.copy()
            data.setlist(ACTION_CHECKBOX_NAME, ids)
            request.POST = data  # type: ignore[assignment]  # it is immutable until it is copied
        return super().response_action(request, queryset, *arguments)


class PagedModelAdmin(StrictModelAdmin):
    """A list that is read by PageByIds."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "tallybook/change_list.html"

    @override
    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        specs = super().get_list_filter(request)
        return [s for s in specs if request.user.has_perms(getattr(s, "permissions", ()))]

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return PageByIds

    @override
    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return super().changelist_view(request, context)

    def page_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        """Return the ids of a page in order, the number of rows, and whether there are more."""
        ids = list(rows.values_list("pk", flat=True)[start : start + per_page])
        return ids, rows.count(), False

    def page_rows(self, rows: QuerySet[Any]) -> Iterable[Any]:
        """Return the rows of a page with what the list shows of them."""
        return rows


class NoAddOrChangeAdmin(PagedModelAdmin):
    """A list without adding and changing."""

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class ReadOnlyAdmin(NoAddOrChangeAdmin):
    """A list without deleting either, because events are deleted with their contact."""

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class NewestRowsAdmin(ReadOnlyAdmin):
    """A list of the newest MAX_ROWS rows that match the filters."""

    sortable_by = ()
    ordering = ("-id",)

    @override
    def page_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        """Return the page's ids and the row count, capped at MAX_ROWS."""
        ids = list(rows.values_list("pk", flat=True)[: MAX_ROWS + 1])
        capped = len(ids) > MAX_ROWS
        return ids[:MAX_ROWS][start : start + per_page], min(len(ids), MAX_ROWS), capped


class ValueFilter(admin.SimpleListFilter):
    """A filter with one value, which is chosen from `options` or typed."""

    template = "tallybook/filter.html"
    # What an admin user needs to see the filter.
    permissions: tuple[str, ...] = ()
    # Whether the value is typed, so that it need not be one of the options.
    typed = False
    placeholder = ""

    # Django calls it, but `options` replaces it.
    @override
    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return []

    @override
    def has_output(self) -> bool:
        return True

    def options(self) -> list[tuple[str, str]]:
        """Return the values to offer, each with its label."""
        raise NotImplementedError

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """Return the rows with this value.

        Raises:
            ValueError: no row can have the value.
            InvalidFields: the value names a segment with an invalid filter.
            Forbidden: the value names a segment that asks for what the admin user may not see.
        """
        raise NotImplementedError

    def hints(self, value: str) -> list[str]:
        """Return sentences about a value that no row has, if it may be misspelt."""
        return []

    @override
    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        """Yield one dict, which the template shows as an input or a select."""
        chosen = self.value() or ""
        options = self.options()
        capped = len(options) if len(options) >= MAX_ITEMS else 0
        if chosen and not self.typed and chosen not in dict(options):
            options.append((chosen, chosen))
        yield {
            "name": self.parameter_name,
            "typed": self.typed,
            "placeholder": self.placeholder,
            "chosen": chosen,
            "options": options,
            "capped": capped,
        }

    @override
    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """Return the rows that match. An invalid value matches none and is reported."""
        value = (self.value() or "").strip()
        if not value:
            return queryset
        try:
            if "\0" in value or len(value) > MAX_VALUE_LENGTH:
                raise ValueError(value)
            rows = self.filter_rows(queryset, value)
        except (ValueError, OverflowError):
            messages.error(request, f"There is no {self.title} “{value[:100]}”.")
            return queryset.none()
        except InvalidFields as error:
            messages.error(request, " ".join(error_sentences(humanize_errors(error.detail))))
            return queryset.none()
        except Forbidden as error:
            messages.error(request, str(error))
            return queryset.none()
        for hint in self.hints(value):
            messages.warning(request, hint)
        return rows


class ContactFilter(ValueFilter):
    """Rows of a contact, by its id or e-mail. There are too many contacts to suggest any."""

    title = parameter_name = "contact"
    typed = True
    placeholder = "id or e-mail"

    @override
    def options(self) -> list[tuple[str, str]]:
        return []

    @override
    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        contact = find_contact(value)
        if contact is None:
            raise ValueError(value)
        return rows.filter(subscriber_id=contact.pk)
