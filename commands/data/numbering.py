"""Which number each image of a folder gets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePosixPath

from components.shared.errors import ConfigError, UserError

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".dat")
"""Names that end so are images, unless they start with a dot: macOS leaves such files beside others."""
_SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbering:
    """New names of images."""

    new_names: dict[str, str]
    """By the old name, in the order of the numbers."""
    left_alone: tuple[str, ...]
    """Names that are none of an image."""
    jumps: tuple[tuple[str, str], ...]
    """Images that follow each other, between which the numbers of the old names leave some out."""


def number_images(names: Iterable[str], pattern: str, first: int, uri: str) -> Numbering:
    """Give images consecutive numbers, in the natural order of their names.

    Args:
        names: All files of the folder.
        pattern: Name pattern of the new names, such as img.%05d; without a suffix it gets that of the images.
        first: Number of the first image.
        uri: The folder, for messages.

    Raises:
        UserError: there are no images, or images of several kinds.
        ConfigError: the pattern has another suffix than the images, or too few digits.

    Example:
        >>> numbering = number_images(["b10.png", "b9.png", "notes.txt"], "img.%03d", 0, "raw")
        >>> numbering.new_names, numbering.left_alone
        ({'b9.png': 'img.000.png', 'b10.png': 'img.001.png'}, ('notes.txt',))
    """
    ordered = sorted(names, key=natural_order)
    images = [name for name in ordered if _is_image(name)]
    suffixes = Counter(_suffix(name) for name in images)
    if not images:
        raise UserError(f"the folder must hold images ({', '.join(SUFFIXES)}); got none in {uri}. Change it.")
    if len(suffixes) > 1:
        got = " and ".join(f"{n:,} {suffix}" for suffix, n in suffixes.items())
        raise UserError(f"all images must be of one kind; got {got} in {uri}. Move those of the other away.")
    (suffix,) = suffixes
    if not pattern.endswith("d") and _suffix(pattern) != suffix:
        raise ConfigError(f"--image must end in {suffix} as the images do; got '{pattern}'. Change it.")
    full = pattern + suffix if pattern.endswith("d") else pattern
    new = [full % z for z in range(first, first + len(images))]
    if len(new[-1]) > len(new[0]) and "%0" in full:
        raise ConfigError(
            f"--image must have digits for {len(images):,} images from {first}; got '{pattern}'. Add some."
        )
    return Numbering(
        new_names=dict(zip(images, new, strict=True)),
        left_alone=tuple(name for name in ordered if not _is_image(name)),
        jumps=tuple(find_jumps(images)),
    )


def natural_order(name: str) -> tuple[list[str | int], str]:
    """A key that sorts names as people do: by the numbers in them.

    Example:
        >>> sorted(["z10", "z9", "a"], key=natural_order)
        ['a', 'z9', 'z10']
    """
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], name


def find_jumps(names: Sequence[str]) -> list[tuple[str, str]]:
    """Names that follow each other, between which a number grows by more than it does elsewhere.

    A number counts where it mostly grows by the same step; a date or a time of day says nothing.

    Example:
        >>> find_jumps(["s1.png", "s2.png", "s5.png", "s6.png"])
        [('s2.png', 's5.png')]
        >>> find_jumps(["11 0.91um.tif", "12 0.92um.tif", "14 0.94um.tif", "15 0.95um.tif"])
        [('12 0.92um.tif', '14 0.94um.tif')]
    """
    steps = {pair: _steps(*pair) for pair in pairwise(names)}
    jumps = set()
    for place in range(max(map(len, steps.values()), default=0)):
        there = {pair: found[place] for pair, found in steps.items() if place < len(found)}
        usual, n_usual = Counter(there.values()).most_common(1)[0]
        if usual > 0 and 2 * n_usual > len(there):
            jumps |= {pair for pair, step in there.items() if step > usual}
    return [pair for pair in steps if pair in jumps]


def _steps(name: str, other: str) -> list[int]:
    """How much larger each number is in another name; of names that differ in more than numbers, nothing."""
    parts, others = (re.split(r"([0-9]+)", text) for text in (name, other))
    if parts[::2] != others[::2]:
        return []
    return [int(b) - int(a) for a, b in zip(parts[1::2], others[1::2], strict=True)]


def _is_image(name: str) -> bool:
    return _suffix(name) in SUFFIXES and not PurePosixPath(name).name.startswith(".")


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()
