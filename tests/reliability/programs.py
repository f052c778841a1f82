"""The programs of the steps as processes that start in a tenth of a second, to be killed and started again.

A process that has imported the steps once is forked for each call: `main` runs as it would from the command
line, and a signal ends it as it would any process. The volume is cut into smaller units than usual, so that
a stack of a few kilobytes has some of every step, and, where a test asks for it, pauses are shorter.
"""

from __future__ import annotations

import importlib
import json
import math
import multiprocessing
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from components.shared.steps import STEPS
from pipeline.settings import Settings

PODS = Settings().pods
SLICES_PER_CHUNK = 2
SLICES_PER_SLAB = 4
VOXEL_CHUNK = 32
A_BLOCK_A_TASK_S = 1e-9
LEVELS_PER_PASS = 2
"""A stack of 8 slices of 96 x 96 px: 4 chunks, 2 slabs, 4 blocks, and 1 of the second pass."""

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [f"components.{step}.main" for step in STEPS]
    + [
        "components.shared.storage.gcs",
        "components.shared.storage.s3",
        "matplotlib.figure",
        "matplotlib.backends.backend_svg",
        "PIL.PngImagePlugin",
    ]
    + [
        "commands.main",
        "commands.run.main",
        "components.plan.estimate",
    ]
    + ["pipeline.compiled.compile", "pipeline.here.local", "pipeline.here.progress", "rich.live"]
)


@dataclass(frozen=True)
class Call:
    """A call of a program."""

    step: str
    flags: dict[str, Any]

    @property
    def argv(self) -> list[str]:
        return [
            text
            for name, value in self.flags.items()
            for text in (
                f"--{name.replace('_', '-')}",
                value if isinstance(value, str) else json.dumps(value),
            )
        ]

    @property
    def name(self) -> str:
        unit = self.flags.get("chunk") or self.flags.get("slabs") or self.flags.get("blocks") or ""
        return f"{self.step} {self.flags.get('level', '')} {unit}"


def call_of_unit(step: str, source: str, output: str, process_uri: str, folder: Path, **config: Any) -> Call:
    """A call of a step for its unit of `RECORDS_OF_UNITS`, or for all where it has no loop."""

    def files(*names: str) -> dict[str, str]:
        return {f"{name}_out": str(folder / name) for name in names}

    process = {"process_uri": process_uri}
    flags = {
        "plan": {
            "source": source,
            "output": output,
            "pods": PODS,
            **config,
            **files("process_uri", "chunks"),
        },
        "align": {**process, "chunk": "2-3"},
        "compose": {**process, **files("slabs", "blocks", "coarse_blocks", "top_blocks")},
        "tile": {**process, "slabs": "1-1"},
        "pyramid": {**process, "level": 0, "blocks": "3-3"},
        "report": {"output": output, "pods": PODS, "status": "Succeeded"},
    }
    return Call(step, flags[step])


RECORDS_OF_UNITS = {
    "align": "records/align/2-3.json",
    "tile": "records/tile/1.json",
    "pyramid": "records/pyramid/0/3.json",
}
"""A unit of each step with a loop."""


def run_program(call: Call) -> None:
    """Run a program to its end, in this process."""
    importlib.import_module(f"components.{call.step}.main").main(call.argv)


def start(
    call: Call,
    environment: dict[str, str],
    log: Path,
    *,
    hurry: bool = True,
    run: Callable[[Call], None] = run_program,
) -> Any:
    """Start a program; returns its process. `run` is what the process does with the call."""
    process = FORKS.Process(target=_prepare_and_run, args=(run, call, environment, log, hurry))
    process.start()
    return process


def _prepare_and_run(
    run: Callable[[Call], None], call: Call, environment: dict[str, str], log: Path, hurry: bool
) -> None:
    os.environ.update(environment)
    with log.open("ab", buffering=0) as output:
        os.dup2(output.fileno(), 1)
        os.dup2(output.fileno(), 2)
    cut_smaller()
    if hurry:
        shorten_pauses()
    run(call)


def cut_smaller(assign: Callable[[Any, str, Any], None] = setattr) -> None:
    """Cut this process's volumes into small units."""
    from components.plan import estimate, work
    from components.shared import grid
    from components.shared.volume import volume

    def passes(size: Any, nm: Any) -> Any:
        return grid.pyramid_passes(size, nm, VOXEL_CHUNK, LEVELS_PER_PASS)

    cut = replace(work.CUT, shortest_chunk=SLICES_PER_CHUNK, task_cpu_s=A_BLOCK_A_TASK_S)
    for module in (work, estimate):
        assign(module, "CUT", cut)
    assign(grid, "MAX_SLAB_DEPTH", SLICES_PER_SLAB)
    assign(volume, "LOSSLESS_SHARD", VOXEL_CHUNK)
    assign(volume, "_passes", passes)


def shorten_pauses() -> None:
    """Wait a twentieth of the usual time before a request is repeated."""
    from components.shared.storage import gcs, s3

    for module in (gcs, s3):
        module.RETRY = module.RETRY.with_delay(initial=0.025, maximum=1.5, multiplier=2)
        module._READ_RETRIES = module._READ_RETRIES | {"initial_delay": "25ms", "max_delay": "1500ms"}


@dataclass
class Driver:
    """Runs the pipeline as its scheduler does: the units of a step side by side, what fails again.

    `environment_of` tells the variables of a step's programs. Each program is killed `kills_each` times, a
    random time after its start; where it ends before, those that follow are killed more often and sooner.
    """

    folder: Path
    environment_of: Callable[[str], dict[str, str]]
    n_at_once: int = 2
    kills_each: int = 0
    seed: int = 0
    most_tries: int = 12
    hurry: bool = True
    killed: list[str] = field(default_factory=list)
    failed: list[tuple[str, int]] = field(default_factory=list)
    """Programs that ended with another exit code than 0, by themselves."""
    ran: list[str] = field(default_factory=list)
    """Programs that ended well, in their order."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._random = random.Random(self.seed)
        self._kills_left = 0
        self._longest_life_s = 0.6

    @property
    def log(self) -> str:
        """What all programs said."""
        return (self.folder / "log.txt").read_text()

    def run(self, output: str, **config: Any) -> None:
        """A run from `plan` to `report`."""
        files = self._files("process_uri", "chunks")
        self.step([Call("plan", {"output": output, "pods": PODS, **config, **files})])
        process_uri = (self.folder / "process_uri").read_text()
        self.step([Call("align", {"process_uri": process_uri, "chunk": c}) for c in self._items("chunks")])
        levels = {"blocks": 0, "coarse_blocks": LEVELS_PER_PASS, "top_blocks": 2 * LEVELS_PER_PASS}
        self.step([Call("compose", {"process_uri": process_uri, **self._files("slabs", *levels)})])
        self.step([Call("tile", {"process_uri": process_uri, "slabs": s}) for s in self._items("slabs")])
        for name, level in levels.items():
            flags = {"process_uri": process_uri, "level": level}
            self.step([Call("pyramid", {**flags, "blocks": blocks}) for blocks in self._items(name)])
        self.step([Call("report", {"output": output, "pods": PODS, "status": "Succeeded"})])

    def step(self, calls: Sequence[Call]) -> None:
        """Run programs until each has ended well; when it ends otherwise, none is left."""
        running: dict[int, tuple[Call, int, Any, float, float]] = {}
        try:
            self._run_all([(call, 1) for call in calls], running)
        finally:
            for _, _, process, _, _ in running.values():
                process.kill()
                process.join()

    def _run_all(
        self, waiting: list[tuple[Call, int]], running: dict[int, tuple[Call, int, Any, float, float]]
    ) -> None:
        while waiting or running:
            while waiting and len(running) < self.n_at_once:
                call, tries = waiting.pop(0)
                assert tries <= self.most_tries, f"{call.name} failed {tries - 1} times:\n{self.log[-3000:]}"
                process = start(
                    call, self.environment_of(call.step), self.folder / "log.txt", hurry=self.hurry
                )
                started = time.monotonic()
                running[process.sentinel] = (call, tries, process, started, started + self._life_s(tries))
            first_kill = min(kill_at for *_, kill_at in running.values())
            wait(list(running), max(0.0, min(first_kill - time.monotonic(), 60)))
            for sentinel, (call, tries, process, started, kill_at) in list(running.items()):
                if time.monotonic() >= kill_at and process.is_alive():
                    process.kill()
                    process.join()
                if not process.is_alive():
                    del running[sentinel]
                    self._note(call, process.exitcode)
                    if kill_at < math.inf and process.exitcode >= 0:
                        self._kills_left += 1
                        lived_s = time.monotonic() - started
                        self._longest_life_s = max(0.05, min(self._longest_life_s, 0.7 * lived_s))
                    if process.exitcode != 0:
                        waiting.append((call, tries + 1))

    def _life_s(self, tries: int) -> float:
        """How long a program may live: from 0.02 s to what those live that end by themselves, at most 0.6 s.

        Nothing kills a program where as many as asked for have been killed.
        """
        if tries == 1:
            self._kills_left += self.kills_each
        if self._kills_left == 0:
            return math.inf
        self._kills_left -= 1
        return 0.02 * (self._longest_life_s / 0.02) ** self._random.random()

    def _note(self, call: Call, exit_code: int) -> None:
        if exit_code < 0:
            self.killed.append(call.name)
        elif exit_code > 0:
            self.failed.append((call.name, exit_code))
            assert exit_code == 75, f"{call.name} ended with {exit_code}:\n{self.log[-3000:]}"
        else:
            self.ran.append(call.name)

    def _files(self, *names: str) -> dict[str, str]:
        return {f"{name}_out": str(self.folder / name) for name in names}

    def _items(self, name: str) -> list[str]:
        return json.loads((self.folder / name).read_text())
