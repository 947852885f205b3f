"""How many statements the database runs."""

from collections.abc import Callable

from django.db import connection

QUERIES = """
SELECT query, calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid
WHERE d.datname = current_database() AND query NOT LIKE '%pg_stat_statements%'
"""


def count_statements(work: Callable[[], object], containing: str = "") -> int:
    """Return how many statements ran during the work, those without Django's cursor too.

    Args:
        work: what is done.
        containing: a part of the statements that are counted.

    It prints them, and pytest shows them when the test fails.
    """
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        cursor.execute("SELECT pg_stat_statements_reset()")
        work()
        cursor.execute(QUERIES)
        rows = cursor.fetchall()
    print(*rows, sep="\n")
    return sum(calls for query, calls in rows if containing in query)
