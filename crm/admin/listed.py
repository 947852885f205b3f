"""What our lists in the admin share: pages read once, and filters that are typed or chosen."""

from collections.abc import Iterator
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG, SEARCH_VAR, ChangeList
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.text import capfirst

from config.fields import LARGEST_ID

LONGEST_TYPED = 254


class IdsFirst(ChangeList):
    """A page by its ids, found once together with their number; then the rows of that page alone.

    Django's own runs the filtered query for the number and again for the rows.
    """

    model_admin: "Listed"
    # Whether there are more rows than `result_count` says.
    capped = False

    @property
    def filters(self) -> "list[Filter]":
        """Those of ours."""
        return [spec for spec in self.filter_specs if isinstance(spec, Filter)]

    @property
    def is_filtered(self) -> bool:
        """Whether something is searched for, or a filter has a value."""
        return bool(self.query) or any(spec.value() for spec in self.filters)

    @property
    def kept_parameters(self) -> list[tuple[str, str]]:
        """What stays when the filters are set anew: the order."""
        own = {SEARCH_VAR, *(spec.parameter_name for spec in self.filters)}
        return [(name, value) for name, value in self.params.items() if name not in own]

    def get_results(self, request: HttpRequest) -> None:
        """Set what the templates read. Raises IncorrectLookupParameters for no such page."""
        if ERROR_FLAG in request.GET:
            messages.error(request, "That address asks for something that is not there.")
        per_page = self.list_per_page
        start = (self.page_num - 1) * per_page
        if not 0 <= start < LARGEST_ID - per_page:
            raise IncorrectLookupParameters
        ids, total, self.capped = self.model_admin.find_ids(self.queryset, start, per_page)
        if start and not ids:
            raise IncorrectLookupParameters
        places = {row_id: place for place, row_id in enumerate(ids)}
        rows = self.model_admin.rows_of(self.root_queryset.filter(pk__in=ids))
        self.result_list = sorted(rows, key=lambda row: places[row.pk])
        self.result_count = total
        self.full_result_count = None
        self.show_full_result_count = False
        self.show_admin_actions = bool(total)
        self.can_show_all = False
        self.multi_page = total > per_page
        self.paginator = Paginator(range(total), per_page)


class Listed(admin.ModelAdmin):
    """A list of IdsFirst."""

    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    change_list_template = "tallybook/change_list.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:  # noqa: ARG002
        """Our own."""
        return IdsFirst

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The list, under the name of what is in it."""
        context = {"title": capfirst(self.opts.verbose_name_plural), **(extra_context or {})}
        return super().changelist_view(request, context)

    def find_ids(
        self, rows: QuerySet[Any], start: int, per_page: int
    ) -> tuple[list[int], int, bool]:
        """The ids of a page in order, how many there are in all, and whether there are more."""
        ids = list(rows.values_list("pk", flat=True)[start : start + per_page])
        return ids, rows.count(), False

    def rows_of(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """The rows of a page with all that the list shows of them."""
        return rows


class Filter(admin.SimpleListFilter):
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
            if "\0" in value or len(value) > LONGEST_TYPED:
                raise ValueError(value)
            return self.matching(queryset, value)
        except (ValueError, OverflowError):
            messages.error(request, f"{self.title}: “{value[:100]}” is not there.")
            return queryset.none()

    def matching(self, rows: QuerySet[Any], value: str) -> QuerySet[Any]:
        """The rows that fit. Raises ValueError."""
        raise NotImplementedError
