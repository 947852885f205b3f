"""FluentCRM's routes that Tallybook has no part in: empty answers, refusals, and the rights."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from crm.api.absent import CONTACTS, PAGE, ROUTES
from crm.models import Subscriber
from tests.api.calls import send
from tools.routes import PAGE as PAGE_OF_ROUTES
from tools.routes import fluentcrm_routes, tables

PREFIX = "/wp-json/fluent-crm/v2/"
EMPTY_PAGE: dict[str, Any] = {
    "total": 0,
    "per_page": 15,
    "current_page": 1,
    "last_page": 0,
    "next_page_url": None,
    "prev_page_url": None,
    "from": None,
    "to": None,
    "data": [],
}
READS = [(path, route.nothing) for path, route in ROUTES.items() if "get" in route.methods]
EMPTY = [(path, body) for path, body in READS if not isinstance(body, str)]
MISSING = [(path, noun) for path, noun in READS if isinstance(noun, str)]
WRITES = [
    (method.upper(), path, route.refusal)
    for path, route in ROUTES.items()
    for method in route.methods
    if method != "get"
]


def url(path: str, contact: Subscriber) -> str:
    """Return the URL of a route, with the contact's id for each id."""
    return PREFIX + path.replace("{id}", str(contact.pk))


@pytest.mark.parametrize(("path", "body"), EMPTY)
def test_reading_answers_in_fluentcrms_shape_that_there_is_nothing(
    api: APIClient, ada: Subscriber, path: str, body: Any
) -> None:
    response = api.get(url(path, ada))
    assert response.status_code == 200
    expected = {name: EMPTY_PAGE if value is PAGE else value for name, value in body.items()}
    assert response.json() == expected


@pytest.mark.parametrize(("path", "noun"), MISSING)
def test_reading_one_object_is_404(api: APIClient, ada: Subscriber, path: str, noun: str) -> None:
    response = api.get(url(path, ada))
    assert (response.status_code, response.json()) == (404, {"message": f"{noun} not found"})


@pytest.mark.parametrize(("method", "path", "refusal"), WRITES)
def test_writing_is_refused(
    api: APIClient, ada: Subscriber, method: str, path: str, refusal: str
) -> None:
    response = send(api, method, url(path, ada), {"title": "Hello"})
    assert (response.status_code, response.json()) == (422, {"message": refusal})


@pytest.mark.parametrize("path", CONTACTS)
def test_what_belongs_to_an_unknown_contact_is_404(
    api: APIClient, ada: Subscriber, path: str
) -> None:
    method = ROUTES[path].methods[0].upper()
    unknown = url(path, ada).replace(str(ada.pk), str(ada.pk + 1))
    response = send(api, method, unknown)
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})


def test_a_double_optin_is_refused_because_no_mail_is_sent(api: APIClient, ada: Subscriber) -> None:
    response = api.post(f"/subscribers/{ada.pk}/send-double-optin")
    assert (response.status_code, response.json()) == (
        422,
        {"message": "Tallybook sends no e-mail"},
    )


def test_an_empty_page_has_the_size_and_number_that_were_sent(api: APIClient) -> None:
    page = api.get("/campaigns?per_page=50&page=3&status=draft").json()["campaigns"]
    numbers = {"per_page": 50, "current_page": 3}
    assert page == EMPTY_PAGE | numbers | {
        "prev_page_url": "/campaigns?per_page=50&status=draft&page=2"
    }


@pytest.mark.parametrize(
    "path", ["campaign", "campaigns/x", "campaigns/1/x", "smart-links", "funnels/1/2", "contacts"]
)
def test_a_route_that_fluentcrm_does_not_have_is_404(api: APIClient, path: str) -> None:
    response = api.get(PREFIX + path)
    assert (response.status_code, response.json()["code"]) == (404, "rest_no_route")


def test_a_method_that_a_route_does_not_have_is_405(api: APIClient) -> None:
    response = api.put("/campaigns")
    assert response.status_code == 405
    assert response.headers["Allow"] == "GET, POST, HEAD, OPTIONS"


def test_the_methods_of_a_route_are_told(api: APIClient) -> None:
    assert api.options("/campaigns/1").headers["Allow"] == "GET, PUT, DELETE, HEAD, OPTIONS"


def test_the_list_of_routes_in_the_documentation_is_that_of_the_urls() -> None:
    assert PAGE_OF_ROUTES.read_text().partition("## Routes\n")[2] == f"\n{tables()}"


def test_every_route_without_a_part_is_one_of_fluentcrms() -> None:
    known = {(path, method.lower()) for path, methods in fluentcrm_routes() for method in methods}
    absent = {(path, method) for path, route in ROUTES.items() for method in route.methods}
    assert absent - known == set()
