"""The page on which an admin user gives a program an application password, as in WordPress."""

import json
import re
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group
from django.test import Client
from rest_framework.test import APIClient

from crm.models import ApplicationPassword
from tests.api.conftest import basic
from tests.api.pages import browser_of, form_of, open_page, staff_user, text_of

PAGE = "/wp-admin/authorize-application.php"
SUCCESS = "https://shop.example.com/back?page=crm#top"
pytestmark = pytest.mark.django_db


def page_of(**parameters: str) -> str:
    return f"{PAGE}?{urlencode(parameters)}"


@pytest.fixture
def clerk() -> Client:
    """A browser of the user "clerk", who may create application passwords."""
    return browser_of(staff_user("add_applicationpassword"))


def answer(client: Client, button: str = "approve", scope: str = "manage", **query: str) -> Any:
    """Press a button of the page."""
    query = {"app_name": "My shop", **query}
    page = open_page(client, page_of(**query))
    form = form_of(page) | {"scope": [scope], button: ["x"]}
    return client.post(page_of(**query), form)


def given(location: str) -> dict[str, list[str]]:
    return parse_qs(urlsplit(location).query)


def test_who_is_not_logged_in_is_led_to_the_login_and_back() -> None:
    page = page_of(app_name="My shop", success_url=SUCCESS)
    response = Client().get(page)
    assert response.status_code == 302
    login = urlsplit(response.headers["Location"])
    assert login.path == "/admin/login/"
    assert parse_qs(login.query)["next"] == [page]


def test_the_page_names_the_program_and_where_the_password_goes(clerk: Client) -> None:
    page = text_of(open_page(clerk, page_of(app_name="My <b>shop", success_url=SUCCESS)))
    assert "calls itself “ My &lt;b&gt;shop ”" in page
    assert "Your browser takes the password to shop.example.com ." in page


def test_the_page_asks_for_a_scope_and_chooses_none(clerk: Client) -> None:
    page = open_page(clerk, page_of(app_name="x"))
    assert re.findall(r'type="radio" name="scope" value="(\w+)"', page) == [
        "track",
        "read",
        "manage",
    ]
    assert "checked" not in page


def test_an_approval_leads_back_with_site_user_and_password(clerk: Client) -> None:
    response = answer(clerk, success_url=SUCCESS)
    assert response.status_code == 302
    location = response.headers["Location"]
    assert location.startswith("https://shop.example.com/back?page=crm&site_url=")
    assert location.endswith("#top")
    fields = given(location)
    assert fields["site_url"] == ["http://testserver"]
    assert fields["user_login"] == ["clerk"]
    assert re.fullmatch(r"[a-zA-Z0-9]{24}", fields["password"][0])


def test_the_password_works_with_the_scope_that_was_chosen(clerk: Client) -> None:
    fields = given(answer(clerk, scope="read", success_url=SUCCESS).headers["Location"])
    program = APIClient()
    program.credentials(HTTP_AUTHORIZATION=basic("clerk", fields["password"][0]))
    assert program.get(f"{fields['site_url'][0]}/wp-json/wp/v2/users/me").status_code == 200
    password = ApplicationPassword.objects.get()
    assert (password.name, password.scope, password.user.username) == ("My shop", "read", "clerk")


def test_the_site_url_has_the_public_scheme_and_prefix(clerk: Client, settings: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/crm"
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    clerk.defaults |= {"HTTP_X_FORWARDED_PROTO": "https", "HTTP_HOST": "testserver"}
    fields = given(answer(clerk, success_url=SUCCESS).headers["Location"])
    assert fields["site_url"] == ["https://testserver/crm"]


def test_without_a_success_url_the_password_is_shown_once(clerk: Client) -> None:
    response = answer(clerk)
    assert response.status_code == 200
    assert re.search(r"<code>(\w{4} ){5}\w{4}</code>", response.content.decode())
    assert response.headers["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("query", "location"),
    [
        ({}, "/admin/"),
        ({"success_url": "https://a.example/b"}, "https://a.example/b?success=false"),
        ({"success_url": "https://a.example/?x=1"}, "https://a.example/?x=1&success=false"),
        (
            {"success_url": "https://a.example/b", "reject_url": "https://a.example/no?y=1"},
            "https://a.example/no?y=1",
        ),
        ({"reject_url": "http://localhost:3000/no"}, "http://localhost:3000/no"),
    ],
)
def test_who_declines_is_led_back_without_a_password(
    clerk: Client, query: dict[str, str], location: str
) -> None:
    response = answer(clerk, "reject", **query)
    assert (response.status_code, response.headers["Location"]) == (302, location)
    assert not ApplicationPassword.objects.exists()


@pytest.mark.parametrize("name", ["success_url", "reject_url"])
def test_a_url_without_https_is_an_error_page_without_a_button(clerk: Client, name: str) -> None:
    response = clerk.get(page_of(app_name="x", **{name: "http://example.com/"}))
    assert response.status_code == 400
    page = response.content.decode()
    assert f"({name}) has to begin with https://." in page
    assert "<form method" not in page.partition("<main")[2]


@pytest.mark.parametrize("button", ["approve", "reject"])
def test_a_form_to_a_url_without_https_does_nothing(clerk: Client, button: str) -> None:
    form = {"name": "x", "scope": "manage", button: "x"}
    response = clerk.post(page_of(success_url="http://example.com/"), form)
    assert response.status_code == 400
    assert "Location" not in response.headers
    assert not ApplicationPassword.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "x"},
        {"name": "x", "scope": "all"},
        {"name": "", "scope": "read"},
        {"name": "x" * 193, "scope": "read"},
        {"name": "a\0b", "scope": "read"},
    ],
)
def test_a_form_that_is_not_complete_is_shown_again(clerk: Client, fields: dict[str, str]) -> None:
    response = clerk.post(page_of(success_url=SUCCESS), fields | {"approve": "x"})
    assert response.status_code == 200
    assert "errorlist" in response.content.decode()
    assert not ApplicationPassword.objects.exists()


def test_a_get_creates_no_password(clerk: Client) -> None:
    clerk.get(page_of(app_name="x", success_url=SUCCESS, name="x", scope="manage", approve="x"))
    assert not ApplicationPassword.objects.exists()


def test_a_form_without_a_token_creates_no_password() -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(staff_user("add_applicationpassword"))
    form = {"name": "x", "scope": "manage", "approve": "x"}
    response = strict.post(page_of(success_url=SUCCESS), form)
    assert (response.status_code, response.headers["Content-Type"][:9]) == (403, "text/html")
    assert not ApplicationPassword.objects.exists()


def test_who_may_not_create_passwords_is_told_so_and_cannot_approve() -> None:
    viewer = browser_of(staff_user("view_subscriber"))
    response = viewer.get(page_of(app_name="x", success_url=SUCCESS))
    assert response.status_code == 403
    page = response.content.decode().partition("<main")[2]
    assert "Your user may not create application passwords." in page
    assert "<form method" not in page
    form = {"name": "x", "scope": "manage", "approve": "x"}
    assert viewer.post(page_of(success_url=SUCCESS), form).status_code == 403
    assert not ApplicationPassword.objects.exists()


@pytest.mark.parametrize(("role", "status"), [("viewer", 403), ("manager", 200)])
def test_managers_may_give_passwords_and_viewers_may_not(role: str, status: int) -> None:
    user = staff_user()
    user.groups.add(Group.objects.get(name=role))
    assert browser_of(user).get(page_of()).status_code == status


def test_a_login_that_is_no_admin_users_does_not_open_the_page() -> None:
    user = staff_user("add_applicationpassword")
    user.is_staff = False
    user.save()
    assert browser_of(user).get(page_of()).status_code == 302


def test_the_page_is_neither_framed_nor_stored_nor_named_to_other_sites(clerk: Client) -> None:
    headers = clerk.get(page_of(app_name="x", success_url=SUCCESS)).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "no-store" in headers["Cache-Control"]
    # With no-referrer, browsers send the form without its origin.
    assert headers["Referrer-Policy"] == "same-origin"


def test_the_redirect_is_not_stored_and_tells_no_referrer(clerk: Client) -> None:
    headers = answer(clerk, success_url=SUCCESS).headers
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in headers["Cache-Control"]


def test_an_approval_is_in_the_audit_log_and_the_history_without_the_secret(
    clerk: Client, caplog: pytest.LogCaptureFixture, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        response = answer(clerk, success_url=SUCCESS)
    [secret] = given(response.headers["Location"])["password"]
    password = ApplicationPassword.objects.get()
    assert json.loads(caplog.messages[-1]) == {
        "action": "added",
        "what": "application password",
        "id": password.pk,
        "user": "clerk",
        "scope": "manage",
        "credential": secret[:8],
        "given_to": "shop.example.com",
        "by": "clerk",
        "address": "127.0.0.1",
    }
    assert secret[8:] not in caplog.text
    entry = LogEntry.objects.get()
    assert (entry.object_id, secret[8:] in str(entry.__dict__)) == (str(password.pk), False)
