"""Estimate of a run before it starts: pods, memory, bytes, requests, core-hours and dollars."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from components.plan import storage_requests
from components.plan.encoded_bytes import (
    OutputEstimate,
    encoded_once,
    held_bytes,
    output_estimate,
    process_bytes,
    raw_bytes_at,
    tiles_bytes,
)
from components.plan.rates import RATES
from components.plan.source import SAMPLING
from components.plan.storage_requests import Requests
from components.plan.work import CUT, Work
from components.shared.documents.cost import Bill, CostEstimate, MachinePrices, Pod, Prices
from components.shared.documents.plan import Plan
from components.shared.grid import PyramidPass, Span
from components.shared.steps import MEMORY_OUTPUTS, STEPS, Step
from components.shared.text import GIB, memory_quantity
from components.shared.volume.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """Work, memory, hours and requests of one step; each pass of the pyramid counts as a step."""

    step: str
    """Name of the program, such as pyramid."""
    title: str
    unit: str
    """Unit of its work: slice, slab or block; empty for a step without a loop."""
    n_units: int
    items: tuple[str, ...]
    """Items of its loop; empty for a step without one."""
    memory_bytes: int
    """Peak memory of a pod."""
    core_hours: float
    requests: Requests

    @property
    def n_pods(self) -> int:
        return len(self.items) if self.items else 1

    @property
    def work(self) -> str:
        """Words for the number of units, such as 25 blocks; empty for a step without a loop."""
        return f"{self.n_units:,} {self.unit}{'s' * (self.n_units != 1)}" if self.unit else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Pods, bytes and dollars of a whole run that starts from nothing."""

    steps: tuple[StepEstimate, ...]
    outputs: tuple[OutputEstimate, ...]
    tiles_bytes: int
    """Aligned tiles in tmp/, removed when the run has ended."""
    process_bytes: int
    """Records, thumbnails and exact coarse blocks."""
    bill: Bill

    @property
    def n_pods(self) -> int:
        return sum(step.n_pods for step in self.steps)

    @property
    def core_hours(self) -> float:
        return sum(step.core_hours for step in self.steps)

    @property
    def requests(self) -> Requests:
        return sum((step.requests for step in self.steps), Requests(0, 0))

    @property
    def output_bytes(self) -> int:
        return sum(output.size_bytes for output in self.outputs)


def estimate(plan: Plan, volume: Volume, pods: Mapping[str, Pod], prices: Prices) -> Estimate:
    """Predict a run that starts from nothing.

    Args:
        plan: The plan, as the `plan` step makes it.
        volume: The volume; before slices are aligned, `expected_volume(plan)`.
        pods: Pod of each step.
        prices: Prices of machines and storage.
    """
    work = Work.of(plan, volume)
    measured = {
        "plan": (_estimate_plan(work),),
        "align": (_estimate_align(work),),
        "compose": (_estimate_compose(work),),
        "tile": (_estimate_tile(work, pods["tile"]),),
        "pyramid": tuple(_estimate_pyramid(work, index) for index in range(len(volume.passes))),
        "report": (_estimate_report(work),),
    }
    steps = tuple(
        part for step in STEPS.values() for part in measured.get(step.name) or _starts_alone(step, work)
    )
    outputs = tuple(output_estimate(work, output) for output in volume.outputs)
    results_bytes = sum(output.size_bytes for output in outputs) + process_bytes(work)
    return Estimate(
        steps=steps,
        outputs=outputs,
        tiles_bytes=tiles_bytes(work),
        process_bytes=process_bytes(work),
        bill=bill_of(
            _core_hours(steps),
            [step.requests for step in steps],
            pods,
            prices,
            tiles_bytes=tiles_bytes(work),
            results_bytes=results_bytes,
        ),
    )


def asked_memory(steps: Iterable[StepEstimate], pods: Mapping[str, Pod]) -> dict[str, str]:
    """Memory that the pods of each step ask for on Kubernetes, such as 448Mi.

    It is the estimate with a margin, rounded up, but no more than the settings say. `plan`, which runs before
    anything is known, and the step that runs also where `plan` has failed ask for what the settings say.

    Args:
        steps: The estimate of each step; none where pods ask for what the settings say.
        pods: Pod of each step, as the settings have it.
    """
    peaks: dict[str, int] = {}
    for part in steps:
        peaks[part.step] = max(peaks.get(part.step, 0), part.memory_bytes)
    asked = {
        step: math.ceil(peak * RATES.memory_margin / RATES.memory_step_bytes) * RATES.memory_step_bytes
        for step, peak in peaks.items()
        if step in MEMORY_OUTPUTS
    }
    return {
        step: memory_quantity(round(min(pod.memory_bytes, asked.get(step, math.inf))))
        for step, pod in pods.items()
    }


def cost_estimate(predicted: Estimate, pods: Mapping[str, Pod], prices: Prices) -> CostEstimate:
    """The estimate that `plan` leaves for the report: core-hours and dollars of a run from nothing."""
    return CostEstimate(
        pods=dict(pods), core_hours=_core_hours(predicted.steps), dollars=predicted.bill, prices=prices
    )


def bill_of(
    core_hours: Mapping[str, float],
    requests: Iterable[Requests],
    pods: Mapping[str, Pod],
    prices: Prices,
    *,
    tiles_bytes: int,
    results_bytes: int,
) -> Bill:
    """Dollars for a run.

    Args:
        core_hours: Core-hours of each step.
        requests: Requests of each step.
        pods: Pod of each step.
        prices: Prices of machines and storage.
        tiles_bytes: What is stored while the run goes on.
        results_bytes: What is stored from then on.
    """

    def machines(of: MachinePrices) -> float:
        hours = {step: worked / pods[step].cores / RATES.busy for step, worked in core_hours.items()}
        return sum(n * of.per_hour(pods[step].cores, pods[step].memory_bytes) for step, n in hours.items())

    asked = sum(requests, Requests(0, 0))
    return Bill(
        machines_on_demand=machines(prices.on_demand),
        machines_spot=machines(prices.spot),
        requests=(asked.class_a * prices.class_a_per_1000 + asked.class_b * prices.class_b_per_1000) / 1000,
        tiles_for_a_day=tiles_bytes / GIB * prices.storage_gib_month / 30,
        results_a_month=results_bytes / GIB * prices.storage_gib_month,
    )


def _core_hours(steps: Iterable[StepEstimate]) -> dict[str, float]:
    """Core-hours by step; the passes of the pyramid add up."""
    hours: dict[str, float] = {}
    for step in steps:
        hours[step.step] = hours.get(step.step, 0.0) + step.core_hours
    return hours


def _step_estimate(
    step: str,
    requests: Requests,
    *,
    cpu_s: float,
    memory_bytes: float,
    unit: str = "",
    n_units: int = 1,
    items: Iterable[Span] = (),
    title: str = "",
) -> StepEstimate:
    """The estimate of a step: its work, and the start of its programs with their libraries."""
    texts = tuple(map(str, items))
    starts_s = max(1, len(texts)) * RATES.start_cpu_s.of(step)
    return StepEstimate(
        step=step,
        title=title or step,
        unit=unit,
        n_units=n_units,
        items=texts,
        memory_bytes=round(RATES.libraries_bytes.of(step) + memory_bytes),
        core_hours=(starts_s + cpu_s) / 3600,
        requests=requests,
    )


def _starts_alone(step: Step, work: Work) -> Iterator[StepEstimate]:
    """A step of which no more is known than that its programs start: one estimate for each of its loops."""
    items_of = {"chunks": work.chunk_items, "slabs": work.slab_items, "blocks": work.block_items[0]}
    for items in [items_of.get(loop.items, ()) for loop in step.loops] or [()]:
        yield _step_estimate(step.name, Requests(0, 0), cpu_s=0.0, memory_bytes=0.0, items=items)


def _estimate_plan(work: Work) -> StepEstimate:
    """The header of every file is read, and a few pictures, one at a time: decoded, and reduced."""
    n = len(work.plan.slices)
    width_px, height_px = work.plan.largest_xy
    sampled_mpx = min(SAMPLING.n_slices, n) * work.slice_px() / 1e6
    return _step_estimate(
        "plan",
        storage_requests.plan_requests(work),
        cpu_s=n * work.n_files_per_slice * RATES.header_cpu_s + sampled_mpx * RATES.slice_cpu_s_per_mpx,
        memory_bytes=n * RATES.plan_bytes_per_slice + 2 * width_px * height_px * work.file_bytes_per_px,
    )


def _estimate_align(work: Work) -> StepEstimate:
    """Each slice of a chunk and of its halo is read once, each pair matched once."""
    plan = work.plan
    width_px, height_px = plan.largest_xy
    _, _, part_width_px, part_height_px = plan.matched_part((width_px, height_px))
    share = part_width_px * part_height_px / (width_px * height_px)
    slice_mpx, matched = work.slice_px() / 1e6, share * plan.match_scale**2
    per_slice_s = slice_mpx * (RATES.slice_cpu_s_per_mpx + matched * RATES.features_cpu_s_per_mpx)
    per_pair_s = slice_mpx * matched * RATES.pair_cpu_s_per_mpx
    n_kept = 0 if plan.config.skip_align else plan.config.neighbours + 1
    bytes_per_px = 2 * work.file_bytes_per_px + matched * RATES.sift_bytes_per_px
    return _step_estimate(
        "align",
        storage_requests.align_requests(work),
        cpu_s=work.n_slices_matched * per_slice_s + work.n_pairs * per_pair_s,
        memory_bytes=width_px * height_px * bytes_per_px + n_kept * RATES.waiting_slice_bytes,
        unit="slice",
        n_units=len(plan.slices),
        items=work.chunk_items,
    )


def _estimate_compose(work: Work) -> StepEstimate:
    n = len(work.plan.slices)
    return _step_estimate(
        "compose",
        storage_requests.compose_requests(work),
        cpu_s=n * (RATES.solve_cpu_s_per_slice + RATES.thumbnails_cpu_s_per_slice),
        memory_bytes=n * RATES.compose_bytes_per_slice,
    )


def _estimate_tile(work: Work, pod: Pod) -> StepEstimate:
    """A pod holds a slab; a slice for each thread while it is filled, then its shard while it is encoded."""
    width, height, depth = work.volume.size_xyz
    slab = min(work.volume.slab_depth, depth) * width * height * work.tiles_bytes_per_px
    n_threads = min(RATES.tile_threads, math.ceil(pod.cores))
    bytes_per_px = RATES.tile_bytes_per_px + work.file_bytes_per_px
    if work.plan.config.streaks == "filter":
        bytes_per_px += RATES.streaks_bytes_per_px
    in_work = n_threads * width * height * bytes_per_px
    warped_mpx = len(work.plan.slices) * work.slice_px() / 1e6
    return _step_estimate(
        "tile",
        storage_requests.tile_requests(work),
        cpu_s=warped_mpx * sum(array.n_channels for array in work.volume.arrays) * RATES.tile_cpu_s_per_mpx,
        memory_bytes=max(slab + in_work, RATES.slabs_while_encoded * slab),
        unit="slab",
        n_units=work.volume.n_slabs,
        items=work.slab_items,
    )


def _estimate_pyramid(work: Work, index: int) -> StepEstimate:
    """A block streams by in slabs of a chunk's depth; encoded chunks are kept until their shard is whole."""
    volume = work.volume
    pyramid_pass = volume.passes[index]
    encoded = encoded_once(volume, pyramid_pass)
    x, y, z = (min(pyramid_pass.block, n) for n in pyramid_pass.size_xyz)
    slab = x * y * min(pyramid_pass.chunk, z) * work.tiles_bytes_per_px
    return _step_estimate(
        "pyramid",
        storage_requests.pyramid_requests(work, index),
        cpu_s=_pyramid_cpu_s(volume, pyramid_pass),
        memory_bytes=RATES.slabs_held * slab + sum(held_bytes(work, o, level) for o, level in encoded),
        unit="block",
        n_units=pyramid_pass.n_blocks,
        items=work.block_items[index],
        title=f"pyramid {pyramid_pass.levels[0]} to {pyramid_pass.levels[-1]}",
    )


def _pyramid_cpu_s(volume: Volume, pyramid_pass: PyramidPass) -> float:
    """CPU seconds of a pass, without the starts of its programs."""
    encoded = encoded_once(volume, pyramid_pass)
    lossless_bytes = sum(raw_bytes_at(volume, o, level) for o, level in encoded if o.encoding != "jpeg")
    shown_voxels = math.prod(pyramid_pass.size_xyz) * volume.outputs[0].n_channels
    return (shown_voxels * RATES.jpeg_cpu_s_per_gvx + lossless_bytes * RATES.lossless_cpu_s_per_gb) / 1e9


def task_voxels(volume: Volume) -> int:
    """Voxels of a volume that `pyramid` writes in the time that a task is to take, all outputs together."""
    first = volume.passes[0]
    return math.ceil(math.prod(first.size_xyz) / _pyramid_cpu_s(volume, first) * CUT.task_cpu_s)


def _estimate_report(work: Work) -> StepEstimate:
    n = len(work.plan.slices)
    return _step_estimate(
        "report",
        storage_requests.report_requests(work),
        cpu_s=n * RATES.report_cpu_s_per_slice,
        memory_bytes=n * RATES.report_bytes_per_slice,
    )
