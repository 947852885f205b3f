"""People who opted out or were erased: which calls may bring them back, and what is reported."""

from functools import partial
from typing import Any

import pytest
from django.test import Client
from rest_framework.test import APIClient

from config.api.warnings import Warnings
from crm import contacts
from crm.bulk_columns import set_column
from crm.contacts import create
from crm.models import OPT_OUTS, Subscriber
from events.personal_data import erase_contact
from tests.api.pages import CONTACTS, form_of, open_page
from tests.api.statements import count_statements

ADA = "ada@example.com"
BULK = "/subscribers/bulk-add-update"
ACTION = "/subscribers/do-bulk-action"
PROPERTY = "/subscribers/subscribers-property"
MAILABLE = ("subscribed", "pending", "transactional")
# The calls about several contacts that write a status: method, path, and the fields.
BULK_CALLS = [
    pytest.param(
        lambda api, contact, status, **fields: api.post(
            BULK, {"contacts": [{"email": contact.email, "status": status}], **fields}
        ),
        id="bulk-add-update",
    ),
    pytest.param(
        lambda api, contact, status, **fields: api.post(
            ACTION,
            {
                "action_name": "change_contact_status",
                "subscriber_ids": [contact.pk],
                "new_status": status,
                **fields,
            },
        ),
        id="do-bulk-action",
    ),
    pytest.param(
        lambda api, contact, status, **fields: api.put(
            PROPERTY,
            {"property": "status", "value": status, "subscribers": [contact.pk], **fields},
        ),
        id="subscribers-property",
    ),
]
SINGLE_CALLS = [
    pytest.param(
        lambda api, contact, status: api.put(f"/subscribers/{contact.pk}", {"status": status}),
        id="PUT",
    ),
    pytest.param(
        lambda api, contact, status: api.post(
            "/subscribers", {"email": contact.email, "status": status, "__force_update": "yes"}
        ),
        id="POST",
    ),
]


def contact_with(status: str) -> Subscriber:
    """Create Ada with a status."""
    return create({"email": ADA, "status": status})


def status_of(email: str = ADA) -> str:
    """Return the stored status of a contact."""
    return Subscriber.objects.get(email=email).status


def rules(warnings: Warnings) -> list[tuple[str, str]]:
    """Return field and rule of each warning."""
    return [(warning["field"], warning["rule"]) for warning in warnings]


def erase(email: str = ADA) -> None:
    """Create a contact and erase it."""
    erase_contact(create({"email": email, "status": "unsubscribed"}).pk, by="eve")


@pytest.mark.parametrize("word", ["Unsubscribed", "UNSUBSCRIBED", " unsubscribed\u00a0"])
class TestAStatusIsReadInAnyCase:
    """Other tools write statuses in capitals, and files have whitespace around them."""

    @pytest.mark.parametrize("call", [*BULK_CALLS, *SINGLE_CALLS])
    def test_by_a_call_about_a_contact_that_exists(
        self, api: APIClient, ada: Subscriber, word: str, call: Any
    ) -> None:
        response = call(api, ada, word)
        assert (response.status_code, status_of()) == (200, "unsubscribed")

    def test_by_a_batch_about_a_new_contact(self, api: APIClient, word: str) -> None:
        response = api.post(BULK, {"contacts": [{"email": ADA, "status": word}]}).json()
        assert response["created"][0]["status"] == "unsubscribed"
        assert "warnings" not in response["created"][0]

    def test_by_a_request_for_a_new_contact(self, api: APIClient, word: str) -> None:
        response = api.post("/subscribers", {"email": ADA, "status": word}).json()
        assert response["contact"]["status"] == "unsubscribed"
        assert "warnings" not in response

    def test_by_python(self, db: None, word: str) -> None:
        assert create({"email": ADA, "status": word}).status == "unsubscribed"


@pytest.mark.parametrize("word", ["Unsubscribed", " UNSUBSCRIBED "])
def test_the_list_reads_a_status_in_any_case(api: APIClient, word: str) -> None:
    contact_with("unsubscribed")
    found = api.get("/subscribers", {"statuses[]": word}).json()["subscribers"]
    assert found["total"] == 1


UNKNOWN = ["cleaned", "2", "subscribed!", 0, "0", True, False, "false"]


@pytest.mark.parametrize("word", UNKNOWN)
def test_a_new_contact_of_a_batch_with_an_unknown_status_is_pending_and_it_says_so(
    api: APIClient, word: Any
) -> None:
    row = api.post(BULK, {"contacts": [{"email": ADA, "status": word}]}).json()["created"][0]
    assert row["status"] == status_of() == "pending"
    assert rules(row["warnings"]) == [("status", "in")]


def test_a_new_contact_with_an_unknown_status_is_pending_and_the_response_says_so(
    api: APIClient,
) -> None:
    response = api.post("/subscribers", {"email": ADA, "status": "cleaned"}).json()
    assert response["contact"]["status"] == "pending"
    message = 'The status "cleaned" is unknown, so the contact is pending.'
    assert response["warnings"] == [{"field": "status", "rule": "in", "message": message}]


@pytest.mark.parametrize("before", ["subscribed", "unsubscribed"])
@pytest.mark.parametrize("call", SINGLE_CALLS)
def test_an_unknown_status_changes_nothing_and_the_response_says_so(
    api: APIClient, call: Any, before: str
) -> None:
    response = call(api, contact_with(before), "cleaned").json()
    assert status_of() == before
    message = f'The status "cleaned" is unknown, so the contact stays {before}.'
    assert response["warnings"] == [{"field": "status", "rule": "in", "message": message}]


@pytest.mark.parametrize("status", [None, "", "   "])
def test_a_new_contact_of_a_batch_without_a_status_is_subscribed(
    api: APIClient, status: str | None
) -> None:
    row = api.post(BULK, {"contacts": [{"email": ADA, "status": status}]}).json()["created"][0]
    assert (row["status"], "warnings" in row) == ("subscribed", False)


@pytest.mark.parametrize("word", [False, 0])
def test_a_false_status_of_an_update_is_unknown(api: APIClient, ada: Subscriber, word: Any) -> None:
    response = api.put(f"/subscribers/{ada.pk}", {"status": word}).json()
    assert (rules(response["warnings"]), status_of()) == ([("status", "in")], "subscribed")


class TestAFieldNamedInCapitals:
    """Other tools capitalize the names of columns, and an opt-out must not be lost by that."""

    def test_is_read_by_a_batch(self, api: APIClient) -> None:
        row = {"Email": ADA, "Status": "Unsubscribed", "TAGS": ["VIP"]}
        answer = api.post(BULK, {"contacts": [row]}).json()
        assert [made["status"] for made in answer["created"]] == ["unsubscribed"]
        assert Subscriber.objects.get(tags__title="VIP").email == ADA

    def test_is_read_by_a_request(self, api: APIClient) -> None:
        response = api.post("/subscribers", {"EMAIL": ADA, "Status": "bounced", "Tags": ["VIP"]})
        assert (response.status_code, status_of()) == (200, "bounced")
        assert Subscriber.objects.get().tags.get().title == "VIP"

    @pytest.mark.parametrize("nested", [False, True])
    def test_is_read_by_an_update(self, api: APIClient, ada: Subscriber, nested: bool) -> None:
        change = {"Status": "complained", "Attach_Tags": ["VIP"]}
        api.put(f"/subscribers/{ada.pk}", {"subscriber": change} if nested else change)
        assert (status_of(), ada.tags.get().title) == ("complained", "VIP")

    def test_gives_way_to_the_name_in_lower_case(self, api: APIClient) -> None:
        row = {"email": ADA, "status": "unsubscribed", "Status": "subscribed"}
        api.post(BULK, {"contacts": [row]})
        assert status_of() == "unsubscribed"

    def test_names_the_email_of_a_rejected_row(self, api: APIClient) -> None:
        answer = api.post(BULK, {"contacts": [{"Email": "ada@"}]}).json()
        assert [(error["email"], list(error["errors"])) for error in answer["errors"]] == [
            ("ada@", ["email"])
        ]


def test_an_unknown_status_of_a_batch_changes_nothing_even_by_force(
    api: APIClient, ada: Subscriber
) -> None:
    change = {"contacts": [{"email": ADA, "status": "cleaned"}], "force_update": True}
    row = api.post(BULK, change).json()["updated"][0]
    assert row["status"] == status_of() == "subscribed"
    assert rules(row["warnings"]) == [("status", "in")]


@pytest.mark.parametrize("status", [None, "", " "])
def test_an_empty_status_of_a_batch_is_none(api: APIClient, status: str | None) -> None:
    contact_with("unsubscribed")
    row = api.post(BULK, {"contacts": [{"email": ADA, "status": status}]}).json()["updated"][0]
    assert (row["status"], status_of()) == ("unsubscribed", "unsubscribed")
    assert "warnings" not in row


@pytest.mark.parametrize(
    ("before", "status"), [*zip(OPT_OUTS, (*MAILABLE, "Subscribed"), strict=True)]
)
@pytest.mark.parametrize("call", BULK_CALLS)
def test_a_call_about_several_contacts_keeps_an_opt_out(
    api: APIClient, call: Any, before: str, status: str
) -> None:
    assert call(api, contact_with(before), status).status_code == 200
    assert status_of() == before


@pytest.mark.parametrize("force", [True, "yes", 1])
def test_force_update_keeps_an_opt_out(api: APIClient, force: Any) -> None:
    contact_with("complained")
    change = {"contacts": [{"email": ADA, "status": "subscribed"}], "force_update": force}
    row = api.post(BULK, change).json()["updated"][0]
    assert row["status"] == status_of() == "complained"
    message = 'The contact stays complained, "subscribed" was not written.'
    warning = {"field": "status", "rule": "keep_opt_outs", "message": message}
    assert row["warnings"] == [warning]


@pytest.mark.parametrize("word", [False, "No"])
@pytest.mark.parametrize("call", BULK_CALLS)
def test_keep_opt_outs_false_gives_opt_outs_up(api: APIClient, call: Any, word: Any) -> None:
    response = call(api, contact_with("unsubscribed"), "subscribed", keep_opt_outs=word)
    assert status_of() == "subscribed"
    assert "warnings" not in str(response.json())


@pytest.mark.parametrize("call", BULK_CALLS)
def test_another_word_for_keep_opt_outs_is_rejected(api: APIClient, call: Any) -> None:
    response = call(api, contact_with("unsubscribed"), "subscribed", keep_opt_outs="nein")
    assert (response.status_code, list(response.json())) == (422, ["keep_opt_outs"])
    assert status_of() == "unsubscribed"


@pytest.mark.parametrize(
    ("before", "status"),
    [
        *(("subscribed", status) for status in OPT_OUTS),
        ("pending", "unsubscribed"),
        ("unsubscribed", "complained"),
        ("complained", "unsubscribed"),
    ],
)
@pytest.mark.parametrize("call", BULK_CALLS)
def test_a_call_about_several_contacts_writes_an_opt_out(
    api: APIClient, call: Any, before: str, status: str
) -> None:
    response = call(api, contact_with(before), status)
    assert status_of() == status
    assert "warnings" not in str(response.json())


@pytest.mark.parametrize("call", BULK_CALLS[1:])
def test_a_call_by_ids_tells_which_contacts_kept_their_opt_out(api: APIClient, call: Any) -> None:
    first, second = contact_with("bounced"), create({"email": "bob@example.com"})
    fields = {"subscriber_ids": [first.pk, second.pk], "subscribers": [first.pk, second.pk]}
    response = call(api, first, "pending", **fields).json()
    message = f"Contacts that opted out keep their status: 1, with the ids {first.pk}."
    warning = {"field": "status", "rule": "keep_opt_outs", "message": message}
    assert response["warnings"] == [warning]
    assert status_of("bob@example.com") == "pending"


def test_a_status_of_a_batch_that_is_not_written_without_force_is_reported(
    api: APIClient, ada: Subscriber
) -> None:
    row = api.post(BULK, {"contacts": [{"email": ADA, "status": "pending"}]}).json()["updated"][0]
    assert row["status"] == "subscribed"
    assert rules(row["warnings"]) == [("status", "force_update")]


def test_a_status_of_a_request_that_is_not_written_is_reported(
    api: APIClient, ada: Subscriber
) -> None:
    fields = {"email": ADA, "status": "pending", "__force_update": "yes"}
    response = api.post("/subscribers", fields).json()
    assert response["contact"]["status"] == "subscribed"
    assert rules(response["warnings"]) == [("status", "force_update")]


@pytest.mark.parametrize("word", ["no", "off", "False", "nein", "", 0, 2])
def test_force_update_with_another_word_than_true_is_false(
    api: APIClient, ada: Subscriber, word: Any
) -> None:
    change = {"contacts": [{"email": ADA, "status": "pending"}], "force_update": word}
    assert api.post(BULK, change).json()["updated"][0]["status"] == "subscribed"


@pytest.mark.parametrize(("word", "code"), [("Yes", 200), (True, 200), ("no", 422), ("x", 422)])
def test_an_existing_contact_is_updated_by_a_word_for_true(
    api: APIClient, ada: Subscriber, word: Any, code: int
) -> None:
    fields = {"email": ADA, "status": "subscribed", "__force_update": word}
    assert api.post("/subscribers", fields).status_code == code


@pytest.mark.parametrize("word", ["yes", "YES", True, 1])
def test_an_action_on_all_contacts_is_rejected_by_any_word_for_true(
    api: APIClient, ada: Subscriber, word: Any
) -> None:
    fields = {"action_name": "delete_contacts", "subscriber_ids": [ada.pk], "is_all": word}
    assert api.post(ACTION, fields).status_code == 422


@pytest.mark.parametrize(
    ("before", "status"),
    [
        *zip(OPT_OUTS, (*MAILABLE, "subscribed"), strict=True),
        ("complained", "unsubscribed"),
        ("pending", "subscribed"),
    ],
)
@pytest.mark.parametrize("call", SINGLE_CALLS)
def test_a_call_about_one_contact_obeys_a_known_status(
    api: APIClient, call: Any, before: str, status: str
) -> None:
    response = call(api, contact_with(before), status)
    assert status_of() == status
    assert "warnings" not in response.json()


class TestAnErasedContact:
    """An erased contact does not come back by calls about several contacts."""

    @pytest.mark.parametrize("status", [None, "subscribed", "unsubscribed"])
    def test_is_rejected_from_a_batch_with_the_reason(
        self, api: APIClient, status: str | None
    ) -> None:
        erase()
        contact = {"email": "ADA@example.com", "status": status}
        response = api.post(BULK, {"contacts": [contact], "force_update": "yes"}).json()
        assert not Subscriber.objects.exists()
        assert (response["created"], response["invalids"]) == ([], [contact])
        assert response["errors"] == [
            {
                "index": 0,
                "email": "ADA@example.com",
                "errors": {"email": contacts.ERASED},
            }
        ]

    @pytest.mark.parametrize("status", ["subscribed", "unsubscribed"])
    def test_is_stored_by_a_batch_with_restore_erased(self, api: APIClient, status: str) -> None:
        erase()
        change = {"contacts": [{"email": ADA, "status": status}], "restore_erased": True}
        assert "warnings" not in api.post(BULK, change).json()["created"][0]
        assert status_of() == status

    @pytest.mark.parametrize("word", ["no", "maybe", None, 0])
    def test_is_not_stored_by_another_word(self, api: APIClient, word: Any) -> None:
        erase()
        api.post(BULK, {"contacts": [{"email": ADA}], "restore_erased": word})
        assert not Subscriber.objects.exists()

    def test_is_looked_for_before_and_after_the_insert_of_a_batch(self, api: APIClient) -> None:
        rows = [{"email": f"c{number}@example.com"} for number in range(3)]
        post = partial(api.post, BULK, {"contacts": rows})
        assert count_statements(post, containing="crm_erasure") == 2

    @pytest.mark.parametrize("force", [{}, {"__force_update": "yes"}])
    @pytest.mark.parametrize("status", MAILABLE)
    def test_is_pending_when_a_request_stores_it_again(
        self, api: APIClient, status: str, force: dict[str, str]
    ) -> None:
        erase()
        response = api.post("/subscribers", {"email": ADA, "status": status, **force}).json()
        assert response["contact"]["status"] == status_of() == "pending"
        assert rules(response["warnings"]) == [("email", "erased")]

    def test_has_the_opt_out_that_a_request_sends(self, api: APIClient) -> None:
        erase()
        response = api.post("/subscribers", {"email": ADA, "status": "unsubscribed"}).json()
        assert response["contact"]["status"] == "unsubscribed"
        assert "warnings" not in response

    @pytest.mark.parametrize("switch", [{}, {"force_update": True}, {"keep_opt_outs": False}])
    @pytest.mark.parametrize("status", ["subscribed", "transactional"])
    @pytest.mark.parametrize("call", BULK_CALLS)
    def test_that_is_pending_stays_so_in_a_call_about_several(
        self, api: APIClient, call: Any, status: str, switch: dict[str, bool]
    ) -> None:
        erase()
        response = call(api, contact_with("subscribed"), status, **switch)
        assert (response.status_code, status_of()) == (200, "pending")
        assert "was erased" in str(response.json()) or "were erased" in str(response.json())

    def test_that_is_unsubscribed_stays_so_though_opt_outs_are_given_up(
        self, api: APIClient
    ) -> None:
        erase()
        contact_with("unsubscribed")
        change = {"contacts": [{"email": ADA, "status": "subscribed"}], "keep_opt_outs": False}
        row = api.post(BULK, change).json()["updated"][0]
        message = "The contact of this email was erased, so the contact stays unsubscribed."
        assert row["warnings"] == [{"field": "email", "rule": "erased", "message": message}]
        assert status_of() == "unsubscribed"

    def test_that_is_pending_is_subscribed_by_a_batch_with_restore_erased(
        self, api: APIClient
    ) -> None:
        erase()
        contact_with("subscribed")
        change = {"contacts": [{"email": ADA, "status": "subscribed"}], "restore_erased": True}
        assert "warnings" not in api.post(BULK, change).json()["updated"][0]
        assert status_of() == "subscribed"

    def test_that_is_pending_stays_so_by_a_second_request(self, api: APIClient) -> None:
        erase()
        contact = {"email": ADA, "status": "subscribed", "__force_update": "yes"}
        for _ in range(2):
            response = api.post("/subscribers", contact).json()
            assert rules(response["warnings"]) == [("email", "erased")]
        assert status_of() == "pending"

    @pytest.mark.parametrize("call", BULK_CALLS)
    def test_that_is_pending_opts_out_by_a_call_about_several(
        self, api: APIClient, call: Any
    ) -> None:
        erase()
        response = call(api, contact_with("pending"), "unsubscribed")
        assert "erased" not in str(response.json())
        assert status_of() == "unsubscribed"

    @pytest.mark.parametrize("call", BULK_CALLS[1:])
    def test_that_is_pending_is_reported_by_a_call_by_ids(self, api: APIClient, call: Any) -> None:
        erase()
        contact = contact_with("subscribed")
        message = f"Contacts that were erased keep their status: 1, with the ids {contact.pk}."
        warning = {"field": "status", "rule": "erased", "message": message}
        assert call(api, contact, "subscribed").json()["warnings"] == [warning]

    def test_that_was_subscribed_again_is_a_contact_like_others(self, api: APIClient) -> None:
        erase()
        contact = contact_with("subscribed")
        api.put(f"/subscribers/{contact.pk}", {"status": "subscribed"})
        change = {"contacts": [{"email": ADA, "status": "transactional"}], "force_update": True}
        assert "warnings" not in api.post(BULK, change).json()["updated"][0]
        assert status_of() == "transactional"

    def test_that_was_stored_again_may_be_subscribed(self, api: APIClient) -> None:
        erase()
        contact = contact_with("subscribed")
        api.put(f"/subscribers/{contact.pk}", {"status": "subscribed"})
        assert status_of() == "subscribed"

    def test_is_pending_when_another_contact_gets_its_email(self, api: APIClient) -> None:
        erase()
        bob = create({"email": "bob@example.com", "status": "subscribed"})
        response = api.put(f"/subscribers/{bob.pk}", {"email": ADA, "status": "subscribed"}).json()
        assert response["contact"]["status"] == status_of() == "pending"
        assert rules(response["warnings"]) == [("email", "erased")]

    def test_leaves_the_opt_out_of_a_contact_that_gets_its_email(self, api: APIClient) -> None:
        erase()
        bob = create({"email": "bob@example.com", "status": "bounced"})
        assert "warnings" not in api.put(f"/subscribers/{bob.pk}", {"email": ADA}).json()
        assert status_of() == "bounced"

    def test_is_pending_when_the_admin_adds_it(self, admin_client: Client) -> None:
        erase()
        page = open_page(admin_client, f"{CONTACTS}add/")
        form = form_of(page, email=ADA, status="subscribed")
        response = admin_client.post(f"{CONTACTS}add/", form, follow=True)
        assert status_of() == "pending"
        message = "The contact of this email was erased, so the contact is pending."
        assert message in [str(shown) for shown in response.context["messages"]]

    def test_is_pending_when_python_creates_it(self, db: None) -> None:
        erase()
        warnings: Warnings = []
        create({"email": ADA, "status": "subscribed"}, warnings=warnings)
        assert status_of() == "pending"
        assert rules(warnings) == [("email", "erased")]


@pytest.mark.parametrize("status", ["subscribed", "Pending"])
def test_python_keeps_opt_outs_when_it_sets_the_status_of_several_contacts(
    db: None, status: str
) -> None:
    contact = contact_with("unsubscribed")
    kept = set_column([contact.pk], "status", status).kept
    assert kept == {"keep_opt_outs": [contact.pk]}
    assert status_of() == "unsubscribed"


def test_python_cannot_set_an_unknown_status_of_several_contacts(ada: Subscriber) -> None:
    with pytest.raises(ValueError, match="cleaned"):
        set_column([ada.pk], "status", "cleaned")
