"""FluentCRM's /funnels: automations in its shapes, with its texts.

FluentCRM's side was read in its source: app/Http/Controllers/FunnelController.php.
"""

from typing import Any

import orjson
import pytest
from rest_framework.test import APIClient

from automations.models import Automation, AutomationStatus, Run, RunStatus
from automations.writing import create_automation, document_of, pause
from crm.contacts import create
from crm.models import Subscriber, Tag
from tests.api.automation import HOUR, MARK, happens, pass_time, published, work
from tests.api.calls import send

pytestmark = pytest.mark.django_db
STOP = {"type": "stop"}
NAMED_ADA = {"source": ["subscriber", "first_name"], "operator": "=", "value": "Ada"}
IF = {"type": "if", "conditions": [[NAMED_ADA]], "then": [HOUR], "else": [STOP]}


def draft(**document: Any) -> Automation:
    return create_automation(
        {"title": "Welcome", "trigger": {"type": "contact_created"}, **document}
    )


def funnel(api: APIClient, automation: Automation, *wanted: str) -> dict[str, Any]:
    """The body of GET /funnels/{id}."""
    query = "&".join(f"with[]={name}" for name in wanted)
    response = api.get(f"/funnels/{automation.pk}?{query}")
    assert response.status_code == 200, response.content
    body: dict[str, Any] = response.json()
    return body


def message(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["message"]


def test_funnels_are_listed_with_the_number_of_their_contacts(
    api: APIClient, ada: Subscriber
) -> None:
    automation = published(HOUR)
    happens(ada)
    work()
    page = api.get("/funnels").json()["funnels"]
    [row] = page["data"]
    created_at = row.pop("created_at")
    assert row.pop("updated_at")
    assert len(created_at) == len("2026-01-01 00:00:00")
    assert row == {
        "id": automation.pk,
        "type": "funnels",
        "title": "Test",
        "trigger_name": "fluent_crm/event_tracked",
        "status": "published",
        "conditions": {"run_multiple": "no", "dont_run_on_active": "yes"},
        "settings": {
            "event_key": "checkout",
            "minimum_event_count": "1",
            "subscription_status": "subscribed",
            "count": "from",
            "max_age": "24h",
        },
        "created_by": "0",
        "subscribers_count": 1,
        "description": "",
        "labels": [],
    }


@pytest.mark.parametrize(
    ("query", "titles"),
    [
        ("search=elcom", ["Welcome"]),
        ("sort_by=title&sort_type=ASC", ["Another", "Welcome"]),
        ("sort_by=password", ["Another", "Welcome"]),
        ("page=2&per_page=1", ["Welcome"]),
    ],
)
def test_the_list_is_searched_and_sorted(api: APIClient, query: str, titles: list[str]) -> None:
    draft()
    draft(title="Another")
    rows = api.get(f"/funnels?{query}").json()["funnels"]["data"]
    assert [row["title"] for row in rows] == titles


@pytest.mark.parametrize("path", ["/funnels/triggers", "/funnels?with[]=triggers"])
def test_the_triggers_are_told(api: APIClient, path: str) -> None:
    trigger = api.get(path).json()["triggers"]["fluent_crm/event_tracked"]
    assert [*trigger] == ["category", "label", "description", "icon"]


def test_a_funnel_has_what_its_page_asks_for(api: APIClient) -> None:
    body = funnel(api, draft(), "blocks", "block_fields", "funnel_sequences")
    assert {*body} == {
        *("funnel", "blocks", "block_fields", "composer_context_codes", "funnel_sequences")
    }
    assert body["funnel"]["trigger"]["label"] == "A contact was created"
    assert body["blocks"]["funnel_condition"]["type"] == "conditional"
    assert body["funnel_sequences"] == []


def test_sequences_are_a_tree_with_texts_for_numbers(api: APIClient) -> None:
    automation = draft(steps=[HOUR, IF, MARK])
    wait, condition, track = funnel(api, automation, "funnel_sequences")["funnel_sequences"]
    assert {name: wait[name] for name in ("funnel_id", "parent_id", "sequence", "delay")} == {
        "funnel_id": str(automation.pk),
        "parent_id": "0",
        "sequence": "1",
        "delay": "3600",
    }
    assert (condition["type"], condition["c_delay"]) == ("conditional", "3600")
    [inner] = condition["children"]["yes"]
    assert (inner["parent_id"], inner["condition_type"]) == (str(condition["id"]), "yes")
    assert condition["children"]["no"][0]["action_name"] == "end_this_funnel"
    assert track["settings"] == {
        **{"event_key": "marked", "title": "Marked", "value": ""},
        "is_unique": "yes",
    }


@pytest.mark.parametrize(
    ("wait", "settings"),
    [
        ({"minutes": 90}, ("unit_wait", {"wait_time_amount": "90", "wait_time_unit": "minutes"})),
        ({"hours": 48}, ("unit_wait", {"wait_time_amount": "2", "wait_time_unit": "days"})),
        ({"days": 2}, ("unit_wait", {"wait_time_amount": "2", "wait_time_unit": "days"})),
        (
            {"until": "2026-12-24T09:00"},
            (
                "timestamp_wait",
                {"is_timestamp_wait": "yes", "wait_date_time": "2026-12-24 09:00:00"},
            ),
        ),
        (
            {"weekdays": ["mon", "fri"], "at": "09:00"},
            ("to_day", {"to_day": ["Mon", "Fri"], "to_day_time": "09:00"}),
        ),
        ({"field": "custom_values.renewal"}, ("by_custom_field", {"by_custom_field": "renewal"})),
        ({"field": "date_of_birth", "at": "09:00", "yearly": True}, ("tallybook", {})),
        ({"days": 2, "at": "09:00", "zone": "contact"}, ("tallybook", {})),
        ({"hours": 2, "between": ["09:00", "17:00"]}, ("tallybook", {})),
    ],
)
def test_a_wait_has_fluentcrms_form_if_there_is_one(
    api: APIClient, wait: dict[str, Any], settings: tuple[str, dict[str, Any]]
) -> None:
    automation = draft(steps=[{"type": "wait", "wait": wait}])
    [sequence] = funnel(api, automation, "funnel_sequences")["funnel_sequences"]
    wait_type, more = settings
    assert sequence["settings"] == {"wait_type": wait_type, **more, "tallybook_wait": wait}


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/clone",
        "/report",
        "/subscribers",
        "/subscribers/1",
        "/subscribers/1/status",
        "/sequences",
        "/change-trigger",
    ],
)
def test_an_unknown_funnel_is_404(api: APIClient, path: str) -> None:
    method = {"/clone": "POST", "/sequences": "POST", "/subscribers/1/status": "PUT"}.get(path)
    method = method or ("PUT" if path == "/change-trigger" else "GET")
    body = {"trigger_name": "fluent_crm/contact_created", "title": "x", "sequences": []}
    response = send(api, method, f"/funnels/{10**18}{path}", body if method != "GET" else None)
    assert message(response) == (404, "Funnel not found")


def test_a_funnel_is_created_by_its_trigger(api: APIClient) -> None:
    body = {"funnel": {"trigger_name": "fluent_crm/contact_created", "title": "Hello"}}
    response = api.post("/funnels", body)
    assert message(response) == (200, "Funnel has been created. Please configure now")
    assert response.json()["funnel"]["status"] == "draft"
    assert Automation.objects.get().title == "Hello"


def test_a_funnel_without_a_title_is_called_after_its_trigger(api: APIClient) -> None:
    body = {"funnel": {"trigger_name": "fluent_crm/contact_created"}}
    title = api.post("/funnels", body).json()["funnel"]["title"]
    assert title.startswith("A contact was created (Created at 20")


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        # As netflyapp's and blocklienterprise's programs send it.
        ({"title": "Welcome", "trigger": "x"}, ["trigger_name"]),
        ({"funnel": "x"}, ["trigger_name"]),
        ({"funnel": {"trigger_name": "woo_order"}}, ["trigger_name"]),
        ({"funnel": {"trigger_name": ["x"]}}, ["trigger_name"]),
        ({"funnel": {"trigger_name": "fluent_crm/event_tracked"}}, ["trigger.event_key"]),
        (
            {
                "funnel": {
                    "trigger_name": "fluent_crm/event_tracked",
                    "settings": {"event_key": "x", "within": "1d"},
                }
            },
            ["settings"],
        ),
        (
            {
                "funnel": {
                    "trigger_name": "fluent_crm/contact_created",
                    "conditions": {"value_conditions": [[{"operator": "="}]]},
                }
            },
            ["conditions"],
        ),
        (
            {"funnel": {"trigger_name": "fluent_crm/contact_created", "settings": "x"}},
            ["settings"],
        ),
    ],
)
def test_a_trigger_that_cannot_be_read_is_rejected(
    api: APIClient, body: dict[str, Any], errors: list[str]
) -> None:
    response = api.post("/funnels", body)
    assert (response.status_code, [*response.json()]) == (422, errors)
    assert not Automation.objects.exists()


def test_a_missing_trigger_name_is_told_in_fluentcrms_words(api: APIClient) -> None:
    response = api.post("/funnels", {"funnel": {}})
    expected = {"trigger_name": {"required": "The trigger_name field is required."}}
    assert response.json() == expected


def test_a_funnel_is_published_and_made_a_draft_again(api: APIClient) -> None:
    url = f"/funnels/{draft().pk}"
    done = [message(api.put(url, {"status": status})) for status in ("published", "draft")]
    assert done == [
        (200, "Status has been updated to published"),
        (200, "Status has been updated to draft"),
    ]
    assert Automation.objects.get().status == AutomationStatus.PAUSED
    assert api.get(url).json()["funnel"]["status"] == "draft"


def test_the_status_that_a_funnel_has_is_422(api: APIClient) -> None:
    response = api.put(f"/funnels/{draft().pk}", {"status": "draft"})
    assert message(response) == (422, "Funnel already have the same status")


@pytest.mark.parametrize("status", [None, "", "on", ["published"]])
def test_an_invalid_status_is_rejected(api: APIClient, status: Any) -> None:
    response = api.put(f"/funnels/{draft().pk}", {"status": status})
    assert (response.status_code, [*response.json()]) == (422, ["status"])


@pytest.fixture
def overdue(ada: Subscriber) -> Automation:
    """A paused automation with a contact inside whose time has come."""
    automation = published(HOUR)
    happens(ada)
    work()
    pause(automation.pk)
    pass_time(Run.objects.get())
    return automation


def test_overdue_contacts_do_not_go_on_without_a_choice(
    api: APIClient, overdue: Automation
) -> None:
    url = f"/funnels/{overdue.pk}"
    assert api.put(url, {"status": "published"}).json()["overdue"] == 1
    assert api.put(url, {"status": "published", "overdue": "run"}).status_code == 200


def test_the_title_is_changed(api: APIClient) -> None:
    automation = draft()
    url = f"/funnels/funnel/{automation.pk}/title"
    assert message(api.put(url, {"title": "New"})) == (200, "Title has been updated to New")
    assert message(api.put(url, {"title": "New"})) == (422, "Funnel already have the same title")


def test_the_trigger_is_changed_with_its_settings(api: APIClient) -> None:
    automation = draft(steps=[HOUR])
    tag = Tag.objects.create(title="VIP", slug="vip")
    body = {
        "trigger_name": "fluentcrm_contact_added_to_tags",
        "title": "Tagged",
        "settings": {"tags": [str(tag.pk)], "select_type": "all"},
    }
    response = api.put(f"/funnels/{automation.pk}/change-trigger", body)
    assert message(response) == (200, "Funnel Trigger has been successfully updated")
    automation.refresh_from_db()
    assert document_of(automation)["trigger"] == {
        "type": "tag_added",
        "match": "all",
        "tags": [tag.pk],
    }
    assert len(document_of(automation)["steps"]) == 1
    again = api.put(f"/funnels/{automation.pk}/change-trigger", body)
    assert message(again) == (422, "Trigger name is same")


def test_a_clone_is_a_draft(api: APIClient) -> None:
    response = api.post(f"/funnels/{published(HOUR).pk}/clone")
    assert message(response) == (200, "Funnel has been successfully cloned")
    row = response.json()["funnel"]
    assert (row["title"], row["status"]) == ("[Copy] Test", "draft")


def test_a_funnel_is_deleted(api: APIClient) -> None:
    url = f"/funnels/{draft().pk}"
    assert message(api.delete(url)) == (200, "Funnel has been deleted")
    assert message(api.delete(url)) == (404, "Funnel not found")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"action_name": "delete_funnels"}, "Please provide funnel IDs"),
        ({"action_name": "change_funnel_status", "funnel_ids": [1]}, "Please select status"),
        ({"action_name": "explode", "funnel_ids": [1]}, "invalid bulk action"),
        (
            {"action_name": "apply_labels", "funnel_ids": [1]},
            "Tallybook has no labels of campaigns and automations",
        ),
    ],
)
def test_a_bulk_action_that_lacks_something_is_422(
    api: APIClient, body: dict[str, Any], expected: str
) -> None:
    assert message(api.post("/funnels/do-bulk-action", body)) == (422, expected)


def test_several_funnels_are_published_and_deleted(api: APIClient) -> None:
    ids = [draft().pk, published().pk]
    body = {"funnel_ids": ids, "action_name": "change_funnel_status", "status": "published"}
    text = "Status has been changed for the selected funnels"
    assert message(api.post("/funnels/do-bulk-action", body)) == (200, text)
    assert {row.status for row in Automation.objects.all()} == {"published"}
    body = {"funnel_ids": ids, "action_name": "delete_funnels"}
    text = "Selected Funnels has been deleted permanently"
    assert message(api.post("/funnels/do-bulk-action", body)) == (200, text)
    assert not Automation.objects.exists()


def test_contacts_are_listed_with_the_steps_where_they_were_and_will_be(
    api: APIClient, ada: Subscriber, waiting: Run
) -> None:
    url = (
        f"/funnels/{waiting.automation_id}/subscribers?with[]=funnel&with[]=sequences&per_page=250"
    )
    body = api.get(url).json()
    [row] = body["funnel_subscribers"]["data"]
    mark, hour = body["sequences"]
    assert body["funnel"]["id"] == waiting.automation_id
    assert {name: row[name] for name in ("id", "funnel_id", "subscriber_id", "status", "type")} == {
        "id": waiting.pk,
        "funnel_id": str(waiting.automation_id),
        "subscriber_id": str(ada.pk),
        "status": "active",
        "type": "funnel",
    }
    assert row["last_sequence"] == mark
    assert row["next_sequence_item"] == hour
    assert (row["last_sequence_id"], row["next_sequence"]) == (str(mark["id"]), "2")
    assert row["subscriber"]["email"] == "ada@example.com"
    [metric] = row["metrics"]
    assert (metric["sequence_id"], metric["status"]) == (str(mark["id"]), "completed")
    assert row["source_trigger_name"] == "fluent_crm/event_tracked"


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 1),
        ("status=active", 1),
        ("status=waiting", 1),
        ("status=completed", 0),
        ("status=skipped", 0),
        ("search=ada@", 1),
        ("search=bob", 0),
        ("sequence_id={step}", 1),
        ("sequence_id=5", 0),
    ],
)
def test_contacts_of_a_funnel_are_filtered(
    api: APIClient, waiting: Run, query: str, number: int
) -> None:
    query = query.format(step=waiting.step_id)
    page = api.get(f"/funnels/{waiting.automation_id}/subscribers?{query}").json()
    assert page["funnel_subscribers"]["total"] == number


def test_a_contact_in_a_funnel_is_shown(api: APIClient, ada: Subscriber, waiting: Run) -> None:
    body = api.get(f"/funnels/{waiting.automation_id}/subscribers/{ada.pk}").json()
    assert body["funnel_subscriber"]["id"] == waiting.pk
    assert len(body["sequences"]) == 2


def test_a_contact_that_was_never_in_a_funnel_is_null(api: APIClient, ada: Subscriber) -> None:
    body = api.get(f"/funnels/{draft().pk}/subscribers/{ada.pk}").json()
    assert body == {"funnel_subscriber": None, "sequences": []}


def test_a_contact_is_cancelled(api: APIClient, ada: Subscriber, waiting: Run) -> None:
    url = f"/funnels/{waiting.automation_id}/subscribers/{ada.pk}/status"
    response = api.put(url, {"status": "cancelled"})
    assert message(response) == (200, "Status has been updated to cancelled")
    waiting.refresh_from_db()
    assert waiting.status == RunStatus.CANCELLED
    again = api.put(url, {"status": "cancelled"})
    assert message(again) == (422, "The status already cancelled state")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("", "Subscription status is required"),
        ("active", "Tallybook can set the status to cancelled or completed."),
    ],
)
def test_another_status_of_a_contact_is_rejected(
    api: APIClient, ada: Subscriber, waiting: Run, status: str, expected: str
) -> None:
    url = f"/funnels/{waiting.automation_id}/subscribers/{ada.pk}/status"
    assert message(api.put(url, {"status": status})) == (422, expected)


def test_the_status_of_a_contact_that_was_never_in_a_funnel_is_422(
    api: APIClient, ada: Subscriber
) -> None:
    response = api.put(
        f"/funnels/{draft().pk}/subscribers/{ada.pk}/status", {"status": "cancelled"}
    )
    assert message(response) == (422, "No Corresponding report found")


@pytest.mark.parametrize("place", ["body", "query"])
def test_a_removed_contact_may_start_once_more(
    api: APIClient, ada: Subscriber, waiting: Run, place: str
) -> None:
    url = f"/funnels/{waiting.automation_id}/subscribers"
    if place == "body":
        response = api.delete(url, {"subscriber_ids": [ada.pk]})
    else:
        response = api.delete(f"{url}?subscriber_ids[]={ada.pk}")
    text = "Subscribed has been removed from this automation funnel"
    assert message(response) == (200, text)
    happens(ada)
    work()
    assert Run.objects.exclude(pk=waiting.pk).get().number == 1


def test_runs_are_removed_by_their_ids(api: APIClient, waiting: Run) -> None:
    url = "/funnels/remove-bulk-subscribers"
    assert message(api.post(url, {})) == (422, "Please provide funnel subscriber IDs")
    text = "Selected subscribers has been removed from this automation funnels"
    assert message(api.post(url, {"funnel_subscriber_ids": [waiting.pk]})) == (200, text)
    assert not Run.objects.exists()


def test_no_contact_to_remove_is_422(api: APIClient) -> None:
    response = api.delete(f"/funnels/{draft().pk}/subscribers")
    assert message(response) == (422, "subscriber_ids parameter is required")


def test_the_funnels_of_a_contact_are_listed(api: APIClient, ada: Subscriber, waiting: Run) -> None:
    [row] = api.get(f"/funnels/subscriber/{ada.pk}/automations").json()["automations"]["data"]
    assert (row["funnel"]["title"], row["status"]) == ("Test", "active")
    assert "subscriber" not in row


def test_activities_are_the_runs_of_all_funnels(api: APIClient, waiting: Run) -> None:
    [row] = api.get("/funnels/all-activities?status=active").json()["activities"]["data"]
    assert row["subscriber"]["email"] == "ada@example.com"
    assert len(row["funnel"]["actions"]) == 2


def test_the_report_counts_who_passed_each_step(api: APIClient, waiting: Run) -> None:
    happens(create({"email": "bo@example.com", "status": "subscribed"}))
    stats = api.get(f"/funnels/{waiting.automation_id}/report").json()["stats"]
    assert (stats["total_revenue"], stats["revenue_currency"]) == (0, "USD")
    entrance, marked = stats["metrics"]
    assert entrance == {
        "label": "Entrance",
        "count": 1,
        "sequence_id": 0,
        "type": "root",
        "percent": 100,
        "percent_text": 100,
        "previous_step_count": 1,
        "drop_count": 0,
        "drop_percent": 0,
    }
    assert (marked["label"], marked["count"], marked["percent"]) == ("Track an event", 1, 100)


# Of each step, and of waits with a form of FluentCRM and without.
STEPS: list[dict[str, Any]] = [
    HOUR,
    {"type": "wait", "wait": {"days": 2, "at": "09:00", "zone": "contact"}},
    {"type": "wait", "wait": {"until": "2026-12-24T09:00"}},
    {"type": "wait", "wait": {"weekdays": ["mon"], "at": "09:00"}},
    {"type": "wait", "wait": {"field": "custom_values.renewal"}},
    MARK,
    {"type": "webhook", "url": "https://example.com/hook"},
    {"type": "webhook", "url": "https://example.com/hook", "data": {"plan": "gold"}},
    {"type": "set_fields", "fields": {"city": "Rome", "custom_values.plan": "gold"}},
    {
        "type": "wait_until",
        "happens": {"type": "event", "event_key": "paid"},
        "timeout": {"hours": 2},
        "then": [IF],
        "else": [STOP],
    },
]


@pytest.mark.parametrize("is_text", [True, False])
def test_sequences_that_were_read_can_be_saved(api: APIClient, is_text: bool) -> None:
    automation = draft(steps=STEPS)
    before = document_of(automation)
    tree: Any = funnel(api, automation, "funnel_sequences")["funnel_sequences"]
    if is_text:
        tree = orjson.dumps(tree).decode()
    response = api.post(f"/funnels/{automation.pk}/sequences", {"sequences": tree})
    assert message(response) == (200, "Sequence successfully updated")
    automation.refresh_from_db()
    assert document_of(automation) == before


def test_the_settings_that_were_read_can_be_saved(api: APIClient) -> None:
    automation = published(
        HOUR, conditions=[[NAMED_ADA]], reentry="after_end", only_subscribed=False
    )
    before = document_of(automation)
    row = funnel(api, automation)["funnel"]
    body = {
        "funnel_id": automation.pk,
        "funnel_settings": orjson.dumps(row["settings"]).decode(),
        "conditions": orjson.dumps(row["conditions"]).decode(),
        "sequences": "[]",
        "funnel_title": "Saved",
        "funnel_description": "All.",
    }
    response = api.post("/funnels/funnel/save-funnel-sequences", body)
    assert response.status_code == 200, response.content
    automation.refresh_from_db()
    expected = {**before, "title": "Saved", "description": "All.", "steps": []}
    assert document_of(automation) == expected


def test_a_wait_that_was_changed_in_fluentcrms_form_is_saved_so(api: APIClient) -> None:
    automation = draft(steps=[HOUR])
    [sequence] = funnel(api, automation, "funnel_sequences")["funnel_sequences"]
    sequence["settings"] |= {"wait_time_amount": "3", "wait_time_unit": "days"}
    api.post(f"/funnels/{automation.pk}/sequences", {"sequences": [sequence]})
    automation.refresh_from_db()
    assert document_of(automation)["steps"][0]["wait"] == {"days": "3"}


@pytest.mark.parametrize(
    ("sequence", "place"),
    [
        ({"action_name": "send_custom_email"}, "sequences.0.action_name"),
        (
            {"action_name": "fluentcrm_contact_added_to_tags", "type": "benchmark"},
            "sequences.0.action_name",
        ),
        ({"action_name": ["x"]}, "sequences.0.action_name"),
        (5, "sequences.0"),
        (
            {
                "action_name": "update_contact_property",
                "settings": {
                    "contact_properties": [
                        {"data_key": "points", "data_value": 1, "data_operation": "add"}
                    ]
                },
            },
            "sequences.0.settings",
        ),
        (
            {
                "action_name": "add_contact_event_tracker",
                "settings": {"event_key": "x", "title": "X", "is_unique": "no"},
            },
            "sequences.0.settings",
        ),
        (
            {"action_name": "fluentcrm_wait_times", "settings": {"wait_type": "full_moon"}},
            "sequences.0.settings",
        ),
        (
            {
                "action_name": "fluentcrm_wait_times",
                "settings": {"wait_type": "by_custom_field", "by_custom_field": ["x"]},
            },
            "sequences.0.settings",
        ),
        (
            {"action_name": "tallybook_wait_for", "settings": {"trigger_name": ["x"]}},
            "sequences.0.settings",
        ),
        (
            {"action_name": "http_send_data", "settings": {"sending_method": "GET"}},
            "sequences.0.settings",
        ),
        (
            {
                "action_name": "http_send_data",
                "settings": {
                    "body_data_type": "custom_data",
                    "body_data_values": [{"data_key": 1}],
                },
            },
            "sequences.0.settings",
        ),
        (
            {"action_name": "update_contact_property", "settings": {"contact_properties": "x"}},
            "sequences.0.settings",
        ),
        ({"action_name": "add_contact_to_tag", "settings": {"tags": ["7"]}}, "steps.0.tags"),
        ({"action_name": "end_this_funnel", "id": 7}, "steps.0.id"),
        (
            {
                "action_name": "funnel_condition",
                "settings": {"conditions": [[NAMED_ADA]]},
                "children": {"yes": [{"action_name": "x"}]},
            },
            "sequences.0.children.yes.0.action_name",
        ),
        (
            {
                "action_name": "funnel_condition",
                "settings": {"conditions": [[{"source": ["x", "y"]}]]},
            },
            "steps.0.conditions.0.0.source",
        ),
    ],
)
def test_a_sequence_that_an_automation_cannot_do_is_rejected_by_its_place(
    api: APIClient, sequence: Any, place: str
) -> None:
    automation = draft(steps=[HOUR])
    response = api.post(f"/funnels/{automation.pk}/sequences", {"sequences": [sequence]})
    assert (response.status_code, [*response.json()]) == (422, [place])
    automation.refresh_from_db()
    assert automation.version
    assert automation.version.number == 1


@pytest.mark.parametrize("sequences", [None, "", "{", "x", 5])
def test_sequences_that_are_no_list_remove_nothing(api: APIClient, sequences: Any) -> None:
    automation = draft(steps=[HOUR])
    response = api.post(f"/funnels/{automation.pk}/sequences", {"sequences": sequences})
    assert (response.status_code, [*response.json()]) == (422, ["sequences"])


def test_sequences_that_are_nested_too_deeply_are_rejected(api: APIClient) -> None:
    text = '[{"action_name":"funnel_condition","children":{"yes":' * 300 + "[]" + "}}]" * 300
    response = api.post(f"/funnels/{draft().pk}/sequences", {"sequences": text})
    assert response.status_code == 422


@pytest.fixture
def large(ada: Subscriber) -> Automation:
    """An automation whose document has 60 KB, with the contact inside."""
    automation = published(HOUR, {**MARK, "value": "x" * 60_000})
    happens(ada)
    work()
    return automation


@pytest.mark.parametrize(
    "path",
    [
        "/funnels?per_page=1000",
        "/funnels/all-activities?per_page=1000",
        "/funnels/subscriber/{contact}/automations?per_page=1000",
        "/subscribers/{contact}/automations?per_page=1000",
    ],
)
def test_a_page_of_more_than_8_mb_is_rejected(
    api: APIClient,
    ada: Subscriber,
    large: Automation,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr("config.api.pagination.MAX_PAGE_BYTES", 50_000)
    Run.objects.update(step_id=document_of(large)["steps"][1]["id"])
    response = api.get(path.format(contact=ada.pk))
    assert (response.status_code, [*response.json()]) == (422, ["per_page"])
