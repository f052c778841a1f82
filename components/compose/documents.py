"""The documents of the step: the transforms, and one row of readable figures for each z."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np

from components.compose.judge.classify import classify
from components.compose.judge.figures import signs_of
from components.compose.judge.intensity import intensity_range
from components.compose.judge.replacement import Judgement, judge
from components.compose.judge.support import support
from components.compose.solve.bounds import Box, bounding_box, moved_to_origin
from components.compose.solve.pairs import Floats
from components.compose.solve.place import Placement
from components.compose.solve.ties import Frame
from components.shared.documents.align import PairRecord, SliceStatistics
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.documents.slices import SliceRow
from components.shared.documents.transforms import Matrix3, SliceTransform, Transforms
from components.shared.geometry import Matrix, rotation_about, rotation_deg, transform_points
from components.shared.storage.store import join_uri

_LINEAR_DIGITS = 10
_TRANSLATION_DIGITS = 6
"""A microscopic pixel: far below any meaning, far above what a processor's order of sums changes."""


def transforms_of(
    plan: Plan,
    placement: Placement,
    statistics: Mapping[int, SliceStatistics],
    pairs: Iterable[PairRecord],
) -> Transforms:
    """The transform of every z of the plan in the frame of the volume.

    Raises:
        UserError: too many slices in a row are bad, or an override cannot be followed.
    """
    stack, config = placement.stack, plan.config
    signs = signs_of(stack, statistics, pairs, placement.pairs, placement.solution, placement.isolated)
    held = dict(enumerate((~placement.isolated).tolist()))
    judgements = judge(config, stack.z, classify(signs), held, plan.overrides)
    shown = {j.shown_slot for j in judgements} | {j.blended_slot for j in judgements}
    box_slots = sorted(slot for slot in shown if slot is not None)
    matrices = rounded(placement.solution.volume_from_slice)
    box = bounding_box(matrices[box_slots], stack.sizes_xy[box_slots])
    kept = [j for j in judgements if j.action == "keep"] or [j for j in judgements if not j.is_replaced]
    trusted = [statistics[int(stack.z[j.shown_slot])] for j in kept]
    return Transforms(
        volume_size_xyz=(*box.size_xy, config.maxz - config.minz + 1),
        volume_origin_xyz_px=(*box.origin_xy, config.minz),
        slice_origin_xy_px=plan.reading.crop[:2] if plan.reading.crop else (0, 0),
        intensity_range=intensity_range(
            plan.pixel_type, np.array([s.low for s in trusted]), np.array([s.high for s in trusted])
        ),
        slices=tuple(_slices(plan, placement, judgements, _in_box(matrices, box))),
    )


def rows_of(
    plan: Plan,
    transforms: Transforms,
    statistics: Mapping[int, SliceStatistics],
    pairs: Iterable[PairRecord],
) -> list[SliceRow]:
    """The rows of `slices.jsonl`, one for each slice of the transforms."""
    sources = {s.z: s for s in plan.slices}
    following = dict(zip([s.z for s in plan.slices], [s.z for s in plan.slices[1:]], strict=False))
    to_next = {pair.z: pair for pair in pairs if following.get(pair.z) == pair.neighbour_z}
    rows: list[SliceRow] = []
    for entry in transforms.slices:
        shown = sources[entry.z if entry.replaced_from is None else entry.replaced_from]
        dx, dy = _displacement(entry.matrix, shown)
        before = rows[-1] if rows else None
        own, pair = statistics.get(entry.z), to_next.get(entry.z)
        rows.append(
            SliceRow(
                **entry.model_dump(),
                dx_px=dx,
                dy_px=dy,
                **_linear_figures(np.array(entry.matrix)),
                step_px=None
                if before is None
                else round(math.hypot(dx - before.dx_px, dy - before.dy_px), 6),
                n_features=own and own.n_features,
                content_fraction=own and own.content_fraction,
                ncc_before=pair and pair.ncc_before,
                ncc_after=pair and pair.ncc_after,
            )
        )
    return rows


def rounded(matrices: Floats) -> Floats:
    """Matrices without the digits that differ between machines; errs by less than a millionth of a pixel."""
    result = matrices.copy()
    result[:, :2, :2] = np.round(matrices[:, :2, :2], _LINEAR_DIGITS)
    result[:, :2, 2] = np.round(matrices[:, :2, 2], _TRANSLATION_DIGITS)
    return result + 0.0  # no negative zeros


def _in_box(matrices: Floats, box: Box) -> Floats:
    return rounded(moved_to_origin(matrices, box))


def _slices(
    plan: Plan, placement: Placement, judgements: list[Judgement], matrices: Floats
) -> Iterable[SliceTransform]:
    evidence = support(placement.pairs, placement.solution, len(placement.stack))
    known, half_px = placement.uncertainty, Frame.of(placement.stack.sizes_xy).half_px
    slot_of = {source.z: slot for slot, source in enumerate(plan.slices)}
    for judgement in judgements:
        slot = slot_of.get(judgement.z)
        blended = judgement.blended_slot
        yield SliceTransform(
            z=judgement.z,
            uri="" if slot is None else join_uri(plan.locations.source_uri, plan.slices[slot].key),
            matrix=_matrix3(matrices[judgement.shown_slot]),
            verdict=judgement.verdict,
            action=judgement.action,
            replaced_from=plan.slices[judgement.shown_slot].z if judgement.is_replaced else None,
            blended_with=None if blended is None else plan.slices[blended].z,
            evidence=judgement.evidence,
            override=judgement.override,
            n_edges=0 if slot is None else int(evidence.n_pairs[slot]),
            edge_weight=0.0 if slot is None else round(float(evidence.mean_weight[slot]), 6),
            residual_px=0.0 if slot is None else round(float(evidence.residual_px[slot]), 6),
            sigma_px=0.0 if slot is None else round(float(known.sigma_px[slot]), 4),
            step_sigma_px=0.0 if slot is None else round(float(known.step_sigma_px[slot]), 4),
            rotation_sigma_deg=0.0
            if slot is None
            else round(math.degrees(known.rotation_sigma_px[slot] / half_px), 6),
            scale_sigma_ppm=0.0
            if slot is None
            else round(float(known.scale_sigma_px[slot]) / half_px * 1e6, 3),
        )


def _matrix3(matrix: Matrix) -> Matrix3:
    a, b, c = matrix.tolist()
    return (a[0], a[1], a[2]), (b[0], b[1], b[2]), (c[0], c[1], c[2])


def _displacement(matrix: Matrix3, source: SourceSlice) -> tuple[float, float]:
    center = np.array([[(source.width_px - 1) / 2, (source.height_px - 1) / 2]])
    dx, dy = (transform_points(np.array(matrix), center) - center)[0]
    return round(float(dx), 6), round(float(dy), 6)


def _linear_figures(matrix: Matrix) -> dict[str, float]:
    angle = rotation_deg(matrix)
    linear = (rotation_about((0, 0), -math.radians(angle)) @ matrix)[:2, :2]
    x_axis, y_axis = linear[:, 0], linear[:, 1]
    sine = float(x_axis @ y_axis / (np.linalg.norm(x_axis) * np.linalg.norm(y_axis)))
    return {
        "rotation_deg": round(angle, 8),
        "scale_ppm": round((math.sqrt(abs(np.linalg.det(linear))) - 1) * 1e6, 3),
        "shear_ppm": round(sine * 1e6, 3),
    }
