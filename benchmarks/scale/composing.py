"""`python -m benchmarks.scale.composing`: `compose` on tall stacks by part, and `report` after it.

`plan` lists files of which there is nothing but the header; the records of `align` are made up (evidence.py).
The real program works on them in a process of its own, whose functions are timed where its modules call them.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.end_to_end.table import growth
from pipeline.here.processes import Processes

SIDE_PX = 5_000
HEIGHTS = (1_000, 4_000, 13_696)
ROUNDS = 3
PARTS = {
    "read": ("components.compose.main", "plan_in", "read_findings"),
    "solve": ("components.compose.main", "place"),
    "uncertainty": ("components.compose.solve.place", "observed_spread", "normal_equations", "uncertainty"),
    "judge": ("components.compose.main", "judged"),
    "look at thumbnails": ("components.compose.main", "told_by_thumbnails"),
    "write": ("components.compose.main", "write_documents"),
}
"""Module and functions of each part of `compose`; what is left is the list of the work left."""
_PROGRAM = """
import importlib, json, sys, time
spent, inner = {}, []

def timed(part, function):
    def call(*given, **named):
        inner.append(0.0)
        begun = time.process_time()
        try:
            return function(*given, **named)
        finally:
            took = time.process_time() - begun
            spent[part] = spent.get(part, 0.0) + took - inner.pop()
            if inner:
                inner[-1] += took
    return call

parts, out, argv = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3:]
for part, (module, *names) in parts.items():
    loaded = importlib.import_module(module)
    for name in names:
        setattr(loaded, name, timed(part, getattr(loaded, name)))
from components.compose.main import main
spent["start"] = time.process_time()
try:
    main(argv, standalone_mode=False)
finally:
    with open(out, "w") as file:
        json.dump(spent, file)
"""
"""The program of `compose`, with a clock around some of its functions; inner ones count for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Composed:
    """Time and memory of `compose` on a stack: of some rounds the one with the least CPU seconds."""

    n_slices: int
    cpu_s: float
    wall_s: float
    peak_bytes: int
    parts_s: dict[str, float]
    """CPU seconds of each part."""
    report_cpu_s: float
    """CPU seconds of `report` on this run, which has no volume."""
    report_peak_bytes: int


@click.command()
@click.option("--quick", is_flag=True, help="64 slices, once, to see that it works.")
@click.option("--slices", "heights", type=int, multiple=True, help="Only stacks of so many slices.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the stacks and their records here (0.2 MB a slice); those that are there are not made again.",
)
def main(quick: bool, heights: tuple[int, ...], out: Path | None) -> None:
    """Measure CPU seconds and peak memory of `compose` on made-up records of tall stacks."""
    heights, rounds = ((64,), 1) if quick else (heights or HEIGHTS, ROUNDS)
    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        found = [composed(n, (out or Path(scratch)) / str(n), rounds) for n in heights]
    click.echo("\n".join(as_markdown(found)))
    click.echo(f"\nLoad of the machine over the last 15 minutes: {os.getloadavg()[2]:.1f}")


def composed(n_slices: int, folder: Path, rounds: int) -> Composed:
    """Run `compose` on a stack some times, each from nothing; the least counts."""
    if not (folder / "out/process/align").exists():
        click.echo(f"{n_slices:,} slices: making the records of align", err=True)
        # In a process of its own: what this one holds would count as memory of those that it starts.
        maker = multiprocessing.get_context("spawn").Process(target=_make, args=(n_slices, folder))
        maker.start()
        maker.join()
        if maker.exitcode:
            raise RuntimeError(f"making the records of {n_slices} slices ended with {maker.exitcode}")
    click.echo(f"{n_slices:,} slices: running compose", err=True)
    return min((_run(n_slices, folder) for _ in range(rounds)), key=lambda one: one.cpu_s)


def _make(n_slices: int, folder: Path) -> None:
    """Plan a stack of headers, and write what `align` would leave of it."""
    from benchmarks.scale.evidence import write_evidence
    from benchmarks.scale.planning import plan_in_folder
    from benchmarks.scale.stacks import Stack

    folder.mkdir(parents=True, exist_ok=True)
    write_evidence(plan_in_folder(Stack(str(n_slices), n_slices, SIDE_PX), folder).plan)


def _run(n_slices: int, folder: Path) -> Composed:
    process, spent, log = folder / "out/process", folder / "parts.json", folder / "compose.log"
    # With the records of what is told by thumbnails there would be nothing to look at.
    for unit in ("thickness", "preview"):
        (process / f"records/compose/{unit}.json").unlink(missing_ok=True)
    outs = [
        text
        for name in ("slabs", "blocks", "coarse-blocks", "top-blocks")
        for text in (f"--{name}-out", name)
    ]
    argv = [
        sys.executable,
        "-c",
        _PROGRAM,
        json.dumps(PARTS),
        str(spent),
        "--process-uri",
        str(process),
        *outs,
    ]
    os.environ["PYTHONPATH"] = str(Path.cwd())
    ended = Processes().run(argv, folder, log)
    if ended.exit_code:
        raise RuntimeError(f"compose ended with {ended.exit_code}:\n{log.read_text()[-3000:]}")
    argv = [
        sys.executable,
        "-m",
        "components.report.main",
        "--output",
        str(folder / "out"),
        "--status",
        "Failed",
    ]
    report = Processes().run(argv, folder, log)
    told = json.loads(spent.read_text())
    parts_s = {part: told[part] for part in ("start", *PARTS)}
    parts_s["list of the work left"] = ended.cpu_s - sum(parts_s.values())
    return Composed(
        n_slices=n_slices,
        cpu_s=ended.cpu_s,
        wall_s=ended.wall_s,
        peak_bytes=ended.peak_bytes,
        parts_s=parts_s,
        report_cpu_s=report.cpu_s,
        report_peak_bytes=report.peak_bytes,
    )


def as_markdown(found: Sequence[Composed]) -> list[str]:
    """The parts of each stack, what they take together, and the exponent with which that grows."""
    heights = [one.n_slices for one in found]
    rows = [(part, [one.parts_s[part] for one in found]) for part in found[0].parts_s]
    rows += [("**all**", [one.cpu_s for one in found])]
    rows += [("all but the start", [one.cpu_s - one.parts_s["start"] for one in found])]
    lines = [
        f"| CPU s | {' | '.join(f'{n:,} slices' for n in heights)} | growth |",
        "|---|" + "---:|" * (len(found) + 1),
    ]
    for name, seconds in rows:
        told = f"{growth(heights, seconds):.2f}" if len(found) > 1 else ""
        lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in seconds)} | {told} |")
    for name, values in (
        ("wall s", [one.wall_s for one in found]),
        ("peak MB", [one.peak_bytes / 1e6 for one in found]),
        ("`report`, without a volume: CPU s", [one.report_cpu_s for one in found]),
        ("`report`, without a volume: peak MB", [one.report_peak_bytes / 1e6 for one in found]),
    ):
        lines.append(f"| {name} | {' | '.join(f'{value:.0f}' for value in values)} | |")
    return lines


if __name__ == "__main__":
    main()
