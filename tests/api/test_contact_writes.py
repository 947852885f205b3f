"""Random requests that write contacts: no 5xx, no change of another contact, no lost opt-out."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from crm.api.fields import CONTACT_FIELDS, LABEL_FIELDS
from crm.contacts import create
from crm.emails import email_key
from crm.models import OPT_OUTS, Status, Subscriber
from events.personal_data import erase_contact
from tests.api.savepoints import rolled_back

ERASED, NEW = "erased@example.com", "new@example.com"
# Erased, and pending again since.
BACK = "back@example.com"
# One contact of each status.
EMAILS = {f"{status}@example.com": status for status in Status}
WORDS = [*Status.values, "Subscribed", " PENDING ", "cleaned", "subscribed!", "2", ""]
FALSE = [False, 0, "0", "false", "Off", "no"]
TRUE = [True, 1, "yes", "ON"]
# What is neither, by mistake.
OTHER: list[Any] = ["maybe", "nein", "", None, 2, [], {"a": 1}]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8"), max_size=20)
    | st.sampled_from([*WORDS, *EMAILS, "0000-00-00", "2024-01-01", "a" * 300, "{}", "7", "\0"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["title", "slug", "id", "0", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = [*CONTACT_FIELDS, *LABEL_FIELDS, "full_name", "custom_fields", "attach_tags", "subscriber"]
# Often nothing but a status, because most other values are rejected.
SENT = st.builds(
    lambda fields, status: fields | status,
    st.just({})
    | st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=5), VALUES, max_size=3),
    st.just({}) | st.fixed_dictionaries({"status": st.sampled_from(WORDS) | VALUES}),
)
PEOPLE = st.sampled_from([*EMAILS, "UNSUBSCRIBED@example.com"]) | st.sampled_from(
    [NEW, ERASED, BACK]
)
CONTACTS = st.builds(lambda sent, email: sent | {"email": email}, SENT, PEOPLE)
SWITCHES = st.sampled_from([*FALSE, *TRUE, *OTHER])


def columns() -> dict[str, dict[str, Any]]:
    """Return the columns of all contacts by the keys of their e-mails."""
    return {row["email_key"]: {**row} for row in Subscriber.objects.values()}


def known_status(sent: Any) -> str | None:
    """Return the status that is sent, or None for one that is no status."""
    word = sent.strip().lower() if isinstance(sent, str) else None
    return word if word in Status.values else None


@pytest.fixture
def ids(db: None) -> dict[str, int]:
    """The ids of a contact of each status, beside one that was erased, and one that came back."""
    for erased in (ERASED, BACK):
        erase_contact(create({"email": erased}).pk, by="eve")
    create({"email": BACK})
    return {email: create({"email": email, "status": EMAILS[email]}).pk for email in EMAILS}


def assert_no_opt_out_is_lost(was: str, row: dict[str, Any], sent: Any, may_widen: bool) -> None:
    """Assert that a contact who opted out stays so, unless the request may change that."""
    if was in OPT_OUTS and row["status"] not in OPT_OUTS:
        assert may_widen
        assert row["status"] == known_status(sent)


def test_a_random_request_about_one_contact_changes_no_other_and_widens_nothing(
    api: APIClient, ids: dict[str, int]
) -> None:
    before = columns()

    @given(st.sampled_from([*EMAILS]), SENT)
    def run(email: str, sent: dict[str, Any]) -> None:
        with rolled_back():
            response = api.put(f"/subscribers/{ids[email]}", sent)
            assert response.status_code in (200, 422), response.content
            after = {row["id"]: row for row in columns().values()}
            row = after.pop(ids[email])
            assert after == {r["id"]: r for r in before.values() if r["id"] != ids[email]}
            # Fields in `subscriber` win, and may be JSON text.
            fields = sent["subscriber"] if isinstance(sent.get("subscriber"), dict) else {}
            assert_no_opt_out_is_lost(
                EMAILS[email], row, (fields or sent).get("status"), may_widen=True
            )
            assert response.status_code == 200 or row == before[email]

    run()


def test_a_random_contact_changes_no_other_and_widens_nothing(
    api: APIClient, ids: dict[str, int]
) -> None:
    before = columns()

    @given(CONTACTS, SWITCHES)
    def run(sent: dict[str, Any], force: Any) -> None:
        with rolled_back():
            response = api.post("/subscribers", sent | {"__force_update": force})
            assert response.status_code in (200, 422), response.content
            after, key = columns(), email_key(sent["email"])
            row = after.pop(key, None)
            assert after == {other: row for other, row in before.items() if other != key}
            if key in before:
                assert row is not None
                may_widen = force in TRUE
                assert_no_opt_out_is_lost(before[key]["status"], row, sent.get("status"), may_widen)
                assert response.status_code == 200 or row == before[key]
                assert key != BACK or row["status"] in ("pending", *OPT_OUTS)
            elif row is not None:
                expected = known_status(sent["status"]) or "pending"
                is_restored = key == ERASED and expected not in OPT_OUTS
                assert row["status"] == ("pending" if is_restored else expected)

    run()


def test_a_random_batch_changes_no_other_contact_and_widens_nothing(
    api: APIClient, ids: dict[str, int]
) -> None:
    before = columns()
    switches = {"force_update": SWITCHES, "keep_opt_outs": SWITCHES, "restore_erased": SWITCHES}

    @given(
        st.lists(st.one_of(CONTACTS, CONTACTS, CONTACTS, VALUES), min_size=1, max_size=6),
        st.fixed_dictionaries({}, optional=switches),
    )
    def run(rows: list[Any], sent: dict[str, Any]) -> None:
        with rolled_back():
            response = api.post("/subscribers/bulk-add-update", {"contacts": rows, **sent})
            assert response.status_code in (200, 422), response.content
            after = columns()
            named = {
                email_key(row["email"])
                for row in rows
                if isinstance(row, dict) and isinstance(row.get("email"), str)
            }
            assert {key: row for key, row in after.items() if key not in named} == {
                key: row for key, row in before.items() if key not in named
            }
            gives_up = sent.get("keep_opt_outs", True) in FALSE
            for key in before.keys() & named:
                if before[key]["status"] in OPT_OUTS and not gives_up:
                    assert after[key]["status"] in OPT_OUTS
            if sent.get("restore_erased") not in TRUE:
                assert ERASED not in after
                assert after[BACK]["status"] in ("pending", *OPT_OUTS)
            if response.status_code == 200:
                body = response.json()
                done = len(body["created"]) + len(body["updated"]) + len(body["invalids"])
                assert done == len(rows)
                assert len(body.get("errors", [])) == len(body["invalids"])

    run()
