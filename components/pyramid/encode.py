"""Encode one chunk of voxels as the precomputed format stores it."""

from __future__ import annotations

import numpy as np
import simplejpeg
from isal import igzip
from numpy.typing import NDArray

DCT_BLOCK = 8


def encode_jpeg(voxels: NDArray[np.uint8], quality: int) -> bytes:
    """A chunk as a grey JPEG, x fastest.

    The format fixes only the number of pixels. The picture is x wide and y * z high, so that JPEG's 8 x 8
    blocks lie within a slice if y is a multiple of 8. Where it is not (at the border of the volume), a slice
    becomes one row of x * y: the blocks then lie in x and z, and none spans the seam between the last row of
    a slice and the first of the next, which would cost a third more error there (measured).

    Args:
        voxels: [z, y, x] array, contiguous.
        quality: 1..100.
    """
    depth, height, _ = voxels.shape
    rows = depth * height if height % DCT_BLOCK == 0 else depth
    picture = voxels.reshape(rows, -1, 1)
    return bytes(simplejpeg.encode_jpeg(picture, quality=quality, colorspace="GRAY", colorsubsampling="Gray"))


def gzip(data: bytes | memoryview) -> bytes:
    """Gzip without a time stamp. Level 1: higher ones gain nothing on EM images and cost much more."""
    return bytes(igzip.compress(data, compresslevel=1, mtime=0))


def encode_raw(voxels: NDArray[np.uint8]) -> bytes:
    """A chunk as its gzipped voxels, x fastest.

    Args:
        voxels: [z, y, x] array, contiguous.
    """
    return gzip(voxels.data)
