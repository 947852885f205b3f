"""Wrong credentials of API clients: limited by address, at no cost to right ones."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from config.refusals import MAX_REFUSALS, refusals
from tests.api.conftest import MakePassword, basic
from tests.api.test_activecampaign import call, tracking_keys

SECRET = "Zx" * 12
WRONG = {
    "Basic": {"HTTP_AUTHORIZATION": basic("admin", SECRET)},
    "Bearer": {"HTTP_AUTHORIZATION": f"Bearer {SECRET}"},
    "Api-Token": {"HTTP_API_TOKEN": SECRET},
    "neither": {"HTTP_AUTHORIZATION": f"Digest {SECRET}"},
}
PATHS = {"Api-Token": "/api/3/eventTracking"}


@pytest.fixture
def refused() -> None:
    """An address that was wrong as often as it may be."""
    for _ in range(MAX_REFUSALS):
        refusals.count("127.0.0.1")


def ask(kind: str, client: APIClient) -> Any:
    """Send a wrong credential."""
    client.credentials(**WRONG[kind])
    return client.get(PATHS.get(kind, "/subscribers"))


@pytest.mark.django_db
@pytest.mark.parametrize("kind", WRONG)
def test_after_thirty_wrong_credentials_in_a_minute_further_ones_are_429(
    kind: str, anonymous: APIClient
) -> None:
    statuses = [ask(kind, anonymous).status_code for _ in range(MAX_REFUSALS)]
    assert statuses == [401] * MAX_REFUSALS
    response = ask(kind, anonymous)
    assert (response.status_code, response.json()["code"]) == (429, "rest_too_many_requests")
    assert 0 < int(response.headers["Retry-After"]) <= 60


@pytest.mark.usefixtures("refused")
def test_right_credentials_pass_from_an_address_that_was_wrong(api: APIClient) -> None:
    assert api.get("/subscribers").status_code == 200


@pytest.mark.usefixtures("refused")
def test_a_right_bearer_token_passes_from_an_address_that_was_wrong(
    admin: User, make_password: MakePassword, anonymous: APIClient
) -> None:
    anonymous.credentials(HTTP_AUTHORIZATION=f"Bearer {make_password(admin)}")
    assert anonymous.get("/subscribers").status_code == 200


@pytest.mark.usefixtures("refused")
def test_requests_without_credentials_are_not_limited(anonymous: APIClient, db: None) -> None:
    assert anonymous.get("/subscribers").status_code == 401


@pytest.mark.usefixtures("refused")
def test_a_wrong_tracking_key_is_429_where_too_many_were_wrong(
    anonymous: APIClient, db: None
) -> None:
    pair = tracking_keys()
    response = call(anonymous, {"actid": pair["actid"], "key": "x", "event": "e"})
    assert response.status_code == 429


@pytest.mark.usefixtures("refused")
def test_a_right_tracking_key_passes_from_an_address_that_was_wrong(
    anonymous: APIClient, db: None
) -> None:
    assert call(anonymous, tracking_keys() | {"event": "e"}).json()["success"] == 1


@pytest.mark.usefixtures("refused")
def test_what_exceeds_the_limit_is_not_logged(
    anonymous: APIClient, db: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "tallybook.audit")
    ask("Basic", anonymous)
    assert "tallybook.audit" not in {record.name for record in caplog.records}
