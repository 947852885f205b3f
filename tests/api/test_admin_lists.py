"""The lists of contacts and of events in the admin: filters, search, order, pages, statements."""

import re
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from crm.attachments import attach
from crm.contacts import create
from crm.labels import resolve_label_ids
from crm.models import Subscriber
from crm.segments import create_segment
from events.tracking import track
from tests.api.many import add_events
from tests.api.pages import CONTACTS, open_page, rows_of
from tests.api.statements import count_statements

pytestmark = pytest.mark.django_db
EVENTS = "/admin/events/trackedevent/"
OCCURRENCES = "/admin/events/eventoccurrence/"
BOUGHT: Any = {
    "source": ["event_tracking", "event_tracking_key"],
    "operator": "in",
    "value": ["buy"],
}
# Besides, a user who is no superuser needs one statement for their own permissions and one for
# their groups'.
MAX_STATEMENTS = 15 - 2


def create_contact(name: str, **fields: object) -> Subscriber:
    """Create name@example.com, subscribed."""
    return create({"email": f"{name}@example.com", "status": "subscribed", **fields})


def did(contact: Subscriber, event_key: str, **fields: object) -> None:
    """Track an event of a contact."""
    track({"event_key": event_key, "title": event_key, "subscriber_id": contact.pk, **fields})


class TestFilters:
    """Filters of contacts."""

    @pytest.fixture(autouse=True)
    def ada_and_bob(self) -> None:
        """Ada bought and has a tag; Bob Adair is pending, looked, and is on a list."""
        ada = create_contact("ada", first_name="Ada")
        bob = create_contact("bob", last_name="Adair", status="pending")
        did(ada, "buy")
        did(bob, "look")
        create_segment({"title": "Buyers", "slug": "buyers", "filters": [[BOUGHT]]})
        ada.tags.create(id=7, title="VIP", slug="vip")
        bob.lists.create(id=8, title="News", slug="news")

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("status=pending", ["bob"]),
            ("tag=7", ["ada"]),
            ("list=8", ["bob"]),
            ("segment=buyers", ["ada"]),
            ("did=look", ["bob"]),
            ("did=look&status=subscribed", []),
            ("q=ada", ["bob", "ada"]),
            ("q=ada&did=buy", ["ada"]),
            ("", ["bob", "ada"]),
        ],
    )
    def test_contacts_are_found(self, admin_client: Client, query: str, names: list[str]) -> None:
        emails = [f"{name}@example.com" for name in names]
        assert rows_of(admin_client, f"{CONTACTS}?{query}") == emails


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("status=subscribd", "There is no status “subscribd”."),
        ("tag=999", "There is no tag “999”."),
        ("tag=x", "There is no tag “x”."),
        ("tag=9999999999999999999999", "There is no tag “9999999999999999999999”."),
        ("tag=%D9%A3", "There is no tag “٣”."),
        ("list=-1", "There is no list “-1”."),
        ("segment=nothing", "There is no segment “nothing”."),
        ("segment=%00", "There is no segment “\0”."),
        ("did=%00", "There is no did event “\0”."),
        pytest.param(
            "did=" + "x" * 300, f"There is no did event “{'x' * 100}”.", id="did too long"
        ),
    ],
)
def test_an_invalid_filter_finds_no_contact_and_is_reported(
    admin_client: Client, ada: Subscriber, query: str, message: str
) -> None:
    page = open_page(admin_client, f"{CONTACTS}?{query}")
    assert message in page
    assert "0 contacts" in page


@pytest.mark.parametrize("path", [f"{CONTACTS}?did=", f"{EVENTS}?key=", f"{OCCURRENCES}?key="])
@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("byu", "There is no event “byu”. Did you mean “buy”?"),
        ("purchse", "There is no event “purchse”."),
    ],
)
def test_an_event_key_that_no_contact_has_is_told_on_a_list(
    admin_client: Client, ada: Subscriber, path: str, key: str, hint: str
) -> None:
    did(ada, "buy")
    assert f'<li class="warning">{hint}</li>' in open_page(admin_client, path + key)


def test_an_event_key_that_a_contact_has_is_no_reason_for_a_hint(
    admin_client: Client, ada: Subscriber
) -> None:
    did(ada, "buy")
    assert "There is no event" not in open_page(admin_client, f"{CONTACTS}?did=buy")


@pytest.mark.parametrize("query", ["p=2", "p=0", "p=-1", "p=99999999999999999999"])
def test_a_page_that_does_not_exist_redirects_to_the_list(
    admin_client: Client, ada: Subscriber, query: str
) -> None:
    response = admin_client.get(f"{CONTACTS}?{query}")
    assert (response.status_code, response.headers["Location"]) == (302, f"{CONTACTS}?e=1")


def test_a_redirect_from_an_invalid_url_is_explained(admin_client: Client) -> None:
    page = open_page(admin_client, f"{CONTACTS}?e=1")
    assert "The URL has an invalid filter, order or page." in page


@pytest.mark.parametrize(
    "path",
    [CONTACTS, EVENTS, OCCURRENCES, "/admin/crm/tag/", "/admin/auth/user/", "/admin/auth/group/"],
)
@pytest.mark.parametrize("query", ["nothing=1", "email__regex=(", "value__regex=[]", "id=%00"])
def test_a_filter_that_the_list_does_not_have_is_rejected_by_a_page(
    admin_client: Client, path: str, query: str
) -> None:
    response = admin_client.get(f"{path}?{query}")
    assert response.status_code == 400
    assert response.headers["Content-Type"].startswith("text/html")


def test_lists_of_events_are_not_sorted_by_the_url(admin_client: Client, ada: Subscriber) -> None:
    for key in ("b", "a", "c"):
        did(ada, key)
    assert rows_of(admin_client, f"{EVENTS}?o=1") == ["c", "a", "b"]


@pytest.mark.parametrize(("order", "names"), [("1", ["ada", "bob"]), ("-1", ["bob", "ada"])])
def test_contacts_are_sorted_by_email(
    admin_client: Client, ada: Subscriber, order: str, names: list[str]
) -> None:
    create_contact("bob")
    emails = [f"{name}@example.com" for name in names]
    assert rows_of(admin_client, f"{CONTACTS}?o={order}") == emails


@pytest.mark.parametrize("selected", ["abc", "\0", "9" * 40])
def test_an_action_on_an_id_that_is_no_number_does_nothing(
    admin_client: Client, ada: Subscriber, selected: str
) -> None:
    form = {"action": "delete_selected", "_selected_action": selected, "index": "0"}
    assert admin_client.post(CONTACTS, form).status_code == 302
    assert Subscriber.objects.get() == ada


@pytest.mark.parametrize("path", ["/admin/auth/user/", "/admin/auth/group/"])
def test_an_action_on_a_user_or_group_that_is_no_number_does_nothing(
    admin_client: Client, path: str
) -> None:
    form = {"action": "delete_selected", "_selected_action": "\0", "index": "0"}
    assert admin_client.post(path, form).status_code == 302


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("is_staff__exact=0", ["vera"]),
        ("is_superuser__exact=1", ["admin"]),
        ("is_active__exact=1", ["admin", "vera"]),
        ("groups__id__exact={viewer}", ["vera"]),
    ],
)
def test_users_are_filtered(admin_client: Client, query: str, names: list[str]) -> None:
    viewer = Group.objects.get(name="viewer")
    viewer.user_set.add(User.objects.create_user("vera"))
    page = admin_client.get(f"/admin/auth/user/?{query.format(viewer=viewer.pk)}").content.decode()
    assert re.findall(r"/change/[^>]*>(\w+)</a></th>", page) == names


@pytest.mark.parametrize("query", ["is_staff__exact=x", "groups__id__exact=%00"])
def test_an_invalid_filter_of_users_redirects_to_the_list(admin_client: Client, query: str) -> None:
    response = admin_client.get(f"/admin/auth/user/?{query}")
    assert response.headers["Location"] == "/admin/auth/user/?e=1"


@pytest.mark.parametrize("query", ["", "&status=subscribed"])
def test_pages_of_contacts_follow_each_other(admin_client: Client, query: str) -> None:
    Subscriber.objects.bulk_create(
        Subscriber(email=f"c{number}@example.com", status="subscribed") for number in range(120)
    )
    pages = [rows_of(admin_client, f"{CONTACTS}?p={number}{query}") for number in (1, 2, 3)]
    assert [len(page) for page in pages] == [50, 50, 20]
    assert len({email for page in pages for email in page}) == 120
    assert "120 contacts" in open_page(admin_client, f"{CONTACTS}?p=2{query}")


@pytest.mark.parametrize("path", [EVENTS, OCCURRENCES])
class TestEventFilters:
    """Filters of events and occurrences."""

    @pytest.fixture(autouse=True)
    def three_events(self, ada: Subscriber) -> None:
        """Ada bought and looked, and Bob looked."""
        bob = create_contact("bob")
        did(ada, "buy", provider="shop")
        did(ada, "look")
        did(bob, "look", provider="shop")

    @pytest.mark.parametrize(
        ("query", "keys"),
        [
            ("", ["look", "look", "buy"]),
            ("key=look", ["look", "look"]),
            ("provider=shop", ["look", "buy"]),
            ("contact={ada}", ["look", "buy"]),
            ("contact=BOB@example.com", ["look"]),
            ("contact=bob@example.com&key=buy", []),
            ("key=loo", []),
        ],
    )
    def test_events_are_found(
        self, admin_client: Client, ada: Subscriber, path: str, query: str, keys: list[str]
    ) -> None:
        assert rows_of(admin_client, f"{path}?{query.format(ada=ada.pk)}") == keys

    def test_an_unknown_contact_is_reported(self, admin_client: Client, path: str) -> None:
        page = open_page(admin_client, f"{path}?contact=999999")
        assert "There is no contact “999999”." in page


def test_ten_thousand_events_are_counted(admin_client: Client, ada: Subscriber) -> None:
    add_events(ada, 10_000)
    page = open_page(admin_client, EVENTS)
    assert "10000 tracked events" in page
    assert "there are more" not in page


def test_more_events_are_not_counted_and_the_page_says_so(
    admin_client: Client, ada: Subscriber
) -> None:
    add_events(ada, 10_001)
    assert "These are the newest 10000; there are more." in open_page(admin_client, EVENTS)
    assert len(rows_of(admin_client, f"{EVENTS}?p=200")) == 50
    assert admin_client.get(f"{EVENTS}?p=201").status_code == 302


@pytest.mark.parametrize(
    "path",
    [
        "",
        "overview/",
        "crm/subscriber/",
        "crm/subscriber/?q=c1&did=buy&segment=buyers",
        "crm/subscriber/{contact}/change/",
        "crm/subscriber/{contact}/history/",
        "events/trackedevent/",
        "events/trackedevent/?key=buy&provider=custom&contact={contact}",
        "events/eventoccurrence/",
        "events/eventoccurrence/?key=buy&contact={contact}",
        "crm/tag/",
        "crm/list/",
        "crm/segment/",
        "crm/segment/{segment}/change/",
        "crm/segment/add/",
        "crm/erasure/",
        "crm/historyentry/",
        "crm/applicationpassword/",
        "events/eventname/",
        "events/trackingkey/",
        "events/trackingswitch/1/change/",
    ],
)
def test_a_page_takes_at_most_fifteen_statements(admin_client: Client, path: str) -> None:
    contacts = [create_contact(f"c{number}") for number in range(12)]
    ids = [contact.pk for contact in contacts]
    attach("tags", ids, resolve_label_ids("tags", ["A", "B"], create=True))
    attach("lists", ids, resolve_label_ids("lists", ["C"], create=True))
    for contact in contacts:
        did(contact, "buy")
    segment = create_segment({"title": "Buyers", "slug": "buyers", "filters": [[BOUGHT]]})
    url = "/admin/" + path.format(contact=ids[0], segment=segment.pk)
    assert count_statements(lambda: open_page(admin_client, url)) <= MAX_STATEMENTS
