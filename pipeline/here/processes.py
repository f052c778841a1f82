"""Child processes that are measured, and that can all be ended together."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.shared.container_images import PROCESSES
from pipeline.compiled.ir import Container

_ENVIRONMENT = {
    PROCESSES: "1",
    "PYTHONUNBUFFERED": "1",
    # Tasks run side by side, so each keeps to one core; sums would else depend on the machine too.
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_MAXRSS_BYTES = 1 if sys.platform == "darwin" else 1024
COMMAND_NOT_FOUND = 127


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended and what it used."""

    exit_code: int
    """Negative where a signal ended it."""
    wall_s: float
    cpu_s: float = 0.0
    peak_bytes: int = 0
    """Never below the size of this process: Linux counts the moment before the program is loaded too."""


class ProcessesStoppedError(Exception):
    """No process may start any more."""


class Processes:
    """Starts child processes, each in a group of its own, until it is stopped. Safe to use from threads."""

    more_memory = "lower --jobs"
    """What a user can do for a task that was killed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._stopped = False

    def command(self, container: Container, argv: Sequence[str], folder: Path) -> list[str]:  # noqa: ARG002
        """What is started for a task that has a folder and whose container would get `argv`."""
        return [sys.executable if argv[0] == "python" else argv[0], *argv[1:]]

    def run(self, argv: Sequence[str], folder: Path, log: Path) -> Ended:
        """Run a program in a folder until it ends; its output is appended to the log.

        Whatever the program leaves running in its process group is ended too, as it would be with a pod.

        Raises:
            ProcessesStoppedError: `stop` has been called.
        """
        started = time.monotonic()
        with log.open("ab") as output, self._lock:
            if self._stopped:
                raise ProcessesStoppedError
            try:
                process = subprocess.Popen(
                    argv,
                    cwd=folder,
                    env=os.environ | _ENVIRONMENT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                output.write(f"error: cannot start '{argv[0]}': {error.strerror}.\n".encode())
                return Ended(COMMAND_NOT_FOUND, time.monotonic() - started)
            self._live.add(process.pid)
        _, status, usage = os.wait4(process.pid, 0)
        with self._lock:
            self._live.discard(process.pid)
            _signal_group(process.pid, signal.SIGKILL)
        process.returncode = os.waitstatus_to_exitcode(status)
        return Ended(
            process.returncode,
            time.monotonic() - started,
            usage.ru_utime + usage.ru_stime,
            usage.ru_maxrss * _MAXRSS_BYTES,
        )

    def stop(self, number: signal.Signals) -> None:
        """Send a signal to every process and let no other start."""
        with self._lock:
            self._stopped = True
            for pid in self._live:
                _signal_group(pid, number)


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of the dead
        os.killpg(pid, number)
