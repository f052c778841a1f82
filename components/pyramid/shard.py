"""A shard of the precomputed format from its encoded chunks: the bytes of one file.

Layout, offsets counted from the end of the shard index::

    shard index        2^minishard_bits x (start, end) of the minishard indices, uint64
    chunks             of minishard 0 in the order of their numbers, of minishard 1, ...
    minishard indices  gzip of [3, n] uint64: chunk numbers, starts, sizes; the first two delta coded

Source: neuroglancer's documentation, "Precomputed: Sharded format".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from components.pyramid.encode import gzip
from components.shared.volume.precomputed import Sharding


def assemble_shard(chunks: Mapping[int, bytes], sharding: Sharding) -> list[bytes]:
    """The file of a shard in parts, in their order: joined, they would take twice the memory.

    Args:
        chunks: encoded chunks of this shard by chunk number; chunks that are all black are left out.
        sharding: how chunk numbers are spread over minishards.

    Example:
        >>> sharding = Sharding(shard_bits=0, minishard_bits=0, preshift_bits=3)
        >>> assemble_shard({5: b"abc", 2: b"de"}, sharding)[1:3]
        [b'de', b'abc']
    """
    minishards: list[list[int]] = [[] for _ in range(1 << sharding.minishard_bits)]
    for number in sorted(chunks):
        minishards[sharding.minishard_of(number)].append(number)
    data = [chunks[number] for members in minishards for number in members]
    indices = []
    start = 0
    for members in minishards:
        sizes = [len(chunks[number]) for number in members]
        indices.append(_minishard_index(members, start, sizes) if members else b"")
        start += sum(sizes)
    return [_shard_index(indices, start), *data, *indices]


def _minishard_index(numbers: list[int], start: int, sizes: list[int]) -> bytes:
    """The index of chunks that lie in a row from `start`."""
    index = np.zeros((3, len(numbers)), dtype="<u8")
    index[0] = np.diff(np.array(numbers, dtype="<u8"), prepend=np.uint64(0))
    index[1, 0] = (
        start  # delta coded: each further chunk starts where the previous one ends, a difference of 0
    )
    index[2] = sizes
    return gzip(index.tobytes())


def _shard_index(minishard_indices: Iterable[bytes], start: int) -> bytes:
    """The index of a shard: begin and end of each minishard index; (0, 0) for an empty one.

    Args:
        minishard_indices: The encoded minishard indices, in their order.
        start: Begin of the first.
    """
    ranges = []
    for index in minishard_indices:
        ranges.append((start, start + len(index)) if index else (0, 0))
        start += len(index)
    return np.array(ranges, dtype="<u8").tobytes()
