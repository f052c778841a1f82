"""Numbers and lists as people read them; a sentence of fibstack words them with these functions alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

GIB = 2**30
"""Bytes of a gibibyte, in which clouds price memory and storage."""
PIPED_WIDTH = 200
"""Characters a line of a table that goes to a file or another program, which have no width of their own."""

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")
_MEMORY_UNITS = {"G": 10**9, "Gi": 2**30, "M": 10**6, "Mi": 2**20, "Ki": 2**10}


def size(n_bytes: int, smallest: Literal["B", "MB"] = "B") -> str:
    """A number of bytes in decimal units.

    Args:
        n_bytes: The number.
        smallest: Smallest unit, so that a column of a table compares at a glance.

    Example:
        >>> size(999), size(1_250_000), size(1_234, smallest="MB")
        ('999 B', '1.2 MB', '0.0 MB')
    """
    units = _BYTE_UNITS[_BYTE_UNITS.index(smallest) :]
    value = n_bytes / (1 if smallest == "B" else 1e6)
    for unit in units:
        if value < 1000 or unit == units[-1]:
            break
        value /= 1000
    return f"{value:.1f} {unit}" if unit != "B" else f"{n_bytes} B"


def memory_quantity(n_bytes: int) -> str:
    """A number of bytes as Kubernetes writes memory, exact, in the largest unit that it is a multiple of.

    Example:
        >>> [memory_quantity(n) for n in (448 * 2**20, 4 * 10**9, 2 * 2**30, 1001)]
        ['448Mi', '4G', '2Gi', '1001']
    """
    for unit, n_bytes_of_unit in _MEMORY_UNITS.items():
        if n_bytes % n_bytes_of_unit == 0:
            return f"{n_bytes // n_bytes_of_unit}{unit}"
    return str(n_bytes)


def duration(seconds: float, *, precise: bool = False) -> str:
    """A duration in words, the coarser the longer it is.

    Args:
        seconds: The time.
        precise: Tell tenths of a second below a minute, seconds below an hour, and minutes always.

    Example:
        >>> [duration(s) for s in (0.2, 59.6, 75, 605, 8130, 360_000)]
        ['0 s', '1 min 0 s', '1 min 15 s', '10 min', '2 h 16 min', '100 h']
        >>> [duration(s, precise=True) for s in (4.25, 605, 360_000)]
        ['4.2 s', '10 min 5 s', '100 h 0 min']
    """
    if precise and seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < (3600 if precise else 600):
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    return f"{hours} h {rest} min" if precise or hours < 100 else f"{hours} h"


def count(n: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1.

    Example:
        >>> count(1, "slice"), count(13696, "slice")
        ('1 slice', '13,696 slices')
    """
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def ranges(numbers: Iterable[int], to: str = "-") -> list[str]:
    """Ascending whole numbers as the ranges that they form.

    Example:
        >>> ranges([1, 2, 3, 7]), ranges([4, 5], to=" to ")
        (['1-3', '7'], ['4 to 5'])
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return [f"{first}{to}{last}" if last > first else f"{first}" for first, last in found]


def listed(items: Sequence[object], most: int, *, between: str = ", ", rest: str = " and {more} more") -> str:
    """The first few items of a list, and how many there are besides.

    Args:
        items: The list.
        most: Items that are named at most.
        between: Text between two items.
        rest: End of a list that is cut; `{more}` in it becomes the number of items that are not named.

    Example:
        >>> listed("abc", 3), listed("abcde", 3), listed("abcde", 3, rest=", ...")
        ('a, b, c', 'a, b, c and 2 more', 'a, b, c, ...')
    """
    named = between.join(str(item) for item in items[:most])
    return named + rest.format(more=len(items) - most) if len(items) > most else named


def product(numbers: Iterable[float], by: str = " x ", *, thousands: bool = False) -> str:
    """Sides of a box, such as its size in voxels.

    Args:
        numbers: The sides.
        by: Text between two sides.
        thousands: Group the digits by commas.

    Example:
        >>> product((5, 5, 3)), product((8, 8, 7.5), by="x"), product((24000, 9), thousands=True)
        ('5 x 5 x 3', '8x8x7.5', '24,000 x 9')
    """
    return by.join(f"{number:,.12g}" if thousands else f"{number:.12g}" for number in numbers)
