"""The least that the work can cost: the libraries that encode and decode, on the same data, alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import simplejpeg
from isal import igzip

from benchmarks.pyramid.measure import Clock
from benchmarks.pyramid.stack import Stack, Voxels
from components.shared.grid import VOXEL_CHUNK

SLAB = 64
QUALITY = 80


def encode_jpeg(stack: Stack, n_threads: int, clock: Clock) -> int:
    """The JPEG encoder on every chunk of every level."""
    return _encode(stack, n_threads, clock, len(stack.levels), _jpeg)


def deflate_level_0(stack: Stack, n_threads: int, clock: Clock) -> int:
    """ISA-L's deflate on every chunk of level 0."""
    return _encode(stack, n_threads, clock, 1, _deflate)


def deflate(stack: Stack, n_threads: int, clock: Clock) -> int:
    """ISA-L's deflate on every chunk of every level."""
    return _encode(stack, n_threads, clock, len(stack.levels), _deflate)


def decode_tiles(stack: Stack, n_threads: int, clock: Clock) -> int:
    """The reading of the tiles by tensorstore, a layer of chunks at a time."""
    tiles = stack.open_tiles(n_threads)
    tiles[0:1].read().result()  # starts the threads
    for z in range(0, tiles.shape[0], SLAB):
        with clock:
            tiles[z : z + SLAB].read().result()
    return int(np.prod(tiles.shape))


def _jpeg(chunk: Voxels) -> int:
    picture = chunk.reshape(-1, chunk.shape[2], 1)
    return len(simplejpeg.encode_jpeg(picture, quality=QUALITY, colorspace="GRAY", colorsubsampling="Gray"))


def _deflate(chunk: Voxels) -> int:
    return len(igzip.compress(chunk.data, compresslevel=1, mtime=0))


def _encode(
    stack: Stack, n_threads: int, clock: Clock, n_levels: int, encode: Callable[[Voxels], int]
) -> int:
    """Bytes that come out; the clock runs while chunks are encoded, not while they are cut out."""
    n_bytes = 0
    c = VOXEL_CHUNK
    with ThreadPoolExecutor(n_threads) as pool:
        for path in stack.levels[:n_levels]:
            level = np.load(path, mmap_mode="r")
            for z in range(0, len(level), c):
                chunks = [
                    np.ascontiguousarray(level[z : z + c, y : y + c, x : x + c])
                    for y in range(0, level.shape[1], c)
                    for x in range(0, level.shape[2], c)
                ]
                with clock:
                    n_bytes += sum(pool.map(encode, chunks))
    return n_bytes


LIMITS = {
    "limit: JPEG encoder": encode_jpeg,
    "limit: tile decoder": decode_tiles,
    "limit: deflate, level 0": deflate_level_0,
    "limit: deflate": deflate,
}
