"""Answer FluentCRM's routes that Tallybook has no part in: crm/api/absent.py."""

import re
from collections import defaultdict
from typing import Any, ClassVar

from django.urls import URLPattern, re_path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from typing_extensions import override

from config.api.errors import ObjectNotFound, Unprocessable
from config.api.pagination import FluentPagination
from config.api.responses import Response
from config.api.routers import ID_REGEX
from config.api.validation import clamp_id
from config.api.viewsets import ApiViewSet
from crm.api.absent import CONTACTS, ID, PAGE, ROUTES, find_route
from crm.api.rights import CHANGE, READ
from crm.models import Subscriber
from crm.permissions import Access


class EmptyPagination(FluentPagination):
    """The page of a list without rows."""

    @override
    def get_rows(self, queryset: Any, start: int, per_page: int) -> tuple[list[Any], int]:
        return [], 0


# Not in the OpenAPI description, which lists what Tallybook has.
@extend_schema(exclude=True)
class AbsentViewSet(ApiViewSet):
    """All of these routes. The path is the argument `route`."""

    access: ClassVar[dict[str, Access]] = {"read": READ, "write": CHANGE}
    pagination_class = EmptyPagination

    def read(self, request: Request, route: str) -> Response:
        """Return FluentCRM's shape without data.

        Raises:
            ObjectNotFound: 404, where FluentCRM looks for one object first.
        """
        check_contact(route)
        nothing = find_route(route).nothing
        if isinstance(nothing, str):
            raise ObjectNotFound(nothing)
        page = {name: self._empty_page() for name, value in nothing.items() if value is PAGE}
        return Response({**nothing, **page})

    def write(self, request: Request, route: str) -> Response:
        """Refuse.

        Raises:
            Unprocessable: 422.
        """
        check_contact(route)
        raise Unprocessable(find_route(route).refusal)

    def _empty_page(self) -> dict[str, Any]:
        paginator = self.paginator
        assert isinstance(paginator, EmptyPagination)
        return paginator.get_envelope(self.paginate_queryset(()))


def check_contact(route: str) -> None:
    """Check that the contact of a path exists, if it has one.

    Raises:
        ObjectNotFound: 404.
    """
    if ID.sub("{id}", route) in CONTACTS:
        [digits] = ID.findall(route)
        if not Subscriber.objects.filter(pk=clamp_id(digits)).exists():
            raise ObjectNotFound("Subscriber")


def absent_urls() -> list[URLPattern]:
    """Return one URL pattern for all routes with the same methods, so that Allow is right."""
    paths: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for path, route in ROUTES.items():
        paths[route.methods].append(re.escape(path).replace(r"\{id\}", ID_REGEX))
    return [
        re_path(
            f"^(?P<route>{'|'.join(same)})/?$",
            AbsentViewSet.as_view(
                {method: "read" if method == "get" else "write" for method in methods}
            ),
            name="absent-" + "-".join(methods),
        )
        for methods, same in paths.items()
    ]
