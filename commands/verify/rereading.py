"""Reads a volume with tensorstore, as any other program would, and compares it with what it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from commands.verify.comparison import psnr_db, sampled, squared_error, worst_jpeg_error
from commands.verify.files import Damage
from components.shared.grid import SizeXyz, ceil_div
from components.shared.storage.registry import open_store
from components.shared.storage.store import READS, join_uri
from components.shared.volume.layout import Scale, scale_at
from components.shared.volume.open_level import open_level
from components.shared.volume.slice_numbers import SliceNumbers
from components.shared.volume.tensorstore_retry import check_may_not_pass, reason
from components.shared.volume.tiles import tile_array_spec
from components.shared.volume.volume import TileArray, Volume, VolumeOutput

READ_SIDE = 256
"""Side, in voxels of the reference, of the part of a coarse JPEG chunk that is compared: 16 MiB are read."""
MIN_JUDGED_VOXELS = 512
"""Voxels of a JPEG part that is judged, at least: a smaller part can exceed the bound of a whole JPEG."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Voxels that a level must be equal to, or close to."""

    name: str
    array: Any
    """tensorstore [z, y, x] or [channel, z, y, x], a view: halved when it is read."""
    halvings_xyz: SizeXyz
    """Number of times that each axis of the reference is halved when it is read."""
    is_jpeg: bool = False
    """The reference has errors of its own, which may be as large as those of the level."""


@dataclass(frozen=True, slots=True)
class LevelCheck:
    """One level of an output, read again."""

    output: VolumeOutput
    level: int
    n_chunks: int
    n_read: int
    compared_with: str
    """Name of the reference; empty where there is none."""
    result: str
    damages: tuple[Damage, ...]


class Rereading:
    """A finished volume, open for reading."""

    def __init__(self, volume: Volume, first_z: int, tmp_uri: str | None) -> None:
        """Read every output of `volume`.

        Args:
            volume: what was written.
            first_z: number of its first slice.
            tmp_uri: where its tiles lie; None where they are gone.
        """
        self._volume = volume
        self._first_z = first_z
        self._tmp_uri = tmp_uri

    def check(self, n_sampled: int | None, pool: Executor) -> Iterator[LevelCheck]:
        """Compare some chunks of every level of every output.

        Args:
            n_sampled: chunks of each level; None for all.
            pool: threads that read.
        """
        for output in self._volume.outputs:
            for level in output.levels:
                yield self._check_level(output, level, n_sampled, pool)

    def _check_level(
        self, output: VolumeOutput, level: int, n_sampled: int | None, pool: Executor
    ) -> LevelCheck:
        scale = scale_at(self._volume, output, level)
        x, y, z = (ceil_div(n, scale.chunk) for n in scale.size_xyz)
        positions = sampled((x, y, z), n_sampled, seed=level)
        is_full = n_sampled is None
        reference = self._reference(output, level, is_full)
        array = self._open(output, level)
        numbers = SliceNumbers(
            first_z=self._first_z,
            n_slices=self._volume.size_xyz[2],
            slices_per_voxel=2 ** self._volume.halvings_at_level(level)[2],
        )
        chunks = [_Chunk(output, scale, position, is_full, numbers) for position in positions]
        compared = list(pool.map(lambda chunk: chunk.compare_again_if_bad(array, reference), chunks))
        bad = [(chunk, one.problem) for chunk, one in zip(chunks, compared, strict=True) if one.problem]
        damages = tuple(
            Damage(problem, (chunk.file,) if chunk.file in problem else ()) for chunk, problem in bad
        )
        n_voxels = sum(one.n_voxels for one in compared)
        if bad:
            result = f"{len(bad)} bad"
        elif reference is None or n_voxels == 0:
            result = "decoded"
        elif output.encoding == "jpeg":
            result = f"{psnr_db(sum(one.squared_error for one in compared) / n_voxels):.1f} dB"
        else:
            result = "equal"
        name = reference.name if reference else ""
        return LevelCheck(output, level, x * y * z, len(chunks), name, result, damages)

    def _reference(self, output: VolumeOutput, level: int, is_full: bool) -> Reference | None:
        """The reference of a level: the level below, the tiles, or another lossless volume.

        A whole level of JPEG is compared with the level below, also of JPEG, where a lossless one would have
        to be read at more than twice its resolution along an axis.
        """
        exact = self._exact_reference(output, level)
        is_near = exact is not None and max(exact.halvings_xyz) <= 1
        if is_full and output.encoding == "jpeg" and not is_near and level - 1 in output.levels:
            below = self._halved(self._open(output, level - 1), f"level {level - 1}", level - 1, level)
            return replace(below, is_jpeg=True)
        return exact

    def _exact_reference(self, output: VolumeOutput, level: int) -> Reference | None:
        """The lossless reference of a level, the coarsest that there is."""
        is_lossless = output.encoding != "jpeg"
        if is_lossless and level - 1 in output.levels:
            return self._halved(self._open(output, level - 1), f"level {level - 1}", level - 1, level)
        others = [o for o in self._volume.outputs if o.encoding != "jpeg" and o.array == output.array]
        finer = [
            (other_level, -index, other)
            for index, other in enumerate(others)
            for other_level in other.levels
            if other_level <= level and other != output
        ]
        # Lossless volumes vouch for JPEG. Among themselves the first is compared with the tiles alone.
        if is_lossless:
            finer = [entry for entry in finer if others.index(entry[2]) < others.index(output)]
        if finer:
            other_level, _, other = max(finer, key=lambda entry: entry[:2])
            name = f"{other.uri.rpartition('/')[2]}, level {other_level}"
            return self._halved(self._open(other, other_level), name, other_level, level)
        if self._tmp_uri is not None:
            return self._halved(self._open_tiles(output.array), "tiles", 0, level)
        return None

    def _halved(self, array: Any, name: str, from_level: int, level: int) -> Reference:  # noqa: ANN401 - untyped
        """A view of a level, halved from a finer one, each level rounded as it is when it is written."""
        for coarser in range(from_level + 1, level + 1):
            factors = [2**k for k in self._halvings(coarser - 1, coarser)]
            array = ts.downsample(array, [1] * (array.rank - 3) + factors[::-1], "mean")
        return Reference(name, array, self._halvings(from_level, level))

    def _halvings(self, finer: int, coarser: int) -> SizeXyz:
        a, b = (self._volume.halvings_at_level(level) for level in (finer, coarser))
        return b[0] - a[0], b[1] - a[1], b[2] - a[2]

    def _open(self, output: VolumeOutput, level: int) -> Any:  # noqa: ANN401 - untyped
        return open_level(self._volume, output, level, _uncached())

    def _open_tiles(self, tiles: TileArray) -> Any:  # noqa: ANN401 - untyped
        assert self._tmp_uri is not None
        spec = tile_array_spec(self._volume, tiles, open_store(self._tmp_uri).kvstore(tiles.key))
        return ts.open(spec, open=True, read=True, context=_uncached()).result()


@dataclass(frozen=True, slots=True)
class _Compared:
    n_voxels: int = 0
    squared_error: float = 0.0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk of a level."""

    output: VolumeOutput
    scale: Scale
    position_xyz: SizeXyz
    is_whole: bool
    """All of the chunk is compared, also of JPEG."""
    numbers: SliceNumbers
    """Those of the level."""

    @property
    def _start(self) -> SizeXyz:
        x, y, z = (n * self.scale.chunk for n in self.position_xyz)
        return x, y, z

    @property
    def file(self) -> str:
        """URI of the shard that holds the chunk."""
        x, y, z = (n // side for n, side in zip(self._start, self.scale.shard_sides, strict=True))
        return join_uri(self.output.uri, self.scale.shard_key((x, y, z)))

    def compare_again_if_bad(self, array: Any, reference: Reference | None) -> _Compared:  # noqa: ANN401
        """Compare; a problem counts when it shows each time, since bytes may be damaged on their way."""
        compared = self.compare(array, reference)
        for _ in range(READS - 1):
            if not compared.problem:
                break
            compared = self.compare(array, reference)
        return compared

    def compare(self, array: Any, reference: Reference | None) -> _Compared:  # noqa: ANN401 - untyped
        """Read the chunk and compare it with its reference, if there is one."""
        sides = [self.scale.chunk] * 3
        if reference is not None and self.output.encoding == "jpeg" and not self.is_whole:
            sides = [min(n, READ_SIDE >> k) for n, k in zip(sides, reference.halvings_xyz, strict=True)]
        if 0 in sides:
            reference, sides = None, [self.scale.chunk] * 3
        stop = [min(a + n, size) for a, n, size in zip(self._start, sides, self.scale.size_xyz, strict=True)]
        box = (..., *(slice(a, b) for a, b in zip(self._start[::-1], stop[::-1], strict=True)))
        try:
            voxels = array[box].read().result()
        except (ValueError, OSError) as error:
            check_may_not_pass(f"cannot read {self.file}", error)
            return _Compared(problem=self._sentence(f"must be readable; got {reason(error).rstrip('.')}"))
        if reference is None:
            return _Compared()
        try:
            wanted = self._channels(reference.array)[box].read().result()
        except (ValueError, OSError) as error:
            check_may_not_pass(f"cannot read {reference.name}", error)
            return _Compared(problem=f"{reference.name} must be readable; got {reason(error).rstrip('.')}.")
        return self._judged(voxels, wanted, reference)

    def _channels(self, array: Any) -> Any:  # noqa: ANN401 - untyped
        """The channels of an array that the output has: the first ones."""
        if array.rank == 3:
            return array
        return array[0] if self.output.n_channels == 1 else array[: self.output.n_channels]

    def _judged(self, voxels: NDArray[Any], wanted: NDArray[Any], reference: Reference) -> _Compared:
        name = reference.name
        error = squared_error(voxels, wanted)
        if self.output.encoding != "jpeg":
            n_different = int(np.count_nonzero(voxels != wanted))
            if n_different:
                problem = self._sentence(f"must be equal to {name}; got {n_different} other voxels")
                return _Compared(voxels.size, error, problem)
        elif self.output.n_channels == 1 and voxels.size >= MIN_JUDGED_VOXELS:
            mean = error / voxels.size
            # Two amplitudes that add up have four times the mean square of one.
            if mean > worst_jpeg_error(self.output.jpeg_quality) * (4 if reference.is_jpeg else 1):
                return _Compared(
                    voxels.size, error, self._sentence(f"must look like {name}; got {psnr_db(mean):.1f} dB")
                )
        return _Compared(voxels.size, error)

    def _sentence(self, rule_and_value: str) -> str:
        x, y, z = self._start
        slices = self.numbers.shown_by(z, min(z + self.scale.chunk, self.scale.size_xyz[2]))
        level = self.scale.level
        return f"the chunk at x {x}, y {y}, {slices} of level {level} {rule_and_value} in {self.file}."


def _uncached() -> ts.Context:
    return ts.Context({"cache_pool": {"total_bytes_limit": 0}})
