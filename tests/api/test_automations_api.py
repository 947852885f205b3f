"""The resource /automations: documents, states, exports, runs, reports, and rights."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from automations.deletion import prune_deleted
from automations.models import Automation, AutomationStatus, Run, RunStatus, Version
from automations.writing import pause
from crm.attachments import attach
from crm.bulk_columns import set_column
from crm.contacts import create
from crm.models import List, Subscriber, Tag
from crm.passwords import create_application_password
from crm.segments import create_segment
from tests.api.automation import CHECKOUT, HOUR, MARK, happens, pass_time, published, work
from tests.api.calls import send
from tests.api.conftest import MakePassword, basic
from tests.api.pages import user_without

pytestmark = pytest.mark.django_db
HOOK = {"type": "webhook", "url": "https://example.com/hook"}
DOCUMENT: dict[str, Any] = {
    "title": "Welcome",
    "trigger": {"type": "manual"},
    "conditions": [],
    "steps": [HOUR],
}
BOUGHT = {
    "source": ["event_tracking", "event_tracking_total"],
    "operator": ">=",
    "value": 1,
    "extra_value": "checkout",
}


@pytest.fixture
def vip() -> Tag:
    return Tag.objects.create(title="VIP", slug="vip")


def tagged(tag: Tag) -> dict[str, Any]:
    return {"source": ["segment", "tags"], "operator": "in", "value": [tag.pk]}


def stored(api: APIClient, **document: Any) -> dict[str, Any]:
    """The automation of a response to POST /automations."""
    response = api.post("/automations", DOCUMENT | document)
    assert response.status_code == 200, response.content
    automation: dict[str, Any] = response.json()["automation"]
    return automation


def test_an_automation_is_created_as_a_draft(api: APIClient, admin: User) -> None:
    automation = stored(api, description="Says hello.")
    assert automation["status"] == "draft"
    assert automation["version"] == 1
    assert automation["created_by"] == admin.pk
    assert automation["counts"] == {"inside": 0, "completed": 0, "cancelled": 0, "failed": 0}
    assert automation["steps"] == [{"id": automation["steps"][0]["id"], **HOUR}]
    shown = api.get(f"/automations/{automation['id']}").json()["automation"]
    assert shown == automation


@pytest.mark.parametrize(
    ("document", "places"),
    [
        ({}, {"title", "trigger"}),
        ({**DOCUMENT, "title": " "}, {"title"}),
        ({**DOCUMENT, "trigger": "manual"}, {"trigger"}),
        ({**DOCUMENT, "trigger": {"type": "sunrise"}}, {"trigger.type"}),
        ({**DOCUMENT, "conditions": [[{"source": ["a", "b"]}]]}, {"conditions.0.0.source"}),
        (
            {
                **DOCUMENT,
                "steps": [
                    HOUR,
                    HOUR,
                    {
                        "type": "if",
                        "conditions": [[BOUGHT]],
                        "then": [{"type": "add_tags", "tags": ["no such tag"]}],
                    },
                ],
            },
            {"steps.2.then.0.tags"},
        ),
        ({**DOCUMENT, "steps": [{"type": "wait", "wait": {"hours": 0}}]}, {"steps.0.wait.hours"}),
        ({**DOCUMENT, "surprise": 1}, {"surprise"}),
        ({**DOCUMENT, "description": "x" * 5000}, {"description"}),
        ({**DOCUMENT, "steps": [HOUR] * 101}, {"steps"}),
        ({**DOCUMENT, "title": "x" * 70_000}, {"document"}),
        ({"automation": 5}, {"document"}),
    ],
)
def test_an_error_of_a_document_is_told_by_its_place(
    api: APIClient, document: Any, places: set[str]
) -> None:
    response = api.post("/automations", document)
    assert (response.status_code, {*response.json()}) == (422, places)
    assert not Automation.objects.exists()


def test_a_document_that_is_nested_too_deeply_is_rejected(api: APIClient) -> None:
    step: dict[str, Any] = {"type": "stop"}
    for _ in range(300):
        step = {"type": "if", "conditions": [[BOUGHT]], "then": [step]}
    response = api.post("/automations", DOCUMENT | {"steps": [step]})
    assert (response.status_code, [*response.json()]) == (422, ["document"])


def test_a_response_can_be_sent_back_as_it_is(api: APIClient) -> None:
    before = api.get(f"/automations/{stored(api)['id']}").json()
    response = api.put(f"/automations/{before['automation']['id']}", before)
    assert response.status_code == 200, response.content
    after = response.json()["automation"]
    assert after["version"] == 2
    assert after["steps"] == before["automation"]["steps"]


@pytest.mark.parametrize("document", [5, None, [], "conditions steps"])
def test_a_new_version_that_is_no_object_is_rejected(api: APIClient, document: Any) -> None:
    response = api.put(f"/automations/{stored(api)['id']}", {"automation": document})
    assert (response.status_code, [*response.json()]) == (422, ["document"])


def test_a_version_that_was_saved_since_is_not_overwritten(api: APIClient) -> None:
    automation = stored(api)
    url = f"/automations/{automation['id']}"
    statuses = [api.put(url, automation | {"title": title}).status_code for title in ("A", "B")]
    assert statuses == [200, 409]
    assert api.get(url).json()["automation"]["title"] == "A"


@pytest.mark.parametrize("part", ["conditions", "steps"])
def test_a_new_version_needs_all_parts(api: APIClient, part: str) -> None:
    automation = stored(api)
    document = {name: value for name, value in DOCUMENT.items() if name != part}
    response = api.put(f"/automations/{automation['id']}", document)
    assert (response.status_code, [*response.json()]) == (422, [part])
    assert Version.objects.count() == 1


def test_automations_are_listed_with_their_numbers(api: APIClient, ada: Subscriber) -> None:
    automation = published(HOUR)
    stored(api, title="Second")
    happens(ada)
    work()
    page = api.get("/automations").json()["automations"]
    assert page["total"] == 2
    second, first = page["data"]
    assert (second["title"], second["trigger"], second["status"]) == ("Second", "manual", "draft")
    assert (first["id"], first["trigger"], first["version"]) == (automation.pk, "event", 1)
    assert first["counts"] == {"inside": 1, "completed": 0, "cancelled": 0, "failed": 0}
    assert first["last_started_at"]
    assert second["last_started_at"] is None


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("search=elcom", ["Welcome"]),
        ("status=published", ["Test"]),
        ("status=paused", []),
        ("per_page=1&page=2", ["Test"]),
        ("status=", ["Welcome", "Test"]),
    ],
)
def test_the_list_is_searched(api: APIClient, query: str, titles: list[str]) -> None:
    published()
    stored(api)
    rows = api.get(f"/automations?{query}").json()["automations"]["data"]
    assert [row["title"] for row in rows] == titles


def test_an_unknown_status_is_rejected(api: APIClient) -> None:
    response = api.get("/automations?status=on")
    assert (response.status_code, [*response.json()]) == (422, ["status"])


@pytest.mark.parametrize(
    ("method", "below"),
    [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        *(("POST", f"/{name}") for name in ("publish", "pause", "resume", "copy", "start")),
        *(("GET", f"/{name}") for name in ("export", "report", "runs", "refusals")),
    ],
)
def test_an_unknown_automation_is_404(
    api: APIClient, ada: Subscriber, method: str, below: str
) -> None:
    body = DOCUMENT | {"subscriber_ids": [ada.pk]}
    response = send(api, method, f"/automations/{10**18}{below}", body if method != "GET" else None)
    assert (response.status_code, response.json()) == (404, {"message": "Automation not found"})


def test_a_deleted_automation_is_gone_with_its_runs(api: APIClient, ada: Subscriber) -> None:
    automation = published(HOUR)
    happens(ada)
    work()
    response = api.delete(f"/automations/{automation.pk}")
    assert response.json() == {"message": "Automation has been deleted"}
    assert not Automation.objects.exists()
    prune_deleted()
    assert not Run.objects.exists()


def test_publish_pause_and_resume_change_the_state(api: APIClient) -> None:
    url = f"/automations/{stored(api)['id']}"
    states = [
        api.post(f"{url}/{name}").json()["automation"]["status"]
        for name in ("publish", "pause", "resume")
    ]
    assert states == ["published", "paused", "published"]


@pytest.mark.parametrize(
    ("before", "name", "message"),
    [
        ("draft", "pause", "The automation is not published."),
        ("draft", "resume", "The automation is not paused."),
        ("published", "publish", "The automation is published already."),
        ("published", "resume", "The automation is not paused."),
        ("paused", "publish", "The automation is paused. Resume it."),
        ("paused", "pause", "The automation is not published."),
    ],
)
def test_a_change_that_the_state_does_not_allow_is_422(
    api: APIClient, before: str, name: str, message: str
) -> None:
    automation = stored(api)
    Automation.objects.filter(pk=automation["id"]).update(status=before)
    response = api.post(f"/automations/{automation['id']}/{name}")
    assert (response.status_code, response.json()) == (422, {"message": message})


@pytest.fixture
def overdue(ada: Subscriber) -> Automation:
    """A paused automation with one contact inside whose time has come."""
    automation = published(HOUR, MARK)
    happens(ada)
    work()
    pause(automation.pk)
    pass_time(Run.objects.get())
    return automation


def test_a_pause_with_overdue_contacts_does_not_end_without_a_choice(
    api: APIClient, overdue: Automation
) -> None:
    assert api.get(f"/automations/{overdue.pk}").json()["automation"]["overdue"] == 1
    response = api.post(f"/automations/{overdue.pk}/resume")
    assert response.status_code == 422
    assert (response.json()["error_code"], response.json()["overdue"]) == ("overdue", 1)
    overdue.refresh_from_db()
    assert overdue.status == AutomationStatus.PAUSED


@pytest.mark.parametrize(("choice", "status"), [("run", "completed"), ("cancel", "cancelled")])
def test_overdue_contacts_go_on_or_leave_as_the_request_says(
    api: APIClient, overdue: Automation, choice: str, status: str
) -> None:
    response = api.post(f"/automations/{overdue.pk}/resume", {"overdue": choice})
    assert (response.status_code, response.json()["overdue"]) == (200, 1)
    work()
    assert Run.objects.get().status == status


def test_another_choice_about_overdue_contacts_is_rejected(
    api: APIClient, overdue: Automation
) -> None:
    response = api.post(f"/automations/{overdue.pk}/resume", {"overdue": "maybe"})
    assert (response.status_code, [*response.json()]) == (422, ["overdue"])


def test_a_copy_is_a_draft_with_other_steps(api: APIClient) -> None:
    automation = stored(api)
    api.post(f"/automations/{automation['id']}/publish")
    copy = api.post(f"/automations/{automation['id']}/copy").json()["automation"]
    assert (copy["title"], copy["status"]) == ("[Copy] Welcome", "draft")
    assert copy["steps"][0]["id"] != automation["steps"][0]["id"]


@pytest.fixture
def exported(api: APIClient, vip: Tag) -> dict[str, Any]:
    """The export of an automation with labels at every place, which then is deleted with them."""
    buyers = List.objects.create(title="Buyers", slug="buyers")
    automation = stored(
        api,
        trigger={"type": "tag_added", "tags": [vip.pk]},
        conditions=[[tagged(vip)]],
        steps=[
            {"type": "add_lists", "lists": [buyers.pk]},
            {
                "type": "wait_until",
                "happens": {"type": "list_added", "lists": [buyers.pk]},
                "timeout": {"hours": 2},
                "then": [{"type": "if", "conditions": [[tagged(vip)]], "then": [], "else": []}],
            },
        ],
    )
    export: dict[str, Any] = api.get(f"/automations/{automation['id']}/export").json()
    api.delete(f"/automations/{automation['id']}")
    vip.delete()
    buyers.delete()
    return export


def test_an_export_names_labels_by_their_titles(exported: dict[str, Any]) -> None:
    document = exported["automation"]
    add, wait = document["steps"]
    assert document["trigger"]["tags"] == ["VIP"]
    assert document["conditions"][0][0]["value"] == ["VIP"]
    assert add == {"type": "add_lists", "lists": ["Buyers"]}
    assert wait["happens"]["lists"] == ["Buyers"]
    assert wait["then"][0]["conditions"][0][0]["value"] == ["VIP"]


def test_an_import_creates_the_labels_that_are_missing(
    api: APIClient, exported: dict[str, Any]
) -> None:
    buyers = List.objects.create(title="Buyers", slug="b")
    response = api.post("/automations/import", exported)
    assert response.status_code == 200, response.content
    assert response.json()["created_labels"] == {"tags": ["VIP"], "lists": []}
    automation = response.json()["automation"]
    assert automation["trigger"]["tags"] == [Tag.objects.get().pk]
    assert automation["conditions"][0][0]["value"] == [Tag.objects.get().pk]
    assert automation["steps"][0]["lists"] == [buyers.pk]
    again = api.get(f"/automations/{automation['id']}/export").json()
    assert again == exported


def test_a_title_of_digits_is_no_id_in_an_import(api: APIClient, vip: Tag) -> None:
    document = DOCUMENT | {"steps": [{"type": "add_tags", "tags": [str(vip.pk)]}]}
    automation = api.post("/automations/import", document).json()["automation"]
    created = Tag.objects.get(title=str(vip.pk))
    assert automation["steps"][0]["tags"] == [created.pk]


def test_a_segment_is_exported_and_imported_by_its_slug(api: APIClient) -> None:
    segment = create_segment({"title": "Quiet", "slug": "quiet", "filters": [[BOUGHT]]})
    trigger = {"type": "segment_entered", "segment": segment.pk}
    url = f"/automations/{stored(api, trigger=trigger)['id']}/export"
    export = api.get(url).json()["automation"]
    assert export["trigger"]["segment"] == "quiet"
    imported = api.post("/automations/import", export).json()["automation"]
    assert imported["trigger"]["segment"] == segment.pk


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"trigger": {"type": "segment_entered", "segment": "no"}}, "trigger.segment"),
        ({"trigger": {"type": "segment_entered", "segment": [1]}}, "trigger.segment"),
        ({"trigger": {"type": "tag_added", "tags": []}}, "trigger.tags"),
        ({"trigger": {"type": "tag_added", "tags": [[1]]}}, "trigger.tags"),
        ({"conditions": [[{"source": ["segment", "tags"], "value": [[1]]}]]}, "conditions"),
        ({"conditions": [[5], 5]}, "conditions"),
        ({"steps": [{"type": "stop", "more": 1}]}, "steps.0.more"),
    ],
)
def test_an_error_of_an_import_is_told_by_its_place(
    api: APIClient, document: dict[str, Any], place: str
) -> None:
    response = api.post("/automations/import", DOCUMENT | document)
    assert (response.status_code, [*response.json()]) == (422, [place])
    assert not Automation.objects.exists()


def test_an_export_of_a_deleted_label_is_422_by_its_place(api: APIClient, vip: Tag) -> None:
    automation = stored(api, steps=[{"type": "add_tags", "tags": [vip.pk]}])
    vip.delete()
    response = api.get(f"/automations/{automation['id']}/export")
    assert (response.status_code, [*response.json()]) == (422, ["steps.0.tags"])


def test_contacts_are_started_by_hand_with_an_outcome(api: APIClient, ada: Subscriber) -> None:
    automation = published(HOUR, trigger={"type": "manual"})
    bo = create({"email": "bo@example.com", "status": "unsubscribed"})
    body = {"subscriber_ids": [ada.pk, bo.pk, 10**9]}
    response = api.post(f"/automations/{automation.pk}/start", body)
    assert response.json() == {
        "message": "1 of 3 contacts have started",
        "outcomes": {"started": 1, "status": 1, "unknown": 1},
    }


@pytest.mark.parametrize("contacts", [None, [], "x", [1] * 1001])
def test_contacts_to_start_are_1_to_1000_ids(api: APIClient, contacts: Any) -> None:
    response = api.post(f"/automations/{published().pk}/start", {"subscriber_ids": contacts})
    assert (response.status_code, [*response.json()]) == (422, ["subscriber_ids"])


def test_the_report_tells_what_happened_at_each_step(api: APIClient, vip: Tag) -> None:
    automation = published(
        {"type": "if", "conditions": [[tagged(vip)]], "then": [HOUR], "else": [MARK]}, HOUR
    )
    contacts = [
        create({"email": f"{number}@example.com", "status": "subscribed"}) for number in range(3)
    ]
    attach("tags", [contacts[0].pk], [vip.pk])
    for contact in contacts:
        happens(contact)
    work()
    set_column([contacts[2].pk], "status", "unsubscribed")
    work()
    report = api.get(f"/automations/{automation.pk}/report").json()["report"]
    assert (report["started"], report["status"]) == (3, "published")
    assert report["counts"] == {"inside": 2, "completed": 0, "cancelled": 1, "failed": 0}
    numbers = ("place", "entered", "passed", "inside", "left")
    assert [tuple(step[name] for name in numbers) for step in report["steps"]] == [
        ("steps.0", 3, 3, 0, 0),
        ("steps.0.then.0", 1, 0, 1, 0),
        ("steps.0.else.0", 2, 2, 0, 0),
        ("steps.1", 2, 0, 1, 1),
    ]
    assert report["steps"][0]["outcomes"] == {"yes": 1, "no": 2}


def test_numbers_of_a_removed_step_stay_in_the_report(api: APIClient, ada: Subscriber) -> None:
    automation = published(MARK)
    happens(ada)
    work()
    assert automation.version
    document = automation.version.document | {"steps": []}
    api.put(f"/automations/{automation.pk}", document)
    [step] = api.get(f"/automations/{automation.pk}/report").json()["report"]["steps"]
    assert (step["type"], step["place"], step["passed"]) == ("", "", 1)


def test_runs_are_listed_with_contact_step_and_source(
    api: APIClient, ada: Subscriber, waiting: Run
) -> None:
    page = api.get(f"/automations/{waiting.automation_id}/runs").json()["runs"]
    [run] = page["data"]
    expected = {
        "id": waiting.pk,
        "subscriber_id": ada.pk,
        "email": "ada@example.com",
        "number": 1,
        "version": 1,
        "status": "active",
        "step_id": waiting.step_id,
        "source_kind": "event",
        "source_key": "checkout",
    }
    assert run.items() >= expected.items()


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("status=active", 1),
        ("status=completed", 0),
        ("step_id={step}", 1),
        ("step_id=1", 0),
        ("subscriber_id={contact}", 1),
        ("subscriber_id=1", 0),
        ("page=2", 1),
    ],
)
def test_runs_are_filtered(api: APIClient, waiting: Run, query: str, number: int) -> None:
    query = query.format(step=waiting.step_id, contact=waiting.subscriber_id)
    page = api.get(f"/automations/{waiting.automation_id}/runs?{query}").json()["runs"]
    assert page["total"] == number


def test_an_invalid_filter_of_runs_is_rejected(api: APIClient, waiting: Run) -> None:
    url = f"/automations/{waiting.automation_id}/runs?status=x&step_id=y&subscriber_id=-1"
    response = api.get(url)
    assert response.status_code == 422
    assert {*response.json()} == {"status", "step_id", "subscriber_id"}


def test_a_run_is_shown_with_its_path(api: APIClient, waiting: Run) -> None:
    shown = api.get(f"/automations/runs/{waiting.pk}").json()
    assert shown["run"]["automation_title"] == "Test"
    assert shown["run"]["step"]["wait"] == {"hours": 1}
    [step] = shown["path"]
    assert (step["outcome"], step["detail"]["event_key"]) == ("done", "marked")


def test_a_cancelled_run_ends(api: APIClient, waiting: Run) -> None:
    response = api.post(f"/automations/runs/{waiting.pk}/cancel")
    assert response.json() == {"message": "The run has been cancelled"}
    waiting.refresh_from_db()
    assert (waiting.status, waiting.reason) == (RunStatus.CANCELLED, "Cancelled by hand.")
    again = api.post(f"/automations/runs/{waiting.pk}/cancel")
    assert (again.status_code, again.json()) == (422, {"message": "The run has ended already."})


@pytest.mark.parametrize(("method", "below"), [("GET", ""), ("POST", "/cancel")])
def test_an_unknown_run_is_404(api: APIClient, method: str, below: str) -> None:
    response = send(api, method, f"/automations/runs/5{below}")
    assert (response.status_code, response.json()) == (404, {"message": "Run not found"})


def test_a_contact_shows_its_automations(api: APIClient, ada: Subscriber, waiting: Run) -> None:
    page = api.get(f"/subscribers/{ada.pk}/automations").json()["automations"]
    [run] = page["data"]
    assert (run["automation_title"], run["status"]) == ("Test", "active")
    assert run["step"]["type"] == "wait"


def test_automations_of_an_unknown_contact_are_404(api: APIClient) -> None:
    response = api.get("/subscribers/5/automations")
    assert (response.status_code, response.json()) == (404, {"message": "Subscriber not found"})


def test_refusals_tell_who_did_not_start_and_why(api: APIClient, ada: Subscriber, vip: Tag) -> None:
    automation = published(conditions=[[tagged(vip)]])
    happens(ada)
    happens(ada)
    work()
    body = api.get(f"/automations/{automation.pk}/refusals").json()
    assert body["reasons"] == {"conditions": 1}
    [refusal] = body["refusals"]["data"]
    assert (refusal["email"], refusal["reason"], refusal["times"]) == (
        "ada@example.com",
        "conditions",
        2,
    )


def test_it_is_explained_why_a_contact_does_not_start(
    api: APIClient, ada: Subscriber, vip: Tag
) -> None:
    automation = published(conditions=[[tagged(vip)]])
    happens(ada)
    work()
    url = f"/automations/{automation.pk}/explain?subscriber_id={ada.pk}"
    found = api.get(url).json()["explanation"]
    assert (found["would_start"], found["conditions_match"], found["count"]) == (False, False, 1)
    [condition] = found["conditions"]
    assert (condition["item"], condition["matches"]) == (tagged(vip), False)
    assert [each["reason"] for each in found["refusals"]] == ["conditions"]


@pytest.mark.parametrize("happens_in_time", [True, False])
def test_a_dry_run_tells_what_the_steps_would_do(
    api: APIClient, ada: Subscriber, happens_in_time: bool
) -> None:
    until = {
        "type": "wait_until",
        "happens": {"type": "event", "event_key": "paid"},
        "timeout": {"hours": 2},
        "then": [MARK],
    }
    automation = stored(api, steps=[until])
    body = {"subscriber_id": ada.pk, "happens": happens_in_time}
    found = api.post(f"/automations/{automation['id']}/dry-run", body).json()["dry_run"]
    expected = ["yes", "done"] if happens_in_time else ["no"]
    assert [step["outcome"] for step in found["steps"]] == expected
    assert found["status"] == "completed"
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    ("contact", "status"), [("", 422), ("x", 422), ("0", 404), (str(10**18), 404)]
)
def test_an_explanation_and_a_dry_run_need_a_contact(
    api: APIClient, contact: str, status: int
) -> None:
    url = f"/automations/{stored(api)['id']}"
    explained = api.get(f"{url}/explain?subscriber_id={contact}")
    played = api.post(f"{url}/dry-run", {"subscriber_id": contact})
    assert (explained.status_code, played.status_code) == (status, status)


@pytest.fixture
def clerk_api(make_password: MakePassword) -> Callable[..., APIClient]:
    """Return a client of a user with all of these apps' permissions but for some."""

    def make(*without: str) -> APIClient:
        client = APIClient()
        secret = make_password(user_without(*without))
        client.credentials(HTTP_AUTHORIZATION=basic("clerk", secret))
        return client

    return make


@pytest.mark.parametrize(
    ("document", "permission"),
    [
        ({"conditions": [[BOUGHT]]}, "view_trackedevent"),
        ({"trigger": CHECKOUT}, "view_trackedevent"),
        (
            {"steps": [{"type": "if", "conditions": [[BOUGHT]], "then": [], "else": []}]},
            "view_trackedevent",
        ),
        ({"steps": [MARK]}, "add_trackedevent"),
        ({"steps": [HOOK]}, "view_subscriber"),
    ],
)
def test_who_may_not_see_or_track_events_saves_no_document_about_them(
    clerk_api: Callable[..., APIClient], document: dict[str, Any], permission: str
) -> None:
    response = clerk_api(permission).post("/automations", DOCUMENT | document)
    assert response.status_code == 403
    assert not Automation.objects.exists()


@pytest.mark.parametrize("below", ["", "/export"])
@pytest.mark.parametrize(
    "document", [{"conditions": [[BOUGHT]]}, {"trigger": {"type": "segment_entered"}}]
)
def test_who_may_not_see_events_reads_no_document_about_them(
    api: APIClient, clerk_api: Callable[..., APIClient], document: dict[str, Any], below: str
) -> None:
    segment = create_segment({"title": "Bought", "slug": "bought", "filters": [[BOUGHT]]})
    if "trigger" in document:
        document = {"trigger": {**document["trigger"], "segment": segment.pk}}
    automation = stored(api, **document)
    response = clerk_api("view_trackedevent").get(f"/automations/{automation['id']}{below}")
    assert response.status_code == 403


@pytest.fixture
def hooked(ada: Subscriber) -> Automation:
    """An automation that has sent a webhook of ada, who waits at another one."""
    hook = {"type": "webhook", "url": "https://example.com/secret"}
    automation = published(hook, HOUR, {**hook, "data": {"token": "secret"}})
    happens(ada)
    work()
    return automation


@pytest.mark.parametrize(
    "path",
    [
        "/automations/{automation}",
        "/automations/runs/{run}",
        "/subscribers/{contact}/automations",
        "/funnels/{automation}?with[]=funnel_sequences",
        "/funnels/{automation}/subscribers?with[]=sequences",
        "/funnels/{automation}/subscribers/{contact}",
        "/funnels/subscriber/{contact}/automations",
        "/funnels/all-activities",
    ],
)
@pytest.mark.parametrize("may_see", [True, False])
def test_urls_of_webhooks_are_shown_to_who_may_see_webhooks(
    clerk_api: Callable[..., APIClient], hooked: Automation, path: str, may_see: bool
) -> None:
    assert hooked.version
    step = hooked.version.document["steps"][2]["id"]
    Run.objects.update(step_id=step)
    run = Run.objects.get()
    url = path.format(automation=hooked.pk, run=run.pk, contact=run.subscriber_id)
    response = clerk_api(*([] if may_see else ["view_endpoint"])).get(url)
    assert response.status_code == 200
    assert (b"secret" in response.content) is may_see


@pytest.mark.parametrize("may_see", [True, False])
def test_a_dry_run_shows_urls_of_webhooks_to_who_may_see_them(
    clerk_api: Callable[..., APIClient], hooked: Automation, may_see: bool
) -> None:
    body = {"subscriber_id": Run.objects.get().subscriber_id}
    api = clerk_api(*([] if may_see else ["view_endpoint"]))
    response = api.post(f"/automations/{hooked.pk}/dry-run", body)
    assert response.status_code == 200
    assert (b"secret" in response.content) is may_see


def test_who_may_not_see_webhooks_exports_none(
    clerk_api: Callable[..., APIClient], hooked: Automation
) -> None:
    response = clerk_api("view_endpoint").get(f"/automations/{hooked.pk}/export")
    assert response.status_code == 403


def test_who_may_not_create_tags_imports_none(
    clerk_api: Callable[..., APIClient], exported: dict[str, Any]
) -> None:
    List.objects.create(title="Buyers", slug="b")
    response = clerk_api("add_tag").post("/automations/import", exported)
    assert response.status_code == 422
    assert "trigger.tags" in response.json()
    assert not Tag.objects.exists()


def test_a_label_of_an_import_with_an_error_is_not_created(api: APIClient) -> None:
    steps = [{"type": "add_tags", "tags": ["New tag"]}, {"type": "no such step"}]
    response = api.post("/automations/import", DOCUMENT | {"steps": steps})
    assert (response.status_code, [*response.json()]) == (422, ["steps.1.type"])
    assert not Tag.objects.exists()


@pytest.mark.parametrize("place", ["conditions", "steps.0.conditions"])
def test_a_password_with_a_source_saves_no_condition_on_user_ids(admin: User, place: str) -> None:
    _, secret = create_application_password(admin, "shop", "manage", user_source="shop")
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("admin", secret.replace(" ", "")))
    condition = [[{"source": ["subscriber", "user_id"], "operator": "=", "value": "57"}]]
    steps = [{"type": "if", "conditions": condition}] if "steps" in place else []
    document = {"title": "Test", "trigger": CHECKOUT, "steps": steps}
    response = client.post(
        "/automations", document | ({} if steps else {"conditions": condition}), format="json"
    )
    assert (response.status_code, [*response.json()]) == (422, [f"{place}.0.0.source"])
    assert not Automation.objects.exists()


def test_the_url_of_a_webhook_has_no_placeholders(api: APIClient) -> None:
    step = {"type": "webhook", "url": "https://example.com/{{contact.email}}"}
    document = {"title": "Test", "trigger": CHECKOUT, "steps": [step]}
    response = api.post("/automations", document, format="json")
    assert (response.status_code, [*response.json()]) == (422, ["steps.0.url"])


def test_a_condition_that_became_invalid_is_explained_in_words(
    api: APIClient, ada: Subscriber, vip: Tag
) -> None:
    automation = published(conditions=[[tagged(vip)]])
    vip.delete()
    response = api.get(f"/automations/{automation.pk}/explain?subscriber_id={ada.pk}")
    [found] = response.json()["explanation"]["conditions"]
    assert found["error"].startswith("The conditions.0.0.value names labels that do not exist")
