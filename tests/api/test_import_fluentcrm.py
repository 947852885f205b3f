"""Imports of a FluentCRM from its REST API: recorded responses, and odd sources."""

import csv
import json
import signal
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from crm import jobs
from crm.contacts import create, get_for_update, update
from crm.jobs import RESULTS
from crm.models import Identity, Job, JobState, Subscriber
from events.models import TrackedEvent
from tests.api.jobs import run_next
from tests.api.played import AT, INDEX, NONE, Answer, Played, Sent, Site, contact
from tests.api.test_conformance import FOLDER, Bindings
from transfers import source_command
from transfers.sources import fluentcrm_rest

pytestmark = pytest.mark.django_db


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, settings: Any, tmp_path: Path) -> Played:
    """Responses of a site with FluentCRM."""
    settings.FILES_DIR = tmp_path / "files"
    monkeypatch.setenv("FLUENTCRM_PASSWORD", "secret")
    # Another connection does not see the job in the test's transaction.
    monkeypatch.setattr(jobs, "RENEW_SECONDS", 600)
    found = Played()
    monkeypatch.setattr(fluentcrm_rest, "JsonClient", found.client)
    return found


def run(**options: Any) -> tuple[Job, str]:
    """Import a site by the command. Returns the job, and what was printed."""
    out = StringIO()
    call_command("import_fluentcrm", "shop.example", user="admin", stdout=out, **options)
    return Job.objects.latest("pk"), out.getvalue()


def report(job: Job, name: str) -> list[dict[str, str]]:
    text = (job.path / RESULTS / name).read_text(encoding="utf-8-sig")
    return list(csv.DictReader(StringIO(text, newline="")))


def run_with(played: Played, answer: Answer) -> tuple[Job, str]:
    """Import a site that answers with a function."""
    played.answer = answer
    return run()


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


def test_recorded_responses_of_a_real_fluentcrm_are_read(played: Played) -> None:
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
    played.answer = site.answer
    _, printed = run()
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
    assert played.headers == {"Authorization": "Basic YWRtaW46c2VjcmV0"}


def test_a_contact_that_is_deleted_between_pages_hides_no_other(
    played: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(*(contact(number) for number in range(1, 8)))
    site.per_page = 3
    monkeypatch.setattr(fluentcrm_rest, "PER_PAGE", 3)

    def answer(path: str, query: dict[str, str]) -> Sent:
        if path.endswith("/3/tracking-events"):
            del site.contacts[0]
        return site.answer(path, query)

    run_with(played, answer)
    emails = Subscriber.objects.order_by("email").values_list("email", flat=True)
    assert [*emails] == [f"c{number}@example.com" for number in range(1, 8)]


def test_the_user_ids_of_a_second_site_are_those_of_its_source(played: Played) -> None:
    other = create({"email": "other@example.com", "user_id": "57"})
    played.answer = Site(contact(1, user_id="57")).answer
    run(user_source="shop")
    ids = Identity.objects.filter(kind="user").order_by("source")
    assert [*ids.values_list("source", "value", "subscriber__email")] == [
        ("", "57", other.email),
        ("shop", "57", "c1@example.com"),
    ]


def test_the_password_is_not_stored(played: Played) -> None:
    job, _ = run_with(played, Site(contact(1)).answer)
    assert "secret" not in str(Job.objects.filter(pk=job.pk).values().get())
    # As `serve` would, after the process of the command has died.
    Job.objects.filter(pk=job.pk).update(state=JobState.WAITING)
    again = run_next()
    assert (again.state, again.error) == (
        JobState.FAILED,
        "The password of the source is not stored, so only its command goes on. "
        "Run manage.py import_fluentcrm again.",
    )


@pytest.fixture
def renamed(played: Played) -> Callable[[str], Job]:
    """Import c1@example.com, and again with another e-mail. Returns the second job."""

    def rename(email: str) -> Job:
        site = Site(contact(1))
        run_with(played, site.answer)
        site.contacts[0] |= {"email": email, "updated_at": "2100-01-01 00:00:00"}
        return run()[0]

    return rename


def test_a_new_email_of_a_known_contact_comes(renamed: Callable[[str], Job]) -> None:
    renamed("new@example.com")
    assert Subscriber.objects.values_list("email", flat=True).get() == "new@example.com"


def test_a_new_email_that_another_contact_has_is_left_to_that_one(
    renamed: Callable[[str], Job],
) -> None:
    create({"email": "new@example.com"})
    [remark] = report(renamed("new@example.com"), "remarks.csv")
    assert "this one keeps its own" in remark["reason"]
    emails = Subscriber.objects.order_by("email").values_list("email", flat=True)
    assert [*emails] == ["c1@example.com", "new@example.com"]


def test_an_email_of_a_merged_contact_renames_no_other(
    played: Played, renamed: Callable[[str], Job]
) -> None:
    run_with(played, Site(contact(1)).answer)
    alias = {"kind": "email", "source": "", "value": "new@example.com"}
    Identity.objects.create(subscriber=Subscriber.objects.get(), **alias)
    renamed("new@example.com")
    assert Subscriber.objects.values_list("email", flat=True).get() == "c1@example.com"


def test_ctrl_c_stops_and_the_same_command_goes_on(played: Played) -> None:
    site = Site(*(contact(number) for number in range(1, 131)))

    def answer(path: str, query: dict[str, str]) -> Sent:
        if path.endswith("/120/notes"):
            signal.raise_signal(signal.SIGINT)
        return site.answer(path, query)

    with pytest.raises(CommandError, match=r"Stopped\. The same command goes on\."):
        run_with(played, answer)
    assert Subscriber.objects.count() == 100
    job, printed = run_with(played, site.answer)
    assert f"Going on with job {job.pk}." in printed
    assert (job.counts["created"], Job.objects.count()) == (130, 1)


def test_two_commands_do_not_run_one_job(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    job, _ = run_with(played, Site().answer)
    Job.objects.update(state=JobState.RUNNING, lease_until=now() + timedelta(hours=1))
    monkeypatch.setattr(source_command, "LEASE_SECONDS", -2)
    with pytest.raises(CommandError, match=f"Another process runs job {job.pk}."):
        run()


def test_a_site_without_permalinks_is_found(played: Played) -> None:
    site = Site(contact(1))

    def answer(path: str, query: dict[str, str]) -> Sent:
        if path == "/" and query.get("rest_route") == "/":
            return Sent(INDEX)
        if path == "/" and "rest_route" in query:
            return site.answer(f"/wp-json{query['rest_route']}", query)
        return Sent(b"<html>", 404)

    job, _ = run_with(played, answer)
    assert job.counts["created"] == 1


def test_a_contact_that_is_odd_ends_nothing(played: Played) -> None:
    site = Site(
        *({"id": {}}, "text", contact(1, email=["x"]), contact(2, email=None)),
        contact(3, tags={"a": 1}, lists=[5, {"id": "x"}], custom_fields=[], created_at={}),
        contact("4", latitude="north", custom_fields={"a": {"b": [1]}}, status=["x"]),
        contact(6, email="a\0@example.com", first_name="\0", status="\0"),
        contact(7, first_name="\0", address_line_1="x" * 5_000),
        contact(5, first_name={"a": 1}, tags=[{"id": 9, "pivot": []}]),
    )
    job, _ = run_with(played, site.answer)
    assert [*Subscriber.objects.order_by("email").values_list("email", "status")] == [
        ("c3@example.com", "subscribed"),
        ("c4@example.com", "pending"),
        ("c5@example.com", "subscribed"),
        ("c7@example.com", "subscribed"),
    ]
    assert len(report(job, "rejected.csv")) == 3
    reasons = " ".join(each["reason"] for each in report(job, "remarks.csv"))
    assert "2 contacts of page 1 at the source have no id." in reasons


def test_a_site_without_tracking_says_so(played: Played) -> None:
    site = Site(contact(1), contact(2))
    off = {"message": "Event Tracker is not enabled", "error_code": "not_enabled"}
    site.others["subscribers/1/tracking-events"] = Sent(off, 422)
    played.answer = site.answer
    job, _ = run()
    [remark] = report(job, "remarks.csv")
    assert remark["reason"] == fluentcrm_rest.NO_EVENTS
    assert not any("/2/tracking-events" in path for path in played.requests)


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
def test_another_form_is_named(played: Played, path: str, sent: Sent, message: str) -> None:
    site = Site()
    site.others[path] = sent
    with pytest.raises(CommandError, match=message):
        run_with(played, site.answer)
    assert Job.objects.latest("pk").state == JobState.FAILED


def test_pages_without_an_end_are_left(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fluentcrm_rest, "MAX_GROWTH", 200)

    class Endless(Site):
        def page(self, number: int) -> dict[str, Any]:
            return {"data": [contact(number)], "total": number, "last_page": number + 1}

    with pytest.raises(CommandError, match="have no end"):
        run_with(played, Endless().answer)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (Sent(b"<html>"), "with HTML instead of JSON"),
        (Sent({"namespaces": ["wp/v2"]}), "a WordPress without FluentCRM"),
        (Sent([]), "a WordPress without FluentCRM"),
        (Sent({}, 401), "does not accept the user and the password"),
    ],
)
def test_another_site_is_no_job(played: Played, sent: Sent, message: str) -> None:
    with pytest.raises(CommandError, match=message):
        run_with(played, lambda *_: sent)
    assert not Job.objects.exists()


def test_a_source_that_dies_in_the_middle_is_finished_by_the_same_command(played: Played) -> None:
    site = Site(*(contact(number) for number in range(1, 151)))
    site.others["subscribers/150/tracking-events"] = Sent({"message": "Broken"}, 422)
    played.answer = site.answer
    with pytest.raises(CommandError, match="answers 422: Broken"):
        run()
    assert Subscriber.objects.count() == 100
    del site.others["subscribers/150/tracking-events"]
    _, printed = run()
    assert "created: 150\n" in printed
    assert "differs" not in printed


def test_exactly_what_is_new_comes(played: Played) -> None:
    site = Site(contact(1), contact(2), contact(3))
    played.answer = site.answer
    run()
    later = "2100-01-01 00:00:00"
    site.contacts[0] |= {"city": "Rome", "updated_at": later}
    site.contacts[1] |= {"status": "bounced"}
    site.contacts.append(contact(4))
    here = get_for_update(email="c3@example.com")
    assert here
    update(here, {"city": "Oslo"})
    job, _ = run()
    numbers = {name: number for name, number in job.counts.items() if number}
    assert numbers == {"updated": 2, "created": 1, "unchanged": 1}
    assert [*Subscriber.objects.order_by("email").values_list("city", "status")] == [
        ("Rome", "subscribed"),
        (None, "bounced"),
        ("Oslo", "subscribed"),
        (None, "subscribed"),
    ]
