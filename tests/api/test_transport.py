"""Personal data stays out of caches, and API calls off plain http."""

from typing import Any

import pytest
from django.conf import settings as django_settings
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from crm.models import Subscriber
from tests.api.calls import CALLS, OPEN_CALL, send

AUTHORIZE = "/wp-admin/authorize-application.php"
EVENT = {"event_key": "k", "title": "t", "email": "ada@example.com"}


@pytest.mark.parametrize(
    ("method", "path"), [OPEN_CALL, *((method, path) for method, path, _ in CALLS)]
)
def test_no_cache_may_store_a_response_of_the_api(api: APIClient, method: str, path: str) -> None:
    assert send(api, method, path, {}).headers["Cache-Control"] == "no-store"


def test_a_contact_is_not_stored_by_caches(api: APIClient, ada: Subscriber) -> None:
    response = api.get(f"/subscribers/{ada.id}")
    assert (response.status_code, response.headers["Cache-Control"]) == (200, "no-store")


def test_the_description_may_be_stored(anonymous: APIClient) -> None:
    assert "Cache-Control" not in anonymous.get("/api/schema/").headers


@pytest.fixture
def https(settings: Settings, api: APIClient, anonymous: APIClient) -> None:
    """The settings of TALLYBOOK_HTTPS=true, behind a proxy that was asked over http."""
    for client in (api, anonymous):
        client.defaults["HTTP_X_FORWARDED_PROTO"] = "http"
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    middleware = [*django_settings.MIDDLEWARE]
    position = middleware.index("django.middleware.security.SecurityMiddleware")
    middleware.insert(position, "config.middleware.PlainHttpMiddleware")
    settings.MIDDLEWARE = middleware


@pytest.mark.usefixtures("https")
@pytest.mark.parametrize("prefix", ["", "/wp-json/fluent-crm/v2"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_an_api_call_over_http_is_403_and_says_why(
    api: APIClient, ada: Subscriber, prefix: str, method: str
) -> None:
    response: Any = getattr(api, method)(f"{prefix}/subscribers", {})
    assert response.status_code == 403
    assert response.json() == {
        "code": "rest_forbidden",
        "message": "Use https. Over http, the password has been sent readable: revoke it.",
        "data": {"status": 403},
    }


@pytest.mark.usefixtures("https")
def test_an_event_over_http_is_not_counted(api: APIClient, ada: Subscriber) -> None:
    assert api.post("/event", {"event": "k"}, format="multipart").status_code == 403
    assert api.post("/subscribers/track-event", EVENT).status_code == 403
    assert not ada.tracked_events.exists()


@pytest.mark.usefixtures("https")
def test_an_api_call_over_https_is_answered(api: APIClient, ada: Subscriber) -> None:
    headers = {"X-Forwarded-Proto": "https"}
    assert api.post("/subscribers/track-event", EVENT, headers=headers).status_code == 200


@pytest.mark.usefixtures("https")
@pytest.mark.parametrize(
    "path", ["/", "/admin", "/admin/login/", AUTHORIZE, "/api/docs/", "/static/x.css"]
)
def test_pages_over_http_are_redirected(anonymous: APIClient, path: str) -> None:
    response = anonymous.get(path)
    assert (response.status_code, response.headers["Location"]) == (
        301,
        f"https://testserver{path}",
    )


@pytest.mark.usefixtures("https")
def test_health_checks_may_use_http(anonymous: APIClient) -> None:
    assert anonymous.get("/healthz").status_code == 200
