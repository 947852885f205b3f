"""Read the variables that operators set, and report each invalid one in one sentence.

VARIABLES is the whole table. `.env.example` and docs/reference/settings.md list the same variables
with the same defaults.
"""

import difflib
import os
import re
from collections.abc import Callable, Mapping
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg.pq
from environ import Env

TRUE, FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
# crm.models.NewContacts, which a lower room cannot import.
NEW_CONTACTS = ("none", "pending", "transactional")
# Ten years. A longer time would reach before the first year.
MAX_KEEP_KEYS_DAYS = 3650
MAX_WORKERS = 256
MAX_PROXIES = 10
# A year.
MAX_BACKUPS = 366
# A worker needs 100 MiB at rest, and one request 300 at most.
MIN_WORKER_MEMORY_MB, MAX_WORKER_MEMORY_MB = 200, 1_000_000
MAX_SLOW_MS = 60_000
# Of what is sent in every request for metrics. Shorter ones may be guessed.
MIN_TOKEN_LENGTH = 16
TOKEN = re.compile(rf"[A-Za-z0-9._~+/-]{{{MIN_TOKEN_LENGTH},}}=*")
MAX_SHOWN = 200

HOST_NAME = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*"
ALLOWED_HOST = re.compile(rf"\*|\.?{HOST_NAME}|\[[0-9a-f:.]+\]", re.IGNORECASE)
ORIGIN = re.compile(rf"[a-z][a-z0-9+.-]*://({HOST_NAME}|\[[0-9a-f:.]+\])(:\d+)?", re.IGNORECASE)
ENV_LINE = re.compile(r"(export )?\w+=")
URL_PREFIX = re.compile(r"(/[a-z0-9_~-][a-z0-9._~-]*)+", re.IGNORECASE)
# The first parts of Tallybook's own paths. After a proxy has removed a prefix of the same name, it
# could not be known.
OWN_PATHS = (
    *("2", "activecampaign", "admin", "api", "automations", "campaigns", "companies"),
    *("custom-fields", "event", "fluentcrm", "forms", "funnels", "healthz", "import", "labels"),
    *("lists", "metrics", "readyz", "recurring-campaigns", "reports", "segments", "sequences"),
    *("setting", "static", "subscribers", "tags", "templates", "users", "webhooks", "wp-admin"),
    "wp-json",
)
POSTGRES_SCHEMES = ("postgres", "postgresql", "pgsql", "psql")
# What libpq reads, and what Django reads besides.
DATABASE_OPTIONS = {option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()} | {
    "assume_role"
}
# PostgreSQL cuts longer names.
MAX_DATABASE_NAME = 63
# The tests read the first. Kubernetes sets the others for a service of the name "tallybook".
FOREIGN = re.compile(r"TALLYBOOK_(REQUIRE_BROWSER|SERVICE_\w+|PORT_\d+_\w+)")


class InvalidSettings(SystemExit):
    """End the process with sentences on stderr and exit code 1.

    No command can work without settings, and a traceback would hide the sentences.
    """


class Variable(NamedTuple):
    """A variable of the environment.

    Attributes:
        default: the value of a variable that is missing or empty, as in `.env`.
        accepted: the values that are read. The end of the sentence about an invalid one.
        parse: returns the setting, or raises ValueError.
        is_secret: True keeps the value out of the sentence.
    """

    default: str
    accepted: str
    parse: Callable[[str], Any]
    is_secret: bool = False


def read_file(path: Path) -> None:
    """Set the variables of the file `.env`, unless the environment has them.

    Raises:
        InvalidSettings: the file cannot be read, or a line is no assignment. Such a line would be
            ignored otherwise, and its setting would have the default.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(f"{path} cannot be read: {error}.") from None
    for number, line in enumerate(lines, 1):
        if line and not line.startswith("#") and not ENV_LINE.match(line):
            raise InvalidSettings(
                f"Line {number} of {path} has to be NAME=value, without whitespace around the =."
            )
    Env.read_env(StringIO("\n".join(lines)))


def read(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings by the names of VARIABLES.

    Raises:
        InvalidSettings: one or more variables are invalid. All of them are reported.
    """
    settings, errors = {}, []
    for name, variable in VARIABLES.items():
        value = environ.get(name, "").strip() or variable.default
        try:
            settings[name] = variable.parse(value)
        except ValueError:
            errors.append(f"{name} is {_shown(value, variable)}, but must be {variable.accepted}.")
    if errors:
        raise InvalidSettings("\n".join(errors))
    return settings


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Return a sentence for each variable of Tallybook's prefix that has no effect."""
    return [
        f"{name} is no setting of Tallybook.{_suggestion(name)}"
        for name in sorted(environ)
        if name.startswith("TALLYBOOK_") and name not in VARIABLES and not FOREIGN.fullmatch(name)
    ]


def _suggestion(name: str) -> str:
    # Without the prefix, because all names would be alike.
    short = {known.removeprefix("TALLYBOOK_"): known for known in VARIABLES}
    close = difflib.get_close_matches(name.removeprefix("TALLYBOOK_"), short, n=1)
    return f" Is {short[close[0]]} meant?" if close else ""


def _shown(value: str, variable: Variable) -> str:
    if variable.is_secret:
        scheme, separator, _ = value.partition("://")
        value = f"{scheme}://…" if separator else "…"
    return repr(value[:MAX_SHOWN])


def _text(value: str) -> str:
    return value


def _require(condition: object) -> None:
    if not condition:
        raise ValueError


def _number(least: int, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        _require(value.isascii() and value.isdigit() and least <= int(value) <= most)
        return int(value)

    return parse


def _number_or_none(least: int, most: int) -> Callable[[str], int | None]:
    parse = _number(least, most)
    return lambda value: parse(value) if value else None


def _token(value: str) -> str:
    _require(not value or TOKEN.fullmatch(value))
    return value


def _boolean(value: str) -> bool:
    _require(value.lower() in TRUE + FALSE)
    return value.lower() in TRUE


def _new_contacts(value: str) -> str:
    _require(value.lower() in NEW_CONTACTS)
    return value.lower()


def _host(value: str) -> str:
    if not re.fullmatch(HOST_NAME, value, re.IGNORECASE):
        ip_address(value)
    return value


def _list(item: re.Pattern[str]) -> Callable[[str], list[str]]:
    def parse(value: str) -> list[str]:
        items = [part.strip().lower().removesuffix("/") for part in value.split(",")]
        items = [part for part in items if part]
        _require(items or not value)
        _require(all(item.fullmatch(part) for part in items))
        return items

    return parse


def _networks(value: str) -> list[IPv4Network | IPv6Network]:
    return [ip_network(part.strip()) for part in value.split(",")] if value else []


def _origins(value: str) -> list[str]:
    if value.lower() in ("*", "none"):
        return ["*"] if value == "*" else []
    return _list(ORIGIN)(value)


def _url_prefix(value: str) -> str:
    path = value.strip("/")
    _require(not path or URL_PREFIX.fullmatch(f"/{path}"))
    _require(path.partition("/")[0] not in OWN_PATHS)
    return f"/{path}" if path else ""


def _time_zone(value: str) -> str:
    # "localtime" and "posix/…" are files of the system, which PostgreSQL does not know.
    _require(value[:1].isupper())
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError from error


def _database(value: str) -> dict[str, Any] | None:
    if not value:
        return None
    scheme, separator, _ = value.partition("://")
    _require(separator and scheme in POSTGRES_SCHEMES)
    database: dict[str, Any] = Env.db_url_config(value)
    options = database.setdefault("OPTIONS", {})
    _require(database["NAME"] or "service" in options)
    _require(len(database["NAME"]) <= MAX_DATABASE_NAME)
    _require(options.keys() <= DATABASE_OPTIONS)
    return database


ON_OR_OFF = f"one of {', '.join(TRUE)}, or of {', '.join(FALSE)}"

VARIABLES = {
    "HOST": Variable("127.0.0.1", "an IP address or a host name, without scheme and port", _host),
    "PORT": Variable("8000", "a whole number from 1 to 65535", _number(1, 65535)),
    "ALLOWED_HOSTS": Variable(
        "localhost,127.0.0.1,[::1]",
        "host names without scheme, port and path, separated by commas, such as "
        "crm.example.com,10.0.3.7,[::1], where .example.com means all names below it and * any",
        _list(ALLOWED_HOST),
    ),
    "DATABASE_URL": Variable(
        "",
        "a URL with the name of a PostgreSQL database, such as "
        "postgres://user:password@host:5432/database, with parameters of libpq at most",
        _database,
        is_secret=True,
    ),
    "TALLYBOOK_DATA_DIR": Variable("var", "a folder", _text),
    "TALLYBOOK_BACKUPS": Variable(
        "7", f"a whole number from 0 to {MAX_BACKUPS}", _number(0, MAX_BACKUPS)
    ),
    "TALLYBOOK_BACKUP_DIR": Variable("", "a folder", _text),
    "TALLYBOOK_WORKERS": Variable(
        "0", f"a whole number from 0 to {MAX_WORKERS}", _number(0, MAX_WORKERS)
    ),
    "TALLYBOOK_WORKER_MEMORY_MB": Variable(
        "512",
        f"a whole number from {MIN_WORKER_MEMORY_MB} to {MAX_WORKER_MEMORY_MB}",
        _number(MIN_WORKER_MEMORY_MB, MAX_WORKER_MEMORY_MB),
    ),
    "SECRET_KEY": Variable("", "a text", _text, is_secret=True),
    "TIME_ZONE": Variable(
        "UTC",
        "a name of the IANA time zone database in its spelling, such as Europe/Berlin, or "
        "Etc/GMT-2 for UTC+2",
        _time_zone,
    ),
    "TALLYBOOK_KEEP_KEYS_DAYS": Variable(
        "7", f"a whole number from 1 to {MAX_KEEP_KEYS_DAYS}", _number(1, MAX_KEEP_KEYS_DAYS)
    ),
    "TALLYBOOK_NEW_CONTACTS": Variable("none", f"one of {', '.join(NEW_CONTACTS)}", _new_contacts),
    "TALLYBOOK_HTTPS": Variable("false", ON_OR_OFF, _boolean),
    "TALLYBOOK_PROXIES": Variable(
        "", f"a whole number from 0 to {MAX_PROXIES}, or empty", _number_or_none(0, MAX_PROXIES)
    ),
    "TALLYBOOK_URL_PREFIX": Variable(
        "",
        f"a path such as /crm, whose first part is none of Tallybook's own: {', '.join(OWN_PATHS)}",
        _url_prefix,
    ),
    "TALLYBOOK_WEBHOOK_ALLOWED_HOSTS": Variable(
        "",
        "host names without scheme, port and path, separated by commas, such as "
        "n8n,hooks.internal.example.com",
        _list(re.compile(HOST_NAME)),
    ),
    "TALLYBOOK_WEBHOOK_ALLOWED_NETS": Variable(
        "",
        "networks in CIDR notation without host bits, separated by commas, such as "
        "10.0.3.0/24,fd12:3456::/32",
        _networks,
    ),
    "TALLYBOOK_METRICS_TOKEN": Variable(
        "",
        f"a text of at least {MIN_TOKEN_LENGTH} letters, digits and -._~+/=",
        _token,
        is_secret=True,
    ),
    "TALLYBOOK_ACCESS_LOG": Variable("false", ON_OR_OFF, _boolean),
    "TALLYBOOK_SLOW_STATEMENT_MS": Variable(
        "",
        f"a whole number of milliseconds from 0 to {MAX_SLOW_MS}, or empty",
        _number_or_none(0, MAX_SLOW_MS),
    ),
    "CORS_ALLOWED_ORIGINS": Variable(
        "*",
        "* for any, none, or origins of a scheme, a host and maybe a port, separated by commas, "
        "such as https://shop.example.com,http://localhost:3000",
        _origins,
    ),
    "DEBUG": Variable("false", ON_OR_OFF, _boolean),
}
