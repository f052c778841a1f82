"""Solve for the transform of every slice, judge the result, and list the work that is left."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable
from statistics import median

import click
import cv2

from components.compose.documents import (
    AlignFindings,
    placed_transforms,
    read_findings,
    transforms_of,
    with_displacements,
    write_documents,
)
from components.compose.judge.classify import classify
from components.compose.judge.replacement import actions_of
from components.compose.judge.slice_figures import figures_of
from components.compose.look import told_by_thumbnails
from components.compose.preview.write import refusal
from components.compose.rows.jitter import row_jitter
from components.compose.solve.place import Placement, place
from components.compose.warps.soft import soft_warps
from components.shared.command import StepCommand, write_parameter
from components.shared.documents.plan import Plan, plan_in
from components.shared.documents.preview import Preview
from components.shared.documents.thickness import Thickness
from components.shared.documents.transforms import Transforms
from components.shared.errors import ConfigError, FibstackError, UserError
from components.shared.grid import Span, group
from components.shared.pictures.streaks import is_worth_telling
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from components.shared.stub.program import or_stub
from components.shared.work.left import WorkLeft, note_before_work, work_left
from components.shared.work.refusal import leave_refusal
from components.shared.work.run import Run
from components.shared.work.superseded import superseded_files
from components.shared.work.units import block_items

log = logging.getLogger(__name__)


@click.command(cls=StepCommand)
@click.option("--process-uri", required=True, help="Where the records of the run lie.")
@click.option("--slabs-out", required=True, help="File that receives the slabs to tile.")
@click.option("--blocks-out", required=True, help="File that receives the blocks to write, levels 0 to 4.")
@click.option("--coarse-blocks-out", required=True, help="The same for levels 5 to 9.")
@click.option("--top-blocks-out", required=True, help="The same for levels 10 and above.")
@or_stub("compose")
def main(
    process_uri: str, slabs_out: str, blocks_out: str, coarse_blocks_out: str, top_blocks_out: str
) -> None:
    """Solve for the transform of every slice and list the work that is left."""
    cv2.setNumThreads(1)
    process = open_store(process_uri)
    try:
        plan = plan_in(process)
        run, left = solve_and_list(plan, process)
    except (UserError, ConfigError) as error:
        _leave_refusal(error, process)
        raise
    _log_left(left)
    write_parameter(slabs_out, _texts(group(left.slabs, plan.fan)))
    passes = run.volume.passes
    for index, path in enumerate((blocks_out, coarse_blocks_out, top_blocks_out)):
        items = block_items(plan, passes[index], left.blocks[index]) if index < len(passes) else []
        write_parameter(path, _texts(items))


def solve_and_list(plan: Plan, process: Store) -> tuple[Run, WorkLeft]:
    """Solve, write the result, and list the work that is left.

    Raises:
        UserError: the slices cannot be solved for, or do not pass the check on thumbnails.
    """
    findings = _findings(plan, process)
    placement = place(plan, findings.pairs)
    transforms = judged(plan, placement, findings)
    _log_result(placement, transforms)
    _log_streaks(plan, findings, transforms.intensity_range)
    told = told_by_thumbnails(plan, transforms, findings, process)
    transforms, preview = told.transforms, told.preview
    _log_flicker(transforms)
    _log_thickness(told.thickness)
    if plan.config.z == "correct":
        _log_evened(transforms)
    write_documents(plan, placement, transforms, told.thickness, findings, process)
    _log_preview(preview)
    if preview.gate.stops_the_run:
        raise refusal(plan, preview)
    run = Run.of(process, plan, transforms)
    superseded = superseded_files(run)
    left = work_left(run, superseded)
    note_before_work(run, left, superseded)
    return run, left


def _findings(plan: Plan, process: Store) -> AlignFindings:
    """The records of `align`, in which Python looks for no cycle again and again: there is none."""
    gc.disable()
    try:
        return read_findings(plan, process)
    finally:
        gc.freeze()
        gc.enable()


def _leave_refusal(error: UserError | ConfigError, process: Store) -> None:
    """Write why the run is refused."""
    try:
        leave_refusal(process, "compose", error)
    except FibstackError as failure:
        log.warning("the report cannot say why the run is refused: %s", failure)


def judged(plan: Plan, placement: Placement, findings: AlignFindings) -> Transforms:
    """The transforms of the slices that are shown, after figures, verdict and action of each slice.

    Raises:
        UserError: too many slices in a row are bad, or an override cannot be followed.
    """
    if findings.places is not None:
        return placed_transforms(plan, findings.places, findings.statistics)
    problem, isolated = placement.problem, placement.isolated
    figures = figures_of(problem, placement.solution, isolated, findings.statistics, findings.pairs)
    verdicts = classify(figures)
    actions = actions_of(plan.config, problem.stack.z, verdicts, ~isolated, plan.overrides)
    transforms = transforms_of(plan, placement, actions, findings.statistics)
    if plan.config.refine == "none" or plan.config.skip_align:
        return transforms
    ordinary_z, z = _is_ordinary(transforms), problem.stack.z
    jitter = row_jitter(findings.pairs, problem, placement.solution, ordinary_z)
    warps = soft_warps(findings.pairs, problem, placement.solution, ordinary_z, jitter.of_slots)
    return with_displacements(transforms, z, jitter, warps)


def _is_ordinary(transforms: Transforms) -> frozenset[int]:
    """The z of the slices that are good and shown as they are."""
    return frozenset(entry.z for entry in transforms.slices if entry.is_ordinary)


def _log_left(left: WorkLeft) -> None:
    n_blocks = " + ".join(str(len(blocks)) for blocks in left.blocks)
    log.info("left to do: %d slabs, %s blocks", len(left.slabs), n_blocks)


def _texts(items: Iterable[Span]) -> list[str]:
    return [str(item) for item in items]


def _log_result(placement: Placement, transforms: Transforms) -> None:
    width, height, depth = transforms.volume_size_xyz
    log.info("volume of %d x %d x %d voxels", width, height, depth)
    kept = placement.solution.kept
    log.info("%d of %d accepted pairs are believed", int(kept.sum()), len(kept))
    if placement.n_parts > 1:
        log.warning("the stack is in %d parts; where each begins its offset is unknown", placement.n_parts)
    for entry in transforms.slices:
        if entry.verdict != "good":
            log.warning("%s (%s)", entry.description, entry.evidence)
    for warning in placement.trends.warnings:
        log.warning("%s", warning)
    jitter = transforms.row_jitter
    if jitter is not None:
        log.info(
            "rows jitter by %.2f px along x and %.2f px along y; those of %d slices are moved back",
            *(*jitter.found_xy_px, jitter.n_slices),
        )
    warp = transforms.soft_warp
    if warp is not None:
        log.info(
            "slices are warped by %.2f px along x and %.2f px along y; %d of them are straightened",
            *(*warp.found_xy_px, warp.n_slices),
        )
    log.info("trend %s: %s", placement.trends.policy, placement.trends.suggestion)


def _log_flicker(transforms: Transforms) -> None:
    n_flicker = sum(entry.grey_line is not None for entry in transforms.slices)
    if n_flicker:
        log.info(
            "%d of %d slices flicker, and get the grey levels of those around",
            n_flicker,
            sum(bool(entry.uri) for entry in transforms.slices),
        )


def _log_thickness(thickness: Thickness) -> None:
    if thickness.unknown:
        log.info("thickness: %s", thickness.unknown)
    elif thickness.spread is not None:
        log.info("steps along z differ from even ones by %.2f of a step (RMS)", thickness.spread)
    for uneven in thickness.uneven:
        log.warning("%s", uneven.description)


def _log_evened(transforms: Transforms) -> None:
    n_evened = sum(entry.shown_z is not None for entry in transforms.slices)
    log.info("%d of %d planes show another slice, which lies nearer", n_evened, len(transforms.slices))


def _log_streaks(plan: Plan, findings: AlignFindings, shown: tuple[float, float]) -> None:
    """Say what a filter of streaks gains and damages, where it is worth it and people see them."""
    known = [own.streaks for own in findings.statistics.values() if own.streaks is not None]
    worth = [streaks for streaks in known if is_worth_telling(streaks.gain, streaks.damage, shown)]
    if worth:
        log.warning(
            "%d of %d slices have streaks: a filter takes %.1f grey levels of them, %.1f of tissue; %s",
            *(len(worth), len(known), median(s.gain for s in worth), median(s.damage for s in worth)),
            "they are filtered" if plan.config.streaks == "filter" else "--set streaks=filter filters them",
        )


def _log_preview(preview: Preview) -> None:
    if preview.median_after is not None:
        log.info("NCC of neighbouring slices, on thumbnails: %.3f (median)", preview.median_after)
    for failure in preview.gate.failures + preview.gate.remarks:
        log.warning("the check on thumbnails: %s", failure)


if __name__ == "__main__":
    main()
