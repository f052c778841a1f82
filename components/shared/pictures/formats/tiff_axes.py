"""The axes of a TIFF that holds a stack: which of its pages are slices, and which are channels of a slice.

The tags of a page tell nothing of it. ImageJ, OME-XML, tifffile and Zeiss' LSM each say it in a way of their
own; without any of them every page is a slice.
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from components.shared.pictures.formats import tiff_tags as tags
from components.shared.pictures.formats.header import RefusedImageError
from components.shared.pictures.formats.tiff_tags import Directory

_MAX_TEXT_BYTES, _MAX_XML_BYTES = 2**20, 2**24
"""Longest description that is looked at: ImageJ's has some lines, OME-XML some hundred bytes a page."""
_IMAGEJ = "ImageJ="
_LSM_SIZES = struct.Struct("3i")
_LSM_Z = 16
"""Byte of Zeiss' LSM info at which the numbers of slices, channels and times stand."""
_OME_PIXELS = re.compile(r"<(?:\w+:)?Pixels\b([^<>]*)>")
_OME_IMAGE = re.compile(r"<(?:\w+:)?Image[\s>]")
_OME_SAMPLES = re.compile(r"<(?:\w+:)?Channel\b[^<>]*\bSamplesPerPixel\s*=\s*[\"'](\d+)[\"']")
_OME_DATA = re.compile(r"<(?:\w+:)?TiffData\b([^<>]*)>")
_ATTRIBUTE = re.compile(r"\b(\w+)\s*=\s*[\"']([^\"']*)[\"']")
_REORDER = "Save the stack with slices and channels alone, such as with 'Re-order Hyperstack' of ImageJ"


@dataclass(frozen=True, slots=True)
class StackAxes:
    """The place of every slice and channel among the pages."""

    n_slices: int
    n_channels: int
    """Channels in pages of their own; those inside of a page are not counted."""
    slices_first: bool = False
    """True where the pages of all slices of a channel stand together."""

    @property
    def n_pages(self) -> int:
        return self.n_slices * self.n_channels

    def page(self, index: int, channel: int) -> int:
        """The number of a page, from 0.

        Example:
            >>> [StackAxes(3, 2).page(index, 1) for index in range(3)]
            [1, 3, 5]
            >>> [StackAxes(3, 2, slices_first=True).page(index, 1) for index in range(3)]
            [3, 4, 5]
        """
        return channel * self.n_slices + index if self.slices_first else index * self.n_channels + channel


def stack_axes(first: Directory, n_pages: int) -> StackAxes:
    """The axes of a stack, from the tags of its first page and the number of its pages.

    Raises:
        RefusedImageError: it has another axis than slices and channels, or other pages than it says.
    """
    said = _said_axes(first)
    if said is None:
        return StackAxes(n_pages, 1)
    if said.n_pages != n_pages:
        got = f"{n_pages:,} pages, and tags that say {said.n_slices:,} slices of {said.n_channels:,} channels"
        raise RefusedImageError("must hold the pages that it says", got, "Save the stack again, in one file")
    return said


def n_behind_each_other(first: Directory, file: BinaryIO) -> int:
    """How many pictures lie behind each other in a page: ImageJ and MetaMorph write large stacks so.

    Raises:
        RefusedImageError: the tags cannot be read.
    """
    n_said = max(_n_of_imagej_or_tifffile(first), first.count(tags.METAMORPH), 1)
    if n_said == 1:
        return 1
    bits = max(first.integers(tags.BITS, (1,)), default=1)
    picture_bytes = bits * math.prod(
        first.integer(tag, 1) for tag in (tags.WIDTH, tags.HEIGHT, tags.CHANNELS)
    )
    starts = first.integers(tags.STRIP_OFFSETS, (0,))
    two_pictures = min(starts, default=0) + 2 * picture_bytes // 8
    # A single slice of a stack may have kept the description of the whole.
    return n_said if file.seek(0, io.SEEK_END) >= two_pictures else 1


def _descriptions(first: Directory) -> list[str]:
    """The descriptions of a page, without those that are longer than any that tells axes."""
    texts = first.texts(tags.DESCRIPTION, _MAX_XML_BYTES)
    return [text for text in texts if len(text) <= _MAX_TEXT_BYTES or text.startswith("<")]


def _n_of_imagej_or_tifffile(first: Directory) -> int:
    """Number of pictures that a description of ImageJ's or tifffile's names; 1 without one."""
    return max(
        (
            _imagej_number(text, "images")
            if text.startswith(_IMAGEJ)
            else math.prod(_shape_before_page(first, text))
            for text in _descriptions(first)
        ),
        default=1,
    )


def _said_axes(first: Directory) -> StackAxes | None:
    """The axes that the first page tells; None where it tells nothing."""
    for text in _descriptions(first):
        if _OME_PIXELS.search(text):
            return _ome_axes(text)
        if text.startswith(_IMAGEJ):
            return _imagej_axes(text)
        shape = _shape_before_page(first, text)
        if math.prod(shape) > 1:
            return _tifffile_axes(text, shape)
    return _lsm_axes(first) if tags.ZEISS_LSM in first else None


def _imagej_axes(text: str) -> StackAxes:
    n_channels, n_slices, n_times = (_imagej_number(text, key) for key in ("channels", "slices", "frames"))
    _refuse_others({"time": n_times})
    n_images = _imagej_number(text, "images")
    if n_slices * n_channels == 1:
        return StackAxes(n_images, 1)
    if n_slices == 1 and "mode=grayscale" in text.splitlines():
        # A stack whose writer did not say what its only axis is.
        return StackAxes(n_channels, 1)
    return StackAxes(n_slices, n_channels)


def _imagej_number(text: str, key: str) -> int:
    """A number of ImageJ's description, which has lines such as `slices=6`; 1 where it is missing."""
    found = re.search(rf"^{key}=(\d{{1,9}})[ \t\r]*$", text, re.MULTILINE)
    return max(int(found[1]), 1) if found else 1


def _ome_axes(text: str) -> StackAxes:
    n_images = len(_OME_IMAGE.findall(text))
    _refuse_others({"image": n_images})
    found = _OME_PIXELS.search(text)
    pixels = dict(_ATTRIBUTE.findall(found[1] if found else ""))
    try:
        n_slices, n_channels, n_times = (int(pixels.get(f"Size{axis}", 1)) for axis in "ZCT")
        samples = _OME_SAMPLES.search(text)
        n_channels //= int(samples[1]) if samples else 1
        pages = [
            int(attributes.get("IFD", 0))
            for attributes in map(dict, map(_ATTRIBUTE.findall, _OME_DATA.findall(text)))
        ]
    except (ValueError, ZeroDivisionError):
        raise RefusedImageError("must have sound OME-XML", "sizes that are no numbers", _REORDER) from None
    _refuse_others({"time": n_times})
    order = pixels.get("DimensionOrder", "XYCZT")
    if pages != sorted(set(pages)):
        raise RefusedImageError(
            "must have its pages in their order, in one file", "OME-XML that names others", _REORDER
        )
    return StackAxes(max(n_slices, 1), max(n_channels, 1), slices_first=order.find("Z") < order.find("C"))


def _lsm_axes(first: Directory) -> StackAxes:
    info = first.data(tags.ZEISS_LSM)
    if len(info) < _LSM_Z + _LSM_SIZES.size:
        raise tags.damaged(f"{tags.ZEISS_LSM.name} of {len(info):,} bytes")
    n_slices, _, n_times = struct.unpack_from(first.byte_order + _LSM_SIZES.format, info, _LSM_Z)
    _refuse_others({"time": n_times})
    return StackAxes(max(n_slices, 1), 1)  # the channels of a slice are planes of its page


def _shape_before_page(first: Directory, text: str) -> tuple[int, ...]:
    """The sizes of the axes in front of a page that tifffile's description names; none without one."""
    said = _tifffile_description(text)
    shape = said.get("shape")
    if not isinstance(shape, list) or not all(isinstance(size, int) and 0 < size < 2**31 for size in shape):
        return ()
    rows, columns = first.integer(tags.HEIGHT), first.integer(tags.WIDTH)
    n_channels = first.integer(tags.CHANNELS, 1)
    for page in ([rows, columns, n_channels], [n_channels, rows, columns], [rows, columns]):
        if shape[-len(page) :] == page and (n_channels == 1 or len(page) == 3):
            return tuple(shape[: -len(page)])
    return ()


def _tifffile_description(text: str) -> dict[str, object]:
    with suppress(ValueError, RecursionError):
        said = json.loads(text) if text.startswith("{") else {}
        if isinstance(said, dict):
            return said
    return {}


def _tifffile_axes(text: str, shape: tuple[int, ...]) -> StackAxes:
    named = _tifffile_description(text).get("axes")
    names = named[: len(shape)] if isinstance(named, str) else "?" * len(shape)
    axes = [(name.upper(), size) for name, size in zip(names, shape, strict=False) if size > 1]
    if len(axes) == 1 and axes[0][0] in "?QI":
        return StackAxes(axes[0][1], 1)
    _refuse_others({name if name != "?" else "unknown": size for name, size in axes if name not in "ZC"})
    sizes = dict(axes)
    order = [name for name, _ in axes]
    return StackAxes(sizes.get("Z", 1), sizes.get("C", 1), slices_first=order == ["C", "Z"])


def _refuse_others(sizes: dict[str, int]) -> None:
    """Refuse a stack that has another axis than slices and channels.

    Raises:
        RefusedImageError: the size of one is not 1.
    """
    others = [f"{size:,} along the axis '{name}'" for name, size in sizes.items() if size > 1]
    if others:
        rule = "must have no axis but slices and channels"
        raise RefusedImageError(rule, ", ".join(others), _REORDER)
