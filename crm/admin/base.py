"""What our lists in the admin share: pages read once, and filters that are typed or chosen."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.text import capfirst

from config.api.validation import MAX_ID, is_valid_id
from crm.contacts import EmailTaken
from crm.labels import SlugTaken

MAX_VALUE_LENGTH = 254


class PageByIds(ChangeList):
    """A page by its ids, found once together with their number; then the rows of that page alone.

    Django's own runs the filtered query for the number and again for the rows.
    """

    model_admin: "PagedModelAdmin"
    # Whether there are more rows than `result_count` says.
    capped = False

    @property
    def filters(self) -> "list[ValueFilter]":
        """Those of ours."""
        return [spec for spec in self.filter_specs if isinstance(spec, ValueFilter)]

    @property
    def is_filtered(self) -> bool:
        """Whether something is searched for, or a filter has a value."""
        return bool(self.query) or any(spec.value() for spec in self.filters)

    @property
    def kept_parameters(self) -> list[tuple[str, str]]:
        """What stays when the filters are set anew: the order."""
        own = {SEARCH_VAR, *(spec.parameter_name for spec in self.filters)}
        return [(name, value) for name, value in self.params.items() if name not in own]

    def get_ordering_field(self, field_name: Any) -> Any:
        """What to sort by; what the list does not sort by is not sorted by from an address."""
        sortable = self.sortable_by
        if sortable is not None and field_name not in sortable:
            return None
        return super().get_ordering_field(field_name)

    def get_results(self, request: HttpRequest) -> None:  # noqa: ARG002
        """Set what the templates read. Raises IncorrectLookupParameters for no such page."""
        per_page = self.list_per_page
        start = (self.page_num - 1) * per_page
        if not 0 <= start < MAX_ID - per_page:
            raise IncorrectLookupParameters
        ids, total, self.capped = self.model_admin.page_ids(self.queryset, start, per_page)
        if start and not ids:
            raise IncorrectLookupParameters
        places = {row_id: place for place, row_id in enumerate(ids)}
        rows = self.model_admin.page_rows(self.root_queryset.filter(pk__in=ids))
        self.result_list = sorted(rows, key=lambda row: places[row.pk])
        self.result_count = total
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(total)
        self.can_show_all = False
        self.multi_page = total > per_page
        self.paginator = Paginator(range(total), per_page)


class StrictModelAdmin(admin.ModelAdmin):
    """What Django's own answers with an error: odd addresses, and two who save at once."""

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:  # noqa: ARG002
        """None but those of its filters: any column by any regex may be an error, or slow."""
        filters = self.get_list_filter(request)
        return lookup in [getattr(one, "parameter_name", None) for one in filters]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list; Django leads to it with `e` from an address that asks for nothing it has."""
        if ERROR_FLAG in request.GET and request.method == "GET":
            if len(request.GET) > 1:
                return HttpResponseRedirect(f"{request.path}?{ERROR_FLAG}=1")
            messages.error(request, "That address asks for something that is not there.")
        return super().changelist_view(request, extra_context)

    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        """The form; where somebody was faster with the same e-mail or slug, it says so."""
        try:
            return super().changeform_view(*args, **kwargs)
        except (EmailTaken, SlugTaken):
            # Theirs is there by now, and the form finds it.
            return super().changeform_view(*args, **kwargs)

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Any], *arguments: Any
    ) -> HttpResponse | None:
        """What an action answers; ids that are no numbers are passed over."""
        selected = request.POST.getlist(ACTION_CHECKBOX_NAME)
        numbers = [one for one in selected if is_valid_id(one)]
        if numbers != selected:
            data = request.POST.copy()
            data.setlist(ACTION_CHECKBOX_NAME, numbers)
            request.POST = data  # type: ignore[assignment]  # it is immutable until it is copied
        return super().response_action(request, queryset, *arguments)


class PagedModelAdmin(StrictModelAdmin):
    """A list of IdsFirst."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "tallybook/change_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """Our own."""
        return PageByIds

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, under the name of what is in it."""
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return super().changelist_view(request, context)

    def page_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        """The ids of a page in order, how many there are in all, and whether there are more."""
        ids = list(rows.values_list("pk", flat=True)[start : start + per_page])
        return ids, rows.count(), False

    def page_rows(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of a page with all that the list shows of them."""
        return rows


class ValueFilter(admin.SimpleListFilter):
    """A filter of a list: one value, of those that `options` offers."""

    template = "tallybook/filter.html"
    # Whether a value is typed, which may be none of the options, or chosen.
    typed = False
    placeholder = ""

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:  # noqa: ARG002
        """Asked for by Django; ours are made by `options`."""
        return []

    def has_output(self) -> bool:
        """Always: it says what could be asked."""
        return True

    def options(self) -> list[tuple[str, str]]:
        """Values and what they are called."""
        raise NotImplementedError

    def choices(self, changelist: ChangeList) -> Iterator[Any]:  # noqa: ARG002
        """The one thing that the template shows: the options, and which is chosen."""
        chosen = self.value() or ""
        options = self.options()
        if chosen and not self.typed and chosen not in dict(options):
            options.append((chosen, chosen))
        yield {
            "name": self.parameter_name,
            "typed": self.typed,
            "placeholder": self.placeholder,
            "chosen": chosen,
            "options": options,
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        """The rows that fit; a value that cannot be meant finds nothing, and says so."""
        value = (self.value() or "").strip()
        if not value:
            return queryset
        try:
            if "\0" in value or len(value) > MAX_VALUE_LENGTH:
                raise ValueError(value)
            return self.filter_rows(queryset, value)
        except (ValueError, OverflowError):
            messages.error(request, f"{self.title}: “{value[:100]}” is not there.")
            return queryset.none()

    def filter_rows(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The rows that fit. Raises ValueError."""
        raise NotImplementedError
