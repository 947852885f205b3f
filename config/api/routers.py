"""Route URLs to viewsets with FluentCRM's conventions."""

from rest_framework.routers import Route, SimpleRouter

ID_REGEX = "[0-9]{1,20}"


class FluentRouter(SimpleRouter):
    """A SimpleRouter with an optional trailing slash and DELETE on the list.

    DELETE on a list deletes the objects that the request names (`destroy_several`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.trailing_slash = "/?"
        list_route = self.routes[0]
        assert isinstance(list_route, Route)
        mapping = list_route.mapping | {"delete": "destroy_several"}
        self.routes = [list_route._replace(mapping=mapping), *self.routes[1:]]
