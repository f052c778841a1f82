"""`python -m benchmarks.pyramid.in_bucket`: the memory of `fibstack-pyramid` in a bucket against a folder.

The bucket of gs:// is an emulator's on the loopback, a process of its own that keeps its objects on disk.
One of s3:// is given, on the server to which the variables AWS_* lead.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import click
from google.cloud import storage

from benchmarks.pyramid.__main__ import run_apart
from benchmarks.pyramid.measure import Measured, best
from benchmarks.pyramid.stack import Stack, make_block
from benchmarks.scale.emulator import running_emulator
from components.shared.documents.plan import PLAN_KEY
from components.shared.storage.registry import open_store

GOALS_MIB = {"fibstack, JPEG": 819, "fibstack, JPEG + chunk/ + raw": 1229}
"""0.8 and 1.2 GiB."""
OF_EMULATOR = "gs://block"


@click.command()
@click.option("--side", default=1024, show_default=True, help="Of the block, in voxels.")
@click.option("--rounds", default=2, show_default=True, help="The least memory of these counts.")
@click.option("--bucket", default="", help="An empty bucket s3://NAME that is measured as well.")
def main(side: int, rounds: int, bucket: str) -> None:
    """Measure the peak memory of the pyramid step that reads tiles from a bucket and writes shards to it."""
    logging.disable(logging.INFO)
    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        stack = make_block(Path(scratch, "block"), side)
        places = ["file://", OF_EMULATOR, *([bucket] if bucket else [])]
        measured = measure(stack, Path(scratch), rounds, places)
    click.echo(as_markdown(side, measured, places))


def measure(stack: Stack, scratch: Path, rounds: int, places: list[str]) -> dict[tuple[str, str], Measured]:
    """What each set of volumes costs in each place, the least of several rounds."""
    found: dict[tuple[str, str], list[Measured]] = {}
    for place in places:
        with running_emulator(scratch, on_disk=True):
            if place == OF_EMULATOR:
                storage.Client(project="test").create_bucket("block")
            if place != "file://":
                move_to_bucket(stack, place)
            for name in GOALS_MIB:
                for _ in range(rounds):
                    found.setdefault((name, place), []).append(run_apart(stack, name))
    return {key: best(runs) for key, runs in found.items()}


def move_to_bucket(stack: Stack, uri: str) -> None:
    """Have the plan say that tiles and volumes lie in a bucket, and put the tiles there."""
    plan = stack.plan
    parts = ("tmp", "neuroglancer", "chunk")
    locations = plan.locations.model_copy(update={f"{part}_uri": f"{uri}/{part}" for part in parts})
    tiles, bucket = open_store(str(stack.output / "tmp")), open_store(locations.tmp_uri)
    for tile in tiles.list():
        bucket.write(tile.key, tiles.read(tile.key))
    moved = plan.model_copy(update={"locations": locations})
    open_store(str(stack.process)).write(PLAN_KEY, moved.to_json())


def as_markdown(side: int, measured: dict[tuple[str, str], Measured], places: list[str]) -> str:
    """A table of the peaks against their goals."""
    heads = " | ".join(f"{place.partition('//')[0]}// MiB" for place in places)
    rows = [f"| block | volumes | {heads} | goal |", f"|---|---|{'---:|' * len(places)}---:|"]
    for name, goal_mib in GOALS_MIB.items():
        peaks = " | ".join(f"{measured[name, place].peak_mib:.0f}" for place in places)
        rows.append(f"| {side}^3 | {name.removeprefix('fibstack, ')} | {peaks} | {goal_mib} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
