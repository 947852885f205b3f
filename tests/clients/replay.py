"""Replay the requests of real programs, which the TOML files of this folder have.

A file is one program. Its `calls` are written down from its source, in the order sent. `before` are
requests that prepare the store. `$name` stands for a credential, or for a value that an earlier
call `saves`. `python -m tools.clients` writes docs/reference/clients.md from the files.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any

from tests.system.server import API, Answer, Client

FOLDER = Path(__file__).parent
# The types of JSON, as the files name them.
TYPES = {
    "number": int,
    "text": str,
    "boolean": bool,
    "list": list,
    "object": dict,
    "null": type(None),
}


@dataclass(frozen=True)
class Call:
    """One request of a program, and what the program's code needs of the response.

    Args:
        name: what the program does, such as "adds a contact".
        request: the method, and the path with its query.
        function: where the source sends the request and reads the response.
        status: the status that the code expects.
        headers: the headers beside those of the program. An empty one is not sent.
        body: the body, as sent.
        repeat: how many times the request is sent. `$n` counts from 1.
        reads: the types of the values that the code reads, by their paths, such as "contact.id".
        equals: the values that the code compares, by their paths.
        lacks: the keys that have to be absent, because the code tests for them.
        response_headers: the headers that the code, or the browser, needs.
        saves: the paths of values that later calls send, by their names.
        note: a sentence for the reference.
    """

    name: str
    request: str
    function: str = ""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    repeat: int = 1
    reads: Mapping[str, str] = field(default_factory=dict)
    equals: Mapping[str, Any] = field(default_factory=dict)
    lacks: Sequence[str] = ()
    response_headers: Mapping[str, str] = field(default_factory=dict)
    saves: Mapping[str, str] = field(default_factory=dict)
    note: str = ""


@dataclass(frozen=True, eq=False)
class Program:
    """A program, its source, and its calls."""

    name: str
    source: str
    files: tuple[str, ...]
    headers: Mapping[str, str]
    before: tuple[Call, ...]
    calls: tuple[Call, ...]


def read_program(path: Path) -> Program:
    """Return the program of a file."""
    data = tomllib.loads(path.read_text())
    before = tuple(Call(name="prepares the store", **each) for each in data.pop("before", ()))
    calls = tuple(Call(**each) for each in data.pop("calls"))
    return Program(before=before, calls=calls, **data)


def programs() -> list[Program]:
    """Return all programs, sorted by the names of their files."""
    return [read_program(path) for path in sorted(FOLDER.glob("*.toml"))]


def value_at(data: Any, path: str) -> Any:
    """Return the value at a path of keys and indexes, such as "tags.data.0.id".

    Raises:
        LookupError: if nothing is there.
    """
    for part in path.split("."):
        data = data[int(part) if isinstance(data, list) else part]
    return data


def send(client: Client, program: Program, call: Call, variables: Mapping[str, str]) -> Answer:
    """Send one request as the program does."""

    def filled(text: str) -> str:
        return Template(text).substitute(variables)

    method, path = call.request.split(" ", 1)
    headers = {**program.headers, **call.headers}
    return client(
        method,
        filled(path),
        body=filled(call.body).encode() if call.body else None,
        headers={name: filled(value) for name, value in headers.items() if value},
        auth=None,
    )


def replay(client: Client, program: Program, credentials: Mapping[str, str]) -> list[Answer]:
    """Send the requests of a program and return the responses to its calls.

    It ends early if a response lacks a value that later requests send.
    """
    variables = {"api": API, **credentials}
    answers: list[Answer] = []
    for call in (*program.before, *program.calls):
        for number in range(1, call.repeat + 1):
            answer = send(client, program, call, variables | {"n": str(number)})
        if call not in program.before:
            answers.append(answer)
        try:
            found = {name: value_at(answer.json(), path) for name, path in call.saves.items()}
        except (LookupError, TypeError, ValueError):
            break
        variables |= {name: str(value) for name, value in found.items()}
    return answers
