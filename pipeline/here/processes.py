"""Tries of tasks: each is a child process with a folder, arguments, outputs, and a log that may complain."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from components.shared.steps import PROCESSES
from pipeline.compiled.ir import Container, Value, fill, from_text

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
_WANT_OF_MEMORY = " This is often for want of memory; {more_memory}."
_HINTS = {
    signal.SIGKILL: _WANT_OF_MEMORY,
    signal.SIGABRT: _WANT_OF_MEMORY,  # what libraries in C++ do that get none
    signal.SIGBUS: " This is often for want of space on a disk, or of memory; {more_memory}.",
    signal.SIGXFSZ: " A file has grown beyond a limit of the shell; raise it: ulimit -f unlimited.",
    signal.SIGXCPU: " The time is limited by the shell; raise the limit: ulimit -t unlimited.",
}
"""Advice to a user whose task was ended by a signal."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Exit code of a process, and the time and memory that it used."""

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
    """Advice to a user whose task was killed for want of memory."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._live: set[int] = set()
        self._stopped = False

    def command(self, container: Container, argv: Sequence[str], folder: Path) -> list[str]:  # noqa: ARG002
        """The command that is started for a task whose container would get `argv`."""
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


_LOG_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a task in the pipeline, which names its folder."""

    path: tuple[str, ...] = ()
    """Names of the nested pipelines and of the task."""
    indices: tuple[int, ...] = ()
    """Number of the task's item in each loop around it, the outermost loop first."""
    item: str = ""
    """Item of the innermost loop."""
    always: bool = False
    """The task runs even after a failure."""

    @property
    def step(self) -> str:
        return "/".join(self.path)

    @property
    def folder(self) -> Path:
        return Path(*self.path, *(f"{index:04d}" for index in self.indices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A task that failed."""

    step: str
    item: str
    exit_code: int
    message: str
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one try of a task: its values, or its failure."""

    ended: Ended
    outputs: dict[str, Value] = field(default_factory=dict)
    failure: Failure | None = None


def attempt(
    processes: Processes, container: Container, inputs: Mapping[str, Value], place: Place, run_folder: Path
) -> Outcome:
    """Run a program as its pod would, in a folder that keeps `argv.json`, `log.txt` and `outputs/`.

    Raises:
        ProcessesStoppedError: no process may start any more.
    """
    folder = run_folder / place.folder
    outputs = folder / "outputs"
    shutil.rmtree(outputs, ignore_errors=True)  # a retry starts as a new pod does
    outputs.mkdir(parents=True)
    files = {name: outputs / name for name in container.outputs}
    texts = {name: str(file) for name, file in files.items()}
    argv = processes.command(container, [fill(word, inputs, texts) for word in container.argv], folder)
    (folder / "argv.json").write_text(json.dumps(argv, indent=1, ensure_ascii=False) + "\n")
    log = folder / "log.txt"
    log_start = log.stat().st_size if log.exists() else 0

    ended = processes.run(argv, folder, log)

    if ended.exit_code == 0:
        try:
            values = {
                name: from_text(file.read_text(), container.outputs[name]) for name, file in files.items()
            }
            return Outcome(ended=ended, outputs=values)
        except (OSError, ValueError) as error:
            message = f"{place.step} must write its outputs; got: {error}. This is a bug in the step."
    else:
        message = _complaint(log, log_start, ended.exit_code, processes.more_memory)
    failure = Failure(
        step=place.step, item=place.item, exit_code=ended.exit_code or 1, message=message, log=log
    )
    return Outcome(ended=ended, failure=failure)


def _complaint(log: Path, start: int, exit_code: int, more_memory: str) -> str:
    """The last words of a failed program: its `error: ` sentence, or else its last line."""
    if exit_code < 0:
        hint = _HINTS.get(signal.Signals(-exit_code), "").format(more_memory=more_memory)
        return f"the task was ended by {signal.Signals(-exit_code).name}.{hint}"
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line for line in lines if line.strip()]
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return (errors or said or [f"the task ended with exit code {exit_code} and said nothing."])[-1].strip()
