"""A design as a page to read, and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from commands.design.concerns import slice_ranges
from commands.design.estimates import Design
from commands.design.here import Here
from components.plan.estimate import StepEstimate
from components.shared.documents.plan import VoxelSize
from components.shared.steps import STEPS
from components.shared.text import count, duration, product, size

_LONG_S = 600.0
"""Seconds of a run beyond which tables tell what they are spent on."""


def print_design(console: Console, design: Design, *, on_kfp: bool = False) -> None:
    """Print what a run would do and cost, and what looks wrong.

    Args:
        console: Where it is printed.
        design: The run before it starts.
        on_kfp: Say what Kubeflow Pipelines adds to it.
    """
    if design.here is not None:
        console.print(_facts_table(design))
        if design.here.wall_s >= _LONG_S:
            console.print("", _time_table(design.here), "", _bytes_table(design), sep="\n")
    else:
        console.print(_on_a_cluster(design, on_kfp=on_kfp))
    for sentence in _assumed(design.plan.voxel):
        console.print(Text(f"\nAssumed: {sentence}"), soft_wrap=True)
    console.print(Text(f"\n{design.plan.lossless_grey_levels}"), soft_wrap=True)
    if design.concerns:
        console.print("\nLook at:")
        for sentence in design.concerns:
            console.print(Text(f"- {sentence}"), soft_wrap=True)
    else:
        console.print("\nNothing looks wrong with the input.")


def _assumed(voxel: VoxelSize) -> Iterator[str]:
    """The sentence on sides of a voxel that nobody has told."""
    x_nm, y_nm, z_nm = voxel.xyz_nm
    if voxel.origin == "assumed":
        yield (
            f"pixels of {x_nm:g} nm, since no file tells their size, and slices as thick. Say it with "
            "--set 'resolution=[X, Y, THICKNESS]', in nm."
        )
    elif voxel.origin == "files":
        yield (
            f"slices of {z_nm:g} nm, as thick as a pixel is wide, since no file tells it. Say it with "
            f"--set 'resolution=[{x_nm:g}, {y_nm:g}, THICKNESS]', in nm."
        )


def _scale_in_words(scale: float) -> str:
    """Words for the scale at which slices are matched.

    Example:
        >>> _scale_in_words(1.0), _scale_in_words(0.256)
        ('at full resolution', 'at 0.256 of full resolution')
    """
    return "at full resolution" if scale == 1 else f"at {scale:.3g} of full resolution"


def _on_a_cluster(design: Design, *, on_kfp: bool) -> Group:
    """Pods, bytes and dollars."""
    return Group(
        _facts_table(design),
        "",
        _steps_table(design),
        *([Text(_kfp_pods(design.estimate.steps))] if on_kfp else []),
        "",
        _bytes_table(design),
        "",
        _dollars_table(design),
    )


def as_json(design: Design) -> str:
    """The design as JSON for programs, in bytes, hours and dollars."""
    predicted = design.estimate
    values: dict[str, Any] = {
        "config": design.plan.config.model_dump(mode="json"),
        "n_slices": len(design.plan.slices),
        "missing_z": design.plan.missing_z,
        "largest_xy_px": design.plan.largest_xy,
        "pixel_type": design.plan.pixel_type,
        "voxel": dataclasses.asdict(design.plan.voxel)
        | {"told": told.model_dump() if (told := design.plan.voxel.told) else None},
        "match_scale": design.plan.match_scale,
        "volume_size_xyz": design.volume.size_xyz,
        "levels": len(design.volume.outputs[0].levels),
        "n_pods": predicted.n_pods,
        "core_hours": predicted.core_hours,
        "steps": [
            dataclasses.asdict(step) | {"n_pods": step.n_pods, "asked_memory": design.asked_memory[step.step]}
            for step in predicted.steps
        ],
        "outputs": [dataclasses.asdict(output) for output in predicted.outputs],
        "tiles_bytes": predicted.tiles_bytes,
        "process_bytes": predicted.process_bytes,
        "dollars": predicted.bill.model_dump()
        | {"on_demand": predicted.bill.on_demand, "spot": predicted.bill.spot},
        "prices": design.prices.model_dump(mode="json"),
        "concerns": design.concerns,
        "refusal": design.refusal,
        "n_slices_done": design.n_slices_done,
        "here": design.here and dataclasses.asdict(design.here) | {"wall_s": design.here.wall_s},
    }
    return json.dumps(values, indent=1)


def _facts_table(design: Design) -> Table:
    plan, volume = design.plan, design.volume
    width_px, height_px = plan.largest_xy
    n_files = len(plan.slices) * len(plan.file_channels)
    stored = sum(s.size_bytes + sum(file.size_bytes for file in s.more_channels) for s in plan.slices)
    n_channels = sum(plan.file_channels)
    gaps = f"{len(plan.missing_z)} missing ({slice_ranges(plan.missing_z)})" if plan.missing_z else "no gap"
    channels = f", {n_channels} channels" if n_channels > 1 else ""
    levels = volume.outputs[0].levels
    table = _plain_table("", "")
    table.show_header = False
    for name, text in (
        ("source", f"{plan.config.source}/{plan.config.image}"),
        (
            "slices",
            f"{len(plan.slices):,} of at most {width_px:,} x {height_px:,} px, "
            f"{'8' if plan.pixel_type == 'uint8' else '16'} bit{channels}; {gaps}; "
            f"{size(stored)} in {n_files:,} files",
        ),
        (
            "volume",
            f"{product(volume.size_xyz, thousands=True)} voxels of "
            f"{product(volume.resolution_nm, thousands=True)} nm ({plan.voxel.source}), "
            f"levels {levels[0]} to {levels[-1]}; larger by what the stack drifts",
        ),
        ("matching", f"{_scale_in_words(plan.match_scale)}, {plan.config.neighbours} neighbours"),
        ("output", plan.config.output),
    ):
        table.add_row(name, Text(text))
    if design.here is not None:
        for name, text in _needs(design.here):
            table.add_row(name, Text(text))
    if design.n_slices_done:
        table.add_row(
            "done", f"{count(design.n_slices_done, 'slice')} are matched already; figures are of a whole run"
        )
    return table


def _needs(here: Here) -> Iterator[tuple[str, str]]:
    """Time, memory and disk of a run on this machine."""
    cores = count(here.cores, "core") if here.jobs == here.cores else f"{here.jobs} of {here.cores} cores"
    yield "time", f"about {duration(here.wall_s)} on {cores} of this machine"
    yield "memory", f"{size(here.used_bytes)} at a time, of {size(here.machine_bytes)}"
    written = f"{size(here.stored_bytes)} are written, of which {size(here.kept_bytes)} stay"
    free = "" if here.free_bytes is None else f"; {size(here.free_bytes)} are free"
    yield "disk" if here.free_bytes is not None else "storage", f"{written}{free}"


def _time_table(here: Here) -> Table:
    table = _plain_table("step", "time")
    for title, seconds in here.steps_s:
        table.add_row(title, duration(seconds))
    return table


def _steps_table(design: Design) -> Table:
    table = _plain_table(
        "step", "work", "pods", "a pod", "memory", "asks for", "core-hours", "writes", "reads"
    )
    for step in design.estimate.steps:
        table.add_row(
            step.title,
            step.work,
            f"{step.n_pods:,}",
            f"{math.ceil(step.n_units / step.n_pods):,}" if step.unit else "",
            size(step.memory_bytes),
            design.asked_memory[step.step],
            _hours_text(step.core_hours),
            f"{step.requests.class_a:,}",
            f"{step.requests.class_b:,}",
        )
    whole = design.estimate
    requests = whole.requests
    table.add_section()
    table.add_row(
        "all", "", f"{whole.n_pods:,}", "", size(_largest_memory(whole.steps)), "",
        _hours_text(whole.core_hours), f"{requests.class_a:,}", f"{requests.class_b:,}",
    )  # fmt: skip
    return table


def _kfp_pods(steps: tuple[StepEstimate, ...]) -> str:
    """The pods that Kubeflow Pipelines starts: two drivers for each item, one for each loop and each group.

    A step without a loop has a driver too; the groups are the run and what its report waits for.
    """
    n_items = sum(step.n_pods for step in steps if step.items)
    n_alone = sum(not step.items for step in steps)
    n_loops = sum(len(step.loops) for step in STEPS.values())
    n_pods = 3 * n_items + 2 * n_alone + n_loops + 2
    return (
        f"On Kubeflow Pipelines {n_pods:,} pods, with its drivers; an item takes 20 to 30 s there beside "
        "its work."
    )


def _bytes_table(design: Design) -> Table:
    table = _plain_table("bytes", "", "files", "size")
    whole = design.estimate
    for output in whole.outputs:
        table.add_row(Text(output.uri), output.encoding, f"{output.n_files:,}", size(output.size_bytes))
    locations = design.plan.locations
    table.add_row(Text(locations.process_uri), "records", "", size(whole.process_bytes))
    table.add_row(Text(locations.tmp_uri), "until the end", "", size(whole.tiles_bytes))
    return table


def _dollars_table(design: Design) -> Table:
    bill, prices = design.estimate.bill, design.prices
    table = _plain_table(f"dollars, at prices of {prices.region}, {prices.date}", "on demand", "spot")
    table.add_row("machines", f"{bill.machines_on_demand:,.2f}", f"{bill.machines_spot:,.2f}")
    for name, amount in (("requests", bill.requests), ("tiles, for a day", bill.tiles_for_a_day)):
        table.add_row(name, *[f"{amount:,.2f}"] * 2)
    table.add_section()
    table.add_row("the run", f"{bill.on_demand:,.2f}", f"{bill.spot:,.2f}")
    table.add_row("results, a month", *[f"{bill.results_a_month:,.2f}"] * 2)
    return table


def _plain_table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(first, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right" if column else "left", overflow="fold")
    return table


def _largest_memory(steps: tuple[StepEstimate, ...]) -> int:
    return max(step.memory_bytes for step in steps)


def _hours_text(hours: float) -> str:
    return f"{hours:,.1f}" if hours >= 10 else f"{hours:.2f}"
