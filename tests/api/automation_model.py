"""What automations do with one contact, in plain Python: what happens is acted on at once."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from automations.models import RunStatus

MAX_CAUSES = 5
ACTIVE, COMPLETED, CANCELLED = RunStatus.ACTIVE, RunStatus.COMPLETED, RunStatus.CANCELLED
Step = dict[str, Any]


def flat(steps: list[Step]) -> dict[int, Step]:
    """Return the steps of a document by their ids, with those of branches."""
    found = {}
    for step in steps:
        found[step["id"]] = step
        found |= flat(step.get("then", [])) | flat(step.get("else", []))
    return found


def behind(steps: list[Step], after: int | None = None) -> dict[int, int | None]:
    """Return the id of the step behind each one."""
    found: dict[int, int | None] = {}
    for index, step in enumerate(steps):
        following = steps[index + 1]["id"] if index + 1 < len(steps) else after
        found[step["id"]] = following
        for branch in ("then", "else"):
            found |= behind(step.get(branch, []), following)
    return found


@dataclass
class Entry:
    """Something that happened. `clock` orders it, `hour` is when."""

    kind: str
    key: str
    clock: int
    hour: float
    title: str = ""
    occurrence: int | None = None
    counter: int = 0
    count: int = 0
    cause: tuple[int, ...] = ()


@dataclass
class Run:
    """A run, at a step of the document that it has seen last."""

    automation: int
    number: int
    document: dict[str, Any]
    step: int | None
    source: Entry
    due: float | None
    status: str = ACTIVE
    # When it entered its step: by the order of all that happens.
    entered: int | None = None
    happened: bool = False
    log: list[tuple[int, str]] = field(default_factory=list)

    @property
    def cause(self) -> tuple[int, ...]:
        return (*self.source.cause, self.automation)


@dataclass
class Model:
    """A contact, the automations, and the runs."""

    tags: set[int] = field(default_factory=set)
    city: str = ""
    status: str = "subscribed"
    # The key, title and hour of each occurrence by its number.
    log: dict[int, tuple[str, str, float]] = field(default_factory=dict)
    hour: float = 0
    clock: int = 0
    documents: dict[int, dict[str, Any]] = field(default_factory=dict)
    published: dict[int, bool] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    refused: Counter[tuple[int, str]] = field(default_factory=Counter)
    waiting: list[Entry] = field(default_factory=list)
    # How many occurrences there ever were.
    occurrences: int = 0

    # What happens to the contact.

    def track(self, key: str, title: str, ago: float = 0, cause: tuple[int, ...] = ()) -> None:
        self.occurrences += 1
        self.log[self.occurrences] = (key, title, self._now() - ago)
        keys = [logged for logged in self.log.values() if logged[0] == key]
        counter = sum(logged[1] == title for logged in keys)
        numbers = {"counter": counter, "count": len(keys), "occurrence": self.occurrences}
        self._record("event", key, cause, ago, title=title, **numbers)

    def take_back(self) -> None:
        """Take the newest occurrence back."""
        del self.log[max(self.log)]

    def label(self, tag: int, is_added: bool, cause: tuple[int, ...] = ()) -> None:
        if (tag in self.tags) != is_added:
            self.tags ^= {tag}
            self._record("tag_added" if is_added else "tag_removed", str(tag), cause)

    def set_status(self, status: str) -> None:
        if status != self.status:
            self.status = status
            self._record("status", status, ())

    def _now(self) -> float:
        """Return the hour of what happens next, a little later than what happened before."""
        return self.hour + self.clock / 1_000_000

    def _record(
        self, kind: str, key: str, cause: tuple[int, ...], ago: float = 0, **more: Any
    ) -> None:
        hour = self._now() - ago
        self.clock += 1
        self.waiting.append(Entry(kind, key, self.clock, hour, cause=cause, **more))

    # What admin users do.

    def edit(self, automation: int, document: dict[str, Any]) -> None:
        self.documents[automation] = document
        for run in self._open(automation):
            if run.step not in flat(document["steps"]):
                run.due = self.hour

    def start_by_hand(self, automation: int) -> None:
        self.clock += 1
        self._start(automation, Entry("manual", "", self.clock, self._now()))

    # What the worker does.

    def settle(self) -> None:
        """Act on all that happened. Each entry waits until the runs before it are moved on."""
        while True:
            due = [run for run in self._open() if self._is_due(run)]
            if due:
                self._move(min(due, key=lambda run: (run.due, self.runs.index(run))))
            elif self.waiting:
                self._act(self.waiting.pop(0))
            else:
                return

    def _is_due(self, run: Run) -> bool:
        return self.published[run.automation] and run.due is not None and run.due <= self.hour

    def _open(self, automation: int | None = None) -> list[Run]:
        return [
            run
            for run in self.runs
            if run.status == ACTIVE and automation in (None, run.automation)
        ]

    def _act(self, entry: Entry) -> None:
        for run in self._open():
            is_left = self.documents[run.automation]["only_subscribed"]
            step = flat(self.documents[run.automation]["steps"]).get(run.step or 0)
            if entry.kind == "status" and is_left and self.status != "subscribed":
                self._end(run, CANCELLED)
            elif step and self._is_awaited(run, step, entry):
                run.happened, run.due = True, self.hour
        for automation, document in self.documents.items():
            trigger = document["trigger"]
            if not self.published[automation] or not self._fits(trigger, entry):
                continue
            if trigger["type"] == "event":
                number = entry.counter if trigger["title"] else entry.count
                times = trigger["times"]
                reached = {"from": number >= times, "at": number == times}
                if not reached.get(trigger["when"], number % times == 0):
                    continue
                if self.hour - entry.hour > trigger["max_age_hours"]:
                    self.refused[automation, "too_old"] += 1
                    continue
            self._start(automation, entry)

    def _fits(self, happening: dict[str, Any], entry: Entry) -> bool:
        kind = happening["type"]
        if kind == "event":
            is_key = (entry.kind, entry.key) == ("event", happening["event_key"])
            return is_key and happening["title"] in ("", entry.title)
        if kind == "status_changed":
            return entry.kind == "status" and entry.key in happening["statuses"]
        if kind != entry.kind or int(entry.key) not in happening["tags"]:
            return False
        return happening["match"] == "any" or self._has_all(happening)

    def _has_all(self, happening: dict[str, Any]) -> bool:
        wanted = {*happening["tags"]}
        return self.tags >= wanted if happening["type"] == "tag_added" else not self.tags & wanted

    def _is_awaited(self, run: Run, step: Step, entry: Entry) -> bool:
        if step["type"] != "wait_until" or run.entered is None or run.happened:
            return False
        if not self._fits(step["happens"], entry):
            return False
        if step["since"] == "here" and entry.clock < run.entered:
            return False
        if step["since"] == "start" and entry.hour < run.source.hour:
            return False
        return entry.occurrence is None or entry.occurrence != run.source.occurrence

    def _start(self, automation: int, entry: Entry) -> None:
        document = self.documents[automation]
        own = [run for run in self.runs if run.automation == automation]
        if automation in entry.cause or len(entry.cause) >= MAX_CAUSES:
            self.refused[automation, "loop"] += 1
        elif document["only_subscribed"] and self.status != "subscribed":
            self.refused[automation, "status"] += 1
        elif own and not self._may_enter_again(automation):
            return
        elif not self._matches(document["conditions"]):
            self.refused[automation, "conditions"] += 1
        else:
            for run in self._open(automation):
                self._end(run, CANCELLED)
            steps = document["steps"]
            first = steps[0]["id"] if steps else None
            self.runs.append(Run(automation, len(own) + 1, document, first, entry, self.hour))

    def _may_enter_again(self, automation: int) -> bool:
        rule = self.documents[automation]["reentry"]
        return rule == "every_time" or (rule == "after_end" and not self._open(automation))

    def _matches(self, groups: list[list[dict[str, Any]]]) -> bool:
        return not groups or any(all(map(self._holds, group)) for group in groups)

    def _holds(self, condition: dict[str, Any]) -> bool:
        if condition["source"] == ["segment", "tags"]:
            return bool(self.tags & {*condition["value"]})
        return bool(self.city == condition["value"])

    def _end(self, run: Run, status: str) -> None:
        run.status, run.due = status, None

    def _move(self, run: Run) -> None:
        document = self.documents[run.automation]
        steps = flat(document["steps"])
        if run.step is not None and run.step not in steps:
            removed, old = run.step, behind(run.document["steps"])
            while run.step is not None and run.step not in steps:
                run.step = old[run.step]
            run.entered, run.happened = None, False
            self._log(run, removed, "removed")
        run.document, run.due = document, self.hour
        while run.status == ACTIVE and run.due == self.hour:
            if document["only_subscribed"] and self.status != "subscribed":
                self._end(run, CANCELLED)
            elif run.step is None:
                self._end(run, COMPLETED)
            elif any(step == run.step for step, _ in run.log):
                self._go(run, behind(document["steps"])[run.step])
            elif not self._do(run, steps[run.step]):
                break

    def _log(self, run: Run, step: int, outcome: str) -> None:
        if all(done != step for done, _ in run.log):
            run.log.append((step, outcome))

    def _go(self, run: Run, step: int | None) -> None:
        run.step, run.entered, run.happened, run.due = step, None, False, self.hour

    def _do(self, run: Run, step: Step) -> bool:
        """Do a step. Returns False if the run waits at it."""
        following = behind(run.document["steps"])[step["id"]]
        outcome = "done"
        match step["type"]:
            case "add_tags" | "remove_tags":
                for tag in step["tags"]:
                    self.label(tag, step["type"] == "add_tags", run.cause)
            case "track_event":
                self.track(step["event_key"], step["title"], cause=run.cause)
            case "set_fields":
                self.city = step["fields"]["city"]
            case "wait":
                if run.entered is None:
                    return self._wait(run, step["wait"]["hours"])
            case "stop":
                self._log(run, step["id"], "done")
                self._end(run, COMPLETED)
                return True
            case "if" | "wait_until" as kind:
                if kind == "if":
                    is_yes = self._matches(step["conditions"])
                else:
                    if run.entered is None:
                        run.happened = step["since"] == "start" and self._happened(run, step)
                        hours = step["timeout"]["hours"] if "timeout" in step else None
                        if not run.happened:
                            return self._wait(run, hours)
                    is_yes = run.happened
                outcome = "yes" if is_yes else "no"
                branch = step["then" if is_yes else "else"]
                following = branch[0]["id"] if branch else following
        self._log(run, step["id"], outcome)
        self._go(run, following)
        return True

    def _wait(self, run: Run, hours: float | None) -> bool:
        self.clock += 1
        run.entered = self.clock
        run.due = None if hours is None else self.hour + hours
        return False

    def _happened(self, run: Run, step: Step) -> bool:
        """Return whether what a step waits for has happened since the run started."""
        happening = step["happens"]
        match happening["type"]:
            case "status_changed":
                return self.status in happening["statuses"]
            case "event":
                return any(
                    (key, number != run.source.occurrence) == (happening["event_key"], True)
                    and happening["title"] in ("", title)
                    and hour >= run.source.hour
                    for number, (key, title, hour) in self.log.items()
                )
            case kind:
                has = self.tags & {*happening["tags"]}
                if happening["match"] == "all":
                    return self._has_all(happening)
                return bool(has) if kind == "tag_added" else len(has) < len(happening["tags"])
