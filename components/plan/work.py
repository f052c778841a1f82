"""The work of a run before any of it is done: at which scales, cut into which units, over which volume.

Everything here is arithmetic on a plan and on the volume that it leads to.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from components.shared.documents.config import RunConfig, differing_keys
from components.shared.documents.config_flags import setting_of
from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.errors import ConfigError
from components.shared.grid import PyramidPass, Span, ceil_div, group
from components.shared.limits import limit
from components.shared.steps import MATCHING_KEYS
from components.shared.volume.volume import TileArray, Volume, volume_of
from components.shared.work import units


@dataclass(frozen=True, slots=True, kw_only=True)
class CutLimits:
    """Limits of cutting a run into tasks, and the size of its thumbnails.

    A chunk's slices are matched with a halo of neighbours that are prepared once more, so that short chunks
    cost more in all; long ones leave machines idle at the end and lose more where one is taken away.
    """

    shortest_chunk: int = limit(
        8,
        unit="slices a call of `align`",
        why="with 4 neighbours, half as many slices again are prepared for the halo",
        measured_on="benchmarks/end_to_end: 64 slices in chunks of 8 take 552 CPU s, 246 pairs",
        too_small="most of the work is preparing neighbours again",
        too_large="a small stack keeps fewer cores busy",
    )
    usual_chunk: int = limit(
        16,
        unit="slices a call of `align`",
        why="a quarter as many slices again for the halo; a call takes two minutes",
        measured_on="benchmarks/end_to_end: 256 slices in chunks of 16 take 2,152 CPU s",
        too_small="the halo costs more, and a run has more pods",
        too_large="a pod that is taken away loses more",
    )
    few_chunks: int = limit(
        8,
        unit="chunks",
        why="a stack of 64 to 128 slices is cut into this many: cores of one machine stay busy to the end",
        measured_on="not measured; machines here have 2 to 8 cores",
        too_small="cores wait for the last chunk",
        too_large="chunks are short, and halos cost more",
    )
    task_cpu_s: float = limit(
        120.0,
        unit="CPU s a task of `pyramid`",
        why="a pod starts in 8 to 30 s; one that is taken away loses only the block that it is at",
        measured_on="starts of pods: docs/submit.md; of programs: benchmarks/starts",
        too_small="starts cost as much as the work on wide, shallow stacks",
        too_large="cores stay idle while a few tasks end",
    )
    thumbnail_side_px: int = limit(
        512,
        unit="px, longest side of the largest slice",
        why="what `compose` checks the alignment on, and what the report shows of each slice",
        measured_on="`compose` checks 1,000 slices in 15 s; what a smaller one would miss is not measured",
        too_small="correlation of neighbours rests on too little texture to tell a bad slice",
        too_large="records and report grow by its square, and the check on thumbnails slows down",
    )


CUT = CutLimits()


def match_scale(longest_side_px: int, match_size_px: int, downsample_factor: float) -> float:
    """The scale (<= 1) at which slices are matched.

    Two keys of the configuration set this one scale. `downsample_factor`, the older workflow's key, names the
    scale itself, whatever the size of the slices; where it is 0, `match_size` names the longest side that a
    slice has after it, so that slices of any size cost `align` the same.

    Args:
        longest_side_px: Longest side of the largest slice.
        match_size_px: Longest side at which slices are matched; not used where a factor is given.
        downsample_factor: 1 / the scale; 0 for none.

    Raises:
        ConfigError: the factor would enlarge the slices.

    Example:
        >>> match_scale(5120, 1280, 0), match_scale(5120, 1280, 2), match_scale(520, 1280, 0)
        (0.25, 0.5, 1.0)
    """
    if 0 < downsample_factor < 1:
        raise ConfigError(
            f"'downsample_factor' must be 0, or 1 or more; got {downsample_factor}. "
            f"Give --set downsample_factor=4 to match slices at a quarter of their size."
        )
    if downsample_factor:
        return 1 / downsample_factor
    return min(1.0, match_size_px / longest_side_px)


def thumbnail_scale(longest_side_px: int) -> float:
    """The scale (<= 1) of the thumbnails.

    Example:
        >>> thumbnail_scale(5120), thumbnail_scale(300)
        (0.1, 1.0)
    """
    return min(1.0, CUT.thumbnail_side_px / longest_side_px)


def chunk_length(n_slices: int, fan: int) -> int:
    """Slices per chunk: about eight chunks for a small stack, at most `fan` for any.

    Example:
        >>> chunk_length(48, 200), chunk_length(1000, 200), chunk_length(13_696, 200)
        (8, 16, 69)
    """
    few = ceil_div(n_slices, CUT.few_chunks)
    return max(min(max(few, CUT.shortest_chunk), CUT.usual_chunk), ceil_div(n_slices, fan))


def chunk_length_after(earlier: Plan, config: RunConfig, fan: int) -> int:
    """Slices per chunk of a stack of which an earlier plan is there: as in that one, where that is less work.

    Records of `align` hold for chunks that are cut as they were. Where most slices are new and the earlier
    chunks are short, their halos would cost more than matching the earlier slices again.

    Args:
        earlier: The plan that is there.
        config: The configuration of this run.
        fan: Most items in a loop.
    """
    n_slices = config.maxz - config.minz + 1
    n_new = max(0, config.maxz - earlier.config.maxz)
    halo = 0 if config.skip_align else config.neighbours
    anew = chunk_length(n_slices, fan)
    as_it_was = n_new * (1 + halo / earlier.chunk_length) <= n_slices * (1 + halo / anew)
    return earlier.chunk_length if as_it_was else anew


def matched_anew(earlier: Plan, plan: Plan) -> Iterator[str]:
    """Clauses on why every slice that an earlier plan had matched is matched again; none where it is not.

    Args:
        earlier: The plan that is there.
        plan: The plan that takes its place.
    """
    for key in differing_keys(earlier.config, plan.config):
        if key in MATCHING_KEYS and key != "maxz":
            yield f"{setting_of(plan.config, key)}, before {setting_of(earlier.config, key)}"
    if (earlier.match_scale, earlier.thumbnail_scale) != (plan.match_scale, plan.thumbnail_scale):
        before, now = (max(max(s.width_px, s.height_px) for s in p.slices) for p in (earlier, plan))
        if before != now:
            yield f"the longest side of a slice is {now} px, before {before}, and the scale follows it"
    if earlier.pixel_type != plan.pixel_type:
        yield f"the slices have {plan.pixel_type}, before {earlier.pixel_type}"
    ends, ends_before = (p.reading.values[:1] for p in (plan, earlier))
    if ends and ends_before and ends != ends_before:
        (low, high), (low_before, high_before) = *ends, *ends_before
        yield (
            f"the numbers in the files are spread over grey levels from {low:g} to {high:g}, before from "
            f"{low_before:g} to {high_before:g}"
        )
    if (earlier.data_bars or ()) != (plan.data_bars or ()):
        yield "other data bars are found"
    if earlier.chunk_length != plan.chunk_length:
        yield f"most are new, and cut into chunks of {plan.chunk_length}, before {earlier.chunk_length}"


def expected_volume(plan: Plan) -> Volume:
    """The volume that a plan leads to if no slice moves; drift makes the real one larger.

    Raises:
        ConfigError: it would have too many levels.
    """
    config = plan.config
    width_px, height_px = plan.largest_xy
    unmoved = Transforms(
        volume_size_xyz=(width_px, height_px, config.maxz - config.minz + 1),
        volume_origin_xyz_px=(0, 0, config.minz),
        intensity_range=(0, 255),
        slices=(),
    )
    return volume_of(plan, unmoved)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The units of every step of a run, and how they are grouped into the items of the loops."""

    plan: Plan
    volume: Volume
    chunks: tuple[Span, ...]
    """Ranges of z, the units of `align`."""
    chunk_items: tuple[Span, ...]
    """Ranges of z, of a chunk or more; each is an item of `align`'s loop."""
    slab_items: tuple[Span, ...]
    """Ranges of slabs; each is an item of `tile`'s loop."""
    block_items: tuple[tuple[Span, ...], ...]
    """Ranges of blocks, one tuple for each pass of the pyramid."""
    n_slices_matched: int
    """Slices that `align` reads; one that lies in a halo too is read, and counted, twice."""
    n_pairs: int
    """Pairs that `align` matches."""

    @classmethod
    def of(cls, plan: Plan, volume: Volume) -> Work:
        """The work on a plan that leads to a volume."""
        chunks = units.chunks(plan)
        halo = 0 if plan.config.skip_align else plan.config.neighbours
        n_after = len(plan.slices)
        n_matched = n_pairs = 0
        for chunk in chunks:
            n_own = sum(entry.z in chunk for entry in plan.slices)
            n_after -= n_own
            n_matched += n_own + min(halo, n_after)
            n_pairs += sum(min(halo, n_after + n_own - 1 - i) for i in range(n_own))
        return cls(
            plan=plan,
            volume=volume,
            chunks=tuple(chunks),
            chunk_items=tuple(units.chunk_items(plan, chunks)),
            slab_items=tuple(group(range(volume.n_slabs), plan.fan)),
            block_items=tuple(tuple(units.block_items(plan, p, range(p.n_blocks))) for p in volume.passes),
            n_slices_matched=n_matched,
            n_pairs=n_pairs,
        )

    @property
    def n_files_per_slice(self) -> int:
        """Files of a slice: one for each name pattern."""
        return len(self.plan.file_channels)

    @property
    def file_bytes_per_px(self) -> int:
        """Decoded bytes a pixel of a slice's largest file, the one with the most channels."""
        return max(self.plan.file_channels) * (1 if self.plan.pixel_type == "uint8" else 2)

    @property
    def tiles_bytes_per_px(self) -> int:
        """Bytes a pixel of all arrays of aligned tiles together."""
        return sum(array.bytes_per_voxel for array in self.volume.arrays)

    def slice_px(self) -> float:
        """Mean number of pixels of a slice."""
        return sum(s.width_px * s.height_px for s in self.plan.slices) / len(self.plan.slices)

    def n_slab_readings(self) -> int:
        """Slabs that the blocks of the first pass read; one that several blocks read counts for each."""
        x, y, _ = self.volume.passes[0].blocks_xyz
        layers = range(0, self.volume.passes[0].n_blocks, x * y)
        return x * y * sum(len(self.volume.slabs_of_block(block)) for block in layers)

    def n_slab_records(self) -> int:
        """Slabs whose records the pods of the first pass read; each pod reads a record once."""
        ends = ((self.volume.slabs_of_block(b) for b in (pod.first, pod.last)) for pod in self.block_items[0])
        return sum(last.last + 1 - first.first for first, last in ends)

    def n_exact_layers(self, pyramid_pass: PyramidPass) -> int:
        """Files with exact voxels that a pass leaves for the next one."""
        if pyramid_pass is self.volume.passes[-1]:
            return 0
        last = pyramid_pass.levels[-1]
        x, y, _ = pyramid_pass.blocks_xyz
        layers = ceil_div(pyramid_pass.size_at_level(last)[2], pyramid_pass.chunk)
        return x * y * layers * len(fed_arrays(self.volume, last))


def fed_arrays(volume: Volume, level: int) -> list[TileArray]:
    """The arrays of tiles from which levels coarser than `level` are made."""
    return [
        array
        for array in volume.arrays
        if max((output.levels[-1] for output in volume.outputs if output.array == array), default=-1) > level
    ]
