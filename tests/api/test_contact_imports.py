"""transfers.contacts: rows of files become contacts, as items of bulk-add-update do."""

from collections.abc import Sequence
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from crm.contacts import Existing, create, set_custom_values, set_user_id
from crm.labels import create_label
from crm.models import OPT_OUTS, CustomField, Identity, List, Status, Subscriber, Tag
from events.personal_data import erase_contact
from events.tracking import create_contacts
from tests.api.savepoints import rolled_back
from transfers.contacts import ContactRow, ContactRules, Outcome, import_contacts, read_contact
from transfers.options import ContactOptions
from transfers.tables import Row, RowError

pytestmark = pytest.mark.django_db
BULK = "/subscribers/bulk-add-update"
ADA = "ada@example.com"


def write(*items: dict[str, Any], existing: Existing = "overwrite", **rules: Any) -> list[Outcome]:
    """Import rows of these fields, from line 2 on."""
    rows = [ContactRow(number, item, {}, []) for number, item in enumerate(items, start=2)]
    return import_contacts(rows, ContactRules(existing=existing, **rules))


def kinds(*items: dict[str, Any], **rules: Any) -> list[str]:
    """Import rows, and return what became of each."""
    return [outcome.kind for outcome in write(*items, **rules)]


def titles(*names: str) -> list[dict[str, str]]:
    """Return labels by their titles."""
    return [{"title": name} for name in names]


def stored() -> list[tuple[Any, ...]]:
    """Return the contacts with what belongs to them, without ids and times."""
    columns = ("email", "first_name", "city", "status", "contact_type", "total_points")
    return [
        (
            *(getattr(contact, column) for column in columns),
            contact.custom_values,
            sorted(tag.title for tag in contact.tags.all()),
            sorted(each.title for each in contact.lists.all()),
            sorted((name.kind, name.source, name.value) for name in contact.identities.all()),
        )
        for contact in Subscriber.objects.order_by("email_key")
    ]


@pytest.fixture
def bob() -> Subscriber:
    """A contact with a city, a custom value, a tag and no first name."""
    fields = {"email": "bob@example.com", "status": "subscribed", "city": "Bonn"}
    contact = create({**fields, "custom_values": {"size": "L"}})
    contact.tags.add(create_label("tags", {"title": "old"}).pk)
    return contact


BOB = {
    "email": "BOB@example.com",
    "city": "Rome",
    "first_name": "Bob",
    "total_points": 5,
    "status": "pending",
    "custom_values": {"size": "M", "plan": "gold"},
    "tags": titles("vip"),
    "user_id": "57",
}
FILLED = ("Bob", 5, {"size": "L", "plan": "gold"}, ["old", "vip"], "57")
EXISTING: list[tuple[Existing, str, tuple[Any, ...]]] = [
    ("skip", "skipped", ("bob@example.com", None, "Bonn", 0, {"size": "L"}, ["old"], None)),
    ("fill", "updated", ("bob@example.com", FILLED[0], "Bonn", *FILLED[1:])),
    (
        "overwrite",
        "updated",
        ("BOB@example.com", "Bob", "Rome", 5, {"size": "M", "plan": "gold"}, ["old", "vip"], "57"),
    ),
]


@pytest.mark.parametrize(("existing", "kind", "state"), EXISTING)
def test_a_contact_that_exists_is_skipped_filled_or_overwritten(
    bob: Subscriber, existing: Existing, kind: str, state: tuple[Any, ...]
) -> None:
    [outcome] = write(BOB, existing=existing, create=("tags",))
    assert (outcome.kind, outcome.contact_id, outcome.errors) == (kind, bob.pk, {})
    contact = Subscriber.objects.get()
    identity = contact.identities.first()
    assert state == (
        *(contact.email, contact.first_name, contact.city, contact.total_points),
        contact.custom_values,
        [tag.title for tag in contact.tags.order_by("title")],
        identity and identity.value,
    )


@pytest.mark.parametrize("existing", ["skip", "fill", "overwrite"])
def test_the_same_rows_again_change_nothing(bob: Subscriber, existing: Existing) -> None:
    rows = [{**BOB, "email": f"c{number}@example.com", "user_id": number} for number in range(1, 4)]
    rows = [BOB, *rows]
    write(*rows, existing=existing, create=("tags", "lists"), source="shop")
    before = stored(), list(Subscriber.objects.values_list("updated_at", flat=True))
    again = kinds(*rows, existing=existing, create=("tags", "lists"), source="shop")
    assert again == ["skipped" if existing == "skip" else "unchanged"] * 4
    assert before == (stored(), list(Subscriber.objects.values_list("updated_at", flat=True)))


@pytest.mark.parametrize(
    ("existing", "kind", "city"),
    [("skip", "skipped", "Bonn"), ("fill", "unchanged", "Bonn"), ("overwrite", "updated", "Rome")],
)
def test_the_second_row_of_an_email_finds_the_contact_of_the_first(
    existing: Existing, kind: str, city: str
) -> None:
    rows = ({"email": ADA, "city": "Bonn"}, {"email": "ADA@example.com", "city": "Rome"})
    assert kinds(*rows, existing=existing) == ["created", kind]
    assert Subscriber.objects.get().city == city


@pytest.mark.parametrize("existing", ["skip", "fill", "overwrite"])
def test_a_contact_that_an_event_made_is_new(existing: Existing) -> None:
    create_contacts([ADA], "pending")  # type: ignore[arg-type]
    assert kinds({"email": ADA, "city": "Rome"}, existing=existing) == ["created"]
    assert Subscriber.objects.get().city == "Rome"


# Opt-outs


@pytest.mark.parametrize("status", OPT_OUTS)
@pytest.mark.parametrize(
    ("existing", "kind"), [("skip", "skipped"), ("fill", "updated"), ("overwrite", "held_back")]
)
def test_no_import_subscribes_a_contact_that_opted_out(
    status: Status, existing: Existing, kind: str
) -> None:
    create({"email": ADA, "status": status})
    [outcome] = write({"email": ADA, "status": "Subscribed", "city": "Rome"}, existing=existing)
    contact = Subscriber.objects.get()
    assert (outcome.kind, contact.status) == (kind, status)
    assert contact.city == (None if existing == "skip" else "Rome")
    held_back = [warning["rule"] for warning in outcome.warnings]
    assert held_back == (["keep_opt_outs"] if kind == "held_back" else [])


def test_a_contact_that_opted_out_is_subscribed_where_an_admin_user_says_so() -> None:
    create({"email": ADA, "status": "unsubscribed"})
    assert kinds({"email": ADA, "status": "subscribed"}, resubscribe=True) == ["updated"]
    assert Subscriber.objects.get().status == "subscribed"


@pytest.mark.parametrize("existing", ["skip", "fill", "overwrite"])
@pytest.mark.parametrize("resubscribe", [False, True])
def test_an_opt_out_in_the_file_always_holds(existing: Existing, resubscribe: bool) -> None:
    create({"email": ADA, "status": "subscribed"})
    row = {"email": ADA, "status": "complained"}
    assert kinds(row, existing=existing, resubscribe=resubscribe) == ["updated"]
    assert Subscriber.objects.get().status == "complained"


@pytest.mark.parametrize("word", ["empty", "nicht abonniert"])
def test_an_unknown_status_is_pending_or_stays(word: str) -> None:
    create({"email": ADA, "status": "subscribed"})
    rows = ({"email": ADA, "status": word}, {"email": "eve@example.com", "status": word})
    outcomes = write(*rows)
    assert [(each.kind, each.warnings[0]["rule"]) for each in outcomes] == [
        ("unchanged", "in"),
        ("created", "in"),
    ]
    assert [each[3] for each in stored()] == ["subscribed", "pending"]


@pytest.mark.parametrize("status", ["subscribed", "unsubscribed"])
def test_an_erased_contact_is_not_created_again(status: str) -> None:
    erase_contact(create({"email": ADA}).pk, by="eve")
    row = {"email": "ADA@example.com", "status": status, "tags": titles("vip")}
    [outcome] = write(row, create=("tags",))
    assert (outcome.kind, outcome.contact_id) == ("held_back", None)
    assert [*outcome.errors["email"]] == ["erased"]
    assert not Subscriber.objects.exists()
    assert not Tag.objects.exists()


def test_an_erased_contact_is_created_where_an_admin_user_says_so() -> None:
    erase_contact(create({"email": ADA}).pk, by="eve")
    assert kinds({"email": ADA, "status": "subscribed"}, resubscribe=True) == ["created"]
    assert Subscriber.objects.get().status == "subscribed"


def test_a_contact_that_returned_pending_after_an_erasure_stays_so() -> None:
    erase_contact(create({"email": ADA}).pk, by="eve")
    create({"email": ADA, "status": "subscribed"})
    [outcome] = write({"email": ADA, "status": "subscribed"})
    assert (outcome.kind, outcome.warnings[0]["rule"]) == ("held_back", "erased")
    assert Subscriber.objects.get().status == "pending"


# Rows at fault

FAULTS: list[dict[str, Any]] = [
    {"email": "no e-mail"},
    {"email": ADA, "city": []},
    {"email": ADA, "total_points": "many", "latitude": "x"},
    {"email": ADA, "first_name": "a\0b"},
    {"email": ADA, "custom_values": {"a": {"b": "x" * 70_000}}},
]


@pytest.mark.parametrize("item", FAULTS)
def test_a_row_is_rejected_for_the_reason_of_a_single_post(
    api: APIClient, item: dict[str, Any]
) -> None:
    [outcome, other] = write(item, {"email": "bob@example.com"})
    response = api.post("/subscribers", {"status": "subscribed", **item}).json()
    expected = (
        response if item["email"] else {"email": {"required": outcome.errors["email"]["required"]}}
    )
    assert (outcome.kind, outcome.errors, outcome.number) == ("rejected", expected, 2)
    assert (other.kind, other.number) == ("created", 3)
    assert Subscriber.objects.count() == 1


def test_a_row_that_could_not_be_read_is_rejected() -> None:
    options = ContactOptions(status=Status.SUBSCRIBED, date_order="dmy")
    mapping = {"a": "email", "b": "date_of_birth"}
    rows = [
        Row(1, 2, {}, RowError("cells", "The row has 9 cells.")),
        Row(2, 5, {"a": ADA, "b": "12/31/1990"}),
        Row(3, 6, {"a": ADA, "b": "31/12/1990"}),
    ]
    read = [read_contact(row, mapping, options, {}) for row in rows]
    outcomes = import_contacts(read, ContactRules(existing="overwrite"))
    assert [(each.number, each.kind, [*each.errors]) for each in outcomes] == [
        (2, "rejected", ["row"]),
        (5, "rejected", ["date_of_birth"]),
        (6, "created", []),
    ]


def test_warnings_of_all_steps_are_returned() -> None:
    options = ContactOptions(status=Status.SUBSCRIBED)
    mapping = {"a": "email", "b": "phone", "c": "city", "d": "avatar"}
    values = {"a": ADA, "b": "4.9E+12", "c": "x" * 193, "d": f"https://x.example/{'x' * 193}"}
    row = read_contact(Row(1, 2, values), mapping, options, {})
    [outcome] = import_contacts([row], ContactRules(existing="overwrite"))
    assert [(warning["field"], warning["rule"]) for warning in outcome.warnings] == [
        ("phone", "spreadsheet"),
        ("city", "max"),
        ("avatar", "max"),
    ]


# Labels


@pytest.mark.parametrize("kind", ["tags", "lists"])
def test_a_new_label_is_created_only_where_the_admin_user_may(kind: str) -> None:
    rows = ({"email": ADA, kind: titles("new")}, {"email": "bob@example.com", kind: titles("old")})
    create_label(kind, {"title": "OLD"})  # type: ignore[arg-type]
    rejected, created = write(*rows)
    assert (rejected.kind, created.kind) == ("rejected", "created")
    assert rejected.errors == {"contact": {"forbidden": f"You may not create {kind}: new."}}
    assert [contact.email for contact in Subscriber.objects.all()] == ["bob@example.com"]
    assert kinds(rows[0], create=(kind,)) == ["created"]
    model = Tag if kind == "tags" else List
    assert sorted(label.title for label in model.objects.all()) == ["OLD", "new"]


def test_a_contact_that_is_skipped_gets_no_label_and_makes_none(bob: Subscriber) -> None:
    create_label("tags", {"title": "vip"})
    for names in (titles("vip"), titles("new")):
        row = {"email": bob.email, "tags": names}
        assert kinds(row, existing="skip", create=("tags",)) == ["skipped"]
    assert sorted(tag.title for tag in Tag.objects.all()) == ["old", "vip"]
    assert [tag.title for tag in bob.tags.all()] == ["old"]


def test_labels_are_named_by_title_although_it_is_a_number_or_short() -> None:
    write({"email": ADA, "tags": titles("2024", "x")}, create=("tags",))
    write({"email": ADA, "tags": [{"id": 1, "title": "2024", "slug": "y"}]})
    assert sorted(tag.title for tag in Subscriber.objects.get().tags.all()) == ["2024", "x"]


def test_new_labels_of_many_rows_cost_no_row_a_statement() -> None:
    def cost(number: int) -> int:
        rows = [
            {"email": f"{number}-{each}@example.com", "tags": titles(f"tag {each}")}
            for each in range(number)
        ]
        with rolled_back(), CaptureQueriesContext(connection) as queries:
            assert kinds(*rows, create=("tags",)) == ["created"] * number
        return sum("SAVEPOINT" in query["sql"] for query in queries.captured_queries)

    assert cost(2) - 2 * 2 == cost(10) - 2 * 10


# Names of contacts


def test_a_user_id_belongs_to_the_source_that_is_named(bob: Subscriber) -> None:
    set_user_id(bob, "57")
    assert kinds({"email": ADA, "user_id": 57}, source="shop") == ["created"]
    assert [each[-1] for each in stored()] == [[("user", "shop", "57")], [("user", "", "57")]]


@pytest.mark.parametrize("source", ["", "shop"])
def test_a_row_without_an_email_finds_its_contact_by_user_id(bob: Subscriber, source: str) -> None:
    Identity.objects.create(subscriber=bob, kind="user", source=source, value="57")
    found, unknown = write(
        {"user_id": 57, "first_name": "Bob"}, {"user_id": "58", "first_name": "Eve"}, source=source
    )
    assert (found.kind, found.contact_id, [*unknown.errors]) == ("updated", bob.pk, ["email"])
    contact = Subscriber.objects.get()
    assert (contact.first_name, contact.email) == ("Bob", "bob@example.com")


def test_a_row_without_an_email_does_not_find_the_user_id_of_another_source(
    bob: Subscriber,
) -> None:
    Identity.objects.create(subscriber=bob, kind="user", source="forum", value="57")
    assert kinds({"user_id": 57, "first_name": "Bob"}, source="shop") == ["rejected"]


@pytest.mark.parametrize("source", ["", "shop"])
def test_the_user_id_of_another_contact_is_left_to_that_one(bob: Subscriber, source: str) -> None:
    Identity.objects.create(subscriber=bob, kind="user", source=source, value="57")
    create({"email": ADA})
    [outcome] = write({"email": ADA, "user_id": "57", "city": "Rome"}, source=source)
    assert (outcome.kind, [warning["rule"] for warning in outcome.warnings]) == (
        "updated",
        ["unique"],
    )
    assert Identity.objects.get().subscriber_id == bob.pk
    again = write({"email": ADA, "user_id": "57", "city": "Rome"}, source=source)
    assert again[0].kind == "unchanged"


IDENTITIES = [
    {"kind": "user", "source": "", "value": "57"},
    {"kind": "user", "source": "shop", "value": "s1"},
    {"kind": "crm", "source": "fluentcrm", "value": "7"},
]


def test_identities_of_an_own_export_are_written(bob: Subscriber) -> None:
    rows = ({"email": ADA, "identities": IDENTITIES}, {"email": bob.email})
    assert kinds(*rows) == ["created", "unchanged"]
    assert stored()[0][-1] == [
        ("crm", "fluentcrm", "7"),
        ("user", "", "57"),
        ("user", "shop", "s1"),
    ]
    assert kinds(*rows) == ["unchanged", "unchanged"]


def test_the_id_of_a_contact_at_a_source_is_an_identity() -> None:
    identity = {"kind": "contact", "source": "shop.example", "value": "12"}
    [outcome] = write({"email": ADA, "identities": [identity]})
    assert outcome.warnings == []
    assert Identity.objects.values("kind", "source", "value").get() == identity


def test_an_identity_of_another_contact_is_left_to_that_one(bob: Subscriber) -> None:
    write({"email": bob.email, "identities": IDENTITIES})
    [outcome] = write({"email": ADA, "identities": IDENTITIES})
    assert (outcome.kind, len(outcome.warnings)) == ("created", 3)
    assert {name.subscriber_id for name in Identity.objects.all()} == {bob.pk}


def test_a_contact_keeps_its_user_id_beside_that_of_an_own_export(bob: Subscriber) -> None:
    set_user_id(bob, "58")
    [outcome] = write({"email": bob.email, "identities": IDENTITIES[:1]})
    assert [warning["rule"] for warning in outcome.warnings] == ["unique"]
    assert Identity.objects.get().value == "58"


@pytest.mark.parametrize(
    "identity",
    [
        "x",
        {},
        {"kind": "user", "source": ""},
        {"kind": "user", "source": "my shop", "value": "57"},
        {"kind": "k" * 21, "source": "", "value": "x"},
        {"kind": "user", "source": "", "value": "x" * 193},
        {"kind": "user", "source": "", "value": "a\0b"},
        # By these, the other store finds merged contacts.
        {"kind": "contact", "source": "", "value": "7"},
        {"kind": "email", "source": "", "value": "x@example.com"},
    ],
)
def test_an_identity_that_no_contact_may_get_is_reported(identity: Any) -> None:
    [outcome] = write({"email": ADA, "identities": [identity]})
    assert [warning["field"] for warning in outcome.warnings] == ["identities"]
    assert not Identity.objects.exists()


def test_a_contact_that_is_skipped_gets_no_identity(bob: Subscriber) -> None:
    row = {"email": bob.email, "user_id": "57", "identities": IDENTITIES}
    assert kinds(row, existing="skip") == ["skipped"]
    assert not Identity.objects.exists()


# As bulk-add-update

ROWS: Sequence[dict[str, Any]] = [
    {"email": ADA, "first_name": " Ada ", "status": "subscribed", "tags": titles("vip", "old")},
    {"email": "BOB@example.com", "city": "Rome", "lists": titles("News"), "status": "pending"},
    {"email": "eve@example.com", "user_id": "57", "custom_values": {"number": "1.50"}},
    {"email": "ADA@example.com", "contact_type": "customer", "user_id": "57"},
    {"email": "bad"},
    {"email": "cy@example.com", "full_name": "Cy Twombly", "status": "nonsense", "user_id": "57"},
    {"email": "dee@example.com", "custom_values": {"number": "many"}},
    {"email": "eve@example.com", "status": "bounced", "custom_values": {"number": ""}},
    {"email": "eve@example.com", "status": "subscribed", "total_points": "3.5"},
]


def test_rows_become_what_items_of_bulk_add_update_become(api: APIClient, bob: Subscriber) -> None:
    CustomField.objects.create(slug="number", label="Number", type="number")
    with rolled_back():
        outcomes = write(*ROWS, create=("tags", "lists"))
        imported = stored()
    response = api.post(BULK, {"contacts": ROWS, "force_update": True}).json()
    assert stored() == imported
    created, held_back, rejected = (
        [each.number - 2 for each in outcomes if each.kind == kind]
        for kind in ("created", "held_back", "rejected")
    )
    assert len(response["created"]) == len(created)
    assert [error["index"] for error in response["errors"]] == rejected
    assert [error["errors"] for error in response["errors"]] == [
        each.errors for each in outcomes if each.kind == "rejected"
    ]
    assert held_back == [8]


def test_a_custom_value_of_a_filled_contact_stays_within_the_limit(bob: Subscriber) -> None:
    set_custom_values(bob, {"long": "x" * 40_000})
    row = {"email": bob.email, "custom_values": {"other": "y" * 40_000}}
    [outcome] = write(row, existing="fill")
    assert (outcome.kind, outcome.errors) == (
        "rejected",
        {"custom_values": {"max": "The custom_values may not be greater than 64 KB together."}},
    )


def test_no_row_is_no_statement_that_fails() -> None:
    assert import_contacts([], ContactRules(existing="overwrite")) == []
