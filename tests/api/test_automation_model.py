"""Random automations do with random histories what a plain model in Python says."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from automations.models import Automation, Refusal, Run, RunStep
from automations.starting import start_by_hand
from automations.writing import create_automation, pause, publish, update_automation
from config.database import fetch_rows
from crm.attachments import attach, detach
from crm.bulk_columns import set_column
from crm.contacts import create
from crm.models import OutboxEntry, Subscriber, Tag
from events.models import EventOccurrence, TrackedEvent
from events.tracking.batches import track_many
from events.tracking.corrections import take_back
from tests.api.automation import ARM, work
from tests.api.automation_model import Model
from tests.api.savepoints import rolled_back

SEQUENCES = {"short": 25, "long": 300}
# Few keys, titles and tags, so that automations start each other.
KEYS, TITLES, TAGS = ("c", "paid"), ("t", "u"), (0, 1)
STATUSES = ("subscribed", "unsubscribed", "pending")
# Time passes by moving all times of the store back.
PASS_RUNS = """
UPDATE automations_run SET due_at = due_at - %(by)s, entered_at = entered_at - %(by)s,
    source_at = source_at - %(by)s, created_at = created_at - %(by)s RETURNING id
"""
PASS_EVENTS = """
UPDATE events_eventoccurrence SET occurred_at = occurred_at - %(by)s RETURNING id
"""


def weighted(*choices: tuple[int, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    """One of several, the more often the greater its weight."""
    numbers = [number for number, (weight, _) in enumerate(choices) for _ in range(weight)]
    return st.sampled_from(numbers).flatmap(lambda number: choices[number][1])


some_tags = st.lists(st.sampled_from(TAGS), min_size=1, max_size=2, unique=True)
labels = st.fixed_dictionaries(
    {
        "type": st.sampled_from(("tag_added", "tag_removed")),
        "tags": some_tags,
        "match": st.sampled_from(("any", "all")),
    }
)
statuses = st.fixed_dictionaries(
    {
        "type": st.just("status_changed"),
        "statuses": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=2, unique=True),
    }
)
titles = st.sampled_from(("", "", "t"))
events = st.fixed_dictionaries(
    {"type": st.just("event"), "event_key": st.sampled_from(KEYS), "title": titles}
)
counted = st.fixed_dictionaries(
    {
        "type": st.just("event"),
        "event_key": st.sampled_from(KEYS),
        "title": titles,
        "times": st.sampled_from((1, 1, 1, 2, 3)),
        "when": st.sampled_from(("from", "at", "every")),
    }
)
triggers = weighted((6, counted), (1, labels), (1, statuses), (1, st.just({"type": "manual"})))
condition = st.one_of(
    some_tags.map(lambda tags: {"source": ["segment", "tags"], "operator": "in", "value": tags}),
    st.sampled_from(("Rome", "Oslo")).map(
        lambda city: {"source": ["subscriber", "city"], "operator": "=", "value": city}
    ),
)
filters = st.lists(st.lists(condition, min_size=1, max_size=2), min_size=1, max_size=2)
actions = st.one_of(
    st.fixed_dictionaries(
        {"type": st.sampled_from(("add_tags", "remove_tags")), "tags": some_tags}
    ),
    st.sampled_from(("marked", "c", "paid")).map(
        lambda key: {"type": "track_event", "event_key": key, "title": "t"}
    ),
    st.sampled_from(("Rome", "Oslo")).map(lambda c: {"type": "set_fields", "fields": {"city": c}}),
    st.integers(1, 3).map(lambda hours: {"type": "wait", "wait": {"hours": hours}}),
)


def step_lists(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Lists of steps, some of them with branches of such lists."""
    branches = {"then": inner, "else": inner}
    whether = st.fixed_dictionaries({"type": st.just("if"), "conditions": filters, **branches})
    until = st.fixed_dictionaries(
        {
            "type": st.just("wait_until"),
            "happens": st.one_of(events, events, labels, statuses),
            "since": st.sampled_from(("start", "here")),
            **branches,
        },
        optional={"timeout": st.integers(1, 3).map(lambda hours: {"hours": hours})},
    )
    stop = st.just({"type": "stop"})
    several = weighted((6, actions), (4, until), (3, whether), (1, stop))
    return st.lists(several, min_size=2, max_size=5)


steps = step_lists(st.one_of(st.lists(actions, max_size=2), step_lists(st.just([]))))
documents = st.fixed_dictionaries(
    {
        "title": st.just("Test"),
        "trigger": triggers,
        "conditions": weighted((5, st.just([])), (1, filters)),
        "steps": steps,
        "reentry": st.sampled_from(("after_end", "every_time", "once")),
        "only_subscribed": st.booleans(),
    }
)
# One that every event starts, so that each history moves some runs, beside any other.
EASY = {
    "trigger": {"type": "event", "event_key": "c"},
    "conditions": [],
    "only_subscribed": False,
}
easy = st.tuples(documents, st.sampled_from(("after_end", "every_time"))).map(
    lambda drawn: {**drawn[0], **EASY, "reentry": drawn[1]}
)
# They are named by their position.
which = st.integers(0, 1)
tracked = st.tuples(st.sampled_from(KEYS), st.sampled_from(TITLES), st.sampled_from((0, 0, 0, 48)))
histories = st.lists(
    weighted(
        (7, st.tuples(st.just("track"), st.lists(tracked, min_size=1, max_size=4))),
        (4, st.tuples(st.just("elapse"), st.integers(1, 4))),
        (3, st.tuples(st.just("label"), st.sampled_from(TAGS), st.booleans())),
        (2, st.tuples(st.just("status"), st.sampled_from(STATUSES))),
        (3, st.tuples(st.just("edit"), which, st.sampled_from(("drop", "swap", "add")), which)),
        (2, st.tuples(st.just("pause"), which)),
        (1, st.tuples(st.just("by_hand"), which)),
        (1, st.tuples(st.just("take_back"))),
    ),
    min_size=8,
    max_size=14,
)


class Store:
    """The store beside the model."""

    def __init__(self, sent: Iterable[dict[str, Any]], tags: list[Tag]) -> None:
        self.tags = [tag.pk for tag in tags]
        self.contact = create({"email": "ada@example.com"}).pk
        self.model = Model()
        self.automations: list[Automation] = []
        for document in sent:
            automation = create_automation(with_ids(document, self.tags))
            self.automations.append(automation)
            self.publish(automation)
            self.model.documents[automation.pk] = stored(automation)

    def publish(self, automation: Automation) -> None:
        publish(automation.pk)
        # The worker arms it once the test's transaction has ended.
        fetch_rows(ARM, {"id": automation.pk})
        self.model.published[automation.pk] = True

    def do(self, name: str, *arguments: Any) -> None:
        """Let something happen in both, and let the worker and the model act on it."""
        getattr(self, name)(*arguments)
        work()
        self.model.settle()

    def track(self, sent: list[tuple[str, str, int]]) -> None:
        now = timezone.now()
        items: list[dict[str, Any]] = []
        for key, title, ago in sent:
            item = {"subscriber_id": self.contact, "event_key": key, "title": title}
            items.append(item | ({"occurred_at": now - timedelta(hours=ago)} if ago else {}))
            self.model.track(key, title, ago)
        track_many(items)

    def label(self, index: int, is_added: bool) -> None:
        tag = self.tags[index]
        (attach if is_added else detach)("tags", [self.contact], [tag])
        self.model.label(tag, is_added)

    def status(self, status: str) -> None:
        set_column([self.contact], "status", status, keep_opt_outs=False)
        self.model.set_status(status)

    def elapse(self, hours: int) -> None:
        by = {"by": timedelta(hours=hours)}
        fetch_rows(PASS_RUNS, by)
        fetch_rows(PASS_EVENTS, by)
        self.model.hour += hours

    def pause(self, index: int) -> None:
        """Pause an automation, or publish it again."""
        automation = self.automations[index]
        if self.model.published[automation.pk]:
            pause(automation.pk)
            self.model.published[automation.pk] = False
        else:
            self.publish(automation)

    def by_hand(self, index: int) -> None:
        automation = self.automations[index]
        if self.model.published[automation.pk]:
            start_by_hand([self.contact], automation.pk)
            self.model.start_by_hand(automation.pk)

    def take_back(self) -> None:
        newest = EventOccurrence.objects.order_by("-id").first()
        if newest:
            take_back(self.contact, [newest.pk])
            self.model.take_back()

    def edit(self, index: int, change: str, place: int) -> None:
        """Drop a step, exchange it with the next one, or add one behind it."""
        automation = self.automations[index]
        document = stored(automation)
        changed = [*document["steps"]]
        if change == "drop":
            del changed[place : place + 1]
        elif change == "swap":
            changed[place : place + 2] = reversed(changed[place : place + 2])
        else:
            changed.insert(place + 1, {"type": "track_event", "event_key": "marked", "title": "t"})
        update_automation(automation.pk, {**document, "steps": changed})
        self.model.edit(automation.pk, stored(automation))

    def check(self) -> None:
        """Compare runs with their steps, refusals, tags, city and counters."""
        model = self.model
        contact = Subscriber.objects.get(pk=self.contact)
        assert not OutboxEntry.objects.exists()
        expected = [(run.automation, run.number, str(run.status), run.log) for run in model.runs]
        logs: dict[int, list[tuple[int, str]]] = {}
        rows = RunStep.objects.order_by("id").values_list("run_id", "step_id", "outcome")
        for run_id, step_id, outcome in rows:
            logs.setdefault(run_id, []).append((step_id, outcome))
        runs = Run.objects.order_by("id").values_list("pk", "automation_id", "number", "status")
        assert [(*row, logs.get(run_id, [])) for run_id, *row in runs] == expected
        refusals = Refusal.objects.values_list("automation_id", "reason", "times")
        assert {(key, reason): times for key, reason, times in refusals} == dict(model.refused)
        assert {*contact.tags.values_list("pk", flat=True)} == model.tags
        assert contact.city in (model.city, None)
        counters = TrackedEvent.objects.values_list("event_key", "title", "counter")
        counted: dict[tuple[str, str], int] = {}
        for key, title, _ in model.log.values():
            counted[key, title] = counted.get((key, title), 0) + 1
        assert {(key, title): counter for key, title, counter in counters} == counted


def with_ids(value: Any, tags: list[int]) -> Any:
    """Return a document with the ids of tags in place of their positions."""
    if isinstance(value, list):
        return [with_ids(each, tags) for each in value]
    if not isinstance(value, dict):
        return value
    converted = {name: with_ids(each, tags) for name, each in value.items()}
    is_filter = value.get("source") == ["segment", "tags"]
    for name in ("tags", *(["value"] if is_filter else [])):
        if name in value:
            converted[name] = [tags[index] for index in value[name]]
    return converted


def stored(automation: Automation) -> dict[str, Any]:
    automation.refresh_from_db()
    assert automation.version
    document: dict[str, Any] = automation.version.document
    return document


@pytest.mark.django_db
def test_random_automations_do_what_the_model_does_with_random_histories() -> None:
    tags = [Tag.objects.create(title=f"Tag {index}", slug=f"tag-{index}") for index in TAGS]

    @settings(
        max_examples=SEQUENCES[settings.get_current_profile_name()],
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
    )
    @given(st.tuples(easy, documents), histories)
    def run(sent: tuple[dict[str, Any], ...], history: list[Any]) -> None:
        note(f"{sent} {history}")
        with rolled_back():
            store = Store(sent, tags)
            for name, *arguments in history:
                store.do(name, *arguments)
            store.check()

    run()
