"""One writer or limit on one stack, in a process of its own, whose time and memory are its own too."""

from __future__ import annotations

import importlib
import os
import warnings
from pathlib import Path

import click

from benchmarks.pyramid.limits import LIMITS
from benchmarks.pyramid.measure import Clock, Measured, best, peak_mib
from benchmarks.pyramid.stack import Stack
from benchmarks.pyramid.writers import MODULES, WRITERS, clear


@click.command()
@click.argument("name", type=click.Choice([*WRITERS, *LIMITS]))
@click.argument("folder", type=click.Path(exists=True, path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.argument("n_times", type=int)
def main(name: str, folder: Path, out: Path, n_times: int) -> None:
    """Have a writer or a limit work on the stack in FOLDER N_TIMES and write what it has cost to OUT.

    A task's program writes many blocks, so that the least of several in one process counts.
    """
    warnings.simplefilter("ignore")  # of the peers' own dependencies
    for module in MODULES.get(name.partition(",")[0], ()):
        importlib.import_module(module)
    stack, n_threads = Stack(folder), len(os.sched_getaffinity(0))
    measure = _write if name in WRITERS else _reach_limit
    out.write_text(best([measure(name, stack, n_threads) for _ in range(n_times)]).model_dump_json())


def _write(name: str, stack: Stack, n_threads: int) -> Measured:
    names, write = WRITERS[name]
    clear(stack)
    clock, start = Clock(), Clock()
    with clock:
        write(stack, n_threads)
    if name.startswith("fibstack"):
        with start:  # the same program once more, now that the block is written
            write(stack, n_threads)
    n_bytes = sum(p.stat().st_size for n in names for p in (stack.output / n).rglob("*.shard"))
    return _measured(name, clock, start, n_bytes)


def _reach_limit(name: str, stack: Stack, n_threads: int) -> Measured:
    clock = Clock()
    n_bytes = LIMITS[name](stack, n_threads, clock)
    return _measured(name, clock, Clock(), n_bytes)


def _measured(name: str, clock: Clock, start: Clock, n_bytes: int) -> Measured:
    return Measured(
        name=name,
        wall_s=clock.wall_s,
        cpu_s=clock.cpu_s,
        start_cpu_s=start.cpu_s,
        peak_mib=peak_mib(),
        n_bytes=n_bytes,
    )


if __name__ == "__main__":
    main()
