"""Pyramids of 16 bit and of several channels, in many passes, read back by others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
import tensorstore as ts

from components.pyramid.downsample import Voxels
from components.pyramid.encode import encode_jpeg
from components.pyramid.sources import empty_voxels
from components.shared.storage.registry import open_store
from components.shared.volume.tiles import shard_key, tile_array_spec
from components.shared.volume.volume import TileArray, VolumeOutput
from components.shared.work import records, units
from tests.components.pyramid.pyramid_builders import (
    AlignedStack,
    halvings_of,
    read_tensorstore_zarr,
    textured,
)

quiet_cloudvolume = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")


class ChannelStack(AlignedStack):
    """`voxels` is [channel, z, y, x] at 8 bit; `raw`, where it is given, the same at 16."""

    def __init__(self, root: Path, voxels: Voxels, raw: Voxels | None = None, **settings: Any) -> None:
        self.raw = raw
        source = ("uint8" if raw is None else "uint16", len(voxels))
        super().__init__(root, voxels, source=source, keep_bits=raw is not None, **settings)

    def write_tiles(self) -> None:
        tmp = open_store(self.plan.locations.tmp_uri)
        for tiles, voxels in zip(self.volume.arrays, (self.voxels, self.raw), strict=False):
            spec = tile_array_spec(self.volume, tiles, tmp.kvstore(tiles.key))
            array = ts.open(spec, create=True, delete_existing=True).result()
            array.write(voxels if tiles.n_channels > 1 else voxels[0]).result()
        for slab, input_hash in enumerate(units.slab_hashes(self.plan, self.transforms, self.volume)):
            outputs = []
            for tiles in self.volume.arrays:
                key = f"{tiles.key}/{shard_key(slab, tiles)}"
                data = tmp.read(key)
                crc32c = records.checksum(data)
                outputs.append(records.Output(uri=tmp.uri, key=key, size_bytes=len(data), crc32c=crc32c))
            record = records.Record(
                step="tile", unit=str(slab), input_hash=input_hash, outputs=tuple(outputs)
            )
            records.commit(self.process, record)


def channels(n_channels: int, shape_zyx: tuple[int, int, int], dtype: str = "uint8") -> Voxels:
    voxels = np.stack([textured(shape_zyx, seed) for seed in range(n_channels)])
    if dtype == "uint8":
        return voxels
    noise = np.random.default_rng(n_channels).integers(0, 256, voxels.shape)
    return (voxels.astype(np.uint16) << 8 | noise).astype(np.uint16)


def read_levels(output: VolumeOutput) -> Iterator[Voxels]:
    """Every level of an output as [channel, z, y, x], the precomputed ones also through cloud-volume."""
    for index, _ in enumerate(output.levels):
        if output.format == "ome-zarr":
            voxels = read_tensorstore_zarr(output.uri, index)
            yield voxels if voxels.ndim == 4 else voxels[np.newaxis]
            continue
        kvstore = open_store(output.uri).kvstore("")
        spec = {"driver": "neuroglancer_precomputed", "kvstore": kvstore, "scale_index": index}
        voxels = ts.open(spec, read=True, open=True).result().read().result().T
        # cloud-volume takes the components of a PNG or JPEG pixel for channels one behind the other.
        if output.encoding == "raw" or len(voxels) == 1:
            from cloudvolume import CloudVolume

            volume = CloudVolume(f"file://{output.uri}", mip=index, fill_missing=True, progress=False)
            np.testing.assert_array_equal(np.asarray(volume[:]).T, voxels)
        yield voxels


def check(stack: ChannelStack) -> None:
    halvings = halvings_of(stack.volume)
    for output in stack.volume.outputs:
        expected = stack.voxels if output.array == stack.volume.arrays[0] else stack.raw
        expected = expected[: output.n_channels]
        first = output.levels[0]
        assert first == 0
        for level, found in zip(output.levels, read_levels(output), strict=True):
            assert found.dtype == expected.dtype
            if output.encoding == "jpeg":
                assert np.abs(found.astype(int) - expected).mean() < 12
            else:
                np.testing.assert_array_equal(found, expected)
            if level != output.levels[-1]:
                steps = [b - a for a, b in zip(halvings[level], halvings[level + 1], strict=True)]
                factors = [1, *(2**k for k in reversed(steps))]
                expected = ts.downsample(ts.array(expected), factors, "mean").read(order="C").result()


@quiet_cloudvolume
@pytest.mark.parametrize(
    ("n_channels", "keeps_bits", "shape_zyx", "small", "settings"),
    [
        (1, True, (20, 19, 35), (8, 2), {"ome_zarr": True}),
        (1, True, (9, 19, 35), (8, 3), {"raw_pyramid": False}),
        (3, False, (11, 18, 33), (8, 2), {"ome_zarr": True, "lossless_encoding": "png"}),
        (3, True, (11, 10, 17), (8, 2), {"lossless_encoding": "png"}),
        (2, True, (9, 18, 17), (4, 2), {"resolution": (4, 4, 20)}),
        (4, False, (9, 18, 17), (8, 2), {"lossless_encoding": "png"}),
        (5, False, (9, 10, 17), (8, 2), {}),
    ],
)
def test_every_channel_and_bit_is_there_at_every_level(
    tmp_path: Path,
    n_channels: int,
    keeps_bits: bool,
    shape_zyx: tuple[int, int, int],
    small: tuple[int, int],
    settings: dict[str, Any],
) -> None:
    raw = channels(n_channels, shape_zyx, "uint16") if keeps_bits else None
    voxels = channels(n_channels, shape_zyx)
    stack = ChannelStack(tmp_path / "out", voxels, raw, small=small, slab_depth=4, **settings)
    stack.write_blocks()
    stack.write_info()
    check(stack)


def test_the_raw_array_goes_no_further_than_its_outputs(tmp_path: Path) -> None:
    voxels = channels(1, (20, 19, 35))
    stack = ChannelStack(tmp_path / "out", voxels, voxels.astype(np.uint16), small=(8, 2), raw_pyramid=False)
    written = stack.write_blocks()
    names = {key for keys in written.values() for uri, key in keys if uri == stack.process.uri}
    assert names
    assert not [name for name in names if "uint16" in name]  # chunk has level 0 alone


@pytest.mark.parametrize("shape_zyx", [(16, 16, 16), (5, 13, 7), (1, 1, 1)])
def test_a_jpeg_of_three_channels_has_full_chroma_and_whole_pixels(shape_zyx: tuple[int, int, int]) -> None:
    depth, height, width = shape_zyx
    grey = textured(shape_zyx)
    rgb = np.stack([grey, 255 - grey, grey // 2])
    picture = simplejpeg.decode_jpeg(encode_jpeg(rgb, 100), "RGB")
    assert picture.size == 3 * depth * height * width
    assert np.abs(picture.reshape(-1, 3).T.astype(int) - rgb.reshape(3, -1)).max() <= 6
    header = simplejpeg.decode_jpeg_header(encode_jpeg(rgb, 80))
    assert header[3] == "444"


@pytest.mark.parametrize(("n_channels", "shape"), [(1, (2, 3, 4)), (2, (2, 2, 3, 4)), (3, (3, 2, 3, 4))])
def test_only_several_channels_are_an_axis(n_channels: int, shape: tuple[int, ...]) -> None:
    tiles = TileArray(key="tiles", data_type="uint16", n_channels=n_channels)
    voxels = empty_voxels(tiles, (2, 3, 4))
    assert (voxels.shape, voxels.dtype) == (shape, np.uint16)
