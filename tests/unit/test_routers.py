"""config.api.routers: the URLs and methods of a viewset."""

import pytest
from django.http import Http404
from django.urls import ResolverMatch
from django.urls.resolvers import RegexPattern, URLResolver
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from config.api.routers import ID_REGEX, FluentRouter


class BookViewSet(ViewSet):
    """Books, which can be listed, deleted together and read."""

    lookup_url_kwarg = "book_id"
    lookup_value_regex = ID_REGEX

    def list(self, request: Request) -> Response:
        raise NotImplementedError

    def destroy_several(self, request: Request) -> Response:
        raise NotImplementedError

    def retrieve(self, request: Request, book_id: str) -> Response:
        raise NotImplementedError


class LogViewSet(ViewSet):
    """Lines, which can only be listed."""

    def list(self, request: Request) -> Response:
        raise NotImplementedError


def resolve(path: str) -> ResolverMatch:
    """Return the match of a path among the routes of two viewsets."""
    router = FluentRouter()
    router.register("books", BookViewSet, basename="book")
    router.register("log", LogViewSet, basename="log")
    match = URLResolver(RegexPattern(""), router.urls).resolve(path)
    assert isinstance(match, ResolverMatch)
    return match


@pytest.mark.parametrize("path", ["books", "books/"])
def test_delete_on_a_list_deletes_several_objects(path: str) -> None:
    actions = resolve(path).func.actions  # type: ignore[attr-defined]  # DRF sets it
    assert actions == {"get": "list", "delete": "destroy_several"}


@pytest.mark.parametrize("path", ["books/7", "books/7/"])
def test_an_object_has_a_url_with_its_id(path: str) -> None:
    match = resolve(path)
    assert match.kwargs == {"book_id": "7"}
    assert match.func.actions == {"get": "retrieve"}  # type: ignore[attr-defined]


def test_a_viewset_without_the_action_has_no_delete_on_its_list() -> None:
    actions = resolve("log").func.actions  # type: ignore[attr-defined]
    assert actions == {"get": "list"}


@pytest.mark.parametrize("path", ["books//", "books/a", "books/-1", f"books/{'1' * 21}", "book"])
def test_other_paths_have_no_route(path: str) -> None:
    with pytest.raises(Http404):
        resolve(path)
