"""Filters on any occurrence, on windows in hours, and on what was done since another event."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from crm.contacts import create
from events.maintenance import prune_occurrences
from events.models import EventOccurrence
from events.tracking import track
from events.tracking.corrections import take_back
from tests.api.filters import (
    ANY_PROPERTY,
    ANY_PROVIDER,
    ANY_TITLE,
    ANY_VALUE,
    FIRST_SEEN,
    LAST_SEEN,
    NOT_DONE,
    SINCE_FIRST,
    SINCE_LAST,
    WITHIN,
    condition,
    found,
)

NAMES = ("ada", "bob", "cy")


@pytest.fixture(autouse=True)
def contacts(db: None) -> None:
    """Ada, Bob and Cy, of whom Cy does nothing."""
    for name in NAMES:
        create({"email": f"{name}@example.com"})


def did(name: str, key: str, hours_ago: float = 0, **fields: Any) -> None:
    """Track an event of a contact that many hours ago."""
    at = timezone.now() - timedelta(hours=hours_ago)
    sent = {"event_key": key, "title": "t", "email": f"{name}@example.com", "occurred_at": at}
    track(sent | fields)


def pay(name: str, hours_ago: float = 0, **fields: Any) -> None:
    """Track a payment of a contact."""
    did(name, "pay", hours_ago, **fields)


OF_PAY = {"extra_value": "pay"}


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        (condition(WITHIN, ">=", 1, **OF_PAY, within_hours=36), ["ada"]),
        (condition(WITHIN, ">=", 1, **OF_PAY, within_hours="38"), ["ada", "bob"]),
        (condition(WITHIN, "=", 0, **OF_PAY, within_hours=36), ["bob", "cy"]),
        (condition(WITHIN, ">=", 2, **OF_PAY, within_hours=36), []),
        (condition(WITHIN, ">=", 2, **OF_PAY, within_hours=41), ["ada"]),
        (condition(LAST_SEEN, "hours_within", 36, **OF_PAY), ["ada"]),
        (condition(LAST_SEEN, "hours_before", 36, **OF_PAY), ["bob"]),
        (condition(FIRST_SEEN, "hours_within", 38, **OF_PAY), ["bob"]),
        (condition(FIRST_SEEN, "hours_before", 38, **OF_PAY), ["ada"]),
        (condition(NOT_DONE, "hours_within", 36, **OF_PAY), ["bob", "cy"]),
        (condition(NOT_DONE, "hours_within", 38, **OF_PAY), ["cy"]),
    ],
)
def test_hours_are_a_span_that_ends_now(
    api: APIClient, sent: dict[str, Any], names: list[str]
) -> None:
    pay("ada", 35)
    pay("ada", 40)
    pay("bob", 36.5)
    assert found(api, sent) == names


@pytest.mark.parametrize(
    "sent",
    [
        condition(WITHIN, "=", 1, **OF_PAY, within_hours=1),
        condition(LAST_SEEN, "hours_within", 1, **OF_PAY),
        condition(ANY_VALUE, "=", "5", **OF_PAY, within_hours=1),
    ],
    ids=lambda sent: sent["source"][1],
)
def test_an_occurrence_of_a_clock_that_runs_ahead_is_in_the_last_hours(
    api: APIClient, sent: dict[str, Any]
) -> None:
    pay("ada", -0.05, value="5")
    assert found(api, sent) == ["ada"]


@pytest.mark.parametrize(
    ("source", "operator", "value", "more", "names"),
    [
        (ANY_VALUE, ">", 100, {}, ["ada", "bob"]),
        (ANY_VALUE, ">", 100, {"within_hours": 24}, ["bob"]),
        (ANY_VALUE, ">", 100, {"within_days": 3}, ["ada", "bob"]),
        (ANY_VALUE, "=", "120.00", {}, ["ada", "bob"]),
        (ANY_VALUE, "!=", 120, {"within_hours": 24}, ["ada", "cy"]),
        (ANY_TITLE, "=", "RING", {}, ["ada", "bob"]),
        (ANY_TITLE, "contains", "in", {"within_hours": 24}, ["bob"]),
        (ANY_TITLE, "not_contains", "in", {"within_hours": 24}, ["ada", "cy"]),
        (ANY_PROVIDER, "in", ["shop"], {}, ["ada", "bob"]),
        (ANY_PROVIDER, "in", ["shop"], {"within_hours": 24}, ["bob"]),
        (ANY_PROVIDER, "in", ["SHOP"], {}, []),
        (ANY_PROVIDER, "not_in", ["shop"], {"within_hours": 24}, ["ada", "cy"]),
        (ANY_PROPERTY, ">", 100, {"path": "order.total"}, ["ada", "bob"]),
        (ANY_PROPERTY, ">", 100, {"path": "order.total", "within_hours": 24}, ["bob"]),
        (ANY_PROPERTY, "!=", 120, {"path": "order.total", "within_hours": 24}, ["ada", "cy"]),
        (ANY_PROPERTY, "exists", None, {"path": "order.total", "within_hours": 24}, ["bob"]),
    ],
)
def test_any_occurrence_in_the_window_may_match(
    api: APIClient, source: Any, operator: str, value: Any, more: Any, names: list[str]
) -> None:
    dear = {"title": "Ring", "value": 120, "provider": "shop"}
    dear["properties"] = {"order": {"total": 120}}
    pay("ada", 30, **dear)
    pay("bob", 20, **dear)
    for name in ("ada", "bob"):
        pay(name, 1, title="Tea", value=3, provider="till")
    assert found(api, condition(source, operator, value, **OF_PAY, **more)) == names


def since(source: Any, operator: str, **more: Any) -> dict[str, Any]:
    """Return a condition on a checkout since a change of the cart."""
    return condition(source, operator, "checkout", extra_value="cart_updated", **more)


@pytest.mark.parametrize(
    ("source", "operator", "more", "names"),
    [
        (SINCE_LAST, "done", {}, ["bob"]),
        (SINCE_LAST, "not_done", {}, ["ada"]),
        (SINCE_FIRST, "done", {}, ["ada", "bob"]),
        (SINCE_FIRST, "not_done", {}, []),
        (SINCE_LAST, "not_done", {"within_hours": 3}, ["ada"]),
        (SINCE_LAST, "not_done", {"within_hours": 1}, []),
        (SINCE_FIRST, "done", {"within_hours": 5}, ["bob"]),
        (SINCE_FIRST, "not_done", {"within_hours": 5}, []),
    ],
)
def test_what_was_done_since_the_last_or_first_time(
    api: APIClient, source: Any, operator: str, more: Any, names: list[str]
) -> None:
    did("ada", "cart_updated", 6)
    did("ada", "checkout", 4)
    did("ada", "cart_updated", 2)
    did("bob", "cart_updated", 4)
    did("bob", "checkout", 3)
    did("cy", "checkout", 1)
    assert found(api, since(source, operator, **more)) == names


@pytest.mark.parametrize("source", [SINCE_LAST, SINCE_FIRST])
@pytest.mark.parametrize("more", [{}, {"same": "cart_id"}], ids=["any", "same"])
def test_what_was_done_at_the_same_time_was_done_since(
    api: APIClient, source: Any, more: Any
) -> None:
    at = timezone.now()
    for key in ("cart_updated", "checkout"):
        did("ada", key, occurred_at=at, properties={"cart_id": 1})
    assert found(api, since(source, "done", **more)) == ["ada"]
    assert found(api, since(source, "not_done", **more)) == []


@pytest.mark.parametrize(
    ("cart", "bought", "is_same"),
    [
        *(("c1", "c1", True), (5, "5", True), ({"no": 1}, {"no": 1}, True), (True, True, True)),
        *(("c1", "C1", False), (5, 5.5, False), ("5.0", "5", False), ("c1", None, False)),
    ],
)
def test_the_same_property_is_the_same_text(
    api: APIClient, cart: Any, bought: Any, is_same: bool
) -> None:
    did("ada", "cart_updated", 2, properties={"cart": {"id": cart}})
    did("ada", "checkout", 1, properties={"cart": {"id": bought}})
    of_cart = {"same": "cart.id"}
    assert found(api, since(SINCE_LAST, "done", **of_cart)) == (["ada"] if is_same else [])
    assert found(api, since(SINCE_LAST, "not_done", **of_cart)) == ([] if is_same else ["ada"])


def cart(name: str, key: str, cart_id: str | None, hours_ago: float) -> None:
    """Track an event of a contact's cart."""
    did(name, key, hours_ago, properties={"cart_id": cart_id} if cart_id else {})


@pytest.fixture
def carts(contacts: None) -> None:
    """Ada left one of two carts, Bob bought both, and Cy's cart has no id."""
    cart("ada", "cart_updated", "a1", 9)
    cart("ada", "cart_updated", "a2", 8)
    cart("ada", "checkout", "a2", 7)
    cart("bob", "cart_updated", "b1", 9)
    cart("bob", "cart_updated", "b2", 8)
    cart("bob", "checkout", "b2", 7)
    cart("bob", "checkout", "b1", 6)
    cart("cy", "cart_updated", None, 5)


@pytest.mark.usefixtures("carts")
@pytest.mark.parametrize(
    ("operator", "more", "names"),
    [
        ("not_done", {"same": "cart_id"}, ["ada"]),
        ("done", {"same": "cart_id"}, ["ada", "bob"]),
        ("not_done", {"same": "cart_id", "within_hours": 10}, ["ada"]),
        ("not_done", {"same": "cart_id", "within_hours": 8}, []),
        ("not_done", {}, ["cy"]),
        ("not_done", {"same": "basket"}, []),
    ],
)
def test_of_several_carts_each_is_compared_with_its_own_checkout(
    api: APIClient, operator: str, more: Any, names: list[str]
) -> None:
    assert found(api, since(SINCE_LAST, operator, **more)) == names


def test_an_abandoned_cart_is_one_condition_on_it_and_one_on_its_age(api: APIClient) -> None:
    cart("ada", "cart_updated", "a", 3)
    cart("bob", "cart_updated", "b", 3)
    cart("bob", "checkout", "b", 2)
    cart("cy", "cart_updated", "c", 0.5)
    left = since(SINCE_LAST, "not_done", same="cart_id", within_hours=36)
    quiet = condition(LAST_SEEN, "hours_before", 1, extra_value="cart_updated")
    assert found(api, left, quiet) == ["ada"]


def test_a_pruned_event_was_done_since(api: APIClient) -> None:
    did("ada", "cart_updated", 2)
    did("ada", "checkout", 1)
    prune_occurrences(timezone.now(), "checkout", lambda *_: None)
    assert found(api, since(SINCE_LAST, "not_done")) == []


def test_a_checkout_that_was_taken_back_was_not_done(api: APIClient) -> None:
    did("ada", "cart_updated", 2)
    did("ada", "checkout", 1)
    checkout = EventOccurrence.objects.get(event_key="checkout")
    take_back(checkout.subscriber_id, [checkout.pk])
    assert found(api, since(SINCE_LAST, "not_done")) == ["ada"]


def test_a_filter_on_occurrences_is_saved_without_its_empty_fields(api: APIClient) -> None:
    sent = since(SINCE_LAST, "not_done", same="", within_hours=36, within_days=None)
    response = api.post("/segments", {"title": "Left carts", "filters": [[sent]]})
    assert response.status_code == 200, response.content
    [[saved]] = response.json()["segment"]["filters"]
    assert saved == {
        "source": list(SINCE_LAST),
        "operator": "not_done",
        "value": "checkout",
        "extra_value": "cart_updated",
        "within_hours": 36,
    }


def test_an_event_since_itself_is_not_saved(api: APIClient) -> None:
    sent = condition(SINCE_LAST, "not_done", "checkout", extra_value="checkout")
    response = api.post("/segments", {"title": "Left carts", "filters": [[sent]]})
    assert response.status_code == 422
    assert list(response.json()) == ["filters.0.0.value"]
