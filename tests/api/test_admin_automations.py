"""Automations in the admin: built, published, reported, explained, started by hand."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from automations.models import Automation, AutomationStatus, Run, RunStatus
from automations.recipes import RECIPES
from automations.runs import shown_runs
from automations.starting import start_by_hand
from automations.writing import document_of, pause, pause_all, update_automation
from crm.contacts import create
from crm.models import Segment, Subscriber, Tag
from tests.api.automation import happens, outcomes, pass_time, published, work
from tests.api.pages import CONTACTS, ESCAPED, HOSTILE, browser_of, open_page, staff_user, text_of

pytestmark = pytest.mark.django_db
AUTOMATIONS = "/admin/automations/automation/"
RUNS = "/admin/automations/run/"
WAIT: dict[str, Any] = {"type": "wait", "wait": {"days": 2, "at": "09:00"}}
STOP: dict[str, Any] = {"type": "stop"}
DOCUMENT: dict[str, Any] = {"title": "Cart", "trigger": {"type": "manual"}, "steps": [STOP]}


def page_of(automation: Automation, suffix: str = "") -> str:
    """Return the path of a page of an automation."""
    return f"{AUTOMATIONS}{automation.pk}/{suffix}"


def add(browser: Client, document: Any) -> Any:
    """Send the form that adds an automation."""
    text = document if isinstance(document, str) else json.dumps(document)
    return browser.post(f"{AUTOMATIONS}add/", {"document": text, "version": "0"})


def save(browser: Client, automation: Automation, version: int, **changed: Any) -> Any:
    """Send the form of an automation."""
    form = {"document": json.dumps({**document_of(automation), **changed}), "version": version}
    return browser.post(page_of(automation, "change/"), form)


def check(browser: Client, document: Any) -> Any:
    """Request the errors and sentences of a document."""
    body = document if isinstance(document, str) else json.dumps(document)
    path = f"{AUTOMATIONS}check/"
    return browser.post(path, body, content_type="application/json").json()


def state(browser: Client, automation: Automation, do: str) -> str:
    """Press a button of the report, and return the report."""
    response = browser.post(page_of(automation, "state/"), {"do": do}, follow=True)
    return text_of(response.content.decode())


def test_an_automation_is_added_as_a_draft(admin_client: Client) -> None:
    assert add(admin_client, DOCUMENT).status_code == 302
    automation = Automation.objects.get()
    assert (automation.title, automation.status) == ("Cart", AutomationStatus.DRAFT)
    assert "Added." in open_page(admin_client, page_of(automation, "history/"))


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "Document: The document must be JSON."),
        ("[]", "Document:"),
        ({**DOCUMENT, "title": ""}, "Title: The title field is required."),
        ({**DOCUMENT, "steps": [STOP, {"type": "fly"}]}, "Step 2: The type must be one of:"),
        (
            {**DOCUMENT, "steps": [{**WAIT, "wait": {"days": 0}}]},
            "Step 1: The days must be a whole number",
        ),
    ],
)
def test_an_invalid_document_is_shown_again_with_its_errors(
    admin_client: Client, document: Any, message: str
) -> None:
    response = add(admin_client, document)
    assert response.status_code == 200
    page = response.content.decode()
    assert message in text_of(page)
    assert "data-posted" in page
    assert not Automation.objects.exists()


def test_what_was_typed_stays_after_an_error(admin_client: Client) -> None:
    page = add(admin_client, {**DOCUMENT, "title": "", "description": HOSTILE}).content.decode()
    assert ESCAPED in page.replace("&#x27;", "'")
    assert HOSTILE not in page


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_each_recipe_is_a_draft_by_one_click(admin_client: Client, recipe: Any) -> None:
    assert admin_client.post(f"{AUTOMATIONS}add/", {"recipe": recipe.name}).status_code == 302
    automation = Automation.objects.get()
    assert (automation.title, automation.status) == (recipe.document["title"], "draft")


def test_an_unknown_recipe_is_an_error(admin_client: Client) -> None:
    response = admin_client.post(f"{AUTOMATIONS}add/", {"recipe": "nothing"})
    assert "The document must be JSON." in response.content.decode()


def test_an_exported_automation_is_imported_with_its_tags_by_their_titles(
    admin_client: Client,
) -> None:
    tag = Tag.objects.create(title="VIP", slug="vip")
    automation = published({"type": "add_tags", "tags": ["VIP"]})
    response = admin_client.get(page_of(automation, "export/"))
    assert response.json()["steps"][0]["tags"] == ["VIP"]
    tag.delete()
    admin_client.post(
        f"{AUTOMATIONS}add/", {"file": SimpleUploadedFile("a.json", response.content)}
    )
    imported = Automation.objects.first()
    assert imported
    [step] = document_of(imported)["steps"]
    assert step["tags"] == [Tag.objects.get(title="VIP").pk]


def test_a_file_that_is_no_json_is_an_error(admin_client: Client) -> None:
    file = SimpleUploadedFile("a.json", b"\xff\xfe")
    page = admin_client.post(f"{AUTOMATIONS}add/", {"file": file}).content.decode()
    assert "The document must be JSON." in page


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"5"])
def test_a_file_without_a_document_leaves_an_empty_builder(
    admin_client: Client, content: bytes
) -> None:
    file = SimpleUploadedFile("a.json", content)
    response = admin_client.post(f"{AUTOMATIONS}add/", {"file": file})
    assert "Document: The" in text_of(response.content.decode())
    assert json.loads(response.context["text"])["title"] == ""


@pytest.mark.parametrize(
    ("segment", "message"),
    [
        ("nope", "Trigger: No segment has the slug “nope”."),
        ("", "Trigger: The segment must be the slug of a segment."),
        (7, "Trigger: The segment must be the slug of a segment."),
    ],
)
def test_a_file_that_names_an_unknown_segment_is_an_error(
    admin_client: Client, segment: Any, message: str
) -> None:
    document = {**DOCUMENT, "trigger": {"type": "segment_entered", "segment": segment}}
    file = SimpleUploadedFile("a.json", json.dumps(document).encode())
    response = admin_client.post(f"{AUTOMATIONS}add/", {"file": file})
    assert message in text_of(response.content.decode())


def test_a_recipe_creates_no_tags_without_the_permission() -> None:
    browser = browser_of(staff_user("view_automation", "add_automation", "view_trackedevent"))
    page = browser.post(f"{AUTOMATIONS}add/", {"recipe": "third-purchase"}).content.decode()
    assert "tags that do not exist: Regular customer" in page
    assert not Automation.objects.exists()


def test_steps_that_track_are_saved_by_who_may_track() -> None:
    codenames = ("view_automation", "add_automation", "view_trackedevent", "add_tag")
    browser = browser_of(staff_user(*codenames))
    response = browser.post(f"{AUTOMATIONS}add/", {"recipe": "third-purchase"})
    assert response.status_code == 403
    assert not Automation.objects.exists()
    assert not Tag.objects.exists()


@pytest.mark.parametrize("suffix", ["", "change/", "export/", "delete/", "why/"])
def test_an_automation_about_events_is_not_shown_without_their_permission(suffix: str) -> None:
    codenames = ("view_automation", "delete_automation", "view_subscriber")
    browser = browser_of(staff_user(*codenames))
    assert browser.get(page_of(published(WAIT), suffix)).status_code == 403


def test_an_automation_whose_tag_was_deleted_is_not_exported(admin_client: Client) -> None:
    tag = Tag.objects.create(title="VIP", slug="vip")
    automation = published({"type": "add_tags", "tags": ["VIP"]})
    tag.delete()
    page = admin_client.get(page_of(automation, "export/"), follow=True).content.decode()
    assert "names tags that do not exist" in page


def test_a_file_that_is_too_large_is_an_error(admin_client: Client) -> None:
    file = SimpleUploadedFile("a.json", b" " * 300_000)
    page = admin_client.post(f"{AUTOMATIONS}add/", {"file": file}).content.decode()
    assert "The file is larger than 256 KB." in page


def test_a_change_is_a_new_version(admin_client: Client) -> None:
    automation = published(WAIT)
    assert save(admin_client, automation, 1, title="Changed").status_code == 302
    automation.refresh_from_db()
    assert automation.version
    assert (automation.title, automation.version.number) == ("Changed", 2)


def test_of_two_who_edit_the_later_one_is_told_and_nothing_is_overwritten(
    admin_client: Client,
) -> None:
    automation = published(WAIT)
    update_automation(automation.pk, {**document_of(automation), "title": "Theirs"})
    page = save(admin_client, automation, 1, title="Mine").content.decode()
    assert "A program saved version 2 while you were editing" in page
    assert "Mine" in page
    automation.refresh_from_db()
    assert automation.title == "Theirs"


def test_who_saves_again_after_being_told_replaces_the_other_version(admin_client: Client) -> None:
    automation = published(WAIT)
    update_automation(automation.pk, {**document_of(automation), "title": "Theirs"})
    page = save(admin_client, automation, 1, title="Mine").content.decode()
    assert 'name="version" value="2"' in page
    save(admin_client, automation, 2, title="Mine")
    automation.refresh_from_db()
    assert automation.title == "Mine"


@pytest.mark.parametrize("version", ["", "x", "-1"])
def test_a_form_without_a_version_saves_nothing(admin_client: Client, version: str) -> None:
    automation = published(WAIT)
    form = {"document": json.dumps(DOCUMENT), "version": version}
    assert admin_client.post(page_of(automation, "change/"), form).status_code == 200
    automation.refresh_from_db()
    assert automation.title == "Test"


def test_a_check_returns_the_sentences_of_a_document(admin_client: Client) -> None:
    tag = Tag.objects.create(title="A & <b>", slug="a")
    cart = {"type": "event", "event_key": "cart", "times": 3}
    condition = {"source": ["subscriber", "first_name"], "operator": "=", "value": "Ann"}
    steps = [
        {
            "type": "wait_until",
            "happens": {"type": "event", "event_key": "checkout"},
            "timeout": {"hours": 1},
            "then": [{"type": "add_tags", "tags": [tag.pk]}],
            "else": [{"type": "if", "conditions": [[condition]], "then": [], "else": [STOP]}],
        },
        WAIT,
        {"type": "set_fields", "fields": {"city": "Rome"}},
    ]
    found = check(admin_client, {"title": "t", "trigger": cart, "steps": steps})
    assert found == {
        "errors": {},
        "sentences": {
            "trigger": "When “cart” is tracked, from the 3rd time on",
            "steps.0": "Wait until “checkout” is tracked, since the start, at most 1 hour",
            "steps.0.then.0": "Add the tag “A & <b>”",
            "steps.0.else.0": "If First Name equal “Ann”",
            "steps.0.else.0.else.0": "Stop",
            "steps.1": "Wait 2 days, until 09:00 in the store's time zone",
            "steps.2": "Set city to “Rome”",
        },
    }


@pytest.mark.parametrize(
    ("trigger", "sentence"),
    [
        ({"type": "manual"}, "When a person or a program starts it for a contact"),
        ({"type": "contact_created"}, "When a contact is created"),
        (
            {"type": "status_changed", "statuses": ["pending", "bounced"]},
            "When the status becomes pending or bounced",
        ),
        (
            {"type": "event", "event_key": "k", "title": "T", "when": "at"},
            "When “k” with the title “T” is tracked, the first time",
        ),
        (
            {"type": "event", "event_key": "k", "times": 12, "when": "every"},
            "When “k” is tracked, every 12th time",
        ),
    ],
)
def test_a_check_describes_a_trigger(admin_client: Client, trigger: Any, sentence: str) -> None:
    found = check(admin_client, {"title": "t", "trigger": trigger})
    assert found["sentences"] == {"trigger": sentence}


@pytest.mark.parametrize(
    ("trigger", "sentence"),
    [
        ({"type": "tag_added", "tags": ["VIP"]}, "When the tag “VIP” is added"),
        (
            {"type": "tag_removed", "tags": ["VIP", "New"]},
            "When one of the tags “VIP”, “New” is removed",
        ),
        (
            {"type": "tag_added", "tags": ["VIP", "New"], "match": "all"},
            "When the tags “VIP”, “New” are all there",
        ),
        (
            {"type": "segment_entered", "segment": "{segment}"},
            "When a contact enters the segment “All”, which is looked up every 5 minutes",
        ),
    ],
)
def test_a_check_describes_a_trigger_with_titles(
    admin_client: Client, trigger: Any, sentence: str
) -> None:
    for title in ("VIP", "New"):
        Tag.objects.create(title=title, slug=title.lower())
    segment = Segment.objects.create(title="All", slug="all")
    filled = json.loads(json.dumps(trigger).replace('"{segment}"', str(segment.pk)))
    found = check(admin_client, {"title": "t", "trigger": filled})
    assert found["sentences"] == {"trigger": sentence}


def test_the_report_takes_as_many_statements_for_one_tag_as_for_ten(
    admin_client: Client,
) -> None:
    tags = [Tag.objects.create(title=f"tag {n}", slug=f"t{n}").pk for n in range(10)]
    steps = [{"type": "add_tags", "tags": [tag]} for tag in tags]
    automation = published(*steps)
    with CaptureQueriesContext(connection) as ten:
        open_page(admin_client, page_of(automation))
    update_automation(automation.pk, {**document_of(automation), "steps": steps[:1]})
    with CaptureQueriesContext(connection) as one:
        open_page(admin_client, page_of(automation))
    assert len(one) == len(ten)


def test_a_check_returns_errors_by_place_beside_the_sentences_of_what_is_valid(
    admin_client: Client,
) -> None:
    nested = {"type": "if", "conditions": [], "then": [{"type": "add_tags"}], "else": [STOP]}
    found = check(admin_client, {**DOCUMENT, "steps": [nested, WAIT]})
    assert {*found["errors"]} == {"steps.0.conditions", "steps.0.then.0.tags"}
    assert {*found["sentences"]} == {"trigger", "steps.0.else.0", "steps.1"}


@pytest.mark.parametrize(
    "body",
    [
        *("", "[]", "7", '{"steps": 7}', '{"trigger": []}', '{"steps": [[], null, {"type": []}]}'),
        *('{"trigger": {"type": "tag_added", "tags": ["no"]}}', '{"conditions": {"a": 1}}'),
    ],
)
def test_a_check_of_any_json_returns_errors(admin_client: Client, body: str) -> None:
    assert check(admin_client, body)["errors"]


def test_an_automation_is_published_paused_and_resumed(admin_client: Client) -> None:
    add(admin_client, DOCUMENT)
    automation = Automation.objects.get()
    assert "Published." in state(admin_client, automation, "publish")
    assert "Paused." in state(admin_client, automation, "pause")
    assert "Resumed." in state(admin_client, automation, "publish")
    assert "Resumed." in open_page(admin_client, page_of(automation, "history/"))


def test_a_state_that_does_not_fit_is_an_error(admin_client: Client) -> None:
    assert "is published already" in state(admin_client, published(WAIT), "publish")


def test_an_automation_whose_tag_was_deleted_is_not_published(admin_client: Client) -> None:
    tag = Tag.objects.create(title="VIP", slug="vip")
    add(admin_client, {**DOCUMENT, "steps": [{"type": "add_tags", "tags": [tag.pk]}]})
    tag.delete()
    page = state(admin_client, Automation.objects.get(), "publish")
    assert "Edit it first. Step 1: The tags name no tags:" in page


@pytest.mark.parametrize("do", ["", "fly", "resume"])
def test_another_state_is_404(admin_client: Client, do: str) -> None:
    path = page_of(published(WAIT), "state/")
    assert admin_client.post(path, {"do": do}).status_code == 404


@pytest.fixture
def overdue(ada: Subscriber) -> Run:
    """A run that is overdue, in an automation that is paused."""
    automation = published(WAIT, STOP)
    happens(ada)
    work()
    pause(automation.pk, "A test.")
    run = Run.objects.get()
    pass_time(run)
    return run


def test_a_paused_automation_tells_why_and_how_many_are_overdue(
    admin_client: Client, overdue: Run
) -> None:
    page = text_of(open_page(admin_client, page_of(overdue.automation)))
    assert "Paused: A test." in page
    assert "1 is overdue" in page
    assert "“Test” is paused: A test." in text_of(open_page(admin_client, AUTOMATIONS))


def test_an_automation_that_has_overdue_runs_by_now_is_not_resumed_without_a_choice(
    admin_client: Client, overdue: Run
) -> None:
    page = state(admin_client, overdue.automation, "publish")
    assert "1 are overdue by now. Choose what becomes of them." in page
    overdue.automation.refresh_from_db()
    assert overdue.automation.status == AutomationStatus.PAUSED


@pytest.mark.parametrize(
    ("do", "status"), [("run", RunStatus.COMPLETED), ("cancel", RunStatus.CANCELLED)]
)
def test_overdue_runs_go_on_or_are_cancelled_when_an_automation_is_resumed(
    admin_client: Client, overdue: Run, do: str, status: str
) -> None:
    state(admin_client, overdue.automation, do)
    work()
    overdue.refresh_from_db()
    assert overdue.status == status


def resume_selected(browser: Client, *automations: Automation, **more: str) -> str:
    """Send the action of the list that resumes automations, and return the page behind it."""
    selected = [each.pk for each in automations]
    form = {"action": "resume_selected", "_selected_action": selected, **more}
    return text_of(browser.post(AUTOMATIONS, form, follow=True).content.decode())


def states() -> list[str]:
    """Return the states of all automations, the oldest first."""
    return list(Automation.objects.order_by("pk").values_list("status", flat=True))


def test_many_paused_automations_are_told_in_one_line(admin_client: Client) -> None:
    published(WAIT)
    published(WAIT)
    pause_all("A test.")
    page = text_of(open_page(admin_client, AUTOMATIONS))
    assert "2 automations are paused. The column “state” tells why." in page
    assert "“Test” is paused" not in page


def test_selected_automations_are_resumed_and_others_stay_paused(admin_client: Client) -> None:
    selected = [published(WAIT), published(WAIT)]
    published(WAIT)
    pause_all("A test.")
    assert "Resumed: 2." in resume_selected(admin_client, *selected)
    assert states() == ["published", "published", "paused"]


def test_an_action_asks_what_becomes_of_overdue_runs(admin_client: Client, overdue: Run) -> None:
    page = resume_selected(admin_client, overdue.automation)
    assert "1 contact is overdue" in page
    assert states() == ["paused"]


@pytest.mark.parametrize(
    ("choice", "status"), [("run", RunStatus.COMPLETED), ("cancel", RunStatus.CANCELLED)]
)
def test_an_action_lets_overdue_runs_go_on_or_cancels_them(
    admin_client: Client, overdue: Run, choice: str, status: str
) -> None:
    assert "Resumed: 1." in resume_selected(admin_client, overdue.automation, overdue=choice)
    work()
    overdue.refresh_from_db()
    assert overdue.status == status


def test_an_action_names_what_it_could_not_resume(admin_client: Client) -> None:
    Tag.objects.create(title="VIP", slug="vip")
    broken = published({"type": "add_tags", "tags": ["VIP"]}, title="Broken")
    whole = published(WAIT)
    pause_all("A test.")
    Tag.objects.all().delete()
    page = resume_selected(admin_client, broken, whole)
    assert "“Broken” is not resumed. Edit it first. Step 1:" in page
    assert states() == ["paused", "published"]


def test_an_action_resumes_no_steps_that_the_admin_user_may_not_save() -> None:
    automation = published({"type": "track_event", "event_key": "a", "title": "b"})
    pause_all("A test.")
    codenames = ("view_automation", "change_automation", "view_trackedevent")
    page = resume_selected(browser_of(staff_user(*codenames)), automation)
    assert "is not resumed. You may not track events." in page
    assert states() == ["paused"]


def test_an_action_does_not_delete_automations(admin_client: Client) -> None:
    automation = published(WAIT)
    form = {"action": "delete_selected", "_selected_action": automation.pk, "post": "yes"}
    admin_client.post(AUTOMATIONS, form)
    assert Automation.objects.exists()


def test_a_copy_is_a_draft(admin_client: Client) -> None:
    state(admin_client, published(WAIT), "copy")
    copied = Automation.objects.first()
    assert copied
    assert (copied.title, copied.status) == ("[Copy] Test", "draft")


def test_a_deletion_names_the_contacts_inside(admin_client: Client, overdue: Run) -> None:
    path = page_of(overdue.automation, "delete/")
    assert "1 contact is inside" in text_of(open_page(admin_client, path))
    admin_client.post(path, {"post": "yes"})
    assert not Automation.objects.exists()
    assert not shown_runs().exists()


def test_the_list_has_the_numbers_of_an_automation(admin_client: Client, ada: Subscriber) -> None:
    published(STOP)
    published(WAIT, title="Slow")
    happens(ada)
    work()
    rows = text_of(open_page(admin_client, AUTOMATIONS)).partition("Last start")[2]
    assert "Slow published 1 0 " in rows
    assert "Test published 0 1 " in rows


def test_the_report_counts_who_passed_each_step(admin_client: Client) -> None:
    first = {"source": ["subscriber", "first_name"], "operator": "=", "value": "Ada"}
    branch = {"type": "if", "conditions": [[first]], "then": [WAIT], "else": [STOP]}
    automation = published(branch, only_subscribed=False)
    for name in ("Ada", "Bob"):
        happens(create({"email": f"{name}@example.com", "first_name": name}))
    work()
    page = text_of(open_page(admin_client, page_of(automation)))
    assert "2 entered 2 passed 1 yes 0 inside" in page
    assert "If they match 1 then 1 Wait 2 days, until 09:00" in page
    assert "1 entered 0 passed 1 inside" in page


@pytest.mark.parametrize("suffix", ["", "{}/"])
def test_a_page_tells_that_no_process_runs_automations(admin_client: Client, suffix: str) -> None:
    page = open_page(admin_client, AUTOMATIONS + suffix.format(published(WAIT).pk))
    assert "No process runs automations. Start manage.py run_automations." in page


@pytest.mark.parametrize("path", ["/admin/", "/admin/overview/"])
def test_the_overview_tells_that_no_process_runs_automations(
    admin_client: Client, path: str
) -> None:
    published(WAIT)
    assert "No process runs automations." in open_page(admin_client, path)


def test_the_report_tells_why_contacts_did_not_start(admin_client: Client, ada: Subscriber) -> None:
    condition = {"source": ["subscriber", "first_name"], "operator": "=", "value": "Bob"}
    automation = published(STOP, conditions=[[condition]])
    happens(ada)
    happens(ada)
    work()
    page = text_of(open_page(admin_client, page_of(automation)))
    assert "They do not match the conditions. 1 2" in page


@pytest.fixture
def run(ada: Subscriber) -> Run:
    """A run that waits, behind a tag that it has added."""
    Tag.objects.create(title=HOSTILE, slug="t")
    published({"type": "add_tags", "tags": [HOSTILE]}, WAIT)
    happens(ada)
    work()
    return Run.objects.get()


def test_a_run_shows_its_path_and_where_it_is(admin_client: Client, run: Run) -> None:
    page = open_page(admin_client, f"{RUNS}{run.pk}/change/")
    assert f"Add the tag “<bdi>{ESCAPED}</bdi>”" in page
    assert "Wait 2 days, until 09:00 in the store&#x27;s time zone, until" in page
    assert "by the event checkout" in page


def test_the_list_of_runs_is_filtered_by_status_and_step(admin_client: Client, run: Run) -> None:
    query = f"?automation={run.automation_id}&status=active&step={run.step_id}"
    assert "1 found" in open_page(admin_client, RUNS + query)
    assert "0 found" in open_page(admin_client, f"{RUNS}?status=failed")


@pytest.mark.parametrize("query", ["status=x", "step=x", "automation=9", f"step={10**30}"])
def test_an_invalid_filter_of_runs_is_an_error(admin_client: Client, query: str) -> None:
    assert "There is no" in open_page(admin_client, f"{RUNS}?{query}")


def test_the_steps_of_the_chosen_automation_are_offered_by_their_numbers(
    admin_client: Client,
) -> None:
    waits = {"type": "wait_until", "happens": {"type": "event", "event_key": "a"}}
    automation = published(STOP, {**waits, "timeout": {"hours": 1}, "then": [WAIT], "else": []})
    page = text_of(open_page(admin_client, f"{RUNS}?automation={automation.pk}"))
    assert "1: Stop 2: Wait until something happens 2 then 1: Wait" in page


def test_steps_are_offered_once_an_automation_is_chosen(admin_client: Client, run: Run) -> None:
    assert 'name="step"' not in open_page(admin_client, RUNS)


def test_a_run_that_has_completed_says_so_once(admin_client: Client, ada: Subscriber) -> None:
    published(STOP)
    happens(ada)
    work()
    assert "Test completed - now" in text_of(open_page(admin_client, RUNS))


@pytest.fixture
def waiting(ada: Subscriber) -> Run:
    """A run that waits for the event bought, with a step if it happens and one if not."""
    wait = {"type": "wait_until", "happens": {"type": "event", "event_key": "bought"}}
    track = {"type": "track_event", "event_key": "done", "title": "Done"}
    published({**wait, "timeout": {"hours": 1}, "then": [track], "else": [STOP]})
    happens(ada)
    work()
    return Run.objects.get()


def test_a_wait_that_ended_says_that_it_happened(admin_client: Client, waiting: Run) -> None:
    happens(waiting.subscriber, "bought")
    work()
    page = text_of(open_page(admin_client, f"{RUNS}{waiting.pk}/change/"))
    assert "since the start, at most 1 hour it happened" in page
    assert "1 then 1 Track the event" in page
    assert "1 happened" in text_of(open_page(admin_client, page_of(waiting.automation)))


def test_a_wait_that_ended_says_that_the_time_ended(admin_client: Client, waiting: Run) -> None:
    pass_time(waiting)
    work()
    page = text_of(open_page(admin_client, f"{RUNS}{waiting.pk}/change/"))
    assert "at most 1 hour the time ended" in page
    assert "1 else 1 Stop" in page


def test_a_dry_run_numbers_its_steps_as_the_report_does(admin_client: Client, waiting: Run) -> None:
    path = page_of(waiting.automation, f"why/?contact={waiting.subscriber_id}&happens=no")
    assert "1 else 1 Stop" in text_of(open_page(admin_client, path))


def test_a_run_is_cancelled(admin_client: Client, run: Run) -> None:
    admin_client.post(f"{RUNS}{run.pk}/cancel/")
    run.refresh_from_db()
    assert (run.status, run.reason) == (RunStatus.CANCELLED, "Cancelled by admin.")


def test_a_failed_step_is_tried_again(admin_client: Client, run: Run) -> None:
    Run.objects.filter(pk=run.pk).update(
        status=RunStatus.FAILED, attempts=8, due_at=None, reason="A step failed too often."
    )
    admin_client.post(f"{RUNS}{run.pk}/retry/")
    work()
    run.refresh_from_db()
    assert (run.status, run.reason) == (RunStatus.COMPLETED, "")


@pytest.mark.parametrize("path", ["7/retry/", f"{10**18}/cancel/"])
def test_a_run_that_does_not_exist_is_404(admin_client: Client, path: str) -> None:
    assert admin_client.post(RUNS + path).status_code == 404


def test_a_run_that_has_ended_is_not_cancelled(admin_client: Client, run: Run) -> None:
    Run.objects.update(status=RunStatus.COMPLETED)
    response = admin_client.post(f"{RUNS}{run.pk}/cancel/", follow=True)
    assert "The run has ended already." in response.content.decode()


def test_a_run_whose_steps_did_not_fail_is_not_tried_again(admin_client: Client, run: Run) -> None:
    response = admin_client.post(f"{RUNS}{run.pk}/retry/", follow=True)
    assert "No step of the run has failed." in response.content.decode()


def test_a_failed_run_is_not_tried_again_beside_an_open_one(
    admin_client: Client, ada: Subscriber
) -> None:
    automation = published(WAIT, reentry="after_end")
    start_by_hand([ada.pk], automation.pk)
    failed = Run.objects.get()
    Run.objects.update(status=RunStatus.FAILED, due_at=None)
    start_by_hand([ada.pk], automation.pk)
    response = admin_client.post(f"{RUNS}{failed.pk}/retry/", follow=True)
    assert "in another run" in response.content.decode()


def test_a_contacts_page_shows_where_it_is(admin_client: Client, run: Run) -> None:
    page = text_of(open_page(admin_client, f"{CONTACTS}{run.subscriber_id}/"))
    assert "Test inside Wait 2 days, until 09:00" in page


def test_a_condition_is_explained_with_the_contacts_value(admin_client: Client) -> None:
    ada = create({"email": "ada@example.com", "first_name": "Ada"})
    condition = {"source": ["subscriber", "first_name"], "operator": "=", "value": "Bob"}
    automation = published(STOP, conditions=[[condition]])
    path = page_of(automation, f"why/?contact={ada.email}")
    page = text_of(open_page(admin_client, path))
    assert "ada@example.com would not start now" in page
    assert "First Name equal “ Bob ” Ada no" in page


def test_a_dry_run_shows_the_path_and_changes_nothing(
    admin_client: Client, ada: Subscriber
) -> None:
    Tag.objects.create(title="VIP", slug="vip")
    automation = published(WAIT, {"type": "add_tags", "tags": ["VIP"]})
    page = text_of(open_page(admin_client, page_of(automation, f"why/?contact={ada.pk}")))
    assert "2 Add the tag “ VIP ” done" in page
    assert not ada.tags.exists()
    assert not Run.objects.exists()


def test_an_unknown_contact_is_an_error(admin_client: Client) -> None:
    page = open_page(admin_client, page_of(published(WAIT), "why/?contact=bob"))
    assert "There is no contact “bob”." in page


def start(browser: Client, contact: Subscriber, **more: Any) -> str:
    """Choose the action that starts an automation."""
    form = {"action": "start_automation", "_selected_action": contact.pk, **more}
    return text_of(browser.post(CONTACTS, form, follow=True).content.decode())


def test_selected_contacts_are_started_by_hand(admin_client: Client, ada: Subscriber) -> None:
    automation = published(STOP)
    assert "Start an automation for 1 contact" in start(admin_client, ada)
    page = start(admin_client, ada, chosen="yes", automation=automation.pk)
    assert "“Test” started for 1." in page
    work()
    assert outcomes(Run.objects.get()) == ["done"]


def test_contacts_that_do_not_start_by_hand_are_counted_with_the_reason(
    admin_client: Client, ada: Subscriber
) -> None:
    automation = published(STOP)
    start_by_hand([ada.pk], automation.pk)
    page = start(admin_client, ada, chosen="yes", automation=automation.pk)
    assert "“Test” started for 0. 1: They are inside already." in page


def test_a_draft_is_not_started_by_hand(admin_client: Client, ada: Subscriber) -> None:
    add(admin_client, DOCUMENT)
    draft = Automation.objects.get()
    start(admin_client, ada, chosen="yes", automation=draft.pk)
    assert not Run.objects.exists()
