"""A shard of Zarr v3 from its encoded chunks: the bytes of one file.

Layout::

    chunks    in the order of their numbers
    index     (offset, size) of each chunk, uint64; all bits set where there is none; its crc32c

Source: Zarr v3, ZEP 2, codec "sharding_indexed".
"""

from __future__ import annotations

from collections.abc import Mapping

import google_crc32c
import numpy as np


def assemble_zarr_shard(chunks: Mapping[int, bytes], n_chunks: int) -> list[bytes]:
    """The file of a shard of Zarr v3, codec "sharding_indexed" with its index at the end; in parts.

    Args:
        chunks: encoded chunks by their number in the shard, C order; chunks that are all black are left out.
        n_chunks: number of chunks that the shard has room for.

    Example:
        >>> assemble_zarr_shard({1: b"abc", 0: b"de"}, 2)[:2]
        [b'de', b'abc']
    """
    numbers = sorted(chunks)
    sizes = [len(chunks[number]) for number in numbers]
    index = np.full((n_chunks, 2), np.iinfo(np.uint64).max, dtype="<u8")
    index[numbers, 0] = np.cumsum([0, *sizes[:-1]])
    index[numbers, 1] = sizes
    encoded = index.tobytes()
    return [*(chunks[number] for number in numbers), encoded, crc32c(encoded)]


def crc32c(data: bytes) -> bytes:
    """The bytes that the codec "crc32c" appends to data."""
    return int(google_crc32c.value(data)).to_bytes(4, "little")
