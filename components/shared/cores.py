"""The number of CPU cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def available_cores(root: Path = Path("/")) -> int:
    """Cores that the scheduler gives this process, within the CPU limit of its container; at least 1.

    A container that is limited to 1.5 CPUs sees every core of its node: a thread for each would wait more
    than it works. A part of a core counts as one. `os.process_cpu_count` does not see these limits.

    Args:
        root: where `proc` and `sys` lie.

    Source: Linux kernel documentation, "Control Group v2" (cpu.max) and "CFS Bandwidth Control" (v1).
    """
    scheduled = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([scheduled, *map(math.ceil, _limits(root))]))


def _limits(root: Path) -> Iterator[float]:
    """The CPU limits of the process's control groups and those above them, in cores."""
    for folder in _group_folders(root):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text()
                period = (folder / "cpu.cfs_period_us").read_text()
            if quota != "max" and int(quota) > 0:  # v1 says -1 where there is no limit
                yield int(quota) / int(period)
        except (OSError, ValueError):
            continue  # a group without the CPU controller


def _group_folders(root: Path) -> Iterator[Path]:
    """The folders of the process's control groups, each with those above it.

    In a container the path may be the node's, which is not there; its own group is then the top one.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / controllers
        group = mount / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(mount))
