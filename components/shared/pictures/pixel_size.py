"""The size of a pixel, as the tags of an image file tell it: which entry counts, and what its numbers mean.

Of several entries the first of this order counts: a microscope's own (FEI and Thermo Fisher, Zeiss, TESCAN),
OME-XML, ImageJ's, the general resolution of the format. A size that no electron microscope has, such as that
of 72 dots per inch, is none: programs write it of themselves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite

from components.shared.documents.config import LARGEST_VOXEL_NM, SMALLEST_VOXEL_NM
from components.shared.documents.plan import PixelSize
from components.shared.pictures.formats import tiff_tags as tags
from components.shared.pictures.formats.header import RefusedImageError
from components.shared.pictures.formats.tiff_tags import Directory, Tag

_TEXT_TAGS = (tags.FEI_HELIOS, tags.FEI_SFEG, tags.ZEISS_SEM, tags.TESCAN, tags.DESCRIPTION)
"""Tags of TIFF whose text may tell a size."""
_MAX_TEXT_BYTES = 2**20
"""Longest text that is looked at; microscopes write some 20 kB."""
_UNITS_NM: Mapping[str, float] = {
    "pm": 1e-3,
    "a": 0.1, "å": 0.1, "angstrom": 0.1,
    "nm": 1, "nanometer": 1, "nanometre": 1, "nanometers": 1,
    "um": 1e3, "µm": 1e3, "μm": 1e3, "\\u00b5m": 1e3,
    "micron": 1e3, "microns": 1e3, "micrometer": 1e3,
    "mm": 1e6, "millimeter": 1e6,
    "cm": 1e7, "centimeter": 1e7,
    "inch": 25.4e6, "in": 25.4e6, "inches": 25.4e6,
    "m": 1e9, "meter": 1e9,
}  # fmt: skip
"""Units that programs write, in nm; case is not looked at."""
_RESOLUTION_UNITS_NM: Mapping[int, float] = {2: 25.4e6, 3: 1e7, 4: 1e6, 5: 1e3}
"""Values of TIFF's ResolutionUnit, inch and cm, and of tifffile's extension, mm and um, in nm."""
_INCH = 2
"""ResolutionUnit of a file without one."""
_NUMBER = r"([-+]?(?:[0-9]{1,40}(?:[.,][0-9]{0,40})?|[.,][0-9]{1,40})(?:[eE][-+]?[0-9]{1,4})?)"
"""A decimal number. Its lengths are bounded, since a long one would be tried at each of its digits."""


def told_in_tiff(page: Directory) -> PixelSize | None:
    """The size of a pixel that the tags of a page tell; None where they tell none, or cannot be read."""
    try:
        texts = {
            tag: _decoded(page.data(tag))
            for tag in _TEXT_TAGS
            if tag in page and page.count(tag) <= _MAX_TEXT_BYTES
        }
        per_unit = [
            float(value) for tag in (tags.X_RESOLUTION, tags.Y_RESOLUTION) for value in page.array(tag)
        ]
        unit = page.integer(tags.RESOLUTION_UNIT, _INCH)
    except RefusedImageError:
        return None
    per_unit_xy = (per_unit[0], per_unit[1]) if len(per_unit) == 2 else None
    return told_in_texts(texts, per_unit_xy, unit)


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def told_in_texts(
    texts: Mapping[Tag, str], per_unit_xy: tuple[float, float] | None, resolution_unit: int
) -> PixelSize | None:
    r"""The size of a pixel that the values of tags tell; None where they tell none.

    Args:
        texts: Text of each tag that is there.
        per_unit_xy: XResolution and YResolution, pixels in a unit; None without them.
        resolution_unit: ResolutionUnit.

    Example:
        >>> told_in_texts({tags.ZEISS_SEM: "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 4.000 nm"}, None, 2)
        PixelSize(x_nm=4.0, y_nm=4.0, told_by='Zeiss tag 34118, Image Pixel Size')
        >>> told_in_texts({tags.DESCRIPTION: "ImageJ=1.53t\nunit=micron"}, (125.0, 125.0), 1).x_nm
        8.0
        >>> told_in_texts({}, (72.0, 72.0), 2)
    """
    readers: tuple[tuple[Tag, Callable[[str], PixelSize | None]], ...] = (
        (tags.FEI_HELIOS, lambda text: _in_metres(text, "PixelWidth", "PixelHeight", "FEI tag 34682")),
        (tags.FEI_SFEG, lambda text: _in_metres(text, "PixelWidth", "PixelHeight", "FEI tag 34680")),
        (tags.ZEISS_SEM, _zeiss),
        (tags.TESCAN, lambda text: _in_metres(text, "PixelSizeX", "PixelSizeY", "TESCAN tag 50431")),
        (tags.DESCRIPTION, _ome),
        (tags.DESCRIPTION, lambda text: _imagej(text, per_unit_xy)),
    )
    for tag, read in readers:
        found = read(texts[tag]) if tag in texts else None
        if found is not None:
            # Programs write a pixel of one of their units, 1 um, where they know of none.
            is_default = tag == tags.DESCRIPTION and (found.x_nm, found.y_nm) == (1000, 1000)
            return None if is_default else found
    nm = _RESOLUTION_UNITS_NM.get(resolution_unit)
    if per_unit_xy is None or nm is None:
        return None
    return per_pixel(nm, per_unit_xy, "tags 282 and 283, XResolution and YResolution")


def per_pixel(unit_nm: float, pixels_per_unit_xy: tuple[float, float], told_by: str) -> PixelSize | None:
    """The size of pixels of which so many have the length of a unit.

    Example:
        >>> per_pixel(1e9, (250_000_000, 250_000_000), "pHYs").x_nm
        4.0
    """
    x, y = pixels_per_unit_xy
    return sized(unit_nm / x, unit_nm / y, told_by) if x > 0 and y > 0 else None


def sized(x_nm: float, y_nm: float, told_by: str) -> PixelSize | None:
    """A size of six digits; None where it is none of a picture of an electron microscope.

    Example:
        >>> sized(3.99999997, 4.0, "a tag"), sized(0, 0, "a tag")
        (PixelSize(x_nm=4.0, y_nm=4.0, told_by='a tag'), None)
    """
    if not all(isfinite(side) and SMALLEST_VOXEL_NM <= side <= LARGEST_VOXEL_NM for side in (x_nm, y_nm)):
        return None
    return PixelSize(x_nm=float(f"{x_nm:.6g}"), y_nm=float(f"{y_nm:.6g}"), told_by=told_by)


def _in_metres(text: str, width_key: str, height_key: str, told_by: str) -> PixelSize | None:
    """The size in lines of two keys, such as PixelWidth=4e-09, in m."""
    width = _number_after(rf"(?m)^[ \t]*{width_key}[ \t]*=[ \t]*", text)
    height = _number_after(rf"(?m)^[ \t]*{height_key}[ \t]*=[ \t]*", text)
    if width is None:
        return None
    return sized(width * 1e9, (width if height is None else height) * 1e9, f"{told_by}, {width_key}")


def _zeiss(text: str) -> PixelSize | None:
    """The size of a pixel of the picture as it was saved, or else of the scan, with its unit."""
    for key in ("Image Pixel Size", "Pixel Size"):
        match = re.search(rf"(?m)^[ \t]*{key}[ \t]*=[ \t]*{_NUMBER}[ \t]*([^\s\d]+)", text)
        nm = _UNITS_NM.get(match[2].lower()) if match else None
        if match and nm is not None:
            side_nm = _number(match[1]) * nm
            return sized(side_nm, side_nm, f"Zeiss tag 34118, {key}")
    # Numbers without names stand first; the fourth is the width of a pixel in m.
    lines = text.split("\n")[:4]
    if len(lines) == 4 and all(re.fullmatch(_NUMBER, line.strip()) for line in lines):
        side_nm = _number(lines[3].strip()) * 1e9
        return sized(side_nm, side_nm, "Zeiss tag 34118, fourth number")
    return None


def _ome(text: str) -> PixelSize | None:
    """PhysicalSizeX and Y of OME-XML, in um where no unit stands."""
    if "<OME" not in text:
        return None
    sides_nm = []
    for axis in "XY":
        size = _number_after(rf"\bPhysicalSize{axis}=[\"']", text)
        unit = re.search(rf"\bPhysicalSize{axis}Unit=[\"']([^\"']*)", text)
        nm = _UNITS_NM.get(unit[1].lower() if unit else "um")
        if size is None or nm is None:
            return None
        sides_nm.append(size * nm)
    x_nm, y_nm = sides_nm
    return sized(x_nm, y_nm, "OME-XML, PhysicalSizeX")


def _imagej(text: str, per_unit_xy: tuple[float, float] | None) -> PixelSize | None:
    """Pixels in a unit are those of the resolution tags; the unit stands in ImageJ's description."""
    unit = re.search(r"(?m)^unit=(.+)$", text)
    if not text.startswith("ImageJ=") or unit is None or per_unit_xy is None:
        return None
    nm = _UNITS_NM.get(unit[1].strip().lower())
    return None if nm is None else per_pixel(nm, per_unit_xy, f"ImageJ, unit {unit[1].strip()}")


def _number_after(start: str, text: str) -> float | None:
    match = re.search(start + _NUMBER, text)
    return _number(match[1]) if match else None


def _number(text: str) -> float:
    """A number as microscopes write it, in some languages with a comma."""
    return float(text.replace(",", "."))
