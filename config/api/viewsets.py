"""The base of the API's viewsets."""

from collections.abc import Mapping
from functools import cache, cached_property
from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from rest_framework.authentication import BaseAuthentication
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet
from typing_extensions import override

from config.api.errors import ObjectNotFound
from config.api.parsers import Params, parse_query
from config.api.responses import Response
from config.api.validation import Validator, clamp_id, to_bool, validate


@cache
def instances(classes: tuple[type[Any], ...]) -> list[Any]:
    """Return an instance of each class, the same ones each time, because they hold no state."""
    return [each() for each in classes]


@cache
def allowed_methods(view: type[APIView], *actions: str) -> str:
    """Return the header Allow of a URL.

    Args:
        view: the class of its view.
        actions: the HTTP methods of its actions, in lower case.
    """
    names = [name for name in view.http_method_names if name in actions or hasattr(view, name)]
    return ", ".join(names).upper()


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

    @override
    def get_parsers(self) -> list[BaseParser]:
        return instances(tuple(self.parser_classes))

    @override
    def get_authenticators(self) -> list[BaseAuthentication]:
        return instances(tuple(self.authentication_classes))

    @override
    def get_permissions(self) -> list[BasePermission]:
        return instances(tuple(self.permission_classes))

    # DRF's own negotiates a renderer and a version, and throttles, each request.
    @override
    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        self.format_kwarg = None
        self.perform_authentication(request)
        self.check_permissions(request)

    @property
    @override
    def default_response_headers(self) -> dict[str, str]:
        methods = allowed_methods(type(self), *self.action_map)
        # Responses hold personal data, and the credential may be in a header that caches ignore.
        return {"Allow": methods, "Cache-Control": "no-store"}

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

    @override
    def get_paginated_response(self, data: Any) -> Response:  # type: ignore[override]
        assert self.paginator is not None
        response: Response = self.paginator.get_paginated_response(data)  # type: ignore[assignment]
        return response

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
