"""Imports of a FluentCRM from its REST API: recorded responses, a Tallybook, and odd sources."""

import csv
import json
import subprocess
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import StringIO
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command

from crm import jobs
from crm.contacts import get_for_update, update
from crm.jobs import RESULTS
from crm.models import CustomField, Identity, Job, JobState, Subscriber, SubscriberNote
from events.models import TrackedEvent
from tests.api.snapshots import without_snapshots
from tests.api.test_conformance import FOLDER, Bindings
from tests.system.loopback import Answer, Loopback, Sent, in_turn, loopback
from tests.system.server import API, ROOT, Client, Server
from transfers.comparison import compare
from transfers.sources import client, fluentcrm_rest

pytestmark = pytest.mark.django_db
Serve = Callable[[Answer], Loopback]
INDEX = {"namespaces": ["wp/v2", "fluent-crm/v2"], "timezone_string": "", "gmt_offset": 2}
AT = "2026-03-01 12:00:00"
NONE = {"data": [], "last_page": 0, "total": 0}
NO_ROUTE = {"code": "rest_no_route", "message": "No route", "data": {"status": 404}}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Iterator[Serve]:
    """Start a server that plays a site with FluentCRM."""
    settings.FILES_DIR = tmp_path / "files"
    monkeypatch.setenv("FLUENTCRM_PASSWORD", "secret")
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.001)
    # Another connection does not see the job in the test's transaction.
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 600)
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(loopback(answer))


def run(url: str, **options: Any) -> tuple[Job, str]:
    """Import a site by the command. Returns the job, and what was printed."""
    out = StringIO()
    options = {"user": "admin", "rate": 1000, **options}
    call_command("import_fluentcrm", url, stdout=out, **options)
    return Job.objects.latest("pk"), out.getvalue()


def report(job: Job, name: str) -> list[dict[str, str]]:
    text = (job.path / RESULTS / name).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(StringIO(text, newline="")))


class Site:
    """A site of FluentCRM in a few dictionaries, which a test may change."""

    def __init__(self, *contacts: dict[str, Any]) -> None:
        self.contacts = list(contacts)
        self.per_page = 100
        # Responses to paths behind the namespace, instead of those of the dictionaries.
        self.others: dict[str, Sent] = {
            "tags": Sent({"tags": NONE}),
            "lists": Sent({"lists": [], "pagination": {"total": 0}}),
            "custom-fields/contacts": Sent({"fields": []}),
        }

    def answer(self, path: str, query: dict[str, str]) -> Sent:
        if path == "/wp-json/":
            return Sent(INDEX)
        name = path.removeprefix(f"{API}/")
        if name in self.others:
            return self.others[name]
        if name == "subscribers":
            return Sent({"subscribers": self.page(int(query["page"]))})
        if name.endswith("/notes"):
            return Sent({"notes": NONE, "fields": {}})
        if name.endswith("/tracking-events"):
            return Sent({"events": NONE})
        return Sent(NO_ROUTE, 404)

    def page(self, number: int) -> dict[str, Any]:
        start = (number - 1) * self.per_page
        return {
            "data": self.contacts[start : start + self.per_page],
            "total": len(self.contacts),
            "last_page": -(-len(self.contacts) // self.per_page),
        }


def contact(number: int, **columns: Any) -> dict[str, Any]:
    row = {"id": number, "email": f"c{number}@example.com", "status": "subscribed"}
    return {**row, "created_at": AT, "updated_at": AT, "tags": [], "lists": [], **columns}


def recorded(file: str, case: str, step: int) -> Any:
    """Return a recorded response, with an id for each token."""
    cases = json.loads((FOLDER / f"{file}.json").read_text())["cases"]
    [found] = [each for each in cases if each["name"] == case]
    bindings = Bindings()
    for kind, first in (("subscriber", 70), ("event", 80), ("tag", 7), ("list", 7)):
        for number in range(1, 20):
            bindings.ids[kind, str(number)] = first + number
    text = json.dumps(found["steps"][step]["response"]["body"])
    filled = bindings.filled(json.loads(text.replace("{{datetime}}", AT)))
    return json.loads(json.dumps(filled).replace("{{any}}", ""))


def test_recorded_responses_of_a_real_fluentcrm_are_read(serve: Serve) -> None:
    site = Site()
    labelled = "a contact with tags and lists, filtered by them"
    events = "same key with another title is another event; newest first"
    found = recorded("subscribers", labelled, 4)
    [row] = found["subscribers"]["data"]
    tag, news = row["tags"][0], row["lists"][0]
    site.others["subscribers"] = Sent(found)
    site.others["tags"] = Sent({"tags": {**NONE, "data": row["tags"], "last_page": 1}})
    site.others["lists"] = Sent({"lists": row["lists"], "pagination": {"total": 1}})
    path = f"subscribers/{row['id']}/tracking-events"
    site.others[path] = Sent(recorded("track-event", events, 4))
    server = serve(site.answer)
    _, printed = run(server.url)
    assert "differs" not in printed
    [ada] = Subscriber.objects.all()
    assert (ada.email, ada.created_at.isoformat()) == (
        "ada@example.com",
        "2026-03-01T10:00:00+00:00",
    )
    assert [*ada.tags.values_list("title", "slug")] == [(tag["title"], tag["slug"])]
    assert [*ada.lists.values_list("title", "slug")] == [(news["title"], news["slug"])]
    assert {each.counter for each in TrackedEvent.objects.all()} == {1}
    assert TrackedEvent.objects.count() == 3
    assert server.authorizations == {"Basic YWRtaW46c2VjcmV0"}


@pytest.fixture
def tallybook(http: Client, sql: psycopg.Connection) -> Client:
    """A served Tallybook with contacts that have something of everything."""
    fields = [
        {"field_key": "text", "type": "text", "label": "Plan", "slug": "plan", "options": []},
        {"type": "checkbox", "label": "Colors", "slug": "colors", "options": ["Red", "Blue"]},
    ]
    http("PUT", f"{API}/custom-fields/contacts", {"fields": fields})
    for number in range(1, 31):
        http.contact(
            f"c{number}@example.com",
            first_name=f"Zoë {number}",
            status=("subscribed", "unsubscribed", "pending")[number % 3],
            user_id=f"auth0|{number}",
            last_activity=AT,
            custom_values={"plan": "pro", "colors": ["Red"]},
            tags=[{"title": "VIP, gold"}, {"title": f"t{number % 4}"}],
            lists=[{"title": "News"}],
        )
        http.track(email=f"c{number}@example.com", event_key="buy", title="Bought", value="1")
    rows = http("GET", f"{API}/subscribers?per_page=100").json()["subscribers"]["data"]
    for row in rows[:5]:
        note = {"title": "Call", "description": "Hi", "type": "call", "created_at": AT}
        answer = http("POST", f"{API}/subscribers/{row['id']}/notes", {"note": note})
        assert answer.status == 200, answer.body
    # FluentCRM's API has whole seconds.
    sql.execute("UPDATE crm_subscribernote SET updated_at = date_trunc('second', updated_at)")
    sql.execute("UPDATE crm_subscriber SET created_at = date_trunc('second', created_at)")
    return http


def test_a_tallybook_becomes_equal(
    tallybook: Client,
    server: Server,
    serve: Serve,
    served_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert tallybook.auth
    user, _, secret = b64decode(tallybook.auth.removeprefix("Basic ")).decode().partition(":")
    monkeypatch.setenv("FLUENTCRM_PASSWORD", secret)
    _, printed = run(f"http://127.0.0.1:{server.port}", user=user, source="old")
    assert "differs" not in printed
    path = tmp_path / "contacts.ndjson"
    subprocess.run(
        [sys.executable, "manage.py", "export", "contacts", str(path)],
        cwd=ROOT,
        env={**server.environment, "DATABASE_URL": served_url},
        check=True,
        capture_output=True,
    )
    with without_snapshots():
        numbers, differences = compare([path])
    assert (numbers, differences) == ({"contact": 30}, [])
    assert CustomField.objects.count() == 2
    assert TrackedEvent.objects.count() == 30
    assert SubscriberNote.objects.count() == 5
    assert Identity.objects.filter(kind="contact", source="old").count() == 30


def test_a_contact_that_is_deleted_between_pages_hides_no_other(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(*(contact(number) for number in range(1, 8)))
    site.per_page = 3
    monkeypatch.setattr(fluentcrm_rest, "PER_PAGE", 3)

    def answer(path: str, query: dict[str, str]) -> Sent:
        if path.endswith("/3/tracking-events"):
            del site.contacts[0]
        return site.answer(path, query)

    run(serve(answer).url)
    emails = Subscriber.objects.order_by("email").values_list("email", flat=True)
    assert [*emails] == [f"c{number}@example.com" for number in range(1, 8)]


def test_a_site_without_permalinks_is_found(serve: Serve) -> None:
    site = Site(contact(1))

    def answer(path: str, query: dict[str, str]) -> Sent:
        if path == "/" and query.get("rest_route") == "/":
            return Sent(INDEX)
        if path == "/" and "rest_route" in query:
            return site.answer(f"/wp-json{query['rest_route']}", query)
        return Sent(b"<html>", 404)

    job, _ = run(serve(answer).url)
    assert job.counts["created"] == 1


def test_a_contact_that_is_odd_ends_nothing(serve: Serve) -> None:
    site = Site(
        *({"id": {}}, "text", contact(1, email=["x"]), contact(2, email=None)),
        contact(3, tags={"a": 1}, lists=[5, {"id": "x"}], custom_fields=[], created_at={}),
        contact("4", latitude="north", custom_fields={"a": {"b": [1]}}, status=["x"]),
        contact(5, first_name={"a": 1}, tags=[{"id": 9, "pivot": []}]),
    )
    job, _ = run(serve(site.answer).url)
    assert [*Subscriber.objects.order_by("email").values_list("email", "status")] == [
        ("c3@example.com", "subscribed"),
        ("c4@example.com", "pending"),
        ("c5@example.com", "subscribed"),
    ]
    assert len(report(job, "rejected.csv")) == 2
    reasons = " ".join(each["reason"] for each in report(job, "remarks.csv"))
    assert "2 contacts of page 1 at the source have no id." in reasons


def test_a_site_without_tracking_says_so(serve: Serve) -> None:
    site = Site(contact(1), contact(2))
    off = {"message": "Event Tracker is not enabled", "error_code": "not_enabled"}
    site.others["subscribers/1/tracking-events"] = Sent(off, 422)
    server = serve(site.answer)
    job, _ = run(server.url)
    [remark] = report(job, "remarks.csv")
    assert remark["reason"] == fluentcrm_rest.NO_EVENTS
    assert not any("/2/tracking-events" in path for path in server.requests)


@pytest.mark.parametrize(
    ("path", "sent", "message"),
    [
        ("subscribers", Sent({"subscribers": []}), "another form than FluentCRM's"),
        ("subscribers", Sent({"subscribers": {"data": []}}), "another form than FluentCRM's"),
        ("custom-fields/contacts", Sent({}), "another form than FluentCRM's"),
        ("tags", Sent({"tags": {"data": "x"}}), "another form than FluentCRM's"),
        ("subscribers", Sent({"code": "x"}, 403), "may not read this"),
    ],
)
def test_another_form_is_named(serve: Serve, path: str, sent: Sent, message: str) -> None:
    site = Site()
    site.others[path] = sent
    with pytest.raises(CommandError, match=message):
        run(serve(site.answer).url)
    assert Job.objects.latest("pk").state == JobState.FAILED


def test_pages_without_an_end_are_left(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fluentcrm_rest, "MAX_GROWTH", 200)

    class Endless(Site):
        def page(self, number: int) -> dict[str, Any]:
            return {"data": [contact(number)], "total": number, "last_page": number + 1}

    with pytest.raises(CommandError, match="have no end"):
        run(serve(Endless().answer).url)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (Sent(b"<html>"), "with HTML instead of JSON"),
        (Sent({"namespaces": ["wp/v2"]}), "a WordPress without FluentCRM"),
        (Sent([]), "a WordPress without FluentCRM"),
        (Sent({}, 401), "does not accept the user and the password"),
    ],
)
def test_another_site_is_no_job(serve: Serve, sent: Sent, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run(serve(in_turn(sent)).url)
    assert not Job.objects.exists()


def test_a_source_that_dies_in_the_middle_is_finished_by_the_same_command(serve: Serve) -> None:
    site = Site(*(contact(number) for number in range(1, 151)))
    site.others["subscribers/150/tracking-events"] = Sent({"message": "Broken"}, 422)
    server = serve(site.answer)
    with pytest.raises(CommandError, match="answers 422: Broken"):
        run(server.url)
    assert Subscriber.objects.count() == 100
    del site.others["subscribers/150/tracking-events"]
    _, printed = run(server.url)
    assert "created: 150\n" in printed
    assert "differs" not in printed


def test_exactly_what_is_new_comes(serve: Serve) -> None:
    site = Site(contact(1), contact(2), contact(3))
    server = serve(site.answer)
    run(server.url)
    later = "2100-01-01 00:00:00"
    site.contacts[0] |= {"city": "Rome", "updated_at": later}
    site.contacts[1] |= {"status": "bounced"}
    site.contacts.append(contact(4))
    here = get_for_update(email="c3@example.com")
    assert here
    update(here, {"city": "Oslo"})
    job, _ = run(server.url)
    numbers = {name: number for name, number in job.counts.items() if number}
    assert numbers == {"updated": 2, "created": 1, "unchanged": 1}
    assert [*Subscriber.objects.order_by("email").values_list("city", "status")] == [
        ("Rome", "subscribed"),
        (None, "bounced"),
        ("Oslo", "subscribed"),
        (None, "subscribed"),
    ]
