"""The encoding and locale of a database: which ones a start rejects, and what to use instead."""

import re

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from psycopg import sql

from config.server.bootstrap import bootstrap
from config.server.postgres import PostgresError
from tests.databases import use
from tests.system.stores import TARGET, Databases


def create(databases: Databases, options: str) -> None:
    """Create the database TARGET with these options."""
    databases.drop(TARGET)
    databases.sql.execute(
        sql.SQL("CREATE DATABASE {} {}").format(sql.Identifier(TARGET), sql.SQL(options))
    )


def rejection(databases: Databases, options: str) -> str:
    """Return the sentence that a start with such a database ends with. Nothing is stored."""
    create(databases, f"TEMPLATE template0 {options}")
    with use(TARGET):
        with pytest.raises(PostgresError) as error:
            bootstrap()
        assert connection.introspection.table_names() == []
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ("ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'", "does not fold Ö to ö"),
        ("ENCODING 'SQL_ASCII' LOCALE_PROVIDER libc LOCALE 'C'", "another encoding than UTF8"),
        ("ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C'", "another encoding than UTF8"),
    ],
    ids=["C", "SQL_ASCII", "LATIN1"],
)
def test_a_database_that_would_not_find_contacts_is_rejected(
    own_server: Databases, options: str, fault: str
) -> None:
    printed = rejection(own_server, options)
    assert printed.startswith(f"The database {TARGET} ")
    assert fault in printed


def test_check_database_rejects_what_a_start_rejects(own_server: Databases) -> None:
    create(own_server, "TEMPLATE template0 ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'")
    with use(TARGET), pytest.raises(CommandError, match="does not fold Ö to ö") as error:
        call_command("check_database")
    assert error.value.returncode == 2


def test_the_options_of_the_sentence_make_a_database_that_folds_letters(
    own_server: Databases,
) -> None:
    printed = rejection(own_server, "ENCODING 'UTF8' LOCALE_PROVIDER libc LOCALE 'C'")
    options = re.search(r"made with (.*?),", printed)
    assert options
    create(own_server, options[1])
    with own_server.connect(TARGET) as connected:
        assert connected.execute("SELECT lower('IÖÉ')").fetchone() == ("iöé",)
