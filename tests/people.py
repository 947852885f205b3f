"""A person at the admin, over the socket: logs in, keeps the cookies, sends forms."""

import re
from http.cookies import SimpleCookie
from typing import Any

from tests.server import Answer, Client, Server


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
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token, page
        return self("POST", path, form=form | {"csrfmiddlewaretoken": token[1]})


def first_user(server: Server) -> Person:
    """The first user, logged in."""
    told = re.search(r"login: +admin, password (\S+)", server.said())
    assert told
    person = Person(server)
    form = {"username": "admin", "password": told[1], "next": "/admin/"}
    answer = person.send("/admin/login/", form)
    assert answer.status == 302, answer.body
    return person
