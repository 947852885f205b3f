"""A proxy that passes another address than the browser has: the page and the log say so."""

import html
import logging
from collections.abc import Mapping
from typing import Any

import pytest
from django.test import Client
from pytest_django import Settings

from config import proxy
from tests.api.pages import text_of

pytestmark = pytest.mark.django_db
LOGIN = "/admin/login/"
SITE = "crm.example.com"


@pytest.fixture(autouse=True)
def silent_so_far(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answer to SITE, and let each kind of fault be logged again."""
    settings.ALLOWED_HOSTS = [SITE]
    monkeypatch.setattr(proxy, "_next_line", {})


@pytest.fixture
def https(settings: Settings) -> None:
    """Set what TALLYBOOK_HTTPS=true sets."""
    settings.HTTPS = settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")


def send_form(**headers: str) -> Any:
    """Send a login form with a valid token through the proxy, which passes these headers."""
    token = "a" * 32
    client = Client(enforce_csrf_checks=True)
    client.cookies["tallybook_csrftoken"] = token
    form = {"csrfmiddlewaretoken": token, "username": "ada", "password": "wrong"}
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(LOGIN, form, headers=sent)


def page_of(response: Any) -> str:
    """Return the text of a page that a form was rejected with."""
    assert response.status_code == 403
    return html.unescape(text_of(response.content.decode()))


@pytest.mark.parametrize("port", ["", ":8443"])
def test_a_form_of_the_address_that_the_proxy_passes_is_accepted(https: None, port: str) -> None:
    response = send_form(
        host=f"{SITE}{port}", origin=f"https://{SITE}{port}", x_forwarded_proto="https"
    )
    assert response.status_code == 200


def test_a_host_without_the_port_of_the_browser_is_reported(https: None) -> None:
    response = send_form(host=SITE, origin=f"https://{SITE}:8443", x_forwarded_proto="https")
    assert (
        "The form came from 'https://crm.example.com:8443', but the proxy passed "
        "'https://crm.example.com' (Host 'crm.example.com', X-Forwarded-Proto 'https', "
        "TALLYBOOK_HTTPS=true). If 'https://crm.example.com:8443' is where you reach Tallybook, "
        "let the proxy pass the browser's Host with its port "
        '("proxy_set_header Host $http_host;" in nginx).' in page_of(response)
    )


def test_a_proxy_that_ends_tls_without_the_setting_is_reported() -> None:
    response = send_form(host=SITE, origin=f"https://{SITE}", x_forwarded_proto="https")
    assert "set TALLYBOOK_HTTPS=true and let the proxy pass X-Forwarded-Proto." in page_of(response)


def test_a_referer_is_compared_if_there_is_no_origin(https: None) -> None:
    referer = f"https://ada:hidden@{SITE}:8443/admin/login/?next=/"
    page = page_of(send_form(host=SITE, referer=referer, x_forwarded_proto="https"))
    assert "The form came from 'https://crm.example.com:8443', but" in page
    assert "hidden" not in page


@pytest.mark.parametrize("headers", [{"origin": "null"}, {}, {"referer": "https://[::1/"}])
def test_a_browser_that_names_no_address_is_reported(
    https: None, headers: Mapping[str, str]
) -> None:
    response = send_form(host=SITE, x_forwarded_proto="https", **headers)
    assert "Your browser does not say which address the form came from" in page_of(response)


def test_a_form_without_its_token_is_told_so() -> None:
    response = Client(enforce_csrf_checks=True).post(LOGIN, headers={"host": SITE})
    assert "The form is too old" in page_of(response)


def test_a_rejected_address_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        send_form(host=SITE, origin=f"https://{SITE}:8443")
    [(name, level, message)] = caplog.record_tuples
    assert (name, level) == ("config.proxy", logging.WARNING)
    assert "'https://crm.example.com:8443'" in message


def test_a_log_line_has_no_control_characters_of_a_stranger(
    caplog: pytest.LogCaptureFixture,
) -> None:
    send_form(host=SITE, origin="https://x\n2026 ERROR \x1b[31m" + "y" * 5000)
    [message] = caplog.messages
    assert message.isprintable()
    assert len(message) < 1000


def test_a_later_fault_is_logged_again(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_form(host=SITE, origin="https://first.example")
    later = proxy._next_line["form"]
    monkeypatch.setattr("config.proxy.time.monotonic", lambda: later)
    send_form(host=SITE, origin="https://second.example")
    assert len(caplog.messages) == 2


@pytest.mark.parametrize("path", [LOGIN, "/subscribers"])
@pytest.mark.parametrize("protocol", [None, "", "wss"])
def test_a_proxy_that_passes_no_protocol_is_reported_instead_of_redirecting(
    https: None, path: str, protocol: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    headers = {"host": SITE} | ({} if protocol is None else {"x-forwarded-proto": protocol})
    response = Client().get(path, headers=headers)
    assert response.status_code == 400
    expected = "TALLYBOOK_HTTPS=true needs a proxy that passes X-Forwarded-Proto"
    assert expected in response.content.decode()
    assert expected in caplog.text


@pytest.mark.parametrize("protocol", ["HTTPS", "https, http", "Https"])
def test_a_protocol_in_any_case_is_read(https: None, protocol: str) -> None:
    headers = {"host": SITE, "x-forwarded-proto": protocol}
    assert Client().get(LOGIN, headers=headers).status_code == 200


def test_http_is_redirected_to_https(https: None) -> None:
    response = Client().get(LOGIN, headers={"host": SITE, "x-forwarded-proto": "HTTP"})
    assert response.status_code == 301
    assert response.headers["Location"] == f"https://{SITE}{LOGIN}"


def test_a_host_that_is_not_allowed_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert Client().get(LOGIN, headers={"host": "other.example:8443"}).status_code == 400
    assert caplog.messages == [
        "ALLOWED_HOSTS does not have the Host 'other.example:8443' of this request. "
        "Reported at most once in ten minutes."
    ]
