"""Give a copy of a database what belongs to the database and not to its contents.

CREATE DATABASE copies tables, but neither grants nor settings of the database.
"""

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import sql

from config.server.replacement import Replacement

ORIGINAL = """
WITH original AS (
    SELECT *, %(copy)s::text AS copy, shobj_description(oid, 'pg_database') AS comment
    FROM pg_database WHERE datname = %(name)s
)
"""
# The owner comes last, because only the owner may run the others.
STATEMENTS = f"""
{ORIGINAL}
SELECT format('REVOKE ALL ON DATABASE %%I FROM PUBLIC', copy)
FROM original WHERE datacl IS NOT NULL
UNION ALL
SELECT format('GRANT %%s ON DATABASE %%I TO %%s%%s', privilege_type, copy,
    CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
FROM original, aclexplode(datacl) WHERE grantee <> datdba
UNION ALL
SELECT format('ALTER DATABASE %%I CONNECTION LIMIT %%s', copy, datconnlimit)
FROM original WHERE datconnlimit <> -1
UNION ALL
SELECT format('COMMENT ON DATABASE %%I IS %%L', copy, comment)
FROM original WHERE comment IS NOT NULL
UNION ALL
SELECT format('ALTER DATABASE %%I OWNER TO %%I', copy, pg_get_userbyid(datdba))
FROM original WHERE pg_get_userbyid(datdba) <> current_user
"""  # noqa: S608
# Settings of the database, and of roles in the database.
SETTINGS = f"""
{ORIGINAL}
SELECT CASE setrole WHEN 0 THEN format('ALTER DATABASE %%I SET ', copy)
           ELSE format('ALTER ROLE %%I IN DATABASE %%I SET ', pg_get_userbyid(setrole), copy) END,
       split_part(setting, '=', 1), substr(setting, strpos(setting, '=') + 1)
FROM original JOIN pg_db_role_setting ON setdatabase = oid, unnest(setconfig) AS setting
"""  # noqa: S608


def copy_properties(place: Replacement, report: Callable[[str], Any]) -> None:
    """Give the draft the grants, settings, limit of connections, comment and owner of the store.

    Args:
        place: has both.
        report: is called with a sentence for each that the role may not give.
    """
    server, names = place.server, {"name": place.name, "copy": place.draft_name}
    settings = server.execute(SETTINGS, names).fetchall()
    statements = server.execute(STATEMENTS, names).fetchall()
    for beginning, setting, value in settings:
        # A list such as search_path has to be set as it is written, and not as one text.
        statement = sql.SQL(beginning) + sql.Identifier(setting) + sql.SQL(" FROM CURRENT")
        try:
            with server.transaction():
                server.execute("SELECT set_config(%s, %s, true)", [setting, value])
                server.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            report(f"A superuser has to set {setting} = {value} for the database again.")
    for (statement,) in statements:
        try:
            server.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            on_store = statement.replace(place.draft_name, place.name)
            report(f"A superuser has to run this again: {on_store}")
