"""One try of one task: its folder, its arguments, its process, and what it hands on or complains of."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.compiled.ir import Container, Value
from pipeline.compiled.values import fill, from_text
from pipeline.here.processes import Ended, Processes

_LOG_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the pipeline a task stands."""

    path: tuple[str, ...] = ()
    """Names of the nested pipelines and of the task."""
    indices: tuple[int, ...] = ()
    """Its number in each loop around it."""
    item: str = ""
    """Item of the innermost loop."""
    always: bool = False
    """Runs even after a failure."""

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
class Attempt:
    """How a try went."""

    ended: Ended
    outputs: dict[str, Value] = field(default_factory=dict)
    failure: Failure | None = None


def attempt(
    processes: Processes, container: Container, inputs: Mapping[str, Value], place: Place, run_folder: Path
) -> Attempt:
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
            return Attempt(ended=ended, outputs=values)
        except (OSError, ValueError) as error:
            message = f"{place.step} must write its outputs; got: {error}. This is a bug in the step."
    else:
        message = _complaint(log, log_start, ended.exit_code, processes.more_memory)
    failure = Failure(
        step=place.step, item=place.item, exit_code=ended.exit_code or 1, message=message, log=log
    )
    return Attempt(ended=ended, failure=failure)


def _complaint(log: Path, start: int, exit_code: int, more_memory: str) -> str:
    """What a failed program said last: its `error: ` sentence, or else its last line."""
    if exit_code < 0:
        killed = exit_code == -signal.SIGKILL
        hint = f" This is often for want of memory; {more_memory}." if killed else ""
        return f"the task was ended by {signal.Signals(-exit_code).name}.{hint}"
    with log.open("rb") as file:
        file.seek(max(start, log.stat().st_size - _LOG_TAIL_BYTES))
        lines = file.read().decode(errors="replace").splitlines()
    said = [line for line in lines if line.strip()]
    errors = [line.removeprefix("error: ") for line in said if line.startswith("error: ")]
    return (errors or said or [f"the task ended with exit code {exit_code} and said nothing."])[-1].strip()
