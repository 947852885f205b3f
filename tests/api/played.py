"""A client that asks a function instead of a host, and the responses of a site with FluentCRM."""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlencode, urlsplit

from transfers.sources.client import read_json

API = "/wp-json/fluent-crm/v2"
AT = "2026-03-01 12:00:00"
INDEX = {"namespaces": ["wp/v2", "fluent-crm/v2"], "timezone_string": "", "gmt_offset": 2}
NONE = {"data": [], "last_page": 0, "total": 0}
NO_ROUTE = {"code": "rest_no_route", "message": "No route", "data": {"status": 404}}


class Sent(NamedTuple):
    """A response: JSON, or bytes as they are."""

    body: Any
    status: int = 200
    headers: dict[str, str] = {}  # noqa: RUF012


# Answers a path with the parameters of its query.
Answer = Callable[[str, dict[str, str]], Sent]


class Played:
    """The requests of clients, and the function that answers them."""

    def __init__(self) -> None:
        self.answer: Answer = lambda path, _: Sent({"path": path}, 404)
        self.requests: list[str] = []
        self.headers: Mapping[str, str] = {}

    def client(
        self, _url: str, headers: Mapping[str, str], _rate: float, check: Callable[[], object]
    ) -> "PlayedClient":
        """Return a client, as JsonClient is made."""
        self.headers = headers
        return PlayedClient(self, check)


class PlayedClient:
    """What JsonClient is, without a socket."""

    def __init__(self, played: Played, check: Callable[[], object]) -> None:
        self.played, self.check = played, check

    def get(self, url: str, params: Mapping[str, Any] | None = None) -> Any:
        self.check()
        if params:
            url = f"{url}{'&' if '?' in url else '?'}{urlencode(params)}"
        parts = urlsplit(url)
        self.played.requests.append(url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        sent = self.played.answer(parts.path, query)
        body = sent.body if isinstance(sent.body, bytes) else json.dumps(sent.body).encode()
        return read_json(url, sent.status, body)

    def close(self) -> None:
        """Close nothing."""


class Site:
    """A site of FluentCRM in a few dictionaries, which a test may change."""

    def __init__(self, *contacts: Any) -> None:
        self.contacts = list(contacts)
        self.per_page = 100
        # Responses to paths behind the namespace, instead of those of the dictionaries.
        self.others: dict[str, Sent] = {
            "tags": Sent({"tags": NONE}),
            "lists": Sent({"lists": [], "pagination": {"total": 0}}),
            "custom-fields/contacts": Sent({"fields": []}),
        }

    def answer(self, path: str, query: dict[str, str]) -> Sent:
        if path == "/wp-json/":
            return Sent(INDEX)
        name = path.removeprefix(f"{API}/")
        if name in self.others:
            return self.others[name]
        if name == "subscribers":
            return Sent({"subscribers": self.page(int(query["page"]))})
        if name.endswith("/notes"):
            return Sent({"notes": NONE, "fields": {}})
        if name.endswith("/tracking-events"):
            return Sent({"events": NONE})
        return Sent(NO_ROUTE, 404)

    def page(self, number: int) -> dict[str, Any]:
        start = (number - 1) * self.per_page
        return {
            "data": self.contacts[start : start + self.per_page],
            "total": len(self.contacts),
            "last_page": -(-len(self.contacts) // self.per_page),
        }


def contact(number: Any, **columns: Any) -> dict[str, Any]:
    row = {"id": number, "email": f"c{number}@example.com", "status": "subscribed"}
    return {**row, "created_at": AT, "updated_at": AT, "tags": [], "lists": [], **columns}
