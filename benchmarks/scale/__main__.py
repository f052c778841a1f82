"""`python -m benchmarks.scale`: plan the largest stacks, and say what running them would take."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click

from benchmarks.scale.objects import object_sizes
from benchmarks.scale.planning import plan_in_bucket, plan_in_folder
from benchmarks.scale.stacks import QUICK, STACKS, Stack
from benchmarks.scale.table import Scaled, as_markdown, shortfalls
from components.plan.estimate import estimate
from components.plan.work import expected_volume
from components.shared.documents.cost import parse_pods, read_prices
from pipeline.settings import Settings

MOST_BYTES_IN_MEMORY = 10**9
"""A larger stack is planned from a folder alone: the bucket would not fit."""


@click.command()
@click.option("--quick", is_flag=True, help="A small stack, to see that it works.")
def main(quick: bool) -> None:
    """Plan stacks of headers in processes of their own, and estimate the runs."""
    found = []
    for stack in QUICK if quick else STACKS:
        click.echo(f"{stack.name}: planning", err=True)
        found.append(scale(stack))
    click.echo(as_markdown(found))
    for sentence in (sentence for scaled in found for sentence in shortfalls(scaled)):
        click.echo(f"- {sentence}")


def scale(stack: Stack) -> Scaled:
    """All about a stack: its plan from a folder and from a bucket, and the run."""
    settings = Settings()
    with tempfile.TemporaryDirectory(prefix="fibstack-benchmark-") as scratch:
        folder, bucket = (Path(scratch, name) for name in ("folder", "bucket"))
        for path in (folder, bucket):
            path.mkdir()
        planned = [plan_in_folder(stack, folder)]
        if stack.n_slices * stack.least_bytes < MOST_BYTES_IN_MEMORY:
            planned.append(plan_in_bucket(stack, bucket))
    plan = planned[-1].plan
    volume = expected_volume(plan)
    predicted = estimate(plan, volume, parse_pods(settings.pods), read_prices())
    return Scaled(
        stack=stack,
        volume=volume,
        estimate=predicted,
        sizes=object_sizes(plan.config, predicted.steps, settings),
        planned=planned,
    )


if __name__ == "__main__":
    main()
