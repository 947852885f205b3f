"""Pages of the admin over the socket."""

import psycopg

from tests.system.admin_session import log_in
from tests.system.database import end_connections
from tests.system.server import Server


def test_admin_users_do_not_notice_a_restart_of_the_database(
    server: Server, store: psycopg.Connection
) -> None:
    session = log_in(server)
    # As many requests as the server has threads, so that each has a connection that is dead then.
    statuses = [session("GET", "/admin/").status for _ in range(16)]
    end_connections(store)
    statuses += [session("GET", "/admin/").status for _ in range(16)]
    session.close()
    assert set(statuses) == {200}
