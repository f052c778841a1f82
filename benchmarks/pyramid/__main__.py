"""`python -m benchmarks.pyramid`: make a block, have each writer write it, check, print the table."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from benchmarks.pyramid.limits import LIMITS
from benchmarks.pyramid.measure import Measured, best
from benchmarks.pyramid.readback import check
from benchmarks.pyramid.stack import Stack, make_block
from benchmarks.pyramid.table import Checked, as_markdown, shortfalls
from benchmarks.pyramid.writers import WRITERS, write_info, write_unsharded

ROOT = Path(__file__).parents[2]
UV_RUN = (
    *(str(Path(sys.executable).with_name("uv")), "run", "--quiet", "--no-project", "--active"),
    *("--with-requirements", "requirements/peers.txt"),
)
"""Puts the peers' packages before those of this environment, in a folder of uv's own."""
ROUNDS = {512: (4, 4), 1024: (1, 1)}
"""Sides of the blocks; how often all methods are run in turn, and how many blocks each then writes in its
process: the least time counts."""


@click.command()
@click.option("--quick", is_flag=True, help="512^3 only.")
@click.option("--tile/--no-tile", default=True, show_default=True, help="With the slice of 5000 x 5000 px.")
@click.option(
    "--peers/--no-peers", default=True, show_default=True, help="With those that must be downloaded."
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Keep the tables here.")
def main(quick: bool, tile: bool, peers: bool, out: Path | None) -> None:
    """Measure the pyramid and tile steps against other libraries and against the encoders alone."""
    logging.disable(logging.INFO)
    tables, missed = [], []
    for side, (n_rounds, n_blocks) in ROUNDS.items():
        if quick and side > min(ROUNDS):
            break
        with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
            click.echo(f"{side}^3: making the block", err=True)
            stack = make_block(Path(scratch), side)
            measured, checked = measure(stack, n_rounds, n_blocks, peers)
        tables.append(as_markdown(side, measured, checked))
        missed += shortfalls(side, measured)
    if tile:
        from benchmarks.pyramid.tiling import measure_tile

        with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
            table, sentences = measure_tile(Path(scratch))
        tables.append(table)
        missed += sentences
    text = "\n".join([*tables, *(f"- {sentence}" for sentence in missed)])
    click.echo("\n" + text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")


def measure(
    stack: Stack, n_rounds: int, n_blocks: int, peers: bool
) -> tuple[dict[str, Measured], dict[str, Checked]]:
    """Every method in turn, several times; what a writer has written last is read back."""
    names = [*LIMITS, *(name for name in WRITERS if peers or not _is_apart(name))]
    write_unsharded(stack)
    runs: dict[str, list[Measured]] = {name: [] for name in names}
    checked = {}
    for number in range(n_rounds):
        for name in names:
            runs[name].append(run_apart(stack, name, n_blocks))
            click.echo(f"{name}: {runs[name][-1].cpu_s:.3f} CPU s", err=True)
            if name in WRITERS and number == n_rounds - 1:
                checked[name] = _check(stack, name)
    return {name: best(found) for name, found in runs.items()}, checked


def _is_apart(name: str) -> bool:
    """Whether a writer's packages would not go together with those of the tests."""
    return name.partition(",")[0] in ("cloud-volume", "igneous")


def _check(stack: Stack, name: str) -> Checked:
    volumes, _ = WRITERS[name]
    ours = name.startswith("fibstack")
    if ours:  # the step `report` writes it when all is there
        for output in stack.volume.outputs:
            if Path(output.uri).exists():
                write_info(stack.volume, output)
    return check(stack, volumes, exact=not name.startswith("cloud-volume"))


def run_apart(stack: Stack, name: str, n_blocks: int = 1) -> Measured:
    """A method in a fresh process, with all cores that this one may use, so many times in it."""
    out = stack.folder / "measured.json"
    python = [*UV_RUN, "python"] if _is_apart(name) else [sys.executable]
    command = [*python, "-m", "benchmarks.pyramid.method", name, str(stack.folder), str(out), str(n_blocks)]
    done = subprocess.run(
        command,
        cwd=ROOT,
        # As programs of steps run: the threads of OpenBLAS, which nothing here uses, would spin for a while.
        env=os.environ | {"VIRTUAL_ENV": sys.prefix, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise click.ClickException(f"{name} ended with {done.returncode}:\n{done.stderr}")
    return Measured.model_validate_json(out.read_text())


if __name__ == "__main__":
    main()
