"""Plays the recorded answers of a real FluentCRM against the running server."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.system.server import API, Client, basic

FOLDER = Path(__file__).parent / "conformance"
CASES = [
    pytest.param(case, id=f"{file}: {case['name']}")
    for file in ("track-event", "subscribers")
    for case in json.loads((FOLDER / f"{file}.json").read_text())["cases"]
]
TOKEN = re.compile(r"\{\{(\w+):(\d+)(\|string)?\}\}")
DATETIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


class Bindings:
    """Which ids the tokens of a case stand for: each a number, different from its kind's others."""

    def __init__(self) -> None:
        self.ids: dict[tuple[str, str], int] = {}

    def bind(self, kind: str, number: str, value: int) -> bool:
        known = self.ids.setdefault((kind, number), value)
        others = [found for (k, n), found in self.ids.items() if k == kind and n != number]
        return known == value and value not in others

    def fill(self, text: str) -> str:
        return TOKEN.sub(lambda token: str(self.ids[token[1], token[2]]), text)

    def filled(self, value: Any) -> Any:
        if isinstance(value, str):
            whole = TOKEN.fullmatch(value)
            if whole and not whole[3]:
                return self.ids[whole[1], whole[2]]
            return self.fill(value)
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if isinstance(value, dict):
            return {self.fill(key): self.filled(item) for key, item in value.items()}
        return value

    def differences(self, expected: Any, found: Any, place: str = "") -> list[str]:
        """Where an answer differs from a recorded one: values and their JSON types."""
        if expected == "{{any}}":
            return []
        if isinstance(expected, str) and "{{" in expected:
            if expected == "{{datetime}}":
                fits = isinstance(found, str) and bool(DATETIME.fullmatch(found))
            elif token := TOKEN.fullmatch(expected):
                if token[3]:
                    fits = isinstance(found, str) and self.bind(token[1], token[2], int(found))
                else:
                    fits = type(found) is int and self.bind(token[1], token[2], found)
            else:
                fits = self.fill(expected) == found
            return [] if fits else [f"{place}: {expected!r} != {found!r}"]
        if type(expected) is not type(found):
            return [f"{place}: {expected!r} != {found!r}"]
        if isinstance(expected, dict):
            expected = {self.fill(key): value for key, value in expected.items()}
            keys = [f"{place}: keys differ by {expected.keys() ^ found.keys()}"]
            return (keys if expected.keys() != found.keys() else []) + [
                difference
                for key in expected.keys() & found.keys()
                for difference in self.differences(expected[key], found[key], f"{place}.{key}")
            ]
        if isinstance(expected, list):
            if len(expected) != len(found):
                return [f"{place}: {len(expected)} rows, not {len(found)}"]
            return [
                difference
                for number, pair in enumerate(zip(expected, found, strict=True))
                for difference in self.differences(*pair, f"{place}.{number}")
            ]
        return [] if expected == found else [f"{place}: {expected!r} != {found!r}"]


def play(api: Client, request: dict[str, Any], bindings: Bindings) -> Any:
    path = API + bindings.fill(request["path"])
    if "query" in request:
        path += "?" + bindings.fill(request["query"])
    content_type = request.get("content_type", "application/json")
    raw = "raw" in request
    auth = {"none": None, "wrong": basic("admin", "wrong")}.get(request.get("auth", ""), "")
    return api(
        request["method"],
        path,
        json_body=bindings.filled(request.get("json")),
        form=bindings.filled(request.get("form")),
        body=request["raw"].encode() if raw else None,
        headers={"Content-Type": content_type} if raw else None,
        auth=auth,
    )


@pytest.mark.parametrize("case", CASES)
def test_answers_as_fluentcrm_did_or_as_we_decided(api: Client, case: dict[str, Any]) -> None:
    bindings = Bindings()
    for number, step in enumerate(case["steps"], 1):
        answer = play(api, step["request"], bindings)
        expected = step.get("expect", step["response"])
        where = f"step {number}, {step['request']['method']} {step['request']['path']}"
        assert answer.status == expected["status"], f"{where}: {answer.body!r}"
        assert bindings.differences(expected["body"], answer.json()) == [], where


def test_every_recorded_case_is_played() -> None:
    assert len(CASES) == 86


def test_the_player_sees_a_wrong_value_a_missing_key_and_a_second_id() -> None:
    bindings = Bindings()
    assert bindings.differences({"a": "1"}, {"a": 1})
    assert bindings.differences({"a": "1"}, {})
    assert bindings.differences(["{{event:1}}", "{{event:1}}"], [1, 2])
    assert bindings.differences(["{{tag:1}}", "{{tag:2}}"], [7, 7])
    assert not bindings.differences({"a": "{{event:3|string}}"}, {"a": "5"})
