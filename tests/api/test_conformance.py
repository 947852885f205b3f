"""The recorded responses of a real FluentCRM, compared with ours."""

import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from tests.api.calls import send
from tests.api.conftest import MakePassword, basic

PREFIX = "/wp-json/fluent-crm/v2"
FORM = "application/x-www-form-urlencoded"
# The Authorization headers of recorded requests that have others than the user's own.
HEADERS: dict[str, dict[str, str]] = {
    "none": {},
    "wrong": {"HTTP_AUTHORIZATION": basic("admin", "wrong")},
}
FOLDER = Path(__file__).parents[1] / "conformance"
CASES = [
    pytest.param(case, id=f"{file}: {case['name']}")
    for file in ("track-event", "subscribers")
    for case in json.loads((FOLDER / f"{file}.json").read_text())["cases"]
]
# Keys that Tallybook decided to add to a recorded response, by case and number of the step.
ADDED_KEYS = {
    ("bulk-add-update tells created from updated", 2): {"errors"},
    ("long event_key and title are cut to 192", 2): {"warnings"},
    ("long event_key and title are cut to 192", 3): {"warnings"},
    ("long provider is cut to 50", 2): {"warnings"},
}
TOKEN = re.compile(r"\{\{(\w+):(\d+)(\|string)?\}\}")
DATETIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


class Bindings:
    """The ids that the tokens of a case stand for: each different from the others of its kind."""

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
        """Return where a response differs from a recorded one: values and their JSON types."""
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


@pytest.fixture
def recorded(db: None, make_password: MakePassword) -> APIClient:
    """A client of the user whose id the recorded responses show: 1."""
    user = User.objects.create(
        id=1, username="admin", email="admin@example.com", is_superuser=True, is_staff=True
    )
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=basic("admin", make_password(user)))
    return client


def play(recorded: APIClient, request: dict[str, Any], bindings: Bindings) -> Any:
    """Send a recorded request with today's ids in it, and return the response."""
    path = PREFIX + bindings.fill(request["path"])
    if "query" in request:
        path += "?" + bindings.fill(request["query"])
    client = recorded
    if "auth" in request:
        client = APIClient()
        client.credentials(**HEADERS[request["auth"]])
    if "raw" in request:
        body, content_type = request["raw"], request.get("content_type", "application/json")
    elif "form" in request:
        body, content_type = urlencode(bindings.filled(request["form"])), FORM
    else:
        return send(client, request["method"], path, bindings.filled(request.get("json")))
    return client.generic(request["method"], path, body, content_type=content_type)


@pytest.mark.parametrize("case", CASES)
def test_the_responses_are_those_of_fluentcrm_or_as_decided(
    recorded: APIClient, case: dict[str, Any]
) -> None:
    bindings = Bindings()
    for number, step in enumerate(case["steps"], 1):
        response = play(recorded, step["request"], bindings)
        expected = step.get("expect", step["response"])
        where = f"step {number}, {step['request']['method']} {step['request']['path']}"
        assert response.status_code == expected["status"], f"{where}: {response.content!r}"
        added = dict.fromkeys(ADDED_KEYS.get((case["name"], number), ()), "{{any}}")
        body = expected["body"] | added if added else expected["body"]
        assert bindings.differences(body, response.json()) == [], where


def test_every_recorded_case_is_played() -> None:
    assert len(CASES) == 86


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        pytest.param({"a": "1"}, {"a": 1}, id="another type"),
        pytest.param({"a": "1"}, {"a": "2"}, id="another value"),
        pytest.param({"a": "1"}, {}, id="a missing key"),
        pytest.param({}, {"a": "1"}, id="a key too many"),
        pytest.param(["1"], ["1", "1"], id="a row too many"),
        pytest.param(["{{event:1}}", "{{event:1}}"], [1, 2], id="two ids for one token"),
        pytest.param(["{{tag:1}}", "{{tag:2}}"], [7, 7], id="one id for two tokens"),
        pytest.param({"a": "{{event:3}}"}, {"a": "5"}, id="an id as text"),
        pytest.param({"a": "{{datetime}}"}, {"a": "2026-11-25"}, id="no time"),
    ],
)
def test_the_player_sees_a_difference(expected: Any, found: Any) -> None:
    assert Bindings().differences(expected, found)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        ({"a": "{{event:3|string}}"}, {"a": "5"}),
        (["{{event:1}}", "{{tag:1}}"], [7, 7]),
        ({"a": "{{datetime}}"}, {"a": "2026-11-25 01:02:03"}),
        ({"a": "{{any}}"}, {"a": None}),
    ],
)
def test_the_player_sees_no_difference(expected: Any, found: Any) -> None:
    assert not Bindings().differences(expected, found)
