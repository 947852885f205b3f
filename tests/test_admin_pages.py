"""What people read in the admin: contacts, their timelines, events, the overview; and its cost."""

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from tests.system.people import Person
from tests.system.server import Client
from tests.system.tools import statements

CONTACTS = "/admin/crm/subscriber/"
EVENTS = "/admin/events/trackedevent/"
OCCURRENCES = "/admin/events/eventoccurrence/"
BOUGHT = {"source": ["event_tracking", "event_tracking_key"], "operator": "in", "value": ["buy"]}
# Statements that somebody who is no superuser costs besides: their own permissions, their groups'.
PERMISSIONS = 2
# Rows as track() would have left them.
MANY_EVENTS = """
INSERT INTO events_trackedevent (subscriber_id, event_key, title, value, provider, counter,
                                 unlogged, repeatable, created_at, updated_at)
SELECT %(contact)s, 'many', 'title ' || n, '', 'custom', 1, 1, true, now(), now()
FROM generate_series(1, %(number)s) n
"""
MANY_OCCURRENCES = """
INSERT INTO events_eventoccurrence (event_id, subscriber_id, event_key, provider, value, counter,
                                    properties, context, occurred_at, received_at)
SELECT id, subscriber_id, event_key, provider, '', n, '{}', '{}',
       now() - n * interval '1 min', now()
FROM events_trackedevent, generate_series(1, %(number)s) n
WHERE id = (SELECT min(id) FROM events_trackedevent WHERE subscriber_id = %(contact)s)
"""


def shown(person: Person, path: str) -> str:
    answer = person("GET", path)
    assert answer.status == 200, answer.body
    return answer.body.decode()


def listed(person: Person, path: str) -> list[str]:
    """The first column's links."""
    links = re.findall(r'<th class="field-\w+"><a[^>]*>(.*?)</a>', shown(person, path))
    return [re.sub("<[^>]*>", "", link) for link in links]


def add(api: Client, *names: str) -> list[int]:
    return [api.contact(f"{name}@example.com") for name in names]


def did(api: Client, contact: int, event_key: str, **more: object) -> None:
    fields = {"event_key": event_key, "title": event_key, "subscriber_id": contact, **more}
    assert api.track(**fields).status == 200


def test_contacts_are_found_by_status_tag_list_segment_event_and_search(
    person: Person, api: Client
) -> None:
    ada = api.contact("ada@example.com", first_name="Ada", tags=["VIP"])
    bob = api.contact("bob@example.com", last_name="Adair", lists=["News"], status="pending")
    did(api, ada, "buy")
    did(api, bob, "look")
    segment = {"title": "Buyers", "slug": "buyers", "filters": [[BOUGHT]]}
    assert api("POST", "/segments", segment).status == 200
    tag = api("GET", f"/subscribers/{ada}?with[]=tags").json()["subscriber"]["tags"][0]["id"]
    news = api("GET", f"/subscribers/{bob}").json()["subscriber"]["lists"][0]["id"]
    queries = {
        "status=pending": ["bob"],
        f"tag={tag}": ["ada"],
        f"list={news}": ["bob"],
        "segment=buyers": ["ada"],
        "did=look": ["bob"],
        "did=look&status=subscribed": [],
        "q=ada": ["bob", "ada"],
        "q=ada&did=buy": ["ada"],
        "": ["bob", "ada"],
    }
    found = {query: listed(person, f"{CONTACTS}?{query}") for query in queries}
    assert found == {
        query: [f"{name}@example.com" for name in names] for query, names in queries.items()
    }


@pytest.mark.parametrize(
    "query",
    [
        *("status=subscribd", "tag=999", "tag=x", "tag=9999999999999999999999", "list=-1"),
        *("segment=nothing", "segment=%00", "did=%00", "did=" + "x" * 300, "tag=%D9%A3"),
    ],
)
def test_a_filter_that_cannot_be_meant_finds_nobody_and_says_so(
    person: Person, api: Client, query: str
) -> None:
    add(api, "ada")
    page = shown(person, f"{CONTACTS}?{query}")
    assert "is not there." in page
    assert "0 contacts" in page


@pytest.mark.parametrize("query", ["p=2", "p=0", "p=-1", "p=99999999999999999999"])
def test_a_page_that_is_not_there_leads_to_the_list_and_says_so(
    person: Person, api: Client, query: str
) -> None:
    add(api, "ada")
    answer = person("GET", f"{CONTACTS}?{query}")
    assert (answer.status, answer.headers["Location"]) == (302, f"{CONTACTS}?e=1")
    assert "asks for something that is not there" in shown(person, f"{CONTACTS}?e=1")


@pytest.mark.parametrize("path", [CONTACTS, EVENTS, OCCURRENCES, "/admin/crm/tag/"])
@pytest.mark.parametrize("query", ["nothing=1", "email__regex=(", "value__regex=[]", "id=%00"])
def test_what_a_list_does_not_filter_by_is_refused_in_a_page(
    person: Person, path: str, query: str
) -> None:
    answer = person("GET", f"{path}?{query}")
    assert (answer.status, answer.headers.get_content_type()) == (400, "text/html")


def test_lists_of_events_are_not_sorted_from_an_address(person: Person, api: Client) -> None:
    [ada] = add(api, "ada")
    for key in ("b", "a", "c"):
        did(api, ada, key)
    assert listed(person, f"{EVENTS}?o=1") == ["c", "a", "b"]
    assert listed(person, f"{CONTACTS}?o=-1") == ["ada@example.com"]


def test_an_action_on_what_is_no_number_does_nothing(person: Person, api: Client) -> None:
    add(api, "ada")
    for chosen in ("abc", "\0", "9" * 40):
        form = {"action": "delete_selected", "_selected_action": chosen, "index": "0"}
        assert person.send(CONTACTS, form).status == 302


def test_pages_of_contacts_follow_each_other_and_name_the_total(
    person: Person, api: Client, store: psycopg.Connection
) -> None:
    store.execute(
        "INSERT INTO crm_subscriber (email, status, contact_type, total_points, life_time_value, "
        "custom_values, created_at, updated_at) SELECT 'c' || n || '@example.com', 'subscribed', "
        "'lead', 0, 0, '{}', now(), now() FROM generate_series(1, 120) n"
    )
    for query in ("", "&status=subscribed"):
        pages = [listed(person, f"{CONTACTS}?p={number}{query}") for number in (1, 2, 3)]
        assert [len(page) for page in pages] == [50, 50, 20]
        assert len({email for page in pages for email in page}) == 120
        assert "120 contacts" in shown(person, f"{CONTACTS}?p=2{query}")


def test_events_are_filtered_by_key_provider_and_contact(person: Person, api: Client) -> None:
    ada, bob = add(api, "ada", "bob")
    did(api, ada, "buy", provider="shop")
    did(api, ada, "look")
    did(api, bob, "look", provider="shop")
    for path in (EVENTS, OCCURRENCES):
        for query, keys in {
            "": ["look", "look", "buy"],
            "key=look": ["look", "look"],
            "provider=shop": ["look", "buy"],
            f"contact={ada}": ["look", "buy"],
            "contact=BOB@example.com": ["look"],
            "contact=bob@example.com&key=buy": [],
            "key=loo": [],
        }.items():
            assert listed(person, f"{path}?{query}") == keys, query
        assert "is not there." in shown(person, f"{path}?contact=999999")


def test_more_events_than_anybody_reads_are_not_counted_and_the_page_says_so(
    person: Person, api: Client, store: psycopg.Connection
) -> None:
    [ada] = add(api, "ada")
    store.execute(MANY_EVENTS, {"contact": ada, "number": 10_000})
    exact = shown(person, EVENTS)
    assert "10000 tracked events" in exact
    assert "there are more" not in exact
    did(api, ada, "one-more")
    capped = shown(person, EVENTS)
    assert "These are the newest 10000; there are more." in capped
    assert len(listed(person, f"{EVENTS}?p=200")) == 50
    assert person("GET", f"{EVENTS}?p=201").status == 302


def test_a_contact_page_shows_who_it_is_and_what_they_did(person: Person, api: Client) -> None:
    ada = api.contact("ada@example.com", first_name="Ada", tags=["VIP"], lists=["News"])
    for _ in range(3):
        did(api, ada, "buy", value="12", properties={"order": {"total": 12}})
    did(api, ada, "look", provider="app", context={"url": "https://example.com/x"})
    page = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", shown(person, f"{CONTACTS}{ada}/")))
    for text in (
        "E-mail ada@example.com",
        "Status Subscribed",
        "Tags VIP",
        "Lists News",
        "First seen now",
        "Distinct events 2",
        "Events in all 4",
        "Last 90 days 4 events, by when they happened",
        "buy 3",
        "number 3 of this event",
        "{ &quot;total&quot;: 12 }",
        "url https://example.com/x",
    ):
        assert text in page


def test_of_a_long_text_the_beginning_is_shown_and_how_much_is_left(
    person: Person, api: Client
) -> None:
    [ada] = add(api, "ada")
    did(api, ada, "k", value="v" * 5234, properties={"note": "n" * 4001, "z_later": "unseen"})
    page = shown(person, f"{CONTACTS}{ada}/")
    assert re.findall("v{100,}|n{100,}", page) == ["v" * 120, "v" * 4000, "n" * 4000]
    assert re.findall("and ([0-9,]+) more characters", page) == ["1,234", "1", "6"]
    record = re.search(r'href="(/admin/events/eventoccurrence/\d+/change/)"', page)
    assert record
    assert "v" * 5234 in shown(person, record[1])


def test_a_contact_without_events_has_a_page(person: Person, api: Client) -> None:
    [ada] = add(api, "ada")
    page = shown(person, f"{CONTACTS}{ada}/")
    assert "Nothing yet." in page
    assert "never" in page


def test_the_chart_counts_days_of_the_last_ninety_and_no_others(
    person: Person, api: Client
) -> None:
    [ada] = add(api, "ada")
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    for days in (0, 0, 89):
        did(api, ada, "k", occurred_at=(today - timedelta(days=days)).isoformat())
    did(api, ada, "k", occurred_at=(today - timedelta(days=89, seconds=1)).isoformat())
    tomorrow = today + timedelta(days=1, seconds=1)
    did(api, ada, "k", occurred_at=tomorrow.isoformat())
    titles = re.findall(r"<title>(\w+ [^<]*: \d+)</title>", shown(person, f"{CONTACTS}{ada}/"))
    assert len(titles) == 90
    counted = [title for title in titles if not title.endswith(": 0")]
    oldest = today - timedelta(days=89)
    assert counted == [
        f"{day:%a} {day.day} {day:%B %Y}: {n}" for day, n in ((oldest, 1), (today, 2))
    ]


def test_the_page_of_an_occurrence_shows_its_properties_line_by_line(
    person: Person, api: Client
) -> None:
    [ada] = add(api, "ada")
    did(api, ada, "k", properties={"note": "\u202eevil", "<b>": 1})
    page = shown(person, f"{CONTACTS}{ada}/")
    record = re.search(r'href="(/admin/events/eventoccurrence/\d+/change/)"', page)
    assert record
    lines = re.findall("<bdi>(.*?)</bdi>", shown(person, record[1]).partition("<pre>")[2])
    assert "  &quot;note&quot;: &quot;\u202eevil&quot;" in lines
    assert "  &quot;&lt;b&gt;&quot;: 1," in lines


def test_the_overview_says_that_tracking_is_off(
    person: Person, store: psycopg.Connection, api: Client
) -> None:
    assert "switched off" not in shown(person, "/admin/overview/")
    assert person.send("/admin/events/trackingswitch/1/change/", {}).status == 302
    assert "Tracking is switched off" in shown(person, "/admin/overview/")


def test_the_timeline_goes_on_from_a_cursor_with_its_filters(
    person: Person, api: Client, store: psycopg.Connection
) -> None:
    [ada] = add(api, "ada")
    did(api, ada, "many")
    store.execute(MANY_OCCURRENCES, {"contact": ada, "number": 119})
    for when in ("2020-01-01T00:00:00Z", datetime.now(UTC).isoformat()):
        did(api, ada, "other", occurred_at=when)
    path, numbers = "?event_key=many&provider=custom", []
    for _ in range(3):
        page = shown(person, f"{CONTACTS}{ada}/{path}&piece=1")
        assert "<html" not in page
        assert "other" not in page
        numbers += re.findall(r"number (\d+) of this event", page)
        older = re.search(r'href="(\?[^"]*before=[^"]*)" id="load-older"', page)
        path = older[1].replace("&amp;", "&") if older else ""
    assert not path
    assert len(numbers) == 120
    assert numbers[1:] == [str(number) for number in range(1, 120)]


@pytest.mark.parametrize(
    "query", ["before=x", "before=1-", "event_key=%00", "before=9-9999999999999999999"]
)
def test_a_broken_address_of_a_timeline_is_no_page(person: Person, api: Client, query: str) -> None:
    [ada] = add(api, "ada")
    assert person("GET", f"{CONTACTS}{ada}/?{query}").status == 404


@pytest.mark.parametrize("number", ["0", "999999999", "9223372036854775808", "9" * 40])
def test_a_contact_that_is_not_there_has_no_page(person: Person, api: Client, number: str) -> None:
    assert person("GET", f"{CONTACTS}{number}/").status == 404


def test_a_long_history_takes_as_many_statements_as_a_short_one(
    person: Person, api: Client, store: psycopg.Connection
) -> None:
    ada, bob = add(api, "ada", "bob")
    did(api, ada, "k")
    store.execute(MANY_EVENTS, {"contact": bob, "number": 300})
    store.execute(MANY_OCCURRENCES, {"contact": bob, "number": 5000})
    numbers = {
        statements(store, lambda path=path: shown(person, path))  # type: ignore[misc]
        for path in (f"{CONTACTS}{ada}/", f"{CONTACTS}{bob}/")
    }
    assert len(numbers) == 1
    assert numbers.pop() <= 12 - PERMISSIONS


def test_pages_of_the_admin_take_at_most_fifteen_statements(
    person: Person, api: Client, store: psycopg.Connection
) -> None:
    contacts = [
        api.contact(f"c{number}@example.com", tags=["A", "B"], lists=["C"]) for number in range(12)
    ]
    for contact in contacts:
        did(api, contact, "buy")
    segment = {"title": "Buyers", "slug": "buyers", "filters": [[BOUGHT]]}
    segment_id = api("POST", "/segments", segment).json()["segment"]["id"]
    paths = [
        *("/admin/", "/admin/overview/", CONTACTS, f"{CONTACTS}?q=c1&did=buy&segment=buyers"),
        *(f"{CONTACTS}{contacts[0]}/change/", f"{CONTACTS}{contacts[0]}/history/"),
        *(EVENTS, f"{EVENTS}?key=buy&provider=custom&contact={contacts[0]}"),
        *(OCCURRENCES, f"{OCCURRENCES}?key=buy&contact={contacts[0]}"),
        *("/admin/crm/tag/", "/admin/crm/list/", "/admin/crm/segment/"),
        *(f"/admin/crm/segment/{segment_id}/change/", "/admin/crm/segment/add/"),
        *("/admin/crm/applicationpassword/", "/admin/events/eventname/"),
        *("/admin/events/trackingkey/", "/admin/events/trackingswitch/1/change/"),
    ]
    numbers = {
        path: statements(store, lambda path=path: shown(person, path))  # type: ignore[misc]
        for path in paths
    }
    most = 15 - PERMISSIONS
    assert {path: number for path, number in numbers.items() if number > most} == {}


def test_the_overview_shows_days_keys_newest_events_and_new_contacts(
    person: Person, api: Client, store: psycopg.Connection
) -> None:
    ada, bob = add(api, "ada", "bob")
    did(api, ada, "buy")
    did(api, ada, "buy")
    did(api, bob, "look", occurred_at="2020-01-01T00:00:00Z")
    # Received before these thirty days.
    did(api, bob, "old")
    store.execute(
        "UPDATE events_eventoccurrence SET received_at = now() - interval '31 days' "
        "WHERE event_key = 'old'"
    )
    page = re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", shown(person, "/admin/overview/")))
    assert "Events received in the last 30 days 3 in all" in page
    keys = page.partition("Top events")[2].partition("Newest events")[0]
    assert re.findall(r"(buy|look|old) (\d+)", keys) == [("buy", "2"), ("look", "1")]
    newest = page.partition("Newest events")[2].partition("New contacts")[0]
    assert re.findall(r"(buy|look|old) (?:buy|look|old) (\w+)@", newest) == [
        *(("old", "bob"), ("look", "bob"), ("buy", "ada"), ("buy", "ada"))
    ]
    assert re.findall(r"(\w+)@", page.partition("New contacts")[2]) == ["bob", "ada"]


def test_people_do_not_notice_that_the_database_was_started_again(
    person: Person, sql: psycopg.Connection
) -> None:
    others = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    # As many as there are threads, so that each has a connection that is dead.
    answers = [person("GET", "/admin/").status for _ in range(16)]
    sql.execute(others)
    answers += [person("GET", "/admin/").status for _ in range(16)]
    assert set(answers) == {200}
