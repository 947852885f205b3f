"""How much of the machine a process may use, in a container and without one."""

import os
from pathlib import Path

import pytest

from config.server.machine import machine_cores, machine_memory

MB = 1 << 20


def write(root: Path, files: dict[str, str]) -> None:
    """Write files below a folder, by their paths."""
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


V2 = "0::/shop/tallybook\n"
V1 = "5:cpu,cpuacct:/\n4:memory:/docker/1\n0::/\n"


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        (V2, {"shop/tallybook/memory.max": "67108864\n"}),
        (V2, {"shop/tallybook/memory.max": "max\n", "shop/memory.max": "67108864\n"}),
        (V2, {"shop/tallybook/memory.max": "90000000\n", "shop/memory.max": "67108864\n"}),
        (V2, {"memory.max": "67108864\n"}),
        (V1, {"memory/docker/1/memory.limit_in_bytes": "67108864\n"}),
        (V1, {"memory/memory.limit_in_bytes": "67108864\n"}),
    ],
    ids=["own", "outer", "least", "container", "version 1", "container of version 1"],
)
def test_a_control_group_limits_the_memory(
    tmp_path: Path, groups: str, limits: dict[str, str]
) -> None:
    write(tmp_path / "sys/fs/cgroup", limits)
    write(tmp_path, {"proc/self/cgroup": groups})
    assert machine_memory(tmp_path) == 64 * MB


@pytest.mark.parametrize("limit", ["max\n", "9223372036854771712\n"])
def test_without_a_limit_the_memory_is_the_machine_s(tmp_path: Path, limit: str) -> None:
    write(tmp_path, {"proc/self/cgroup": V2, "sys/fs/cgroup/shop/tallybook/memory.max": limit})
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert machine_memory(tmp_path) == machine


@pytest.fixture
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process run on eight cores."""
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))


@pytest.mark.parametrize(
    ("groups", "limits", "cores"),
    [
        (V2, {"shop/tallybook/cpu.max": "300000 100000\n"}, 3),
        (V2, {"shop/tallybook/cpu.max": "max 100000\n", "shop/cpu.max": "300000 100000\n"}, 3),
        (V2, {"shop/tallybook/cpu.max": "500000 100000\n", "shop/cpu.max": "300000 100000\n"}, 3),
        (V2, {"cpu.max": "150000 100000\n"}, 2),
        (V2, {"cpu.max": "5000 100000\n"}, 1),
        (V1, {"cpu/cpu.cfs_quota_us": "30000\n", "cpu/cpu.cfs_period_us": "10000\n"}, 3),
    ],
    ids=["own", "outer", "least", "part of a core", "less than a core", "version 1"],
)
@pytest.mark.usefixtures("eight_cores")
def test_a_control_group_limits_the_cores(
    tmp_path: Path, groups: str, limits: dict[str, str], cores: int
) -> None:
    write(tmp_path / "sys/fs/cgroup", limits)
    write(tmp_path, {"proc/self/cgroup": groups})
    assert machine_cores(tmp_path) == cores


@pytest.mark.parametrize(
    ("groups", "limits"),
    [
        (V2, {}),
        (V2, {"cpu.max": "max 100000\n"}),
        (V2, {"cpu.max": "1600000 100000\n"}),
        (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}),
    ],
    ids=["no file", "no limit", "more than the machine has", "no limit of version 1"],
)
@pytest.mark.usefixtures("eight_cores")
def test_without_a_lower_limit_the_cores_are_the_machine_s(
    tmp_path: Path, groups: str, limits: dict[str, str]
) -> None:
    write(tmp_path / "sys/fs/cgroup", limits)
    write(tmp_path, {"proc/self/cgroup": groups})
    assert machine_cores(tmp_path) == 8
