"""A person at the admin, over the socket: logs in, keeps the cookies, sends forms."""

import html
import re
from http.cookies import SimpleCookie
from typing import Any

from tests.system.server import Answer, Client, Server


class Person(Client):
    """A client with cookies."""

    def __init__(self, server: Server) -> None:
        super().__init__(server.port, None)
        self.cookies: dict[str, str] = {}

    def __call__(self, method: str, path: str, *arguments: Any, **options: Any) -> Answer:
        cookies = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        options["headers"] = {"Cookie": cookies, **(options.get("headers") or {})}
        answer = super().__call__(method, path, *arguments, **options)
        for line in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return answer

    def send(self, path: str, form: dict[str, str]) -> Answer:
        """Open a page and send its form."""
        page = self("GET", path).body.decode()
        return self.fill(path, page, list(form.items()))

    def fill(self, path: str, page: str, form: list[tuple[str, str]]) -> Answer:
        """Send a form of a page that was opened earlier."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token, page
        return self("POST", path, form=[*form, ("csrfmiddlewaretoken", token[1])])


def fields_of(page: str, **changed: str | list[str]) -> list[tuple[str, str]]:
    """What the form of a page would send, hidden fields as well, after these were changed."""
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input [^>]*>", page):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        box = attributes.get("type") in ("checkbox", "submit", "button")
        if "name" in attributes and (not box or " checked" in tag):
            value = html.unescape(attributes.get("value", ""))
            found.setdefault(attributes["name"], []).append(value)
    for name, options in re.findall(r'<select name="(\w+)".*?>(.*?)</select>', page, re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options)
        found[name] = [chosen[1] if chosen else ""]
    found |= {name: [new] if isinstance(new, str) else new for name, new in changed.items()}
    del found["csrfmiddlewaretoken"]
    return [(name, value) for name, values in found.items() for value in values]


def first_user(server: Server) -> Person:
    """The first user, logged in."""
    person = Person(server)
    form = {"username": "admin", "password": server.password(), "next": "/admin/"}
    answer = person.send("/admin/login/", form)
    assert answer.status == 302, answer.body
    return person
