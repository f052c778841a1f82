"""The slices of a file that holds a whole stack: TIFF of several pages, and MRC.

A run wants a file for each slice: workers read slices far apart at the same time, and a damaged one costs
itself. The numbers stay as they are in the file, of whatever type. Pages are read by the reader of slices, so
that what a run refuses is refused here, before the first file is written.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

import numpy as np
import tifffile
from numpy.typing import NDArray

from components.shared.documents.plan import PixelSize
from components.shared.errors import UserError
from components.shared.pictures.formats.header import MAX_CHANNELS, ImageHeader, RefusedImageError
from components.shared.pictures.formats.tiff import TiffPicture, tiff_picture
from components.shared.pictures.formats.tiff_axes import StackAxes, n_behind_each_other, stack_axes
from components.shared.pictures.formats.tiff_tags import TIFF_SIGNATURES, Directory, full_pages
from components.shared.pictures.pixel_size import sized
from components.shared.pictures.slice_files import MAX_AREA_PX, MAX_SIDE_PX, RangedFile, check_size
from components.shared.storage.registry import open_store
from components.shared.storage.store import Stat, Store

Slice = NDArray[Any]
"""Numbers of a slice: [y, x], or [y, x, channel]."""

_TAG_BYTES = 2**16
_READ_BYTES = 2**20
"""Bytes of one ranged read of tags, and of pixels."""
_MRC_HEADER_BYTES = 1024
_MRC_NAMES = (".mrc", ".mrcs", ".rec", ".st")
_MRC_TYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2"}
_MRC_IMOD_STAMP = 1146047817
_MRC_CELL_PX, _MRC_CELL_ANGSTROM = 28, 40
"""Bytes at which the size of the unit cell stands, in pixels and in angstrom."""
_MRC_VOLUMES = range(401, 631)
"""Space groups of a file that holds several volumes."""
_MRC_AXES = slice(16, 19)
"""Numbers of the header that say which axes columns, rows and sections are."""
_INT8_MAX = 127
_N_COLOURS = 3
_CM_NM = 1e7


@dataclass(frozen=True, slots=True)
class Stack:
    """A stack in a file, read slice by slice."""

    n_slices: int
    read: Callable[[int], Slice]
    """The pixels of a slice, given its number from 0."""
    pixel_size: PixelSize | None
    """Size of a pixel; None where the file tells none."""
    is_compressed: bool = False
    """True where only reading a slice tells that it is whole."""


def open_stack(uri: str) -> Stack:
    """The stack in a TIFF of several pages or in an MRC file; the tags of every page have been judged.

    Raises:
        UserError: the file is none, or damaged, or a page is no slice.
    """
    folder, slash, key = uri.rpartition("/")
    store = open_store(folder or slash or ".")
    found = store.stat(key) if key else None
    if found is None:
        raise UserError(f"a stack must be a file; got {uri}, which is none. Check the path.")
    start = store.read_range(key, 0, min(_MRC_HEADER_BYTES, found.size_bytes)) if found.size_bytes else b""
    if start.startswith(TIFF_SIGNATURES):
        return _TiffPages(store, found).stack()
    if start[208:212] == b"MAP " or key.lower().endswith(_MRC_NAMES):
        return _mrc_stack(store, found, start.ljust(_MRC_HEADER_BYTES, b"\0"))
    raise UserError(
        f"a stack must be a TIFF of several pages or an MRC file; got one that starts with {start[:8]!r} in "
        f"{uri}. Export it as one of these; PNG, JPEG and .dat slices are read as they are."
    )


def check_slices(stack: Stack, done: Callable[[], None]) -> None:
    """Read every slice of a compressed stack, so that a damaged one is refused before a file is written.

    Raises:
        UserError: a slice is damaged.
    """
    for index in range(stack.n_slices):
        stack.read(index)
        done()


def write_slices(stack: Stack, target: Store, pattern: str, first: int, done: Callable[[], None]) -> None:
    """Write each slice as a TIFF of its own.

    A slice that is there already with the same content stays, so that a command that was stopped goes on.

    Raises:
        UserError: another file has the name of a slice, or a slice cannot be read.
    """
    for index in range(stack.n_slices):
        key = pattern % (first + index)
        data = _tiff_of(stack.read(index), stack.pixel_size)
        if target.stat(key) is None:
            target.write(key, data)
        elif target.read(key) != data:
            raise UserError(
                f"no file may be replaced; got another one in {target.uri}/{key}. Choose another folder."
            )
        done()


def _tiff_of(picture: Slice, pixel_size: PixelSize | None) -> bytes:
    """A TIFF of one page; three or four channels are red, green, blue and alpha, as a run takes them."""
    file = io.BytesIO()
    options: dict[str, Any] = {"metadata": None}
    if pixel_size is not None:
        per_cm_xy = _CM_NM / pixel_size.x_nm, _CM_NM / pixel_size.y_nm
        options |= {"resolution": per_cm_xy, "resolutionunit": "CENTIMETER"}
    if picture.ndim == 2:
        tifffile.imwrite(file, picture, **options, photometric="minisblack")
    else:
        is_colour = picture.shape[2] in (_N_COLOURS, _N_COLOURS + 1)
        tifffile.imwrite(
            file,
            picture,
            **options,
            photometric="rgb" if is_colour else "minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"] if picture.shape[2] == _N_COLOURS + 1 else None,
        )
    return file.getvalue()


class _TiffPages:
    """The pages of a TIFF as slices and channels."""

    def __init__(self, store: Store, found: Stat) -> None:
        self._where, self._file_bytes = f"{store.uri}/{found.key}", found.size_bytes
        self._tags = _buffered(store, found, _TAG_BYTES)
        self._pixels = _buffered(store, found, _READ_BYTES)

    def stack(self) -> Stack:
        """The stack, its tags judged.

        Raises:
            UserError: a page is no slice, or the pages are no stack.
        """
        try:
            pages, first = self._judged_pages()
            n_pages = len(pages)
            if n_pages == 1:
                n_pages = n_behind_each_other(first.page, self._tags)
            axes = stack_axes(first.page, n_pages)
            self._check_channels(first, axes)
        except RefusedImageError as refusal:
            got = f"{refusal.got} in {self._where}"
            raise UserError(f"a stack {refusal.rule}; got {got}. {refusal.remedy}.") from None
        if n_pages > len(pages):
            self._check_behind_each_other(first, n_pages)

        def read(index: int) -> Slice:
            channels = []
            for channel in range(axes.n_channels):
                number = axes.page(index, channel)
                if n_pages > len(pages):
                    channels.append(self._decoded(first, number, number))
                else:
                    page = tiff_picture(first.page.at(pages[number]))
                    channels.append(self._decoded(page, number))
            return channels[0] if len(channels) == 1 else np.stack(channels, axis=2)

        return Stack(axes.n_slices, read, first.pixel_size(), first.is_compressed)

    def _judged_pages(self) -> tuple[list[int], TiffPicture]:
        """The places of all pages, and the first of them."""
        places: list[int] = []
        first: TiffPicture | None = None
        for number, page in enumerate(full_pages(self._tags)):
            picture = self._judged(page, number)
            first = first or picture
            if picture.header != first.header:
                got = f"{_described(first.header)} and, in page {number:,}, {_described(picture.header)}"
                remedy = "Save the stack again with pages of one size"
                raise RefusedImageError("must have pages of one size and type", got, remedy)
            places.append(page.offset)
        assert first is not None, "a TIFF without a page is refused"
        return places, first

    def _judged(self, page: Directory, number: int) -> TiffPicture:
        try:
            picture = tiff_picture(page)
            check_size(picture.header, self._file_bytes)
            _, sizes = picture.places(self._file_bytes)
            check_size(picture.header, int(sizes.sum()))
        except RefusedImageError as refusal:
            raise self._page_error(number, refusal) from None
        return picture

    def _check_channels(self, first: TiffPicture, axes: StackAxes) -> None:
        inside = first.header.n_channels
        if axes.n_channels > MAX_CHANNELS or min(inside, axes.n_channels) > 1:
            got = f"{axes.n_channels} of {inside} in a page"
            remedy = "Save each channel as a stack, and name the others in 'more_channels'"
            raise RefusedImageError(f"must have at most {MAX_CHANNELS} channels, grey ones", got, remedy)
        check_size(replace(first.header, n_channels=inside * axes.n_channels), self._file_bytes)

    def _check_behind_each_other(self, first: TiffPicture, n_pages: int) -> None:
        """Refuse a page whose pixels are followed by those of fewer slices than it says."""
        starts, sizes = first.places(self._file_bytes)
        header = first.header
        is_one_piece = not first.is_compressed and (starts[1:] == starts[:-1] + sizes[:-1]).all()
        if not is_one_piece or starts[0] + n_pages * header.picture_bytes > self._file_bytes:
            raise UserError(
                f"a stack must hold what its header says; got {self._file_bytes:,} bytes for "
                f"{n_pages:,} pictures of {_described(header)} in {self._where}. Copy it again."
            )

    def _decoded(self, picture: TiffPicture, number: int, n_behind: int = 0) -> Slice:
        """The pixels of a page, or of the picture that lies so many pictures behind it."""
        shift = n_behind * picture.header.picture_bytes

        def read(start: int, stop: int) -> bytes:
            self._pixels.seek(start + shift)
            return self._pixels.read(stop - start)

        try:
            return picture.decode(read, self._file_bytes)
        except RefusedImageError as refusal:
            raise self._page_error(number, refusal) from None

    def _page_error(self, number: int, refusal: RefusedImageError) -> UserError:
        got = f"page {number:,} ({refusal.got}) in {self._where}"
        return UserError(f"a page {refusal.rule}; got {got}. {refusal.remedy}.")


def _buffered(store: Store, found: Stat, n_bytes: int) -> BinaryIO:
    return cast("BinaryIO", io.BufferedReader(RangedFile(store, found.key, found.size_bytes), n_bytes))


def _described(header: ImageHeader) -> str:
    channels = f", {header.n_channels} channels" if header.n_channels > 1 else ""
    return f"{header.width_px:,} x {header.height_px:,} px of {header.sample_type}{channels}"


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
    axes = tuple(int(number) for number in numbers[_MRC_AXES])
    if axes not in ((1, 2, 3), (0, 0, 0)):  # older programs leave them out
        raise UserError(
            f"an MRC file must have columns along x, rows along y and sections along z (1, 2, 3); got "
            f"{axes} in {store.uri}/{found.key}. Save it so, such as with IMOD's 'clip rotx' or 'newstack'."
        )
    space_group, extended_bytes = int(numbers[22]), int(numbers[23])
    if space_group in _MRC_VOLUMES or extended_bytes < 0:
        raise UserError(
            f"an MRC file must hold one stack of pictures; got space group {space_group} and an extended "
            f"header of {extended_bytes} bytes in {store.uri}/{found.key}. Save each stack as a file."
        )
    unsigned = mode == 0 and _mrc_bytes_are_unsigned(header, numbers, order)
    dtype = np.dtype(f"{order}{'u1' if unsigned else _MRC_TYPES[mode]}")
    start = _MRC_HEADER_BYTES + extended_bytes
    bottom_up = _voxels_in_order(store, found, start, (n_slices, height, width), dtype)
    return Stack(
        bottom_up.n_slices, lambda index: bottom_up.read(index)[::-1], _mrc_pixel_size(header, order)
    )


def _mrc_pixel_size(header: bytes, order: str) -> PixelSize | None:
    """The size of a pixel: that of the unit cell, in angstrom, over its number of pixels."""
    n_x, n_y = (int(number) for number in np.frombuffer(header, f"{order}i4", 2, _MRC_CELL_PX))
    cell_xy = np.frombuffer(header, f"{order}f4", 2, _MRC_CELL_ANGSTROM).astype(np.float64) / 10
    if n_x < 1 or n_y < 1:
        return None
    return sized(float(cell_xy[0]) / n_x, float(cell_xy[1]) / n_y, "MRC, cell dimensions")


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
        or max(height, width) > MAX_SIDE_PX
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

    return Stack(n_slices, read, None)
