"""The work of a run as the steps will cut it, before any of it is done: arithmetic on a plan and a volume."""

from __future__ import annotations

from dataclasses import dataclass

from components.shared.documents.plan import Plan
from components.shared.documents.transforms import Transforms
from components.shared.grid import PyramidPass, Span, ceil_div, group
from components.shared.volume.volume import TileArray, Volume, volume_of
from components.shared.work import units


def expected_volume(plan: Plan) -> Volume:
    """The volume as it will be if no slice moves; the frame grows by what the stack drifts.

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
    """The units of every step of a run, and how many of them a loop's item holds."""

    plan: Plan
    volume: Volume
    chunks: tuple[Span, ...]
    """Of slices; each is an item of `align`'s loop."""
    slab_items: tuple[Span, ...]
    block_items: tuple[tuple[Span, ...], ...]
    """Of each pass."""
    n_slices_matched: int
    """How many slices `align` reads, those twice that lie in the halo of a chunk too."""
    n_pairs: int

    @classmethod
    def of(cls, plan: Plan, volume: Volume) -> Work:
        """The work on a plan whose volume is this."""
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
            slab_items=tuple(group(range(volume.n_slabs), plan.fan)),
            block_items=tuple(tuple(group(range(p.n_blocks), plan.fan)) for p in volume.passes),
            n_slices_matched=n_matched,
            n_pairs=n_pairs,
        )

    @property
    def n_files_per_slice(self) -> int:
        return len(self.plan.file_channels)

    @property
    def file_bytes_per_px(self) -> int:
        """Of the file of a slice that has the most channels, decoded."""
        return max(self.plan.file_channels) * (1 if self.plan.pixel_type == "uint8" else 2)

    @property
    def tiles_bytes_per_px(self) -> int:
        """Of all arrays of aligned tiles."""
        return sum(array.bytes_per_voxel for array in self.volume.arrays)

    def slice_px(self) -> float:
        """Pixels of a slice, on average."""
        return sum(s.width_px * s.height_px for s in self.plan.slices) / len(self.plan.slices)

    def n_slab_readings(self) -> int:
        """How many slabs the blocks of the first pass read, added up."""
        x, y, _ = self.volume.passes[0].blocks_xyz
        layers = range(0, self.volume.passes[0].n_blocks, x * y)
        return x * y * sum(len(self.volume.slabs_of_block(block)) for block in layers)

    def n_slab_records(self) -> int:
        """How many slabs the pods of the first pass look for, added up; each pod looks once for each."""
        ends = ((self.volume.slabs_of_block(b) for b in (pod.first, pod.last)) for pod in self.block_items[0])
        return sum(last.last + 1 - first.first for first, last in ends)

    def n_exact_layers(self, pyramid_pass: PyramidPass) -> int:
        """Files that a pass leaves behind for the next one."""
        if pyramid_pass is self.volume.passes[-1]:
            return 0
        last = pyramid_pass.levels[-1]
        x, y, _ = pyramid_pass.blocks_xyz
        layers = ceil_div(pyramid_pass.size_at_level(last)[2], pyramid_pass.chunk)
        return x * y * layers * len(fed_arrays(self.volume, last))


def fed_arrays(volume: Volume, level: int) -> list[TileArray]:
    """The arrays of tiles that a level coarser than this one is made from."""
    return [
        array
        for array in volume.arrays
        if max((output.levels[-1] for output in volume.outputs if output.array == array), default=-1) > level
    ]
