"""The base of the API's viewsets."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from rest_framework.viewsets import GenericViewSet
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.api.parsers import Params, parse_query
from config.api.validation import Validator, clamp_id, to_bool, validate


class ApiViewSet(GenericViewSet[Any]):
    """A GenericViewSet that reads parameters as PHP programs send them.

    Filter backends find the validated parameters of a list in `list_params`.
    """

    # What FluentCRM calls an object in its messages, such as "Tag".
    noun: ClassVar[str]
    # The list's parameters. They are validated together, so that all errors are reported at once.
    list_fields: ClassVar[Mapping[str, Validator]] = {}
    list_params: Params
    lookup_url_kwarg: str

    @property
    @override
    def default_response_headers(self) -> dict[str, str]:
        # Responses hold personal data, and the credential may be in a header that caches ignore.
        return {**super().default_response_headers, "Cache-Control": "no-store"}

    @cached_property
    def query(self) -> Params:
        """The parameters of the query string, parsed once; `tags[]=1&tags[]=2` is a list.

        Raises:
            BadRequest: the query string cannot be read.
        """
        query = self.request.META.get("QUERY_STRING")
        return parse_query(query) if query else {}

    @cached_property
    def params(self) -> Params:
        """The parameters of the query string and of the body in one dict; the body's win.

        Raises:
            BadRequest: the body or the query string cannot be read.
            UnsupportedMediaType: 415.
        """
        body = self.request.data
        return {**self.query, **body} if isinstance(body, dict) else {**self.query}

    def is_on(self, switch: str) -> bool:
        """Return whether a parameter is one of FluentCRM's words for true.

        Raises:
            InvalidFields: 422, a list or an object.
        """
        return bool(validate({switch: to_bool}, self.params).get(switch))

    @override
    def filter_queryset(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        self.list_params = validate(self.list_fields, self.params)
        return super().filter_queryset(queryset)

    # As DRF's, which knows querysets and lists only.
    @override
    def paginate_queryset(self, queryset: Any) -> list[Any]:
        """Return the rows of a page of anything that the pagination class can count and slice."""
        page = super().paginate_queryset(queryset)
        assert page is not None  # None without a pagination class
        return page

    @property
    def url_id(self) -> int:
        """The id in the URL."""
        return clamp_id(self.kwargs[self.lookup_url_kwarg])

    # DRF's own applies the filter backends, whose parameters belong to lists alone.
    @override
    def get_object(self) -> Model:
        """Return the object that the URL names.

        Raises:
            ObjectNotFound: 404.
        """
        row: Model | None = self.get_queryset().filter(pk=self.url_id).first()
        if row is None:
            raise ObjectNotFound(self.noun)
        return row
