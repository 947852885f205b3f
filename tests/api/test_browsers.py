"""The API and browsers: no page of another site acts with a login that a browser remembers."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from crm.models import Subscriber
from tests.api.conftest import MakePassword, basic

DELETE = "/subscribers/do-bulk-action"
HERE = "http://testserver"
ELSEWHERE = "http://elsewhere.example"


def form_of(contact: Subscriber) -> dict[str, Any]:
    """Return the fields of a form that deletes a contact."""
    return {"action_name": "delete_contacts", "subscriber_ids[]": contact.id}


@pytest.fixture
def post_form(api: APIClient, ada: Subscriber) -> Any:
    """Send the form that deletes a contact with the login of `api` and these headers."""

    def post(**headers: str) -> Any:
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return api.post(DELETE, form_of(ada), format="multipart", headers=names)

    return post


# A script's fetch of a form is not asked before (CORS), and can send the login as well.
@pytest.mark.parametrize("mode", ["navigate", "no-cors", "cors", "websocket", "unknown"])
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_form_of_another_site_is_403_and_changes_nothing(
    post_form: Any, ada: Subscriber, mode: str, site: str
) -> None:
    response = post_form(sec_fetch_mode=mode, sec_fetch_site=site, origin=ELSEWHERE)
    assert response.status_code == 403
    assert response.json()["code"] == "rest_forbidden"
    assert "another site" in response.json()["message"]
    assert Subscriber.objects.get() == ada


# Browsers send Sec-Fetch headers to https and to their own machine only, but Origin always.
@pytest.mark.parametrize("origin", [ELSEWHERE, "null", "http://testserver:81"])
def test_a_form_of_another_origin_is_403_where_browsers_send_no_sec_fetch(
    post_form: Any, ada: Subscriber, origin: str
) -> None:
    assert post_form(origin=origin).status_code == 403
    assert Subscriber.objects.get() == ada


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="no browser"),
        pytest.param({"sec_fetch_mode": "navigate", "sec_fetch_site": "none"}, id="typed"),
        pytest.param(
            {"sec_fetch_mode": "navigate", "sec_fetch_site": "same-origin", "origin": HERE},
            id="own form",
        ),
        pytest.param({"origin": HERE}, id="own origin"),
    ],
)
def test_other_forms_are_accepted(post_form: Any, headers: dict[str, str]) -> None:
    assert post_form(**headers).status_code == 200
    assert not Subscriber.objects.exists()


def test_a_form_of_an_allowed_origin_is_accepted(post_form: Any, settings: Settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [ELSEWHERE]
    assert post_form(origin=ELSEWHERE).status_code == 200


def test_json_of_another_origin_is_accepted_because_browsers_ask_before_it(
    api: APIClient, ada: Subscriber
) -> None:
    response = api.post(
        DELETE,
        {"action_name": "delete_contacts", "subscriber_ids": [ada.id]},
        headers={"Origin": ELSEWHERE},
    )
    assert response.status_code == 200


def test_a_request_without_a_body_from_another_origin_is_403(
    api: APIClient, ada: Subscriber
) -> None:
    path = f"{DELETE}?action_name=delete_contacts&subscriber_ids[]={ada.id}"
    response = api.generic("POST", path, content_type="", headers={"Origin": ELSEWHERE})
    assert response.status_code == 403
    assert Subscriber.objects.get() == ada


def test_a_link_on_another_site_may_read(api: APIClient) -> None:
    headers = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"}
    assert api.get("/subscribers", headers=headers).status_code == 200


@pytest.mark.parametrize("mode", ["navigate", "no-cors", "cors", "same-origin"])
@pytest.mark.parametrize("secret", [None, "wrong"])
def test_a_browser_is_not_asked_for_a_login_that_it_would_remember(
    anonymous: APIClient, mode: str, secret: str | None
) -> None:
    if secret:
        anonymous.credentials(HTTP_AUTHORIZATION=basic("admin", secret))
    response = anonymous.get("/subscribers", headers={"Sec-Fetch-Mode": mode})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="Tallybook"'


def test_a_token_works_from_any_site(
    admin: User, make_password: MakePassword, ada: Subscriber
) -> None:
    client = APIClient()
    client.credentials(HTTP_API_TOKEN=make_password(admin))
    headers = {"Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Site": "cross-site", "Origin": ELSEWHERE}
    response = client.put(
        "/api/3/eventTracking", {"eventTracking": {"enabled": True}}, headers=headers
    )
    assert response.status_code == 200
