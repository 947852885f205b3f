"""Where a wrong password comes from, and the name that it is counted for."""

import pytest
from django.test import RequestFactory
from pytest_django import Settings

from config.addresses import client_address
from config.login import attempted_username


@pytest.mark.parametrize(
    ("sent_from", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("::1", "::"),
        ("", None),
        ("unix:", None),
    ],
)
def test_an_ipv6_address_stands_for_its_64_bit_network(sent_from: str, address: str | None) -> None:
    request = RequestFactory().get("/", REMOTE_ADDR=sent_from)
    assert client_address(request) == address


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (2, "203.0.113.9, 198.51.100.1, 10.0.0.1", "198.51.100.1"),
        (2, "198.51.100.1", "198.51.100.1"),
        (3, "198.51.100.1:5, 10.0.0.1, [2001:db8::1]:5", "198.51.100.1"),
        (2, "2001:db8::1, 10.0.0.1", "2001:db8::"),
        (2, "unknown, 10.0.0.1", "192.0.2.7"),
        (2, "", "192.0.2.7"),
    ],
)
def test_each_proxy_adds_an_address_and_the_client_chooses_those_before(
    settings: Settings, proxies: int, forwarded: str, address: str
) -> None:
    settings.PROXIES = proxies
    headers = {"X-Forwarded-For": forwarded}
    request = RequestFactory().get("/", headers=headers, REMOTE_ADDR="192.0.2.7")
    assert client_address(request) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("203.0.113.9,2001:db8::1", "2001:db8::"),
        ("203.0.113.9, 198.51.100.1:1234", "198.51.100.1"),
        ("[2001:db8::1]:1234", "2001:db8::"),
        ("[2001:db8::1]", "2001:db8::"),
        ("198.51.100.1:1234:5", "192.0.2.7"),
        ("", "192.0.2.7"),
        ("unknown", "192.0.2.7"),
        ("198.51.100.1, ", "192.0.2.7"),
    ],
)
def test_behind_a_proxy_the_last_forwarded_address_counts(
    settings: Settings, forwarded: str, address: str
) -> None:
    settings.PROXIES = 1
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR=forwarded)
    assert client_address(request) == address


def test_without_a_proxy_a_forwarded_address_is_ignored(settings: Settings) -> None:
    settings.PROXIES = 0
    request = RequestFactory().get(
        "/", REMOTE_ADDR="192.0.2.7", HTTP_X_FORWARDED_FOR="198.51.100.1"
    )
    assert client_address(request) == "192.0.2.7"


def test_the_name_of_the_form_is_cut_at_150_characters() -> None:
    request = RequestFactory().post("/", {"username": "a" * 200})
    assert attempted_username(request, None) == "a" * 150


def test_the_name_of_the_credentials_comes_first() -> None:
    request = RequestFactory().post("/", {"username": "form"})
    assert attempted_username(request, {"username": "admin"}) == "admin"


def test_a_login_without_a_name_is_counted_for_the_empty_name() -> None:
    assert attempted_username(RequestFactory().post("/"), None) == ""
