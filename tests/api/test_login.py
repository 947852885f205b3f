"""The login of admin users: wrong passwords are counted and lock a name from an address."""

import re
import time
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
from axes.models import AccessAttempt, AccessLog
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.db.models import F, Sum
from django.test import Client
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from config import login
from tests.api.conftest import basic

LOGIN = "/admin/login/"
LOCKED = "Too many wrong passwords"


@pytest.fixture(autouse=True)
def user(db: None) -> User:
    """The superuser "ada" with the password "right"."""
    return User.objects.create_superuser("ada", password="right")


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let wrong passwords follow each other at once, and forget those of earlier tests."""
    login.logins.clear()
    monkeypatch.setattr(login, "GUESS_SECONDS", 0)


@pytest.fixture
def another_login(user: User) -> Iterator[None]:
    """Another password that is being checked, by any worker of any server."""
    parameters = connection.get_connection_params()
    with psycopg.connect(
        host=parameters["host"], user="tallybook", dbname=parameters["dbname"]
    ) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [login.GUESS_LOCK])
        yield


@pytest.fixture
def behind_proxy(settings: Settings) -> None:
    """Let Tallybook believe the header of one proxy before it."""
    settings.PROXIES = 1


def log_in(
    password: str, name: str = "ada", forwarded: str | None = "192.0.2.1", agent: str = "test"
) -> Any:
    """Send the form of the login page, through a proxy that adds an address to its header."""
    form = {"username": name, "password": password, "next": "/admin/"}
    headers = {"User-Agent": agent}
    if forwarded is not None:
        headers["X-Forwarded-For"] = forwarded
    content_type = "application/x-www-form-urlencoded"
    return Client().post(LOGIN, urlencode(form), content_type=content_type, headers=headers)


def lock(**fields: str) -> None:
    """Send wrong passwords until the name is locked."""
    statuses = [log_in("wrong", **fields).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]


def failures() -> int:
    """Return the number of wrong passwords that are counted."""
    total: int = AccessAttempt.objects.aggregate(sum=Sum("failures_since_start", default=0))["sum"]
    return total


def let_pass(minutes: int) -> None:
    """Move the wrong passwords into the past."""
    time = F("attempt_time") - timedelta(minutes=minutes)
    AccessAttempt.objects.update(attempt_time=time)


@pytest.mark.parametrize(
    ("password", "agent"), [("wrong", "test"), ("right", "test"), ("right", "another")]
)
def test_after_five_wrong_passwords_the_name_is_locked_and_the_page_says_so(
    password: str, agent: str
) -> None:
    lock()
    response = log_in(password, agent=agent)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "600")
    assert response.headers["Content-Type"].startswith("text/html")
    page = response.content.decode()
    assert LOCKED in page
    assert "Try again in 10 minutes." in page
    assert 'id="login-form"' in page
    assert "tallybook_sessionid" not in response.cookies


@pytest.mark.usefixtures("behind_proxy")
def test_a_locked_name_may_log_in_from_another_address() -> None:
    lock()
    assert log_in("right", forwarded="192.0.2.2").status_code == 302


def test_other_names_are_not_locked() -> None:
    lock()
    assert log_in("right", name="ADA").status_code == 200


def test_a_right_password_resets_the_count() -> None:
    for _ in range(4):
        assert log_in("wrong").status_code == 200
    assert log_in("right").status_code == 302
    assert failures() == 0
    assert log_in("wrong").status_code == 200


@pytest.mark.parametrize("flag", ["is_staff", "is_active"])
def test_the_right_password_of_a_user_who_may_not_log_in_counts_as_a_wrong_one(
    user: User, flag: str
) -> None:
    User.objects.update(**{flag: False})
    statuses = [log_in("right").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]


def test_the_page_does_not_tell_that_the_password_was_right(user: User) -> None:
    User.objects.update(is_staff=False)
    error = re.compile(r'<p class="errornote">(.*?)</p>', re.DOTALL)
    right, wrong = (error.findall(log_in(each).content.decode()) for each in ("right", "wrong"))
    assert right == wrong != []


def test_a_user_who_is_no_admin_user_any_more_is_logged_out(user: User) -> None:
    browser = Client()
    browser.force_login(user)
    assert browser.get("/admin/").status_code == 200
    User.objects.update(is_staff=False)
    assert browser.get("/admin/").headers["Location"].startswith(LOGIN)


def test_a_login_is_not_recorded() -> None:
    assert log_in("right").status_code == 302
    assert not AccessLog.objects.exists()


def test_a_lock_holds_for_ten_minutes() -> None:
    lock()
    let_pass(9)
    assert log_in("right").status_code == 429


def test_a_lock_ends_after_ten_minutes() -> None:
    lock()
    let_pass(10)
    assert log_in("right").status_code == 302


def test_a_lock_is_not_prolonged_by_a_password_that_it_rejects() -> None:
    lock()
    let_pass(9)
    log_in("wrong")
    let_pass(1)
    assert log_in("right").status_code == 302


def test_wrong_passwords_of_ten_minutes_ago_are_removed() -> None:
    lock()
    let_pass(10)
    assert log_in("wrong", name="eve").status_code == 200
    assert failures() == 1


@pytest.mark.usefixtures("behind_proxy")
def test_addresses_that_a_client_writes_before_the_proxys_are_ignored() -> None:
    for number in range(5):
        log_in("wrong", forwarded=f"198.51.100.{number}, 192.0.2.1")
    assert log_in("right").status_code == 429


@pytest.mark.usefixtures("behind_proxy")
@pytest.mark.parametrize(
    "address",
    ["192.0.2.1:{}", "[2001:db8::{}]", "[2001:db8::{}]:443", "::ffff:192.0.2.1", "192.0.2.1"],
)
def test_an_address_counts_with_a_port_or_in_brackets_as_without(address: str) -> None:
    for number in range(5):
        log_in("wrong", forwarded=address.format(number))
    assert log_in("right", forwarded=address.format(9)).status_code == 429


@pytest.mark.usefixtures("behind_proxy")
def test_another_client_with_a_port_is_not_locked() -> None:
    for number in range(5):
        log_in("wrong", forwarded=f"192.0.2.1:{number}")
    assert log_in("right", forwarded="192.0.2.2:1").status_code == 302


@pytest.mark.usefixtures("behind_proxy")
@pytest.mark.parametrize(
    ("address", "status"), [("2001:db8::ffff:1", 429), ("2001:db8:0:1::1", 302)]
)
def test_an_ipv6_address_stands_for_its_network(address: str, status: int) -> None:
    for number in range(5):
        log_in("wrong", forwarded=f"2001:db8::{number}")
    assert log_in("right", forwarded=address).status_code == status


def test_without_a_proxy_its_header_is_ignored() -> None:
    for number in range(5):
        log_in("wrong", forwarded=f"192.0.2.{number}")
    assert log_in("right", forwarded="192.0.2.9").status_code == 429


@pytest.mark.usefixtures("behind_proxy")
@pytest.mark.parametrize("header", [None, "unknown", "192.0.2.1:80", "::1%eth0", ",", "9" * 5000])
def test_an_invalid_header_of_the_proxy_is_no_error(header: str | None) -> None:
    assert log_in("wrong", forwarded=header).status_code == 200


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("ada", "x" * 1_000_000),
        ("a" * 1_000_000, "right"),
        ("ada\0", "right\0"),
        ("\U0001f468" * 200, "\u202e"),
    ],
    ids=["long password", "long name", "NUL", "emoji"],
)
def test_an_invalid_name_or_password_gets_the_form_again(name: str, password: str) -> None:
    response = log_in(password, name=name)
    assert response.status_code == 200
    page = response.content.decode()
    assert 'id="login-form"' in page
    assert LOCKED not in page


def test_wrong_application_passwords_lock_no_name(anonymous: APIClient) -> None:
    anonymous.credentials(HTTP_AUTHORIZATION=basic("ada", "wrong"))
    statuses = [anonymous.get("/subscribers").status_code for _ in range(6)]
    assert statuses == [401] * 6
    assert failures() == 0


def guess_names(number: int, **fields: str) -> list[int]:
    """Send a wrong password for each of several names and return the statuses."""
    return [log_in("wrong", name=f"name {each}", **fields).status_code for each in range(number)]


@pytest.mark.parametrize("name", ["ada", "another"])
def test_after_twenty_wrong_passwords_the_address_is_locked_whatever_the_name(name: str) -> None:
    assert set(guess_names(20)) == {200}
    response = log_in("right", name=name)
    assert (response.status_code, response.headers["Retry-After"]) == (429, "600")
    assert LOCKED in response.content.decode()


def test_a_locked_address_may_log_in_after_ten_minutes() -> None:
    guess_names(20)
    let_pass(10)
    assert log_in("right").status_code == 302


@pytest.mark.usefixtures("behind_proxy")
def test_other_addresses_than_the_locked_one_may_log_in() -> None:
    guess_names(20)
    assert log_in("right", forwarded="192.0.2.2").status_code == 302


@pytest.mark.usefixtures("another_login")
@pytest.mark.parametrize("password", ["wrong", "right"])
def test_while_another_password_is_checked_a_login_is_503_and_not_counted(password: str) -> None:
    response = log_in(password)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    assert "Another login is being checked" in response.content.decode()
    assert failures() == 0


@pytest.mark.usefixtures("another_login")
def test_while_another_password_is_checked_api_clients_are_answered(api: APIClient) -> None:
    assert api.get("/subscribers").status_code == 200


# A busy machine makes any login slow, so the right password has more time to be fast.
@pytest.mark.parametrize(
    ("password", "seconds", "is_slow"), [("wrong", 0.3, True), ("right", 10, False)]
)
def test_a_wrong_password_takes_its_time(
    password: str, seconds: float, is_slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login, "GUESS_SECONDS", seconds)
    began = time.monotonic()
    log_in(password)
    assert (time.monotonic() - began >= seconds) == is_slow


def test_a_locked_name_keeps_no_other_login_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    lock()
    monkeypatch.setattr(login, "GUESS_SECONDS", 30)
    assert log_in("right").status_code == 429


def test_a_worker_looks_at_thirty_logins_of_an_address_in_a_minute() -> None:
    lock()
    for _ in range(25):
        log_in("right")
    response = log_in("right", name="another")
    assert (response.status_code, failures()) == (429, 5)
    assert 0 < int(response.headers["Retry-After"]) <= 60


@pytest.mark.parametrize(("minutes", "kept"), [(9, 2), (10, 0)])
def test_wrong_passwords_are_deleted_by_the_hourly_command_when_they_lock_nothing(
    minutes: int, kept: int
) -> None:
    for name in ("ada", "eve"):
        log_in("wrong", name=name)
    let_pass(minutes)
    call_command("prune_failed_logins", stdout=StringIO())
    assert failures() == kept
