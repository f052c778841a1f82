"""The compiled part of the warp, `bspline.c`: a cubic B-spline with prefilter, in 5 ns a pixel."""

from __future__ import annotations

import ctypes
import functools
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import ConfigError
from components.shared.pictures.grey_levels import Picture
from components.shared.pictures.slice_map import Nodes
from components.shared.regular_file import read_regular

LIBRARY = Path(__file__).with_name("bspline.bin")
"""Compiled when fibstack is installed and when the image of the step is built (`setup.py`)."""


def warp(
    picture: Picture,
    slice_from_volume: NDArray[np.float64],
    out: Picture,
    row_shifts_px: NDArray[np.float64] | None = None,
    nodes: Nodes | None = None,
) -> None:
    """Show a picture in another frame by a cubic B-spline; places outside of it become 0.

    Args:
        picture: `[y, x]`, of 8 or 16 bit.
        slice_from_volume: 3 x 3, where in the picture the pixels of the frame lie.
        out: `[y, x]` of the same type, the frame; the pixels of a row lie side by side.
        row_shifts_px: [y, 2] how much further along x and y, by the row that matrix and nodes name.
        nodes: how much further along x and y, by the place that the matrix names.

    Raises:
        ConfigError: the kernel was not compiled, or of another source.
    """
    rows = np.ascontiguousarray(picture)
    assert picture.dtype == out.dtype, "the kernel reads and writes one type"
    assert picture.dtype in (np.uint8, np.uint16), "the kernel knows these"
    assert out.strides[1] == out.itemsize or out.shape[1] < 2, "a row is one piece of memory"
    height, width = picture.shape
    library = _library(LIBRARY)
    coefficients = np.empty(library.floats_needed(height, width), np.float32)
    matrix = np.ascontiguousarray(slice_from_volume[:2], np.float64)
    of_picture = (rows.ctypes.data, rows.strides[0], height, width, picture.itemsize)
    of_frame = (coefficients.ctypes.data, out.ctypes.data, out.strides[0], *out.shape)
    if row_shifts_px is None and nodes is None:
        library.warp(*of_picture, matrix.ctypes.data, *of_frame)
        return
    shifts, displacements, of_nodes = None, None, (0, 0, 1.0)
    if row_shifts_px is not None:
        assert row_shifts_px.shape == (height, 2), "each row has a shift along x and along y"
        shifts = np.ascontiguousarray(row_shifts_px, np.float64)
    if nodes is not None:
        displacements = np.ascontiguousarray(nodes.displacements_px, np.float64)
        of_nodes = (*displacements.shape[:2], 1 / nodes.spacing_px)
    of_places = (_address(shifts), _address(displacements), *of_nodes)
    library.warp_displaced(*of_picture, matrix.ctypes.data, *of_places, *of_frame)


def _address(array: NDArray[np.float64] | None) -> int | None:
    return None if array is None else array.ctypes.data


def source_crc32() -> int:
    """Checksum of the source that the library is to be compiled of."""
    return zlib.crc32(read_regular(Path(__file__).with_name("bspline.c")))


@functools.cache
def _library(path: Path) -> ctypes.CDLL:
    """The compiled kernel, once it is seen to be that of the source beside it."""
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ConfigError(
            f"the compiled warp of 'tile' must be loaded from {path}; got {error}. "
            f"Run make setup where fibstack lies."
        ) from None
    library.source_crc32.restype = ctypes.c_uint32
    if library.source_crc32() != source_crc32():
        raise ConfigError(
            f"{path} must be compiled of bspline.c beside it; got an older one. "
            f"Run make setup where fibstack lies."
        )
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    library.floats_needed.argtypes, library.floats_needed.restype = [number, number], number
    displaced = [pointer, pointer, pointer, number, number, ctypes.c_double]
    kernels = ((library.warp, [pointer]), (library.warp_displaced, displaced))
    for kernel, of_place in kernels:
        kernel.argtypes = [
            *(pointer, number, number, number, number),
            *of_place,
            *(pointer, pointer, number, number, number),
        ]
        kernel.restype = None
    return library
