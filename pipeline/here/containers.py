"""Runs each task in a container of a local Docker engine, with no more rights than its pod would have."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from components.shared.documents.notification import VARIABLES
from pipeline.compiled.ir import Container
from pipeline.here.processes import Ended, Processes
from pipeline.here.sandbox import Sandbox
from pipeline.settings import quantity


class Containers(Processes):
    """Processes that are containers, as `docker run` makes them. Safe to use from threads."""

    more_memory = "raise the step's memory in --settings, or lower --jobs"

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__()
        self._sandbox = sandbox
        self._run_id = uuid.uuid4().hex[:8]

    def command(self, container: Container, argv: Sequence[str], folder: Path) -> list[str]:
        """The `docker run` of a task, which works by hand too."""
        sandbox = self._sandbox
        notifies = container.image == sandbox.notifier
        # By name alone: docker takes the values from its own environment, and no process list shows them.
        secrets = [name for name in VARIABLES if notifies and name in os.environ]
        mounts = {**sandbox.mounts, folder / "outputs": True}
        return [
            *("docker", "run", "--rm", "--init", "--pull", "never", "--name", self._name(folder)),
            *(
                "--user",
                ":".join(map(str, sandbox.user)),
                "--network",
                "host" if notifies else sandbox.network,
            ),
            *("--read-only", "--tmpfs", "/tmp"),  # noqa: S108 - the container's
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *limits(container, sandbox.n_cores),
            *(word for path, writable in mounts.items() for word in ("--mount", mount(path, writable))),
            *(word for name, value in sandbox.environment.items() for word in ("--env", f"{name}={value}")),
            *(word for name in secrets for word in ("--env", name)),
            container.image,
            *argv,
        ]

    def run(self, argv: Sequence[str], folder: Path, log: Path) -> Ended:
        """Run a task's container until it ends; what it used is not known."""
        if os.getuid() == 0:
            os.chown(folder / "outputs", *self._sandbox.user)
        ended = super().run(argv, folder, log)
        if ended.exit_code < 0:  # docker's client was killed, which the container does not notice
            subprocess.run(["docker", "rm", "--force", self._name(folder)], capture_output=True, check=False)
        exit_code = -signal.SIGKILL if ended.exit_code == 128 + signal.SIGKILL else ended.exit_code
        return replace(ended, exit_code=exit_code, cpu_s=0.0, peak_bytes=0)

    def _name(self, folder: Path) -> str:
        task = re.sub(r"[^A-Za-z0-9]+", "-", str(folder))[-40:]
        return f"fibstack-{self._run_id}-{task}"


def limits(container: Container, n_cores: int) -> list[str]:
    """Flags for the limits of a task; more cores than the engine has would be refused.

    Example:
        >>> limits(Container({}, {}, "", (), cpu_limit="500m", memory_limit="4G"), n_cores=2)
        ['--cpus', '0.5', '--memory', '4000000000', '--memory-swap', '4000000000']
    """
    flags = []
    if container.cpu_limit:
        flags += ["--cpus", str(min(float(quantity(container.cpu_limit)), n_cores))]
    if container.memory_limit:
        n_bytes = str(int(quantity(container.memory_limit)))
        flags += ["--memory", n_bytes, "--memory-swap", n_bytes]  # the same: no swap
    return flags


def mount(path: Path, writable: bool) -> str:
    """The value of `--mount` that shows a folder or file at the path it has on this machine: a CSV record.

    Example:
        >>> mount(Path("/data/a,b"), writable=False)
        'type=bind,"source=/data/a,b","target=/data/a,b",readonly'
    """
    record = io.StringIO()
    fields = ["type=bind", f"source={path}", f"target={path}"]
    csv.writer(record, lineterminator="").writerow(fields if writable else [*fields, "readonly"])
    return record.getvalue()
