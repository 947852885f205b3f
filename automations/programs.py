"""Find the way through the steps of a version."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from automations.documents import walk
from automations.kinds import BRANCHES
from automations.models import Version

MAX_KEPT = 1000


@dataclass(frozen=True)
class Program:
    """A version with the way from each step to the next.

    Attributes:
        version_id: id of the version.
        document: the document.
        steps: the steps by id, with those of branches.
        following: the step behind each, and behind its branches. None is the end.
        first: the first step, or None without steps.
    """

    version_id: int
    document: Mapping[str, Any]
    steps: Mapping[int, Mapping[str, Any]]
    following: Mapping[int, int | None]
    first: int | None

    def branch(self, step_id: int, name: str) -> int | None:
        """Return the first step of a branch, or the step behind the branches if it is empty."""
        steps = self.steps[step_id][name]
        return steps[0]["id"] if steps else self.following[step_id]

    def surviving(self, step_id: int, new: "Program") -> int | None:
        """Return the step of a newer version where a contact goes on that is at a removed one."""
        current: int | None = step_id
        while current is not None and current not in new.steps:
            current = self.following[current]
        return current


# Those of a process that keeps them, by the ids of their versions.
_kept: dict[int, Program] | None = None


def keep_programs() -> None:
    """Keep programs in memory from now on, because this process needs them all the time.

    Call it after a reconnect as well, because a restored store may give a version another document.
    Other processes read a version each time.
    """
    global _kept
    _kept = {}


def program(version_id: int) -> Program:
    """Return the program of a version.

    Raises:
        Version.DoesNotExist: its automation was deleted.
    """
    if _kept is None:
        return _read(version_id)
    if version_id not in _kept:
        if len(_kept) >= MAX_KEPT:
            _kept.clear()
        _kept[version_id] = _read(version_id)
    return _kept[version_id]


def _read(version_id: int) -> Program:
    return compile_document(version_id, Version.objects.get(pk=version_id).document)


def compile_document(version_id: int, document: Mapping[str, Any]) -> Program:
    """Return the program of a document whose steps have ids."""
    following: dict[int, int | None] = {}

    def chain(steps: list[dict[str, Any]], after: int | None) -> None:
        for step, following_step in zip_longest(steps, steps[1:]):
            next_id = following_step["id"] if following_step else after
            following[step["id"]] = next_id
            for name in BRANCHES:
                chain(step.get(name, []), next_id)

    chain(document["steps"], None)
    first = document["steps"][0]["id"] if document["steps"] else None
    steps = {step["id"]: step for step in walk(document["steps"])}
    return Program(version_id, document, steps, following, first)
