"""Read how much of the machine this process may use: all of it, or what its container permits."""

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def machine_memory(root: Path = Path("/")) -> int:
    """Return the bytes of memory that this process may use: the machine's, or its container's.

    Args:
        root: the folder of /proc and /sys.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for group in _control_groups(root, "memory"):
        # Version 2 and version 1 name the file differently.
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # ValueError: "max"
                limits.append(int((group / name).read_text()))
    return min(limits)


def machine_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use: the machine's, or its container's.

    A container has no cores of its own, but a time on all of them. Half a core counts as one.

    Args:
        root: the folder of /proc and /sys.
    """
    limits = [len(os.sched_getaffinity(0))]
    for group in _control_groups(root, "cpu"):
        with suppress(OSError, ValueError):  # ValueError: "max"
            limits.append(_cores(*(group / "cpu.max").read_text().split()))
        with suppress(OSError, ValueError):  # ValueError: -1
            files = (group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")
            limits.append(_cores(*(file.read_text() for file in files)))
    return min(limits)


def _cores(quota: str, period: str) -> int:
    """Return the cores of a control group, which may use all of them together for a time.

    Args:
        quota: the time in each period, in microseconds.
        period: its length, in microseconds.

    Raises:
        ValueError: the group has no limit.
    """
    cores = math.ceil(int(quota) / int(period))
    if cores < 1:
        raise ValueError
    return cores


def _control_groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that may limit a controller for this process."""
    for line in (root / "proc/self/cgroup").read_text().splitlines():
        _, controllers, group = line.split(":", 2)
        # Version 1 has folders of its controllers. Version 2 has one for all, and names none.
        if controllers and controller not in controllers.split(","):
            continue
        folder = root / "sys/fs/cgroup" / (controller if controllers else "")
        # A group's limit holds for the groups in it. In a container, the top one is its own, and
        # the path may be that of the machine.
        for path in (Path(group), *Path(group).parents):
            yield folder / path.relative_to("/")
