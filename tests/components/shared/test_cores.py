"""The CPU limit of a container is found wherever its control group keeps it."""

import os
from pathlib import Path

import pytest

from components.shared.cores import available_cores


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def system(root: Path, groups: str, files: dict[str, str]) -> Path:
    for name, content in {"proc/self/cgroup": groups, **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "6400000 100000\n"}, 8),
        # The limit of a pod is above that of its container.
        (
            "0::/pod/app\n",
            {"sys/fs/cgroup/pod/app/cpu.max": "max 100000", "sys/fs/cgroup/pod/cpu.max": "300000 100000"},
            3,
        ),
        (
            "7:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n",
            {
                # The path is the node's: in the container its own group is the top one.
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "400000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            4,
        ),
        (
            "4:cpu,cpuacct:/\n",
            {
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
        ("0::/\n", {"sys/fs/cgroup/cpu.max": "not a number"}, 8),
        ("0::/\n", {}, 8),
    ],
)
def test_the_limit_of_the_container_counts(tmp_path: Path, groups, files, cores) -> None:
    assert available_cores(system(tmp_path, groups, files)) == cores


def test_without_control_groups_the_scheduler_decides(tmp_path: Path) -> None:
    assert available_cores(tmp_path) == 8


def test_this_machine_has_a_core() -> None:
    assert 1 <= available_cores() <= 8
