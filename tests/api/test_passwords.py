"""The application passwords that commands create, and the first login of an empty store."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import RequestFactory
from django.utils import timezone
from pytest_django.fixtures import Settings
from rest_framework.test import APIClient

from config.server.bootstrap import FirstLogin, bootstrap
from crm.bootstrap import create_first_login, shared_secret_key
from crm.models import ApplicationPassword, SharedKey, Subscriber
from tests.api.conftest import basic


def create(username: str, name: str = "shop", scope: str = "read") -> list[str]:
    """Run the command and return the lines of its output."""
    output = StringIO()
    call_command(
        "create_application_password", username, "--name", name, "--scope", scope, stdout=output
    )
    return output.getvalue().splitlines()


def status_of(authorization: str, method: str = "GET") -> int:
    """Return the status of a request for tags with these credentials."""
    client = APIClient(HTTP_AUTHORIZATION=authorization)
    return client.generic(method, "/tags", "{}", content_type="application/json").status_code


def test_the_last_line_of_the_command_is_the_secret(admin: User) -> None:
    *_, secret = create("admin")
    assert status_of(basic("admin", secret)) == 200


def test_the_secret_is_also_accepted_as_a_bearer_token(admin: User) -> None:
    *_, secret = create("admin")
    assert status_of(f"Bearer {secret.replace(' ', '')}") == 200


def test_the_password_has_the_name_and_scope_of_the_command(admin: User) -> None:
    create("admin", name="newsletter", scope="track")
    password = ApplicationPassword.objects.get()
    assert (password.user, password.name, password.scope) == (admin, "newsletter", "track")


def test_the_scope_limits_the_password(admin: User) -> None:
    *_, secret = create("admin", scope="read")
    assert status_of(basic("admin", secret), "POST") == 403


def test_a_password_for_an_unknown_user_is_rejected(db: None) -> None:
    with pytest.raises(CommandError, match=r"^There is no user bob\.$"):
        create("bob")
    assert not ApplicationPassword.objects.exists()


def test_an_unknown_scope_is_rejected(admin: User) -> None:
    with pytest.raises(CommandError, match="invalid choice: 'all'"):
        create("admin", scope="all")


def test_the_first_login_is_a_superuser(db: None) -> None:
    login = create_first_login()
    assert login is not None
    request = RequestFactory().post("/admin/login/", {"username": login.username})
    user = authenticate(request, username=login.username, password=login.password)
    assert user == User.objects.get(username="admin", is_superuser=True, is_staff=True)


def test_the_application_password_of_the_first_login_may_manage(db: None) -> None:
    login = create_first_login()
    assert login is not None
    authorization = basic(login.username, login.application_password)
    client = APIClient(HTTP_AUTHORIZATION=authorization)
    assert client.post("/tags", {"title": "VIP"}).status_code == 200


def test_the_first_login_comes_with_a_contact_to_track(db: None) -> None:
    create_first_login()
    contact = Subscriber.objects.get()
    assert (contact.email, contact.full_name) == ("ada@example.com", "Ada Lovelace")


def test_two_first_logins_have_different_secrets(db: None) -> None:
    first = create_first_login()
    User.objects.all().delete()
    second = create_first_login()
    assert first is not None
    assert second is not None
    assert first.password != second.password
    assert first.application_password != second.application_password


def test_a_store_with_a_user_gets_no_first_login(admin: User) -> None:
    assert create_first_login() is None
    assert not Subscriber.objects.exists()
    assert not ApplicationPassword.objects.exists()


def test_the_first_login_is_told_before_it_is_stored(db: None) -> None:
    def lose_the_terminal(_: FirstLogin) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        bootstrap(lose_the_terminal)
    assert not User.objects.exists()
    assert not Subscriber.objects.exists()


def test_the_first_login_is_told_once(db: None) -> None:
    told: list[FirstLogin] = []
    assert bootstrap(told.append) == told[0]
    assert bootstrap(told.append) is None
    assert len(told) == 1


def use_login() -> None:
    User.objects.update(last_login=timezone.now())


def use_application_password() -> None:
    ApplicationPassword.objects.update(last_used_at=timezone.now())


def add_user() -> None:
    User.objects.create(username="grace")


def readiness() -> Any:
    return APIClient().get("/readyz").json()


@pytest.mark.parametrize("use", [use_login, use_application_password, add_user])
def test_readiness_says_as_long_as_the_first_login_is_unused(
    db: None, use: Callable[[], None]
) -> None:
    assert readiness() == {"status": "ok"}
    create_first_login()
    assert readiness() == {"status": "ok", "first_login": "unused"}
    use()
    assert readiness() == {"status": "ok"}


def test_servers_on_one_database_share_the_key_of_the_first(db: None, settings: Settings) -> None:
    settings.SECRET_KEY = "first"
    assert shared_secret_key() == "first"
    settings.SECRET_KEY = "second"
    assert shared_secret_key() == "first"


def test_a_key_that_the_operator_chose_is_used_and_not_stored(db: None, settings: Settings) -> None:
    settings.SECRET_KEY, settings.SECRET_KEY_IS_CHOSEN = "chosen", True
    assert shared_secret_key() == "chosen"
    assert not SharedKey.objects.exists()
