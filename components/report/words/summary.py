"""Fills in the run document: the figures of a run, and the sentences that the terminal prints."""

from __future__ import annotations

from collections.abc import Iterator

from components.report.gather import RunEvidence
from components.report.run_document import PlaneMotion, RunDocument, StandingOut, images_used, versions
from components.report.run_status import RunStatus
from components.report.slice_table import column, largest, median
from components.report.words.bad_slices import MOST_CARDS, bad_slices, bad_slices_sentence
from components.report.words.fill_values import fill_sentences
from components.report.words.flicker_and_streaks import flicker_sentence, streak_sentence
from components.report.words.run_verdict import (
    STOPPED,
    ending,
    is_held_back,
    is_stopped_by_check,
    run_verdict,
)
from components.report.words.thickness import thickness_sentences
from components.report.words.warped_slices import jitter_sentence, straightened_sentence, warp_sentence
from components.shared.documents.align import reason_in_words
from components.shared.documents.config_flags import decisions_sentence
from components.shared.documents.plan import VoxelSize
from components.shared.documents.transforms import Transforms
from components.shared.text import count, product, size
from components.shared.volume import precomputed
from components.shared.volume.slice_numbers import SliceNumbers
from components.shared.volume.volume import Volume, volume_of
from components.shared.work.verification import Verification


def summarise(
    evidence: RunEvidence,
    status: RunStatus,
    volume: Volume | None,
    verification: Verification,
    motion: tuple[PlaneMotion, ...] = (),
) -> RunDocument:
    """The run document, with its sentences.

    A run is complete when the volume was found without a problem, whatever its engine says of the steps, and
    nothing holds it back.
    """
    rows, transforms = evidence.rows, evidence.transforms
    stopped = is_stopped_by_check(evidence, status)
    held_back = is_held_back(evidence, status)
    complete = volume is not None and not verification.problems and not held_back
    images, images_known = images_used(evidence.pods, as_processes=evidence.as_processes)
    clauses = evidence.preview.gate.failures if stopped and evidence.preview else ()
    document = RunDocument(
        state="succeeded" if complete else "failed" if held_back else status.state,
        error="" if complete else STOPPED if stopped else status.error,
        complete=complete,
        problems=(
            *(_as_sentence(c) for c in clauses),
            *(p.sentence for p in verification.problems if not (stopped and p.is_undone)),
            *evidence.unreadable,
        ),
        ends_the_same=not complete and _ends_the_same(status, verification, held_back=held_back),
        n_slices=len(evidence.plan.slices),
        n_missing=len(evidence.plan.missing_z),
        n_replaced=_number_replaced(transforms),
        n_pairs_accepted=evidence.pairs.n_accepted,
        n_pairs_refused=evidence.pairs.n_refused,
        refusal_reasons=dict(evidence.pairs.reasons),
        median_ncc_before=median(column(rows, "ncc_before")),
        median_ncc_after=median(column(rows, "ncc_after")),
        median_ncc_control=evidence.preview.median_control if evidence.preview else None,
        largest_step_px=largest(column(rows, "step_px")),
        motion=motion,
        volume_size_xyz=volume.size_xyz if volume else None,
        levels=tuple(volume.outputs[0].levels) if volume else (),
        outputs=verification.outputs,
        volume_hash=verification.volume_hash,
        plan_crc32c=evidence.plan.crc32c,
        page_is_sealed=True,
        versions=versions(),
        images=images,
        images_known=images_known,
        config=evidence.plan.config,
        summary=(),
    )
    document = document.model_copy(update={"summary": tuple(sentences(document, evidence))})
    verdict, bad = run_verdict(document, evidence), bad_slices(rows)
    standing_out = tuple(
        StandingOut(z=row.z, verdict=row.verdict, shown=row.shown) for row in bad[:MOST_CARDS]
    )
    return document.model_copy(
        update={
            "tone": verdict.tone,
            "headline": verdict.headline,
            "standing_out": standing_out,
            "n_standing_out": len(bad),
        }
    )


def sentences(run: RunDocument, evidence: RunEvidence) -> Iterator[str]:
    """Sentences on what happened; the first says how the run ended."""
    yield ending(run)
    yield _input_and_volume(run, evidence.plan.voxel)
    if run.median_ncc_before is not None and run.median_ncc_after is not None:
        step = "" if run.largest_step_px is None else f"; the largest step is {run.largest_step_px:.1f} px"
        alike = "" if run.median_ncc_control is None else f", {run.median_ncc_control:.3f} interpolated alone"
        yield (
            f"NCC of neighbouring slices: {run.median_ncc_after:.3f} after alignment, "
            f"{run.median_ncc_before:.3f} before{alike} (medians){step}."
        )
    if run.motion:
        yield _motion_sentence(run.motion)
    yield from thickness_sentences(run, evidence)
    n_pairs = run.n_pairs_accepted + run.n_pairs_refused
    if n_pairs:
        reasons = ", ".join(
            f"{reason_in_words(reason)} in {n:,}" for reason, n in run.refusal_reasons.items()
        )
        refused = f"{run.n_pairs_refused:,} refused ({reasons})" if run.n_pairs_refused else "none refused"
        yield f"{run.n_pairs_accepted:,} of {count(n_pairs, 'pair')} matched, {refused}."
    yield from fill_sentences(evidence)
    if evidence.preview is not None:
        yield from map(_as_sentence, evidence.preview.gate.remarks)
    stand_out = bad_slices_sentence(evidence.rows)
    if stand_out:
        yield stand_out
    of_slices = (warp_sentence, jitter_sentence, straightened_sentence, flicker_sentence, streak_sentence)
    yield from filter(None, (sentence(evidence) for sentence in of_slices))
    yield from (_as_sentence(finding) for finding in evidence.plan.findings)
    decided = decisions_sentence(evidence.plan)
    if decided:
        yield decided
    if run.complete:
        written = ", ".join(f"{o.uri} ({size(o.size_bytes, smallest='MB')})" for o in run.outputs)
        yield " ".join(filter(None, (f"Written: {written}.", numbering_sentence(evidence))))
        yield from filter(None, (evidence.plan.lossless_grey_levels,))


def _ends_the_same(status: RunStatus, verification: Verification, *, held_back: bool) -> bool:
    """True where a step has refused to go on, or a file is in the way that no run takes away."""
    in_the_way = verification.problems and not any(fault.cured_by_retry for fault in verification.problems)
    return held_back or status.is_final or bool(in_the_way)


def numbering_sentence(evidence: RunEvidence) -> str:
    """The sentence on files that count otherwise than the slices; empty where they do not."""
    if evidence.transforms is None:
        return ""
    volume = volume_of(evidence.plan, evidence.transforms)
    finest_scale = precomputed.info(volume, volume.outputs[0])["scales"][0]
    numbers = SliceNumbers.of(evidence.transforms, finest_scale)
    return f"{numbers.sentence} 'fibstack view' shows n." if numbers.is_otherwise else ""


def _number_replaced(transforms: Transforms | None) -> int | None:
    """Number of slices at whose place something else is shown; None where the run has no transforms."""
    if transforms is None:
        return None
    return sum(s.action in ("replace", "blend", "blank") for s in transforms.slices)


def _motion_sentence(motion: tuple[PlaneMotion, ...]) -> str:
    """How neighbouring slices move against each other, and what this tissue does along exact axes."""
    z, *exact = motion
    tissue = ", ".join(f"{along.change_px:.3f} px along {along.axis}" for along in exact)
    return (
        f"From step to step the shift of neighbouring slices changes by {z.change_px:.3f} px; that of planes "
        f"along the axes of the pictures, which tissue alone can move, by {tissue}."
    )


def _as_sentence(clause: str) -> str:
    return f"{clause[0].upper()}{clause[1:]}."


def _input_and_volume(run: RunDocument, voxel: VoxelSize) -> str:
    slices = f"{count(run.n_slices, 'slice')} from z {run.config.minz} to {run.config.maxz}"
    missing = f", {run.n_missing:,} missing" if run.n_missing else ""
    if run.volume_size_xyz is None:
        return f"{slices}{missing}."
    verb = "has" if run.complete else "is to have"
    size_xyz, levels = product(run.volume_size_xyz), count(len(run.levels), "level")
    nm = f"{product(voxel.xyz_nm)} nm ({voxel.source})"
    finest = f", the finest of them level {run.levels[0]}" if run.levels and run.levels[0] else ""
    return f"{slices}{missing}; the volume {verb} {size_xyz} voxels of {nm} in {levels}{finest}."
