"""How many connections a worker accepts: fewer than it has file descriptors for."""

import resource

import pytest

from config.management.commands.serve import MAX_CONNECTIONS, OTHER_DESCRIPTORS, max_connections


@pytest.mark.parametrize(
    ("limit", "connections"),
    [
        (256, 256 - OTHER_DESCRIPTORS),
        (10, 1),
        (1 << 20, MAX_CONNECTIONS),
        (resource.RLIM_INFINITY, MAX_CONNECTIONS),
    ],
)
def test_a_worker_accepts_as_many_connections_as_its_descriptors_allow(
    limit: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert max_connections() == connections
