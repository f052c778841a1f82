"""The units of work of a run, and the hash of all that each of them depends on.

The input hash of a unit is a pure function of the plan and the transforms, so it is known before the unit
runs. `left` compares it with the unit's record.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

from components.shared.documents.plan import Plan, SourceSlice
from components.shared.documents.transforms import SliceTransform, Transforms
from components.shared.grid import PyramidPass, Span, ceil_div, group, spans
from components.shared.steps import RESULT_VERSIONS, STEPS
from components.shared.volume.volume import Volume
from components.shared.work.records import input_hash

_Slice = TypeVar("_Slice", SourceSlice, SliceTransform)


def _settings(step: str, plan: Plan, versions: Mapping[str, int]) -> str:
    """Version and configuration of a step, as its hashes hold them."""
    config = plan.config
    keys = STEPS[step].hashed_keys
    if config.ome_zarr_version == "0.5":  # older runs have no such key and keep their hash
        keys -= {"ome_zarr_version"}
    if "resolution" in keys:  # the one that the volume has, wherever it comes from
        config = config.model_copy(update={"resolution": plan.resolution_nm})
    return f"{versions[step]} {config.model_dump_json(include=set(keys))}"


def chunks(plan: Plan) -> list[Span]:
    """Every chunk of the plan that holds slices, as ranges of z."""
    every = spans(plan.config.minz, plan.config.maxz, plan.chunk_length)
    present = {(s.z - plan.config.minz) // plan.chunk_length for s in plan.slices}
    return [chunk for index, chunk in enumerate(every) if index in present]


def chunk_items(plan: Plan, some: Sequence[Span]) -> list[Span]:
    """Ranges of z, one for each task of `align`: a chunk each, or several where there are more than `fan`.

    A stack that has grown is cut as it was, so that what is matched stays so, into more and more chunks.

    Args:
        plan: The plan of the run.
        some: The chunks that are to be matched, ascending.
    """
    first_z = plan.config.minz
    every = {(chunk.first - first_z) // plan.chunk_length: chunk for chunk in some}
    items = group(sorted(every), plan.fan)
    return [Span(every[item.first].first, every[item.last].last) for item in items]


def chunks_of_item(plan: Plan, item: Span) -> list[Span]:
    """The chunks that an item of `align`'s loop holds; none where it is no such item."""
    return [chunk for chunk in chunks(plan) if item.first <= chunk.first and chunk.last <= item.last]


def chunk_slices(plan: Plan, chunk: Span) -> tuple[list[SourceSlice], list[SourceSlice]]:
    """The slices of a chunk, and its halo: the present slices that follow, twice as many as `neighbours`.

    The further half is looked at where a slice does not match the nearer ones.
    """
    first, end = (bisect_left(plan.slices, z, key=lambda s: s.z) for z in (chunk.first, chunk.last + 1))
    return list(plan.slices[first:end]), list(plan.slices[end : end + 2 * plan.config.neighbours])


def chunk_hash(plan: Plan, chunk: Span, versions: Mapping[str, int] = RESULT_VERSIONS) -> str:
    """Input hash of a chunk: the matching settings and its slices with their halo.

    Args:
        plan: The plan of the run.
        chunk: A range of z.
        versions: Result version by step; older ones tell which version wrote a record.
    """
    own, halo = chunk_slices(plan, chunk)
    sources = [plan.as_first_planned(s).model_dump_json(exclude={"more_channels"}) for s in own + halo]
    # Of the numbers in the files, those of `image` alone: the others' channels are not looked at.
    fill = plan.reading.fill[:1] if any(plan.reading.fill[:1]) else ()
    of_image = plan.reading.model_copy(update={"values": plan.reading.values[:1], "fill": fill})
    reading = of_image.model_dump()
    scales = json.dumps([plan.match_scale, plan.thumbnail_scale, plan.pixel_type, reading])
    bars = [bar.model_dump_json() for bar in plan.data_bars or ()]
    settings = _settings("align", plan, versions)
    return input_hash(plan.first_source, settings, scales, *bars, *_region_of(plan), *sources)


def compose_hash(plan: Plan, evidence: Iterable[bytes], versions: Mapping[str, int] = RESULT_VERSIONS) -> str:
    """Input hash of the transforms: the settings of the solve, the slices, the overrides and the evidence.

    Args:
        plan: The plan of the run.
        evidence: The content of every chunk's record of pairs.
        versions: Result version by step.
    """
    # Without the space of the other steps: a hash that changes would have old runs solved again.
    keys = plan.config.model_dump_json(include=set(STEPS["compose"].hashed_keys))
    settings = f"{versions['compose']}{keys}"
    slices = map(plan.as_first_planned, plan.slices)
    sources = [document.model_dump_json() for document in (*slices, *plan.overrides)]
    placed = [f"placed by {plan.places_crc32c}"] if plan.places_crc32c else []
    return input_hash(settings, *_region_of(plan), *placed, *sources, *evidence)


def _region_of(plan: Plan) -> list[str]:
    """Word of a hash on the part that is matched; runs without one keep their hash."""
    return [f"match region {plan.match_region}"] if plan.match_region else []


def block_items(plan: Plan, pyramid_pass: PyramidPass, blocks: Sequence[int]) -> list[Span]:
    """Ranges of blocks, one for each task of a pass of `pyramid`.

    Tasks are so few that each takes the voxels that the plan names, but for the end of what is left.

    Args:
        plan: The plan of the run.
        pyramid_pass: The pass.
        blocks: Numbers of the blocks that are to be written, ascending.
    """
    n_tasks = plan.fan
    if plan.task_voxels:
        share = len(blocks) * math.prod(pyramid_pass.size_xyz)
        n_tasks = min(plan.fan, max(1, ceil_div(share, pyramid_pass.n_blocks * plan.task_voxels)))
    return group(blocks, n_tasks)


def preview_hash(evidence_hash: str, plan: Plan, transforms: Transforms) -> str:
    """Input hash of the check on thumbnails.

    Args:
        evidence_hash: Input hash of the transforms, by `compose_hash`.
        plan: The plan of the run.
        transforms: What the volume is to show.
    """
    # Without their checksums, which only those have that were read.
    of_documents = (document.model_dump_json(exclude={"crc32c"}) for document in (plan, transforms))
    return input_hash(evidence_hash, *of_documents)


def slab_hash(
    plan: Plan,
    transforms: Transforms,
    volume: Volume,
    slab: int,
    versions: Mapping[str, int] = RESULT_VERSIONS,
) -> str:
    """Input hash of a slab: the tile settings, the volume's frame, its slices and what is shown of them."""
    z_indices = volume.slab_z_indices(slab)
    shown = [transforms.slices[index] for index in z_indices]
    wanted = sorted({z for s in shown for z in (s.z, *s.others_shown)})
    sources = [plan.as_first_planned(s).model_dump_json() for s in _slices_at(plan.slices, wanted)]
    matrices = [
        json.dumps(
            [s.z, s.matrix, s.action, s.replaced_from, s.blended_with, *s.padding_levels, *_more_of(s)]
        )
        for s in _slices_at(transforms.slices, wanted)
    ]
    grey_levels = [transforms.intensity_range, plan.more_intensity_ranges, plan.pixel_type]
    arrays = [(array.key, array.n_channels) for array in volume.arrays]
    reading = plan.reading.model_dump()
    frame = json.dumps([plan.first_source, volume.size_xyz, volume.slab_depth, arrays, grey_levels, reading])
    return input_hash(_settings("tile", plan, versions), frame, *sources, *matrices)


def _more_of(entry: SliceTransform) -> Iterator[str]:
    """Words of a hash on a plane of which more is corrected than its place; others keep their hash."""
    if entry.shown_z is not None:
        yield f"shows {entry.shown_z}"
    if entry.grey_line is not None:
        yield f"grey line {entry.grey_line.model_dump_json()}"
    if entry.filtered_streaks is not None:
        beside = " beside padding" if entry.padding_levels else ""
        yield f"streaks along {entry.filtered_streaks}{beside}"
    if entry.rows is not None:
        yield f"rows {entry.rows.model_dump_json()}"
    if entry.warp is not None:
        yield f"warp {entry.warp.model_dump_json()}"


def _slices_at(slices: Sequence[_Slice], numbers: Sequence[int]) -> Iterator[_Slice]:
    """The slices with these z, of slices with ascending z; without a look at the others."""
    for z in numbers:
        index = bisect_left(slices, z, key=lambda s: s.z)
        if index < len(slices) and slices[index].z == z:
            yield slices[index]


def block_hash(
    plan: Plan,
    volume: Volume,
    level: int,
    block: int,
    slab_hashes: list[str],
    versions: Mapping[str, int] = RESULT_VERSIONS,
) -> str:
    """Input hash of a block of the pass that starts at `level`: its settings and the slabs below it.

    A block of a coarse pass depends on every slab: it is one of few, and cheap to make again.
    """
    below = slab_hashes
    if level == 0:
        covered = volume.slabs_of_block(block)
        below = slab_hashes[covered.first : covered.last + 1]
    return input_hash(_settings("pyramid", plan, versions), f"{level}/{block}", *below)


def slab_hashes(
    plan: Plan, transforms: Transforms, volume: Volume, versions: Mapping[str, int] = RESULT_VERSIONS
) -> list[str]:
    """The input hash of every slab."""
    return [slab_hash(plan, transforms, volume, slab, versions) for slab in range(volume.n_slabs)]
