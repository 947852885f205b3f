"""`manage.py check_database` on a PostgreSQL of one's own: its settings, and missing migrations."""

from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from pytest_django import Settings as SettingsFixture

from config import database_check
from config.server.postgres import EmbeddedPostgres
from tests.databases import set_fsync

pytestmark = pytest.mark.django_db
MAILBOXES = "No two contacts have the same mailbox."


@pytest.fixture(scope="module", autouse=True)
def durable(postgres: EmbeddedPostgres) -> Iterator[None]:
    """The tests' PostgreSQL waits for the disk, as one of an operator."""
    set_fsync(postgres.socket_dir, "on")
    yield
    set_fsync(postgres.socket_dir, "off")


@pytest.fixture(autouse=True)
def own_database(settings: SettingsFixture) -> None:
    """The tests' PostgreSQL as one of DATABASE_URL."""
    settings.EMBEDDED_POSTGRES = False


def set_to(name: str, value: str) -> None:
    """Change a setting of this test's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config(%s, %s, true)", [name, value])


def check() -> list[str]:
    """Return the lines that the command prints."""
    output = StringIO()
    call_command("check_database", stdout=output)
    return output.getvalue().splitlines()


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("work_mem", "4MB", "work_mem is 4MB: better is 1/256 of the machine's memory"),
        ("effective_cache_size", "4GB", "effective_cache_size is 4GB: better is half of"),
    ],
)
def test_a_setting_that_has_the_default_is_advised(name: str, value: str, line: str) -> None:
    set_to(name, value)
    lines = check()
    assert any(each.startswith(line) for each in lines)
    assert lines[-1] == MAILBOXES


def test_settings_that_were_chosen_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests' PostgreSQL may run on a small machine.
    monkeypatch.setattr(database_check, "DEFAULTS", {"work_mem": (4 << 20, "more")})
    set_to("work_mem", "5MB")
    assert check() == ["The settings of PostgreSQL suit Tallybook.", MAILBOXES]


def test_checkpoints_that_write_at_once_are_advised_against(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database_check, "LEAST_TARGET", 0.95)
    assert "checkpoint_completion_target is 0.9: better is 0.95." in check()


def test_a_setting_that_loses_events_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    set_to("synchronous_commit", "off")
    with pytest.raises(CommandError, match="that have to be changed: 1") as error:
        call_command("check_database")
    assert error.value.returncode == 1
    assert "synchronous_commit is off: switch it on, because" in capsys.readouterr().out


def test_a_database_before_its_first_start_is_checked_without_contacts() -> None:
    MigrationRecorder.Migration.objects.filter(app="crm").delete()
    assert check()[-1] == "Migrations are missing: serve applies them when it starts."
