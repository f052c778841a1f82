"""Reads damaged inputs at a border in a process of its own, and watches for crashes, hangs and memory."""

from __future__ import annotations

import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.shared.errors import FibstackError
from tests.fuzz.borders import BORDERS
from tests.fuzz.mutation import damaged

HANGS_AFTER_S = 5
MOST_MEMORY_MIB = 300
_START_S = 120
"""Seconds that a process may take to import what it tests."""
_PROCESSES = multiprocessing.get_context("spawn")


@dataclass
class Figures:
    """Counts of a border, and what was found."""

    executions: int = 0
    crashes: list[str] = field(default_factory=list)
    """Name of the file that holds the input, and the end of the traceback."""
    hangs: list[str] = field(default_factory=list)
    memory_mib: int = 0
    """Largest resident set of the processes."""

    def __str__(self) -> str:
        found = f"{len(self.crashes)} crashes, {len(self.hangs)} hangs"
        return f"{self.executions:,} executions, {found}, {self.memory_mib} MiB at most"


def inputs_of(name: str, seed: int) -> Iterator[tuple[bytes, random.Random]]:
    """The endless damaged inputs of a border, each with the generator that chooses what reads it."""
    border = BORDERS[name]
    number = 0
    while True:
        rng = random.Random(f"{name} {seed} {number}")
        yield damaged(border.inputs, border.tokens, rng), rng
        number += 1


def fuzz(name: str, *, seconds: float, seed: int, keep: Path | None = None) -> Figures:
    """Read damaged inputs at a border for some seconds.

    Args:
        name: Key of `BORDERS`.
        seconds: How long.
        seed: Decides the inputs.
        keep: Folder that gets the inputs that crash or hang; a temporary one by default.
    """
    figures = Figures()
    folder = keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    first, left_s = 0, seconds
    while left_s > 0:
        first, read_s = _watch(name, seed, first, left_s, folder, figures)
        left_s -= read_s
    return figures


def _watch(
    name: str, seed: int, first: int, seconds: float, folder: Path, figures: Figures
) -> tuple[int, float]:
    """Watch one process read inputs from number `first` on.

    Returns:
        The number to go on from, and the seconds that it was reading.
    """
    ours, theirs = _PROCESSES.Pipe(duplex=False)
    process = _PROCESSES.Process(target=_read_all, args=(name, seed, first, seconds, str(folder), theirs))
    process.start()
    theirs.close()
    current = first
    patience_s: float = _START_S
    started = time.monotonic()
    while True:
        try:
            said = ours.recv() if ours.poll(patience_s) else None
        except EOFError:
            process.join()
            if process.exitcode != 0:
                kept = _keep(folder, name, seed, current)
                said = Path(folder, f"{name}.log").read_text(errors="replace")[-2000:]
                figures.crashes.append(f"{kept}: the process ended with {process.exitcode}\n{said}")
            return current + 1, time.monotonic() - started
        if said is None:
            process.kill()
            process.join()
            figures.hangs.append(str(_keep(folder, name, seed, current)))
            return current + 1, time.monotonic() - started
        patience_s = HANGS_AFTER_S
        kind, value = said
        if kind == "ready":
            started = time.monotonic()
        elif kind == "begins":
            current = value
            figures.executions += 1
        elif kind == "crash":
            figures.crashes.append(f"{_keep(folder, name, seed, current)}: {value}")
        else:
            figures.memory_mib = max(figures.memory_mib, value)


def _read_all(name: str, seed: int, first: int, seconds: float, folder: str, pipe: Any) -> None:
    """Read inputs from number `first` on, and say what happens."""
    log = os.open(Path(folder, f"{name}.log"), os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    with BORDERS[name].reader() as read:
        until = time.monotonic() + seconds
        pipe.send(("ready", 0))
        for number, (data, rng) in enumerate(inputs_of(name, seed)):
            if number < first:
                continue
            if time.monotonic() > until:
                break
            pipe.send(("begins", number))
            try:
                read(data, rng)
            except FibstackError:
                pass
            except BaseException:  # what a person would see as a traceback
                pipe.send(("crash", traceback.format_exc()[-2000:]))
        pipe.send(("memory", _most_memory_mib()))
    sys.stdout.flush()
    os._exit(0)


def _most_memory_mib() -> int:
    """Largest resident set of this process; `getrusage` would count that of the one that started it too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _keep(folder: Path, name: str, seed: int, number: int) -> Path:
    """The file that holds an input."""
    rng = random.Random(f"{name} {seed} {number}")
    border = BORDERS[name]
    kept = folder / f"{name}-{seed}-{number}"
    kept.write_bytes(damaged(border.inputs, border.tokens, rng))
    return kept
