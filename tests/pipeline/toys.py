"""Tiny pipelines of `python -c` programs, and a watcher that remembers."""

from pathlib import Path

from kfp import dsl

from pipeline.compiled.compile import compile_pipeline
from pipeline.compiled.ir import Pipeline, read_pipeline
from pipeline.here.local import run_pipeline
from pipeline.here.processes import Ended, Failure

LIST = """
import json, pathlib, sys
pathlib.Path(sys.argv[2]).write_text(json.dumps([f"{i}-{i}" for i in range(int(sys.argv[1]))]))
"""
SAY = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_text(sys.argv[1])"
NOTE = """
import os, sys, time
folder, name, text, seconds = sys.argv[1:]
os.makedirs(folder, exist_ok=True)
start = time.monotonic()
time.sleep(float(seconds))
with open(f"{folder}/{name}", "x") as file:
    file.write(f"{text}|{start}|{time.monotonic()}")
"""
FAIL = """
import pathlib, sys
folder, code, n_good = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
folder.mkdir(exist_ok=True, parents=True)
tries = len(list(folder.glob("try-*")))
(folder / f"try-{tries}").touch()
print("some log line")
if tries < n_good:
    print("error: the moon must be full; got half. Wait.", file=sys.stderr)
    print("a later line")
    sys.exit(code)
"""


@dsl.container_component
def items(n: int, out: dsl.OutputPath(list)):
    return dsl.ContainerSpec(image="toy", command=["python", "-c", LIST], args=[n, out])


@dsl.container_component
def say(text: str, out: dsl.OutputPath(str)):
    return dsl.ContainerSpec(image="toy", command=["python", "-c", SAY], args=[text, out])


@dsl.container_component
def note(folder: str, name: str, text: str, seconds: float):
    """Writes a file `folder/name` with the text and the times of start and end."""
    return dsl.ContainerSpec(image="toy", command=["python", "-c", NOTE], args=[folder, name, text, seconds])


@dsl.container_component
def fail(folder: str, code: int, times: int):
    """Ends with an exit code the first `times` times it runs."""
    return dsl.ContainerSpec(image="toy", command=["python", "-c", FAIL], args=[folder, code, times])


@dsl.container_component
def remember(folder: str, status: dsl.PipelineTaskFinalStatus):
    """The exit task: writes the final status to `folder/status`."""
    return dsl.ContainerSpec(
        image="toy", command=["python", "-c", NOTE], args=[folder, "status", status, "0"]
    )


def uncached(task: dsl.PipelineTask) -> dsl.PipelineTask:
    return task.set_caching_options(False)


class Memory:
    """A watcher that keeps what it is told."""

    def __init__(self) -> None:
        self.expected: list[tuple[str, int]] = []
        self.failures: list[Failure] = []
        self.retries: list[tuple[str, float]] = []
        self.done: list[tuple[str, str]] = []
        self.events: list[tuple[str, str]] = []
        self.n_running = 0
        self.most_running = 0
        self.n_told = 0
        """Times that it was told that the run goes on."""

    def expect(self, step: str, n_tasks: int) -> None:
        self.expected.append((step, n_tasks))
        self.events.append(("expect", step))

    def started(self, step: str, item: str) -> None:
        self.n_running += 1
        self.most_running = max(self.most_running, self.n_running)

    def ended(self, step: str, item: str, ended: Ended) -> None:
        self.n_running -= 1
        self.done.append((step, item))
        self.events.append(("end", step))

    def retrying(self, failure: Failure, pause_s: float) -> None:
        self.retries.append((failure.step, pause_s))

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)

    def goes_on(self) -> None:
        self.n_told += 1

    def stopping(self) -> None:
        pass


def compiled(pipeline) -> Pipeline:
    return read_pipeline(compile_pipeline(pipeline))


def run(pipeline, test_folder: Path, *, jobs: int = 2, **parameters) -> tuple[Failure | None, Memory]:
    memory = Memory()
    return run_pipeline(compiled(pipeline), parameters, test_folder / "logs", jobs, memory), memory


def notes(folder: Path) -> dict[str, str]:
    """The texts that `note` wrote, by name."""
    return {path.name: path.read_text().rpartition("|")[0].rpartition("|")[0] for path in folder.glob("*")}


def times(folder: Path) -> dict[str, tuple[float, float]]:
    """Start and end of each `note`, by name."""
    found = {path.name: path.read_text().split("|")[-2:] for path in folder.glob("*")}
    return {name: (float(start), float(end)) for name, (start, end) in found.items()}
