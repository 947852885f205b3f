"""config.environment: which variables are read, and the sentence about each that is not."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from django.urls import URLPattern, URLResolver, get_resolver
from hypothesis import given
from hypothesis import strategies as st

from config.environment import (
    NEW_CONTACTS,
    OWN_PATHS,
    VARIABLES,
    InvalidSettings,
    read,
    read_file,
    unknown_variables,
)
from config.middleware import HealthMiddleware
from crm.models import NewContacts


def sentence(**variables: str) -> str:
    """Return what the process prints that ends because of these variables."""
    with pytest.raises(InvalidSettings) as ended:
        read(variables)
    return str(ended.value)


def first_parts(patterns: list[URLPattern | URLResolver]) -> set[str]:
    """Return what the paths of URL patterns begin with."""
    parts = set()
    for pattern in patterns:
        route = str(pattern.pattern).lstrip("^")
        if route or isinstance(pattern, URLPattern):
            # A pattern may have several paths: (?P<route>campaigns|templates)/?$
            paths = route.removeprefix("(?P<route>").replace("\\-", "-").split("|")
            parts |= {re.split(r"[^\w-]", path)[0] for path in paths}
        else:
            parts |= first_parts(pattern.url_patterns)
    return parts


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TALLYBOOK_WEBHOOK_ALLOWED_HOSTS", "http://n8n"),
        ("TALLYBOOK_WEBHOOK_ALLOWED_HOSTS", "n8n:5678"),
        ("TALLYBOOK_WEBHOOK_ALLOWED_HOSTS", "*"),
        ("TALLYBOOK_WEBHOOK_ALLOWED_NETS", "10.0.0.1/8"),
        ("TALLYBOOK_WEBHOOK_ALLOWED_NETS", "n8n"),
        ("TALLYBOOK_WEBHOOK_ALLOWED_NETS", "10.0.0.0/8,"),
        ("HOST", "http://127.0.0.1"),
        ("HOST", "127.0.0.1:8000"),
        ("HOST", "[::1]"),
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("PORT", "8_000"),
        ("PORT", "８000"),  # noqa: RUF001
        ("PORT", "9" * 5000),
        ("ALLOWED_HOSTS", "https://crm.example.com"),
        ("ALLOWED_HOSTS", "crm.example.com:8443"),
        ("ALLOWED_HOSTS", "crm.example.com/crm"),
        ("ALLOWED_HOSTS", "localhost crm.example.com"),
        ("ALLOWED_HOSTS", "*.example.com"),
        ("ALLOWED_HOSTS", "::1"),
        ("ALLOWED_HOSTS", "bücher.example"),
        ("ALLOWED_HOSTS", ","),
        ("DATABASE_URL", "postgresql+psycopg://db/tallybook"),
        ("DATABASE_URL", "mysql://db/tallybook"),
        ("DATABASE_URL", "db.internal"),
        ("DATABASE_URL", "postgres://db:5432"),
        ("DATABASE_URL", "postgres://db:99999/tallybook"),
        ("DATABASE_URL", "postgres://db:port/tallybook"),
        ("DATABASE_URL", "postgres://db/tallybook?sslmod=require"),
        ("DATABASE_URL", "postgres://db/" + "x" * 64),
        ("TALLYBOOK_WORKERS", "-1"),
        ("TALLYBOOK_WORKERS", "257"),
        ("TALLYBOOK_WORKERS", "1.5"),
        ("TIME_ZONE", "CEST"),
        ("TIME_ZONE", "UTC+2"),
        ("TIME_ZONE", "europe/berlin"),
        ("TIME_ZONE", "Europe"),
        ("TIME_ZONE", "../UTC"),
        ("TIME_ZONE", "localtime"),
        ("TALLYBOOK_KEEP_KEYS_DAYS", "0"),
        ("TALLYBOOK_KEEP_KEYS_DAYS", "-1"),
        ("TALLYBOOK_KEEP_KEYS_DAYS", "99999999999"),
        ("TALLYBOOK_KEEP_KEYS_DAYS", "abc"),
        ("TALLYBOOK_NEW_CONTACTS", "subscribed"),
        ("TALLYBOOK_HTTPS", "maybe"),
        ("TALLYBOOK_URL_PREFIX", "https://example.com/crm"),
        ("TALLYBOOK_URL_PREFIX", "/crm?x"),
        ("TALLYBOOK_URL_PREFIX", "/crm/../x"),
        ("TALLYBOOK_URL_PREFIX", "/a//b"),
        ("TALLYBOOK_URL_PREFIX", "/api"),
        ("TALLYBOOK_URL_PREFIX", "/admin/crm"),
        ("CORS_ALLOWED_ORIGINS", "shop.example.com"),
        ("CORS_ALLOWED_ORIGINS", "https://shop.example.com/cart"),
        ("CORS_ALLOWED_ORIGINS", "*,https://shop.example.com"),
        ("CORS_ALLOWED_ORIGINS", "none,https://shop.example.com"),
        ("CORS_ALLOWED_ORIGINS", "https://*.example.com"),
        ("CORS_ALLOWED_ORIGINS", "null"),
        ("DEBUG", "express:*"),
    ],
)
def test_an_invalid_variable_ends_the_process_with_one_sentence(name: str, value: str) -> None:
    printed = sentence(**{name: value})
    assert printed.startswith(f"{name} is '")
    assert printed.endswith(f"', but must be {VARIABLES[name].accepted}.")


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("HOST", "::", "::"),
        ("HOST", "tallybook", "tallybook"),
        ("PORT", " 65535 ", 65535),
        ("PORT", "", 8000),
        ("ALLOWED_HOSTS", "", ["localhost", "127.0.0.1", "[::1]"]),
        ("ALLOWED_HOSTS", "CRM.example.com, .example.org,", ["crm.example.com", ".example.org"]),
        ("ALLOWED_HOSTS", "*", ["*"]),
        ("DATABASE_URL", "", None),
        ("TALLYBOOK_WORKERS", "0", 0),
        ("TIME_ZONE", "America/Argentina/Ushuaia", "America/Argentina/Ushuaia"),
        ("TIME_ZONE", "Etc/GMT-2", "Etc/GMT-2"),
        ("TALLYBOOK_KEEP_KEYS_DAYS", "3650", 3650),
        ("TALLYBOOK_NEW_CONTACTS", "Pending", "pending"),
        ("TALLYBOOK_HTTPS", "Yes", True),
        ("TALLYBOOK_HTTPS", "OFF", False),
        ("TALLYBOOK_HTTPS", "", False),
        ("TALLYBOOK_URL_PREFIX", "", ""),
        ("TALLYBOOK_URL_PREFIX", "/", ""),
        ("TALLYBOOK_URL_PREFIX", "crm", "/crm"),
        ("TALLYBOOK_URL_PREFIX", "/tools/crm.v2/", "/tools/crm.v2"),
        ("CORS_ALLOWED_ORIGINS", "", ["*"]),
        ("CORS_ALLOWED_ORIGINS", "*", ["*"]),
        ("CORS_ALLOWED_ORIGINS", "None", []),
        (
            "CORS_ALLOWED_ORIGINS",
            "https://Shop.example.com/,http://[::1]:3000",
            ["https://shop.example.com", "http://[::1]:3000"],
        ),
    ],
)
def test_a_valid_variable_is_read(name: str, value: str, setting: Any) -> None:
    assert read({name: value})[name] == setting


@pytest.mark.parametrize(
    ("url", "host", "name"),
    [
        ("postgres://ada:s%40c@db:5432/tallybook?sslmode=require", "db", "tallybook"),
        ("postgresql://ada@//var/run/postgresql/tallybook", "/var/run/postgresql", "tallybook"),
        ("postgres:///?service=tallybook", "", ""),
    ],
)
def test_a_database_url_is_read(url: str, host: str, name: str) -> None:
    database = read({"DATABASE_URL": url})["DATABASE_URL"]
    assert (database["HOST"], database["NAME"]) == (host, name)
    assert database["ENGINE"] == "django.db.backends.postgresql"


def test_all_invalid_variables_are_reported_at_once() -> None:
    printed = sentence(PORT="x", TIME_ZONE="CEST")
    assert [line.split()[0] for line in printed.splitlines()] == ["PORT", "TIME_ZONE"]


@pytest.mark.parametrize("url", ["mysql://ada:hidden@db/x", "ada:hidden@db/x"])
def test_the_sentence_about_the_database_url_has_no_password(url: str) -> None:
    assert "hidden" not in sentence(DATABASE_URL=url)


@given(rest=st.text(alphabet=":/@[]?#%=,.&012ab ü", max_size=20))
def test_any_database_url_is_read_or_reported(rest: str) -> None:
    with suppress(InvalidSettings):
        read({"DATABASE_URL": f"postgres://{rest}"})


def test_the_words_for_new_contacts_are_those_of_the_model() -> None:
    assert set(NEW_CONTACTS) == set(NewContacts.values)


def test_the_paths_that_no_prefix_may_have_are_those_of_the_urls() -> None:
    served = {"static", *(path.lstrip("/") for path in HealthMiddleware.VIEWS)}
    served |= first_parts(get_resolver().url_patterns)
    assert set(OWN_PATHS) == served - {""}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TALLYBOOK_HTPPS", "no setting of Tallybook. Is TALLYBOOK_HTTPS meant?"),
        ("TALLYBOOK_DATABASE_URL", "no setting of Tallybook. Is DATABASE_URL meant?"),
        ("TALLYBOOK_COLOUR", "no setting of Tallybook."),
    ],
)
def test_an_unknown_variable_is_reported(name: str, expected: str) -> None:
    assert unknown_variables({name: "true"}) == [f"{name} is {expected}"]


@pytest.mark.parametrize("name", ["TALLYBOOK_HTTPS", "TALLYBOOK_SERVICE_HOST", "HTPPS"])
def test_variables_of_tallybook_and_of_others_are_not_reported(name: str) -> None:
    assert unknown_variables({name: "true"}) == []


def test_a_file_sets_variables_that_the_environment_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"PORT": "9000"}
    monkeypatch.setattr("config.environment.Env.ENVIRON", environ)
    (tmp_path / ".env").write_text('\ufeffHOST=::1\nPORT=1\n\n# A comment\nTIME_ZONE="UTC"  \n')
    read_file(tmp_path / ".env")
    assert environ == {"HOST": "::1", "PORT": "9000", "TIME_ZONE": "UTC"}


def test_a_missing_file_changes_nothing(tmp_path: Path) -> None:
    read_file(tmp_path / ".env")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"DEBUG=false\nTALLYBOOK_HTTPS = true\n", "Line 2 of"),
        (b"SECRET_KEY=\xff\n", "cannot be read"),
    ],
    ids=["whitespace", "not UTF-8"],
)
def test_a_file_that_cannot_be_read_ends_the_process(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(InvalidSettings, match=expected):
        read_file(tmp_path / ".env")
