"""The order of names by the numbers in them, where these may be read in several ways.

`0.15` is after `0.2` where a dot keeps two counters apart, and before it in a decimal; `01-03-2024` is in
March or in January. Where all readings give one order, it is that; where the names themselves tell the
reading, it is said; where they do not, a person is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Literal

from components.shared.errors import ConfigError, UserError

NameReading = Literal["integers", "decimals", "day-first", "month-first"]
READINGS: tuple[NameReading, ...] = ("integers", "decimals", "day-first", "month-first")
Parts = list[str | Fraction]
"""A name as texts and the numbers between them, in turn: a text, a number, a text."""

KINDS: Mapping[str, str] = MappingProxyType(
    {".png": ".png", ".tif": ".tif", ".tiff": ".tif", ".jpg": ".jpg", ".jpeg": ".jpg", ".dat": ".dat"}
)
"""Kind of the files with each suffix of images, by the suffix that stands for all of the kind."""
SUFFIXES = tuple(KINDS)
"""Suffixes of images; a name that starts with a dot is none, as macOS leaves beside others."""

_SHOWN = 4
"""Names of an order that a question shows."""
_INTEGER = re.compile(r"([0-9]+)")
_SIGN_AFTER_NO_LETTER = r"(?<![0-9A-Za-z)\]])[-+\u2212]"
_SIGN_ANYWHERE = r"(?<![0-9])[-+\u2212]"
_QUANTITY = (
    r"(?P<sign>{sign})?(?<![0-9])(?<![0-9][.,])(?P<number>[0-9]+(?:[.,][0-9]+(?![0-9]*[.,][0-9]))?)"
    r"(?P<power>[eE][-+][0-9]{{1,2}}(?![0-9])|[eE][0-9]{{1,2}}(?![0-9A-Za-z]))?"
    r"(?:(?P<unit>pm|nm|[u\u00b5\u03bc]m|mm|m)(?![A-Za-z]))?"
)
"""A decimal number with its sign, its power of ten and its unit of length; 1.2.3 is none."""
_METRES = {"pm": 12, "nm": 9, "um": 6, "\u00b5m": 6, "\u03bcm": 6, "mm": 3, "m": 0}
"""Powers of ten of the units, below 1 m."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH_NAME = rf"(?P<name>(?:{'|'.join(_MONTHS)})[a-z]*)"
_NUMBERED_DATE = re.compile(
    r"(?<![0-9])(?P<first>[0-9]{1,2})(?P<between>[-._ /])(?P<second>[0-9]{1,2})(?P=between)"
    r"(?P<year>(?:19|20)[0-9]{2}|[0-9]{2})(?![0-9])"
)
_SOLID_DATE = re.compile(
    r"(?<![0-9])(?P<first>[0-9]{2})(?P<second>[0-9]{2})(?P<year>(?:19|20)[0-9]{2})(?![0-9])"
)
_NAMED_DATE = re.compile(
    rf"(?<![0-9])(?P<day>[0-9]{{1,2}})[-._ ]?{_MONTH_NAME}[-._ ]?(?P<year>[0-9]{{4}})(?![0-9])", re.IGNORECASE
)
_DATED: tuple[NameReading, ...] = ("day-first", "month-first")
_LAST_OF_CENTURY = 99
"""Years up to this are of two digits, and of this century."""
_LONGEST_RECORDING_DAYS = 366
"""Dates of one stack do not lie further apart."""


def is_image(name: str) -> bool:
    """Whether a name is that of an image: of its suffix, and not hidden.

    Example:
        >>> is_image("raw/img.1.TIF"), is_image("._img.1.TIF"), is_image("notes.txt")
        (True, False, False)
    """
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


@dataclass(frozen=True, slots=True)
class Ordered:
    """Names in their order, and the reading that gives it."""

    names: tuple[str, ...]
    said: str
    """A sentence on how the numbers are read; empty where every reading gives this order."""
    parts: Callable[[str], Parts]
    """Takes a name apart, as it is read."""


def ordered(names: Iterable[str], uri: str, reading: NameReading | None = None) -> Ordered:
    """Put names in the order of their numbers.

    Args:
        names: Names of images.
        uri: Their folder, for messages.
        reading: How numbers are read; None to find it out.

    Raises:
        UserError: several readings give several orders, and the names do not tell which is right.
        ConfigError: the reading that was asked for does not fit the names.

    Example:
        >>> ordered(["z=0.2um.tif", "z=0.15um.tif", "z=-0.1um.tif"], "raw").names
        ('z=-0.1um.tif', 'z=0.15um.tif', 'z=0.2um.tif')
        >>> ordered(["b9.tif", "b10.tif"], "raw").names
        ('b9.tif', 'b10.tif')
    """
    several = sorted(names)
    by_integers = _in_order(several, integer_parts)
    if reading == "integers":
        return by_integers
    if reading == "decimals":
        return _by_decimals(several)
    if reading is not None:
        by_dates = _by_dates(several, reading)
        if by_dates is None:
            none = next(name for name in several if _date_in(name, reading) is None)
            raise ConfigError(
                f"--order {reading} must find a date in every name; got {none} in {uri}. Change --order."
            )
        return by_dates
    candidates = _candidates(several, by_integers)
    if len({found.names for found in candidates.values()}) > 1:
        raise UserError(
            f"the order of the names must be clear; got {_first_of_each(candidates)} in {uri}. "
            "Add the right --order."
        )
    chosen = next(iter(candidates.values()))
    return chosen if chosen.names != by_integers.names else by_integers


def integer_parts(name: str) -> Parts:
    """The texts of a name and the integers between them.

    Example:
        >>> integer_parts("s_9.tif")
        ['s_', Fraction(9, 1), '.tif']
    """
    parts = _INTEGER.split(name)
    return [Fraction(part) if index % 2 else part for index, part in enumerate(parts)]


def natural_order(name: str) -> tuple[Parts, str]:
    """A key that sorts names as people do: by the integers in them.

    Example:
        >>> sorted(["z10", "z9", "a"], key=natural_order)
        ['a', 'z9', 'z10']
    """
    return [part.casefold() if isinstance(part, str) else part for part in integer_parts(name)], name


def template(parts: Parts) -> str:
    """The part that all names of a series share: the texts in lower case, and the places of the numbers.

    Example:
        >>> template(integer_parts("Slice_9.tif"))
        'slice_#.tif'
    """
    return "".join(part.casefold() if isinstance(part, str) else "#" for part in parts)


def _in_order(names: Sequence[str], parts: Callable[[str], Parts], said: str = "") -> Ordered:
    def key(name: str) -> tuple[Parts, str]:
        return [part.casefold() if isinstance(part, str) else part for part in parts(name)], name

    return Ordered(tuple(sorted(names, key=key)), said, parts)


def _candidates(names: Sequence[str], by_integers: Ordered) -> dict[NameReading, Ordered]:
    """The readings that may be meant."""
    dated = _dated_candidates(names, by_integers)
    if dated:
        return dated
    by_decimals = _by_decimals(names)
    told = _told_by_the_names(names, by_integers, by_decimals)
    both: dict[NameReading, Ordered] = {"decimals": by_decimals, "integers": by_integers}
    return both if told is None else {told: both[told]}


def _told_by_the_names(
    names: Sequence[str], by_integers: Ordered, by_decimals: Ordered
) -> NameReading | None:
    """Whether integers or decimals are meant, where the names tell it."""
    if by_integers.names == by_decimals.names:
        return "integers"
    integers, decimals = ([found.parts(name) for name in names] for found in (by_integers, by_decimals))
    # One name for two images is none; numbers of one series stand between the same texts.
    for count in (_n_equal, _n_templates):
        if count(integers) != count(decimals):
            return "integers" if count(integers) < count(decimals) else "decimals"
    matches = [match for name in names for match in _quantities(name, _SIGN_AFTER_NO_LETTER)]
    odd = [match for match in matches if match["sign"] or not match["number"].isdigit() or match["power"]]
    if all(match["unit"] or match.string[: match.start()].endswith("=") for match in odd):
        return "decimals"
    fractions = [re.split("[.,]", match["number"])[1] for match in odd if not match["number"].isdigit()]
    are_padded = any(text.startswith("0") for text in fractions)
    return "decimals" if are_padded and len({len(text) for text in fractions}) > 1 else None


def _n_equal(found: Sequence[Parts]) -> int:
    return len(found) - len({tuple(parts) for parts in found})


def _n_templates(found: Sequence[Parts]) -> int:
    return len({template(parts) for parts in found})


def _by_decimals(names: Sequence[str]) -> Ordered:
    signs = (_SIGN_AFTER_NO_LETTER, _SIGN_ANYWHERE)
    # z-1, z0, z1: the hyphen is a sign where other names go without.
    sign = min(signs, key=lambda sign: _n_templates([_decimal_parts(name, sign) for name in names]))
    found = _in_order(names, lambda name: _decimal_parts(name, sign))
    return Ordered(found.names, "numbers are read as decimals, with their signs and units", found.parts)


def _decimal_parts(name: str, sign: str) -> Parts:
    parts: Parts = []
    end, unit = 0, ""
    for match in _quantities(name, sign):
        parts += [unit + name[end : match.start()], _quantity(match)]
        end, unit = match.end(), "(length)" if match["unit"] else ""
    return [*parts, unit + name[end:]]


def _quantities(name: str, sign: str) -> list[re.Match[str]]:
    stem = name.removesuffix(PurePosixPath(name).suffix)
    return list(re.finditer(_QUANTITY.format(sign=sign), stem))


def _quantity(match: re.Match[str]) -> Fraction:
    value = Fraction(match["number"].replace(",", "."))
    if match["power"]:
        value *= Fraction(10) ** int(match["power"][1:])
    if match["unit"]:
        value /= Fraction(10) ** _METRES[match["unit"]]
    return -value if match["sign"] in ("-", "\u2212") else value


@dataclass(frozen=True, slots=True)
class _Dated:
    """A date in a name."""

    day: date
    start: int
    end: int
    has_century: bool


def _date_in(name: str, reading: NameReading) -> _Dated | None:
    """The first date in a name, its day or its month first; "integers" has its year first."""
    match = _NAMED_DATE.search(name)
    if match:
        year, month, day = int(match["year"]), 1 + _MONTHS.index(match["name"][:3].lower()), int(match["day"])
    else:
        match = _NUMBERED_DATE.search(name) or _SOLID_DATE.search(name)
        if match is None:
            return None
        numbers = [int(match[group]) for group in ("first", "second", "year")]
        order = {"day-first": (2, 1, 0), "month-first": (2, 0, 1), "integers": (0, 1, 2)}[reading]
        year, month, day = (numbers[index] for index in order)
    try:
        found = date(year if year > _LAST_OF_CENTURY else 2000 + year, month, day)
    except ValueError:
        return None
    return _Dated(found, match.start(), match.end(), len(match["year"]) == 4)


def _dates_in(names: Sequence[str], reading: NameReading) -> list[_Dated]:
    """The date in each name; none where a name has none that can be so."""
    found = [_date_in(name, reading) for name in names]
    dates = [dated for dated in found if dated is not None]
    return dates if len(dates) == len(names) else []


def _by_dates(names: Sequence[str], reading: NameReading) -> Ordered | None:
    dates = _dates_in(names, reading)
    if not dates:
        return None

    def parts(name: str) -> Parts:
        dated = _date_in(name, reading)
        assert dated is not None, "every name has a date"
        before, after = integer_parts(name[: dated.start]), integer_parts(name[dated.end :])
        return [*before, Fraction(dated.day.toordinal()), *after]

    example = f"{names[0][dates[0].start : dates[0].end]} is {dates[0].day:%d %B %Y}"
    return _in_order(names, parts, f"dates are read {reading.replace('-', ' ')}, {example}")


def _dated_candidates(names: Sequence[str], by_integers: Ordered) -> dict[NameReading, Ordered]:
    """The readings of dates that may be meant; none where the names hold no dates."""
    orders: dict[NameReading, Ordered] = {}
    has_century = False
    for reading in _DATED:
        found = _by_dates(names, reading)
        dates = _dates_in(names, reading)
        if found and _is_one_recording(dates):
            orders[reading] = found
            has_century = dates[0].has_century
    if orders and not has_century:
        years_first = _dates_in(names, "integers")
        if not years_first or not _is_one_recording(years_first):
            return orders
        return {"integers": by_integers, **orders}
    return orders


def _is_one_recording(dates: Sequence[_Dated]) -> bool:
    days = [dated.day for dated in dates]
    return (max(days) - min(days)).days <= _LONGEST_RECORDING_DAYS


def _first_of_each(candidates: dict[NameReading, Ordered]) -> str:
    """The first names that the orders differ in, each with the option that asks for it."""
    orders = [found.names for found in candidates.values()]
    first = next(place for place, names in enumerate(zip(*orders, strict=True)) if len(set(names)) > 1)
    return "; ".join(
        f"{', '.join(found.names[max(0, first - 1) :][:_SHOWN])} with --order {reading}"
        for reading, found in candidates.items()
    )
