"""An admin user's browser session over the socket: logs in, keeps the cookies, submits forms."""

import re
from http.cookies import SimpleCookie
from typing import Any

from tests.system.server import Answer, Client, Server


class AdminSession(Client):
    """A client that keeps cookies and submits forms with their CSRF token."""

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

    def submit(self, path: str, fields: dict[str, str]) -> Answer:
        """Open the page and submit its form with these fields."""
        page = self("GET", path).body.decode()
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token, page
        return self("POST", path, form=fields | {"csrfmiddlewaretoken": token[1]})


def log_in(server: Server) -> AdminSession:
    """Log in as the superuser "admin" of the first start."""
    session = AdminSession(server)
    fields = {"username": "admin", "password": server.admin_password(), "next": "/admin/"}
    answer = session.submit("/admin/login/", fields)
    assert answer.status == 302, answer.body
    return session
