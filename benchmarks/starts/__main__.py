"""`python -m benchmarks.starts`: print what programs take to start, and what of a local run that is."""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from benchmarks.starts.measure import Starts, starts

ROUNDS = 5
QUICK_SAMPLE = ("--size", "128x128", "--slices", "6")


@click.command()
@click.option("--quick", is_flag=True, help="One round and a small sample, to see that it works.")
def main(quick: bool) -> None:
    """Measure the CPU seconds that each command's help and each step's program take to start."""
    found = starts(1, QUICK_SAMPLE) if quick else starts(ROUNDS)
    for line in as_markdown(found):
        click.echo(line)
    click.echo(f"\nLoad of the machine over the last 15 minutes: {os.getloadavg()[2]:.1f}")


def as_markdown(found: Starts) -> Iterator[str]:
    """Three tables: the helps of commands, the programs of steps, and a local run of the sample."""
    yield from ("| help of | CPU s |", "|---|---:|")
    for name, cpu_s in found.helps_s.items():
        yield f"| `{' '.join(['fibstack', name]).strip()}` | {cpu_s:.2f} |"
    yield from ("", "| program | help, CPU s | at work, CPU s |", "|---|---:|---:|")
    for step, cpu_s in found.steps_help_s.items():
        yield f"| {step} | {cpu_s:.2f} | {found.steps_work_s[step]:.2f} |"
    yield from ("", "| step | programs | their starts, CPU s | all, CPU s |", "|---|---:|---:|---:|")
    whole = [0.0, 0.0]
    for step, use in found.steps.items():
        start_s = use.n_tasks * found.steps_work_s[step]
        yield f"| {step} | {use.n_tasks} | {start_s:.1f} | {use.cpu_s:.1f} |"
        whole = [whole[0] + start_s, whole[1] + use.cpu_s]
    n_tasks = sum(use.n_tasks for use in found.steps.values())
    yield f"| **all** | {n_tasks} | {whole[0]:.1f} | {whole[1]:.1f} |"


if __name__ == "__main__":
    main()
