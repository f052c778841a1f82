"""The documents of the step: the records of `align` that it reads, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from components.compose.judge.intensity import intensity_range
from components.compose.judge.replacement import SliceAction
from components.compose.rows.held_out import Correction
from components.compose.solve.limits import ROUND_OFF
from components.compose.solve.pairs import (
    Floats,
    Integers,
    PairSupport,
    VolumeBox,
    bounding_box,
    moved_to_origin,
)
from components.compose.solve.place import Placement
from components.shared.documents.align import AlignRecord, PairRecord, SliceStatistics
from components.shared.documents.plan import Plan, SourceSlice
from components.shared.documents.read_document import read_document
from components.shared.documents.slices import SLICES_KEY, SliceRow
from components.shared.documents.thickness import Thickness
from components.shared.documents.transforms import (
    PLACES_KEY,
    TRANSFORMS_KEY,
    TRENDS_KEY,
    FoundDisplacement,
    GivenPlaces,
    GreyLine,
    Matrix3,
    RowShifts,
    SliceTransform,
    Transforms,
    WarpField,
)
from components.shared.errors import TransientError
from components.shared.geometry import Matrix, rotation_about, rotation_deg, transform_points
from components.shared.grid import Span
from components.shared.pictures.streaks import is_worth_filtering
from components.shared.storage.parallel import in_parallel
from components.shared.storage.store import ObjectChangedError, ObjectMissingError, Store, join_uri
from components.shared.work import records, units


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignFindings:
    """The records of all chunks of `align`: statistics and examined pairs."""

    statistics: dict[int, SliceStatistics]
    """Statistics of each present slice, by z."""
    pairs: tuple[PairRecord, ...]
    """Every examined pair."""
    input_hash: str
    """Hash of the records' content and of the settings of the step."""
    places: GivenPlaces | None = None
    """Where the slices of another run lie, if these are placed so."""


def read_findings(plan: Plan, process: Store) -> AlignFindings:
    """Read the record of every chunk.

    Raises:
        TransientError: a chunk's record is missing, of other settings, or damaged.
    """
    chunks = units.chunks(plan)
    contents = in_parallel(lambda chunk: _read_chunk(plan, chunk, process), chunks)
    chunk_records = [AlignRecord.model_validate_json(content) for content in contents]
    statistics = {s.z: s for record in chunk_records for s in record.slices}
    for source in plan.slices:
        if source.z not in statistics:
            raise TransientError(
                f"the records of align must hold every slice; slice {source.z} is missing in "
                f"{process.uri}/align. Give the same command again."
            )
    return AlignFindings(
        statistics=statistics,
        pairs=tuple(pair for record in chunk_records for pair in record.pairs),
        input_hash=units.compose_hash(plan, contents),
        places=_read_places(plan, process) if plan.places_crc32c else None,
    )


def _read_places(plan: Plan, process: Store) -> GivenPlaces:
    places = read_document(process, PLACES_KEY, GivenPlaces)
    if places.crc32c != plan.places_crc32c:
        raise TransientError(
            f"slices must be placed as the plan says; got another {PLACES_KEY} in {process.uri}. Give "
            f"the same command again."
        )
    return places


def _read_chunk(plan: Plan, chunk: Span, process: Store) -> bytes:
    key = f"align/{chunk}.json"
    record = records.read_record(process, "align", str(chunk))
    problem = "it is missing"
    if record is not None and record.input_hash != units.chunk_hash(plan, chunk):
        problem = "it is of other slices or settings"
    elif record is not None:
        expected = next((output.crc32c for output in record.outputs if output.key == key), "none")
        with suppress(ObjectMissingError, ObjectChangedError):
            return process.read(key, expected)
        problem = "it is damaged"
        records.withdraw(process, "align", str(chunk), record.input_hash)
    raise TransientError(
        f"the record of chunk {chunk} must be complete; {problem} in {process.uri}/{key}. "
        f"Give the same command again."
    )


def transforms_of(
    plan: Plan,
    placement: Placement,
    actions: Sequence[SliceAction],
    statistics: Mapping[int, SliceStatistics],
) -> Transforms:
    """The transform of every z of the plan in the frame of the volume.

    Args:
        plan: The plan of the run.
        placement: Where the slices lie.
        actions: What is shown at each z of the plan.
        statistics: Statistics of each present slice, by z.
    """
    stack, config = placement.problem.stack, plan.config
    shown = {a.shown_slot for a in actions} | {a.blended_slot for a in actions}
    box_slots = sorted(slot for slot in shown if slot is not None)
    matrices = rounded(placement.solution.volume_from_slice)
    box = bounding_box(matrices[box_slots], stack.sizes_xy[box_slots])
    kept = [a for a in actions if a.action == "keep"] or [a for a in actions if not a.is_replaced]
    return Transforms(
        volume_size_xyz=(*box.size_xy, config.maxz - config.minz + 1),
        volume_origin_xyz_px=(*box.origin_xy, config.minz),
        slice_origin_xy_px=plan.reading.crop[:2] if plan.reading.crop else (0, 0),
        intensity_range=_intensity_range(plan, [statistics[int(stack.z[a.shown_slot])] for a in kept]),
        slices=tuple(
            entry
            if entry.z not in statistics
            else entry.model_copy(update=_from_statistics(plan, statistics[entry.z]))
            for entry in _slices(plan, placement, actions, _in_box(matrices, box))
        ),
    )


def placed_transforms(
    plan: Plan, places: GivenPlaces, statistics: Mapping[int, SliceStatistics]
) -> Transforms:
    """The transforms of slices that lie as those of another run, and are shown where these are.

    What follows from grey levels is their own: fill values, streaks, and the range that is shown. Another
    detector is not inverted where the first one was.

    Args:
        plan: The plan of the run.
        places: Where the slices of the other run lie, and what it shows of them.
        statistics: Statistics of each present slice, by z.
    """
    sources = {source.z: source for source in plan.slices}

    def entry_of(placed: SliceTransform) -> SliceTransform:
        source, own = sources.get(placed.z), statistics.get(placed.z)
        changes: dict[str, object] = {"uri": "", "fill": (), "grey_line": None, "filtered_streaks": None}
        if source is None:
            changes["verdict"] = "missing"
        elif placed.verdict == "inverted":
            changes["verdict"] = "good"
        if placed.action == "invert":
            changes["action"] = "keep"
        if source is not None:
            changes["uri"] = join_uri(plan.locations.source_uri, source.key)
        if own is not None:
            changes |= _from_statistics(plan, own)
        return placed.model_copy(update=changes)

    slices = tuple(map(entry_of, places.transforms.slices))
    kept = [statistics[s.z] for s in slices if s.action == "keep" and s.z in statistics]
    return places.transforms.model_copy(
        update={
            "crc32c": "",
            "slices": slices,
            "intensity_range": _intensity_range(plan, kept or list(statistics.values())),
        }
    )


def _from_statistics(plan: Plan, own: SliceStatistics) -> dict[str, object]:
    """Fields of a present slice that tell what is done with its grey levels."""
    filtered = None
    streaks = own.streaks if plan.config.streaks == "filter" else None
    if streaks is not None and is_worth_filtering(streaks.gain, streaks.damage):
        filtered = streaks.axis
    return {"fill": own.fill, "filtered_streaks": filtered}


def with_grey_lines(
    plan: Plan,
    transforms: Transforms,
    statistics: Mapping[int, SliceStatistics],
    lines: Mapping[int, GreyLine],
) -> Transforms:
    """The transforms with the grey lines of slices that flicker, and the range of what is shown then.

    Args:
        plan: The plan of the run.
        transforms: Without any grey line.
        statistics: Statistics of each present slice, by z.
        lines: The grey line of each slice that has one, by z.
    """
    if not lines:
        return transforms
    slices = tuple(s.model_copy(update={"grey_line": lines.get(s.z)}) for s in transforms.slices)
    shown = [statistics[s.z].on_line(s.grey_line) for s in slices if s.action == "keep"]
    return transforms.model_copy(update={"slices": slices, "intensity_range": _intensity_range(plan, shown)})


def _intensity_range(plan: Plan, good: Sequence[SliceStatistics]) -> tuple[float, float]:
    return intensity_range(plan.pixel_type, np.array([s.low for s in good]), np.array([s.high for s in good]))


def with_displacements(
    transforms: Transforms, z: Integers, jitter: Correction[RowShifts], warps: Correction[WarpField]
) -> Transforms:
    """The transforms with the shifts that move rows back, and the fields that straighten slices.

    Args:
        transforms: without.
        z: of each slot.
        jitter: of the rows.
        warps: of the slices.
    """
    rows, fields = ({int(z[slot]): of for slot, of in c.of_slots.items()} for c in (jitter, warps))
    slices = tuple(
        entry.model_copy(update={"rows": rows.get(entry.z), "warp": fields.get(entry.z)})
        for entry in transforms.slices
    )
    found = {"row_jitter": _found(jitter), "soft_warp": _found(warps)}
    return transforms.model_copy(update={"slices": slices, **found})


def _found(correction: Correction[Any]) -> FoundDisplacement:
    x, y = correction.found_px
    return FoundDisplacement(
        found_xy_px=(round(x, 4), round(y, 4)),
        is_corrected_xy=correction.is_corrected,
        n_slices=len(correction.of_slots),
        corrected_px=round(correction.corrected_px, 4),
    )


def rows_of(
    plan: Plan,
    transforms: Transforms,
    thickness: Thickness,
    statistics: Mapping[int, SliceStatistics],
    pairs: Iterable[PairRecord],
) -> list[SliceRow]:
    """The rows of `slices.jsonl`, one for each slice of the transforms."""
    sources = {s.z: s for s in plan.slices}
    next_z = {s.z: following.z for s, following in pairwise(plan.slices)}
    to_next = {pair.z: pair for pair in pairs if next_z.get(pair.z) == pair.neighbour_z}
    rows: list[SliceRow] = []
    for entry in transforms.slices:
        shown = sources[entry.z if entry.replaced_from is None else entry.replaced_from]
        dx, dy = _displacement(entry.matrix, shown)
        previous = rows[-1] if rows else None
        own, pair = statistics.get(entry.z), to_next.get(entry.z)
        rows.append(
            SliceRow(
                **entry.model_dump(exclude={"rows"}),
                dx_px=dx,
                dy_px=dy,
                **_linear_figures(np.array(entry.matrix)),
                z_position=thickness.of(thickness.positions, entry.z),
                z_step=thickness.of(thickness.steps, entry.z),
                z_step_sigma=thickness.of(thickness.step_sigmas, entry.z),
                step_px=previous and round(math.hypot(dx - previous.dx_px, dy - previous.dy_px), 6),
                n_features=own and own.n_features,
                content_fraction=own and own.content_fraction,
                streak_gain=own and own.streaks and own.streaks.gain,
                streak_damage=own and own.streaks and own.streaks.damage,
                ncc_before=pair and pair.ncc_before,
                ncc_after=pair and pair.ncc_after,
            )
        )
    return rows


def rounded(matrices: Floats) -> Floats:
    """Matrices without the digits that differ between machines; errs by less than a millionth of a pixel."""
    result = matrices.copy()
    result[:, :2, :2] = np.round(matrices[:, :2, :2], ROUND_OFF.linear_digits)
    result[:, :2, 2] = np.round(matrices[:, :2, 2], ROUND_OFF.translation_digits)
    return result + 0.0  # no negative zeros


def write_documents(
    plan: Plan,
    placement: Placement,
    transforms: Transforms,
    thickness: Thickness,
    findings: AlignFindings,
    process: Store,
) -> None:
    """Write the transforms, the trends and the readable rows, and record that they are of these findings."""
    rows = rows_of(plan, transforms, thickness, findings.statistics, findings.pairs)
    lines = "".join(f"{row.model_dump_json()}\n" for row in rows)
    outputs = (
        records.write_output(process, SLICES_KEY, lines.encode()),
        records.write_output(process, TRENDS_KEY, placement.trends.to_json()),
        records.write_output(process, TRANSFORMS_KEY, transforms.to_json()),
    )
    record = records.Record(
        step="compose", unit="transforms", input_hash=findings.input_hash, outputs=outputs
    )
    records.commit(process, record)


def _in_box(matrices: Floats, box: VolumeBox) -> Floats:
    return rounded(moved_to_origin(matrices, box))


def _slices(
    plan: Plan, placement: Placement, actions: Sequence[SliceAction], matrices: Floats
) -> Iterable[SliceTransform]:
    problem = placement.problem
    support = PairSupport.of(problem.pairs, placement.solution, len(problem.stack))
    slot_of = problem.stack.slot_of
    for action in actions:
        slot, blended = slot_of.get(action.z), action.blended_slot
        entry = SliceTransform(
            z=action.z,
            uri="" if slot is None else join_uri(plan.locations.source_uri, plan.slices[slot].key),
            matrix=_matrix3(matrices[action.shown_slot]),
            verdict=action.verdict,
            action=action.action,
            replaced_from=plan.slices[action.shown_slot].z if action.is_replaced else None,
            blended_with=None if blended is None else plan.slices[blended].z,
            evidence=action.evidence,
            override=action.override,
            n_edges=0,
            edge_weight=0.0,
            residual_px=0.0,
        )
        yield entry if slot is None else entry.model_copy(update=_confidence(placement, support, slot))


def _confidence(placement: Placement, support: PairSupport, slot: int) -> dict[str, float]:
    """Fields of a present slice that tell how sure its place is: its pairs, and the 1-sigma of its pose."""
    known, half_px = placement.uncertainty, placement.problem.frame.half_px
    return {
        "n_edges": int(support.n_pairs[slot]),
        "edge_weight": round(float(support.mean_weight[slot]), 6),
        "residual_px": round(float(support.residual_px[slot]), 6),
        "sigma_px": round(float(known.sigma_px[slot]), 4),
        "step_sigma_px": round(float(known.step_sigma_px[slot]), 4),
        "rotation_sigma_deg": round(math.degrees(known.rotation_sigma_px[slot] / half_px), 6),
        "scale_sigma_ppm": round(float(known.scale_sigma_px[slot]) / half_px * 1e6, 3),
    }


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
