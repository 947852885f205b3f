"""Calls about all contacts of a list's query: bulk actions with is_all, and prev-next-ids."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from crm.api.views import actions
from crm.attachments import attach
from crm.contacts import create
from crm.labels import create_label
from crm.models import Subscriber
from events.personal_data import erase_contact
from tests.api.statements import count_statements

ACTION = "/subscribers/do-bulk-action"
BESIDE = "/subscribers/prev-next-ids"
SIMPLE = {"filter_type": "simple"}


@pytest.fixture
def vip(db: None) -> int:
    """The id of the tag VIP."""
    return create_label("tags", {"title": "VIP"}).pk


@pytest.fixture
def ids(vip: int) -> list[int]:
    """The ids of five contacts, of which the first four have the tag VIP."""
    contacts = [create({"email": f"c{number}@example.com"}).pk for number in range(5)]
    attach("tags", contacts[:4], [vip])
    return contacts


def all_of(api: APIClient, query: Any, **fields: Any) -> Any:
    """Delete all contacts of a query, unless the fields name another action."""
    return api.post(
        ACTION, {"action_name": "delete_contacts", "is_all": "yes", "contact_query": query} | fields
    )


def remaining() -> list[int]:
    return list(Subscriber.objects.order_by("id").values_list("id", flat=True))


def test_all_contacts_of_a_query_are_changed_and_no_others(
    api: APIClient, ids: list[int], vip: int
) -> None:
    response = all_of(api, SIMPLE | {"tags": [vip], "search": "", "lists": [], "company_ids": []})
    assert response.json() == {
        "last_contact_id": ids[3],
        "completed_contacts": 4,
        "message": "Selected Contacts has been deleted permanently",
    }
    assert remaining() == ids[4:]


def test_the_contacts_of_a_query_are_changed_so_many_at_a_time(
    api: APIClient, ids: list[int], vip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "CONTACTS_PER_REQUEST", 3)
    fields: dict[str, Any] = {"action_name": "remove_from_tags", "action_options": [vip]}
    query = SIMPLE | {"tags": [vip]}
    first = all_of(api, query, **fields).json()
    second = all_of(api, query, **fields, last_id=first["last_contact_id"]).json()
    last = all_of(api, query, **fields, last_id=second["last_contact_id"]).json()
    assert (first["last_contact_id"], second["last_contact_id"]) == (ids[2], ids[3])
    assert last == {
        "is_completed": True,
        "completed_contacts": 0,
        "message": "All contacts has been processed",
    }
    assert not Subscriber.tags.through.objects.exists()


@pytest.mark.parametrize("as_text", [True, False])
def test_a_query_may_have_advanced_filters_and_be_json_text(
    api: APIClient, ids: list[int], as_text: bool
) -> None:
    condition = {"source": ["subscriber", "email"], "operator": "contains", "value": "c4@"}
    query = {"filter_type": "advanced", "advanced_filters": json.dumps([[condition]])}
    all_of(api, json.dumps(query) if as_text else query)
    assert remaining() == ids[:4]


def test_a_query_without_a_filter_means_all_contacts(api: APIClient, ids: list[int]) -> None:
    all_of(api, SIMPLE)
    assert remaining() == []


@pytest.mark.parametrize(
    "query",
    [
        None,
        "",
        {},
        [],
        "x",
        [1],
        {"search": ""},
        {"tags": []},
        SIMPLE | {"tag": "VIP"},
        SIMPLE | {"find": "ada"},
        SIMPLE | {"company_ids": [1]},
        SIMPLE | {"statuses": ["nonsense"]},
        SIMPLE | {"advanced_filters": "[]"},
        SIMPLE | {"search": ["ada"]},
        {"filter_type": "advanced"},
        {"filter_type": "advanced", "advanced_filters": "["},
        {"filter_type": "else"},
    ],
)
def test_a_query_that_is_unclear_is_rejected_and_changes_nothing(
    api: APIClient, ids: list[int], query: Any
) -> None:
    assert all_of(api, query, subscriber_ids=ids[:1]).status_code == 422
    assert remaining() == ids


@pytest.mark.parametrize("last_id", ["x", -1, 1.5, 2**63])
def test_a_last_id_that_is_none_is_rejected(api: APIClient, ids: list[int], last_id: Any) -> None:
    response = all_of(api, SIMPLE, last_id=last_id)
    assert (response.status_code, list(response.json())) == (422, ["last_id"])


def test_an_action_on_all_contacts_keeps_those_who_opted_out_or_were_erased(
    api: APIClient, ids: list[int]
) -> None:
    Subscriber.objects.filter(pk=ids[0]).update(status="unsubscribed")
    erased = create({"email": "erased@example.com"})
    erase_contact(erased.pk, by="admin")
    again = create({"email": "erased@example.com", "status": "subscribed"})
    action = {"action_name": "change_contact_status", "new_status": "subscribed"}
    body = all_of(api, SIMPLE, **action).json()
    assert {each["rule"] for each in body["warnings"]} == {"keep_opt_outs", "erased"}
    kept = Subscriber.objects.exclude(status="subscribed")
    assert set(kept.values_list("id", flat=True)) == {ids[0], again.pk}


def test_too_many_attachments_of_all_contacts_are_rejected_by_their_field(
    api: APIClient, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actions, "MAX_ATTACHMENTS", 4)
    response = all_of(api, SIMPLE, action_name="add_to_tags", action_options=[1])
    assert (response.status_code, list(response.json())) == (422, ["action_options"])


def test_all_contacts_are_not_read_for_the_next_ones(api: APIClient, ids: list[int]) -> None:
    last = 'FROM "crm_subscriber" WHERE "crm_subscriber"."id" > $1 ORDER BY 1 ASC LIMIT'
    assert count_statements(lambda: all_of(api, SIMPLE, action_name="nonsense"), last) == 1


@pytest.mark.parametrize("action_name", ["send_double_optin", "add_to_email_sequence"])
def test_an_action_that_sends_mail_is_rejected(
    api: APIClient, ids: list[int], action_name: str
) -> None:
    response = api.post(ACTION, {"action_name": action_name, "subscriber_ids": ids})
    assert (response.status_code, response.json()) == (
        422,
        {"message": "Tallybook sends no e-mail"},
    )


def beside(api: APIClient, current_id: int, **params: Any) -> Any:
    response = api.get(BESIDE, SIMPLE | {"current_id": current_id} | params)
    assert response.status_code == 200, response.content
    return response.json()


def test_the_contacts_beside_one_are_in_the_order_of_the_list(
    api: APIClient, ids: list[int]
) -> None:
    assert beside(api, ids[2]) == {
        "navigation": {"next": [ids[1], ids[0]], "prev": [ids[3], ids[4]]},
        "has_next": False,
        "has_prev": False,
    }
    rising = beside(api, ids[2], sort_type="ASC", sort_by="email")["navigation"]
    assert rising == {"next": [ids[3], ids[4]], "prev": [ids[1], ids[0]]}


def test_the_contacts_beside_one_are_those_of_the_filters(
    api: APIClient, ids: list[int], vip: int
) -> None:
    assert beside(api, ids[2], **{"tags[]": vip})["navigation"]["prev"] == [ids[3]]
    assert beside(api, ids[2], search="c0@")["navigation"] == {"next": [ids[0]], "prev": []}


def test_ten_contacts_on_a_side_are_shown_and_more_are_told(api: APIClient, db: None) -> None:
    ids = [create({"email": f"c{number}@example.com"}).pk for number in range(12)]
    body = beside(api, ids[-1])
    assert body["navigation"]["next"] == ids[-2:0:-1]
    assert (body["has_next"], body["has_prev"]) == (True, False)


@pytest.mark.parametrize("params", [{}, {"current_id": 1}, SIMPLE, SIMPLE | {"current_id": 0}])
def test_the_contact_and_the_kind_of_filter_are_required(
    api: APIClient, params: dict[str, Any]
) -> None:
    response = api.get(BESIDE, params)
    assert response.status_code == 422
    assert response.json() == {"message": "filter_type & current_id is required"}


@pytest.mark.parametrize(
    "params", [{"current_id": "x"}, {"filter_type": "else"}, {"tag": "VIP"}, {"statuses[]": "x"}]
)
def test_an_invalid_parameter_beside_a_contact_is_rejected(
    api: APIClient, params: dict[str, Any]
) -> None:
    assert api.get(BESIDE, SIMPLE | {"current_id": 1} | params).status_code == 422
