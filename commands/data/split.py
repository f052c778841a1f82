"""The slices of a file that holds a whole stack: TIFF of several pages, and MRC.

A run wants a file for each slice: workers read slices far apart at the same time, and a damaged one costs
itself. The numbers stay as they are in the file, of whatever type.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from components.shared.errors import FibstackError, UserError
from components.shared.pictures.slice_files import MAX_AREA_PX, RangedFile
from components.shared.pictures.tiff import TIFF_SIGNATURES
from components.shared.storage.registry import open_store
from components.shared.storage.store import Stat, Store

Slice = NDArray[Any]
"""Grey levels of a slice: [y, x], or [y, x, channel]."""

_READ_BYTES = 2**20
_MRC_HEADER_BYTES = 1024
_MRC_NAMES = (".mrc", ".mrcs", ".rec", ".st")
_MRC_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2"}
_MRC_IMOD_STAMP = 1146047817
_INT8_MAX = 127


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack in a file, read slice by slice."""

    n_slices: int
    read: Callable[[int], Slice]
    """The pixels of a slice, given its number from 0."""


def open_stack(uri: str) -> AbstractContextManager[Stack]:
    """The stack in a TIFF of several pages or in an MRC file.

    Raises:
        UserError: the file is none, or damaged.
    """
    folder, slash, key = uri.rpartition("/")
    store = open_store(folder or slash or ".")
    found = store.stat(key) if key else None
    if found is None:
        raise UserError(f"a stack must be a file; got {uri}, which is none. Check the path.")
    start = store.read_range(key, 0, min(_MRC_HEADER_BYTES, found.size_bytes)) if found.size_bytes else b""
    if start.startswith(TIFF_SIGNATURES):
        return _tiff_stack(store, found)
    if start[208:212] == b"MAP " or key.lower().endswith(_MRC_NAMES):
        return nullcontext(_mrc_stack(store, found, start.ljust(_MRC_HEADER_BYTES, b"\0")))
    raise UserError(
        f"a stack must be a TIFF of several pages or an MRC file; got one that starts with {start[:8]!r} in "
        f"{uri}. Export it as one of these; PNG, JPEG and .dat slices are read as they are."
    )


def write_slices(stack: Stack, target: Store, pattern: str, first: int, done: Callable[[], None]) -> None:
    """Write each slice as a TIFF of its own.

    A slice that is there already with the same content stays, so that a command that was stopped goes on.

    Raises:
        UserError: another file has the name of a slice, or a slice cannot be read.
    """
    for index in range(stack.n_slices):
        key = pattern % (first + index)
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, stack.read(index), metadata=None)
        data = buffer.getvalue()
        if target.stat(key) is None:
            target.write(key, data)
        elif target.read(key) != data:
            raise UserError(
                f"no file may be replaced; got another one in {target.uri}/{key}. Choose another folder."
            )
        done()


@contextmanager
def _tiff_stack(store: Store, found: Stat) -> Iterator[Stack]:
    where = f"{store.uri}/{found.key}"
    stream = cast("BinaryIO", io.BufferedReader(RangedFile(store, found.key, found.size_bytes), _READ_BYTES))
    try:
        file = tifffile.TiffFile(stream)
        series, n_pages = file.series[0], len(file.pages)
    except FibstackError:
        raise
    except Exception as error:  # tifffile raises nearly anything on damaged tags
        raise UserError(
            f"a stack must be a sound TIFF file; got {error} in {where}. Copy it again."
        ) from None
    with file:
        if file.is_imagej and n_pages == 1 and series.ndim == 3:
            # ImageJ writes one page alone for a large stack, with the pixels of all others behind it.
            dtype = series.dtype.newbyteorder(file.byteorder)
            yield _voxels_in_order(store, found, file.pages.first.dataoffsets[0], series.shape, dtype)
        else:
            yield Stack(n_pages, lambda index: _page(file, index, where))


def _page(file: tifffile.TiffFile, index: int, where: str) -> Slice:
    try:
        page = file.pages[index]
        shape = page.shape
        if len(shape) in (2, 3) and shape[0] * shape[1] <= MAX_AREA_PX:
            picture: Slice = page.asarray()
            return picture
        reason = f"which is of {shape} px"
    except FibstackError:
        raise
    except Exception as error:  # of a damaged file, or of a compression that is not installed
        reason = str(error).partition("\n")[0]
    raise UserError(
        f"a page must be a sound picture; got page {index} ({reason}) in {where}. "
        f"Save the stack again, without compression or with deflate, LZW or zstd."
    )


def _mrc_stack(store: Store, found: Stat, header: bytes) -> Stack:
    """MRC2014 (Cheng et al. 2015); its rows run from the bottom up, a picture's from the top down."""
    order = ">" if header[212:214] == b"\x11\x11" else "<"
    numbers = np.frombuffer(header, f"{order}i4")
    width, height, n_slices, mode = (int(number) for number in numbers[:4])
    if mode not in _MRC_TYPES:
        raise UserError(
            f"an MRC file must be of mode {', '.join(map(str, _MRC_TYPES))}; got {mode} in "
            f"{store.uri}/{found.key}. Convert it to one of these."
        )
    unsigned = mode == 0 and _mrc_bytes_are_unsigned(header, numbers, order)
    dtype = np.dtype(f"{order}{'u1' if unsigned else _MRC_TYPES[mode]}")
    start = _MRC_HEADER_BYTES + int(numbers[23])
    bottom_up = _voxels_in_order(store, found, start, (n_slices, height, width), dtype)
    return Stack(bottom_up.n_slices, lambda index: bottom_up.read(index)[::-1])


def _mrc_bytes_are_unsigned(header: bytes, numbers: NDArray[Any], order: str) -> bool:
    """Mode 0 is signed; older programs meant it unsigned, as IMOD says in its own flags."""
    if numbers[38] == _MRC_IMOD_STAMP:
        return not int(numbers[39]) & 1
    darkest, brightest = np.frombuffer(header, f"{order}f4", 2, 76)
    return bool(darkest >= 0 and brightest > _INT8_MAX)


def _voxels_in_order(
    store: Store, found: Stat, start: int, shape_zyx: tuple[int, ...], dtype: np.dtype[Any]
) -> Stack:
    """The slices of voxels that lie one behind the other.

    Args:
        store: Where the file lies.
        found: The file.
        start: Byte of the first voxel.
        shape_zyx: Of the stack.
        dtype: Of a voxel, with its byte order.
    """
    n_slices, height, width = shape_zyx
    slice_bytes = height * width * dtype.itemsize
    if (
        min(shape_zyx) < 1
        or height * width > MAX_AREA_PX
        or start + n_slices * slice_bytes > found.size_bytes
    ):
        raise UserError(
            f"a stack must hold what its header says; got {found.size_bytes:,} bytes for {width:,} x "
            f"{height:,} x {n_slices:,} of {dtype.name} in {store.uri}/{found.key}. Copy it again."
        )

    def read(index: int) -> Slice:
        first = start + index * slice_bytes
        data = store.read_range(found.key, first, first + slice_bytes)
        return np.frombuffer(data, dtype).reshape(height, width).astype(dtype.newbyteorder("="))

    return Stack(n_slices, read)
