"""The limits of a contact's custom values: 64 KB and 300 keys together, over all writes."""

from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from crm.models import Subscriber

ADA = "ada@example.com"
BULK = "/subscribers/bulk-add-update"
TOO_LARGE = {"custom_values": {"max": "The custom_values may not be greater than 64 KB together."}}
TOO_MANY = {"custom_values": {"keys": "The custom_values may not have more than 300 keys."}}
KEYS = {f"key{number}": number for number in range(300)}
# Written as `{"a": "…"}`, which has nine characters besides.
LARGEST = {"a": "x" * (64 * 1024 - 9)}


def put(api: APIClient, contact: Subscriber, values: Any) -> Any:
    """Change the custom values of a contact."""
    return api.put(f"/subscribers/{contact.pk}", {"custom_values": values, "city": "Ulm"})


def values_of(contact: Subscriber) -> Any:
    """Return the custom values and the city as they are stored."""
    return Subscriber.objects.values_list("custom_values", "city").get(pk=contact.pk)


@pytest.fixture
def old(ada: Subscriber) -> Subscriber:
    """A contact with 400 custom values of 100 KB together, from before they were limited."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE crm_subscriber SET custom_values = (SELECT jsonb_object_agg('key' || n, "
            "repeat('x', 250)) FROM generate_series(1, 400) n)"
        )
    return ada


@pytest.mark.parametrize("values", [LARGEST, KEYS, {"a": [KEYS]}])
def test_a_contact_may_have_the_most_custom_values(
    api: APIClient, ada: Subscriber, values: Any
) -> None:
    assert put(api, ada, values).status_code == 200
    assert values_of(ada) == (values, "Ulm")


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"a": LARGEST["a"] + "x"}, TOO_LARGE),
        # 309 digits each, as PostgreSQL writes them.
        ({"a": [1e308] * 220}, TOO_LARGE),
        (KEYS | {"more": 1}, TOO_MANY),
        ({"a": [{"b": KEYS | {"more": 1}}]}, TOO_MANY),
    ],
)
def test_more_custom_values_are_422_and_nothing_is_stored(
    api: APIClient, ada: Subscriber, values: Any, error: Any
) -> None:
    response = put(api, ada, values)
    assert (response.status_code, response.json()) == (422, error)
    assert values_of(ada) == ({}, None)


@pytest.mark.parametrize(
    ("before", "values", "error"),
    [(LARGEST, {"b": 1}, TOO_LARGE), (KEYS, {"more": 1}, TOO_MANY)],
)
def test_several_updates_stay_within_the_limits(
    api: APIClient, ada: Subscriber, before: Any, values: Any, error: Any
) -> None:
    put(api, ada, before)
    assert put(api, ada, values).json() == error
    assert values_of(ada) == (before, "Ulm")


def test_a_new_contact_with_more_custom_values_is_422(api: APIClient) -> None:
    new = {"email": ADA, "status": "subscribed", "custom_values": {"a": LARGEST["a"] + "x"}}
    response = api.post("/subscribers", new)
    assert (response.status_code, response.json()) == (422, TOO_LARGE)
    assert not Subscriber.objects.exists()


def test_in_a_batch_more_custom_values_cost_that_contact_alone(
    api: APIClient, ada: Subscriber
) -> None:
    contacts = [
        {"email": ADA, "city": "Ulm", "custom_values": KEYS | {"more": 1}},
        {"email": "bob@example.com", "custom_values": KEYS},
    ]
    response = api.post(BULK, {"contacts": contacts}).json()
    assert [row["email"] for row in response["created"]] == ["bob@example.com"]
    assert response["errors"] == [{"index": 0, "email": ADA, "errors": TOO_MANY}]
    assert values_of(ada) == ({}, None)


def test_larger_values_of_before_stay_readable(api: APIClient, old: Subscriber) -> None:
    page = api.get("/subscribers?custom_fields=true").json()["subscribers"]["data"]
    assert len(page[0]["custom_fields"]) == 400


@pytest.mark.parametrize("change", [{"key1": ""}, {"key1": "shorter"}])
def test_larger_values_of_before_may_become_smaller(
    api: APIClient, old: Subscriber, change: Any
) -> None:
    assert put(api, old, change).status_code == 200


def test_larger_values_of_before_may_be_sent_again_as_they_are(
    api: APIClient, old: Subscriber
) -> None:
    values, _ = values_of(old)
    assert put(api, old, values).status_code == 200


@pytest.mark.parametrize("change", [{"key1": "x" * 251}, {"more": 1}])
def test_larger_values_of_before_never_become_larger(
    api: APIClient, old: Subscriber, change: Any
) -> None:
    before = values_of(old)
    assert put(api, old, change).json() == TOO_LARGE
    assert values_of(old) == before


def test_a_value_over_8_mb_of_before_is_told_instead_of_read(
    api: APIClient, ada: Subscriber
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE crm_subscriber "
            "SET custom_values = jsonb_build_object('a', repeat('x', 9000000))"
        )
    response = api.get(f"/subscribers/{ada.pk}?with[]=subscriber.custom_values")
    message = "The contact has more than 8 MB. manage.py export_contact writes all of it."
    assert (response.status_code, response.json()) == (422, {"contact": {"max": message}})
    response = api.get("/subscribers?custom_fields=true")
    assert (response.status_code, list(response.json())) == (422, ["per_page"])
    assert put(api, ada, {"a": ""}).status_code == 200
