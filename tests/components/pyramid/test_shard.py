"""Chunks and shards as other programs decode them."""

from __future__ import annotations

import gzip as reference_gzip
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
import tensorstore as ts
from scipy.ndimage import gaussian_filter

from components.pyramid.encode import encode_jpeg, encode_png, encode_raw
from components.pyramid.shard import assemble_shard
from components.shared.volume.precomputed import Sharding


def read_with_tensorstore(shard: bytes, sharding: Sharding, numbers: Iterable[int]) -> dict[int, Any]:
    """The chunks of shard 0 as tensorstore's own reader of the format finds them."""
    context = ts.Context()
    base = {"driver": "memory", "path": "s/"}
    ts.KvStore.open(base, context=context).result()[sharding.file_name(0)] = shard
    metadata = {
        "@type": "neuroglancer_uint64_sharded_v1",
        "hash": "identity",
        "preshift_bits": sharding.preshift_bits,
        "minishard_bits": sharding.minishard_bits,
        "shard_bits": sharding.shard_bits,
        "minishard_index_encoding": "gzip",
        "data_encoding": "raw",
    }
    spec = {"driver": "neuroglancer_uint64_sharded", "base": base, "metadata": metadata}
    store = ts.KvStore.open(spec, context=context).result()
    return {n: store.read(int(n).to_bytes(8, "big")).result() for n in numbers}


@pytest.mark.parametrize(("minishard_bits", "preshift_bits"), [(0, 12), (3, 4), (2, 0), (0, 0), (1, 7)])
def test_every_chunk_is_found_and_no_other(minishard_bits: int, preshift_bits: int) -> None:
    sharding = Sharding(shard_bits=2, minishard_bits=minishard_bits, preshift_bits=preshift_bits)
    rng = np.random.default_rng(minishard_bits)
    everything = range(1 << (minishard_bits + preshift_bits))
    present = [n for n in everything if rng.random() < 0.6] or [0]
    chunks = {n: rng.bytes(int(rng.integers(1, 50))) for n in reversed(present)}
    shard = b"".join(assemble_shard(chunks, sharding))
    found = read_with_tensorstore(shard, sharding, everything)
    for number in everything:
        assert found[number].state == ("value" if number in chunks else "missing")
        assert found[number].value == chunks.get(number, b"")


def test_order_of_arrival_does_not_matter() -> None:
    sharding = Sharding(shard_bits=0, minishard_bits=1, preshift_bits=2)
    chunks = {5: b"five", 0: b"zero", 3: b"three"}
    shards = [assemble_shard(dict(items), sharding) for items in (chunks.items(), sorted(chunks.items()))]
    assert shards[0] == shards[1]


@pytest.mark.parametrize("shape", [(3, 4, 5), (64, 64, 64)], ids=["by zlib", "by ISA-L"])
def test_raw_chunk_is_gzip_without_time(shape: tuple[int, int, int]) -> None:
    voxels = np.arange(np.prod(shape)).astype(np.uint8).reshape(shape)
    encoded = encode_raw(voxels)
    assert reference_gzip.decompress(encoded) == voxels.tobytes()
    assert encoded[4:8] == bytes(4)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 6, 7), (1, 1, 1), (1, 6, 7), (9, 1, 1), (64, 64, 64), (3, 5, 6, 7)])
def test_png_decodes_to_the_same_voxels(shape: tuple[int, ...], dtype: Any) -> None:
    greatest = np.iinfo(dtype).max
    voxels = np.random.default_rng(0).integers(0, greatest, shape, dtype=dtype, endpoint=True)
    picture = cv2.imdecode(np.frombuffer(encode_png(voxels), np.uint8), cv2.IMREAD_UNCHANGED)
    assert picture.dtype == dtype
    if len(shape) == 4:
        picture = np.moveaxis(picture[..., ::-1], -1, 0)  # OpenCV has blue first
    np.testing.assert_array_equal(picture.reshape(shape), voxels)


def test_png_is_a_fifth_smaller_than_gzip_and_always_the_same() -> None:
    noise = gaussian_filter(np.random.default_rng(3).normal(0, 1, (64, 64, 64)), 1.5)
    voxels = np.clip(128 + 35 * noise / noise.std(), 0, 255).astype(np.uint8)
    assert len(encode_png(voxels)) < 0.8 * len(encode_raw(voxels))
    assert encode_png(voxels) == encode_png(voxels.copy())


@pytest.mark.parametrize(
    ("shape_zyx", "picture"),
    [((64, 64, 64), (4096, 64)), ((64, 40, 31), (2560, 31)), ((10, 37, 64), (10, 2368)), ((1, 1, 1), (1, 1))],
)
def test_jpeg_keeps_dct_blocks_within_slices(
    shape_zyx: tuple[int, int, int], picture: tuple[int, int]
) -> None:
    encoded = encode_jpeg(np.full(shape_zyx, 90, dtype=np.uint8), 80)
    assert simplejpeg.decode_jpeg_header(encoded)[:2] == picture


def test_border_chunk_is_no_worse_than_an_inner_one() -> None:
    # As smooth along z as along y, as FIB-SEM is.
    noise = gaussian_filter(np.random.default_rng(3).normal(0, 1, (64, 64, 64)), 1.5)
    voxels = np.clip(128 + 60 * noise / noise.std(), 0, 255).astype(np.uint8)
    border = np.ascontiguousarray(voxels[:, :37])

    def error(encoded: bytes, chunk: Any) -> float:
        decoded = simplejpeg.decode_jpeg(encoded, colorspace="GRAY").reshape(chunk.shape)
        return np.abs(decoded.astype(int) - chunk)[:, 32:37].mean()

    inner_error = error(encode_jpeg(voxels, 80), voxels)
    tall_picture = simplejpeg.encode_jpeg(border.reshape(-1, 64, 1), 80, "GRAY", "Gray")
    assert error(encode_jpeg(border, 80), border) < 1.05 * inner_error
    assert error(tall_picture, border) > 1.2 * inner_error
