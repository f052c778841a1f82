"""Reads the options of `fibstack export`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from components.shared.documents.config import MAX_SLICES
from components.shared.documents.plan import PixelType
from components.shared.errors import ConfigError
from components.shared.grid import SizeXyz, Span
from components.shared.work.export import Range


def kind_of_pictures(
    asked: Mapping[str, bool], *, for_volumes: Mapping[str, object], for_pictures: Mapping[str, object]
) -> str | None:
    """The option that asks for pictures; None where a volume is exported.

    Args:
        asked: Whether each of these options is given.
        for_volumes: Values of options of volumes; None where one is not given.
        for_pictures: Those of options of pictures.

    Raises:
        ConfigError: several are given, or an option that belongs to the other.
    """
    kinds = [kind for kind, is_asked in asked.items() if is_asked]
    options = [f"--{kind}" for kind in asked]
    if len(kinds) > 1:
        raise ConfigError(
            f"one of {', '.join(options)} must be given at most; got --{kinds[0]} and --{kinds[1]}. "
            f"Give a command for each."
        )
    for name, value in (for_volumes if kinds else for_pictures).items():
        if value is not None:
            where = "without" if kinds else "with"
            raise ConfigError(f"--{name} must stand {where} {', '.join(options)}; leave it out.")
    return kinds[0] if kinds else None


def parse_contrast(text: str, data_type: PixelType) -> tuple[float, float]:
    """The grey levels of `LOW-HIGH`.

    Raises:
        ConfigError: they are not two levels of the type, the lower first.

    Example:
        >>> parse_contrast("30-220", "uint8")
        (30.0, 220.0)
    """
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", text)
    low, high = map(int, found.groups()) if found else (0, 0)
    greatest = 255 if data_type == "uint8" else 65535
    if not low < high <= greatest:
        raise ConfigError(
            f"--contrast must be two grey levels from 0 to {greatest}, the lower first; got {text}. "
            f"Write --contrast 30-220."
        )
    return float(low), float(high)


def parse_crop(text: str, first_xyz: SizeXyz, size_xyz: SizeXyz) -> tuple[Range, Range, Range]:
    """The box of `X0:X1,Y0:Y1,Z0:Z1`, counted from the volume's first voxel.

    Args:
        text: x and y in voxels, z in slice numbers, as viewers show them; what is left out is the side's end.
        first_xyz: what they show for the volume's first voxel.
        size_xyz: its size.

    Raises:
        ConfigError: the box is not so, is empty or leaves the volume.

    Example:
        >>> parse_crop("10:20,:,105:", first_xyz=(0, 0, 100), size_xyz=(50, 60, 70))
        ((10, 20), (0, 60), (5, 70))
    """
    sides = text.split(",")
    ranges: list[Range] = []
    for side, low, size in zip(sides, first_xyz, size_xyz, strict=len(sides) == 3):
        found = re.fullmatch(r"(\d*):(\d*)", side.strip())
        start = int(found[1] or low) if found else -1
        stop = int(found[2] or low + size) if found else -1
        if not low <= start < stop <= low + size:
            break
        ranges.append((start - low, stop - low))
    if len(sides) != 3 or len(ranges) != 3:
        whole = ",".join(f"{a}:{a + n}" for a, n in zip(first_xyz, size_xyz, strict=True))
        raise ConfigError(f"--crop must be X0:X1,Y0:Y1,Z0:Z1 inside {whole}; got {text}. Change --crop.")
    x, y, z = ranges
    return x, y, z


def parse_slices(text: str) -> frozenset[int]:
    """The numbers of `17,30-32`.

    Raises:
        ConfigError: the text is not so.

    Example:
        >>> sorted(parse_slices("17,30-32"))
        [17, 30, 31, 32]
    """
    try:
        spans = [Span.parse(part if "-" in part else f"{part}-{part}") for part in text.split(",")]
        if sum(span.last - span.first for span in spans) >= MAX_SLICES:
            raise ValueError(f"they must be fewer than {MAX_SLICES:,}")
        return frozenset(z for span in spans for z in span)
    except ValueError as error:
        raise ConfigError(
            f"--without-slices: {error}; got {text}. Write --without-slices 17,30-32."
        ) from None
