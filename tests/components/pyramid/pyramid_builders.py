"""A run up to the aligned stack, written here with tensorstore and not with the tile step."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tensorstore as ts
from numpy.typing import NDArray

from components.pyramid.downsample import Voxels
from components.pyramid.main import TiledRun
from components.pyramid.writing import write_block
from components.shared import grid
from components.shared.documents.plan import PixelType
from components.shared.grid import SizeXyz
from components.shared.storage.registry import open_store
from components.shared.volume.volume import TILES_KEY, Volume, volume_of
from components.shared.work import records, units
from components.shared.work.publication import publish
from tests.builders import plan_of, transforms_of

IDENTITY = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


def textured(shape_zyx: tuple[int, int, int], seed: int = 0) -> NDArray[np.uint8]:
    """Smooth and noisy at once, so that JPEG has something to lose; never black."""
    rng = np.random.default_rng(seed)
    z, y, x = np.indices(shape_zyx, dtype=np.float32)
    waves = 120 + 60 * np.sin(x / 7) * np.cos(y / 9 + z / 5)
    return np.clip(waves + rng.normal(0, 6, shape_zyx), 1, 255).astype(np.uint8)


def reference_levels(voxels: Voxels, halvings: Sequence[SizeXyz]) -> list[Voxels]:
    """Every level by tensorstore's own downsampling, each from the exact one before.

    `halvings` says how often x, y and z are halved down to each level.
    """
    levels = [voxels]
    for finer, coarser in pairwise(halvings):
        factors = [2 ** (b - a) for a, b in zip(finer, coarser, strict=True)]
        view = ts.downsample(ts.array(levels[-1]), factors[::-1], "mean")
        levels.append(view.read(order="C").result())
    return levels


def halvings_of(volume: Volume) -> list[SizeXyz]:
    """How often each axis is halved down to each level of a volume."""
    return [halvings for pyramid_pass in volume.passes for halvings in pyramid_pass.halvings]


class AlignedStack:
    """A run whose tiles are in place; `voxels` is [z, y, x], `source` says what the slices are."""

    def __init__(
        self,
        root: Path | str,
        voxels: Voxels,
        *,
        minz: int = 0,
        small: tuple[int, int] | None = None,
        slab_depth: int | None = None,
        source: tuple[PixelType, int] | None = None,
        **config: Any,
    ) -> None:
        depth, height, width = voxels.shape[-3:]
        pixel_type, n_channels = source or ("uint8", 1)
        self.plan = plan_of(
            *(minz, minz + depth - 1),
            size_px=(width, height),
            n_channels=n_channels,
            pixel_type=pixel_type,
            **{"output": str(root), "raw_pyramid": True, **config},
        )
        self.config = self.plan.config
        self.transforms = transforms_of(self.plan)
        self.voxels = voxels
        self.volume = volume_of(self.plan, self.transforms)
        if small is not None:
            self.volume = small_volume(self.volume, *small)
        if slab_depth is not None:
            self.volume = dataclasses.replace(self.volume, slab_depth=slab_depth)
        self.process = open_store(self.plan.locations.process_uri)
        self.process.write("plan.json", self.plan.to_json())
        self.process.write("transforms.json", self.transforms.to_json())
        self.write_tiles()

    @property
    def run(self) -> TiledRun:
        return TiledRun(self.process, self.plan, self.transforms, self.volume)

    def write_tiles(self) -> None:
        tmp = open_store(self.plan.locations.tmp_uri)
        depth = self.volume.slab_depth
        _, height, width = (grid.ceil_div(n, grid.TILE) * grid.TILE for n in self.voxels.shape)
        index_codecs = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
        codecs = [
            {"name": "bytes"},
            {"name": "zstd", "configuration": {"level": 1}},
            {"name": "crc32c"},
        ]
        spec = {
            "driver": "zarr3",
            "kvstore": tmp.kvstore(TILES_KEY),
            "store_data_equal_to_fill_value": True,
            "metadata": {
                "shape": self.voxels.shape,
                "data_type": "uint8",
                "dimension_names": ["z", "y", "x"],
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [depth, height, width]}},
                "codecs": [
                    {
                        "name": "sharding_indexed",
                        "configuration": {
                            "chunk_shape": [depth, grid.TILE, grid.TILE],
                            "codecs": codecs,
                            "index_codecs": index_codecs,
                        },
                    }
                ],
            },
        }
        ts.open(spec, create=True, delete_existing=True).result().write(self.voxels).result()
        for slab, input_hash in enumerate(units.slab_hashes(self.plan, self.transforms, self.volume)):
            data = tmp.read(self.tile_key(slab))
            output = records.Output(
                uri=tmp.uri, key=self.tile_key(slab), size_bytes=len(data), crc32c=records.checksum(data)
            )
            record = records.Record(step="tile", unit=str(slab), input_hash=input_hash, outputs=(output,))
            records.commit(self.process, record)

    def tile_key(self, slab: int) -> str:
        return f"{TILES_KEY}/c/{slab}/0/0"

    def tile_path(self, slab: int) -> Path:
        return Path(self.plan.locations.tmp_uri, self.tile_key(slab))

    def write_blocks(self, n_threads: int = 2) -> dict[tuple[int, int], set[tuple[str, str]]]:
        """Every block of every pass; the files that each left, by pass and block."""
        written = {}
        run = self.run
        with ThreadPoolExecutor(n_threads) as pool:
            for pyramid_pass in self.volume.passes:
                level = pyramid_pass.base_level
                for block in range(pyramid_pass.n_blocks):
                    record = write_block(run, level, block, pool, n_threads)
                    written[level, block] = {(o.uri, o.key) for o in record.outputs}
        return written

    def records(self) -> dict[tuple[int, int], records.Record | None]:
        """The record of every block, by pass and block."""
        return {
            (p.base_level, block): records.read_record(self.process, f"pyramid/{p.base_level}", str(block))
            for p in self.volume.passes
            for block in range(p.n_blocks)
        }

    def write_info(self) -> None:
        publish(self.volume)


def small_volume(volume: Volume, chunk: int, levels_per_pass: int) -> Volume:
    """Copy of a volume with small chunks and short passes, so that a small stack needs many."""
    passes = grid.pyramid_passes(volume.size_xyz, volume.resolution_nm, chunk, levels_per_pass)
    n_levels = passes[-1].levels.stop
    outputs = tuple(
        dataclasses.replace(
            output,
            levels=output.levels if output.uri == volume.outputs[1].uri else range(n_levels),
            shard_side=output.shard_side if output.encoding == "jpeg" else max(chunk, passes[0].block // 2),
        )
        for output in volume.outputs
    )
    z = volume.voxel_offset_xyz[2]
    offset = (0, 0, z if z % 2 ** passes[-1].halvings[-1][2] == 0 else 0)
    return dataclasses.replace(volume, passes=passes, outputs=outputs, voxel_offset_xyz=offset)


def read_tensorstore(uri: str, scale_index: int) -> tuple[Voxels, tuple[int, ...]]:
    """One scale of a precomputed volume as [z, y, x]."""
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": open_store(uri).kvstore(""),
        "scale_index": scale_index,
    }
    array = ts.open(spec, read=True, open=True).result()
    return array[..., 0].read().result().T, tuple(array.domain.origin[:3])


def read_tensorstore_zarr(uri: str, index: int) -> Voxels:
    """One level of an OME-Zarr volume as [z, y, x]."""
    spec = {"driver": "zarr3", "kvstore": open_store(uri).kvstore(str(index))}
    return ts.open(spec, read=True, open=True).result().read().result()


def read_zarr(uri: str, index: int) -> Voxels:
    """One level of an OME-Zarr volume as [z, y, x], by zarr-python."""
    import zarr

    return zarr.open_group(uri, mode="r")[str(index)][...]


def read_cloudvolume(uri: str, scale_index: int) -> Voxels:
    """One scale of a precomputed volume as [z, y, x]."""
    from cloudvolume import CloudVolume

    volume = CloudVolume(f"file://{uri}", mip=scale_index, fill_missing=True, progress=False, parallel=1)
    return np.asarray(volume[:])[..., 0].T
