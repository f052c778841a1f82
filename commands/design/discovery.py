"""The series of slices that lie in a folder or bucket: name patterns, numbers, and what is left out.

A series is a set of images whose names differ in one number alone. `completed` gives a configuration the keys
that a listing tells, so that a folder is enough for a run.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from commands.data.name_order import SUFFIXES, is_image
from commands.options import STACKS
from components.plan.inventory import name_prefix, number_slices
from components.plan.output import earlier_plan
from components.shared.documents.config import ALIASES, NUMBERS_END, check_image_pattern
from components.shared.documents.locations import locations_in
from components.shared.errors import ConfigError, FibstackError, UserError
from components.shared.limits import limit
from components.shared.storage.registry import open_store
from components.shared.storage.schemes import scheme_of, without_scheme
from components.shared.storage.store import Store
from components.shared.text import count, listed, ranges
from pipeline.configuration import absolute

_SHOWN = 3
"""Names that a sentence shows."""
_NUMBER = re.compile(r"([0-9]+)")
_NO_PATTERN = "the name has letters or signs that a name pattern cannot have"
_FOUND_KEYS = frozenset({"image", "minz", "maxz", "output"})
"""Keys that a folder tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryLimits:
    """Limits that decide which of several series in a folder is the stack."""

    few_of: int = limit(
        10,
        unit="-",
        why="a series with fewer images than one in so many of the largest is no stack beside it, but "
        "overviews or test pictures: it is left out and named",
        measured_on="not measured",
        too_small="a second detector, or the slices before a restart, may be left out",
        too_large="a person is asked to choose between a stack and a few overviews",
    )
    numbers_per_image: float = limit(
        2.0,
        unit="numbers from the first to the last, for each image",
        why="slices are numbered one by one, or every second one; clock times and positions leave most out, "
        "and each number left out would be a slice that is missing",
        measured_on="not measured; names such as img_123045.png leave 99% out",
        too_small="a stack of which half was lost is taken for clock times",
        too_large="clock times are taken for slices, and the volume is mostly gaps",
    )
    most_series: int = limit(
        16,
        unit="series",
        why="as many channels as a slice may have: a second number with more values is no channel",
        measured_on="follows from the channels of a volume",
        too_small="detectors that are numbered in the names are not told apart",
        too_large="heights or times beside the number of a slice are taken for as many series",
    )


LIMITS = DiscoveryLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Images whose names differ in one number alone."""

    pattern: str
    """Name pattern, as the key `image` takes it."""
    numbers: tuple[int, ...]
    """Numbers in the names, ascending."""

    @property
    def minz(self) -> int:
        return self.numbers[0]

    @property
    def maxz(self) -> int:
        return self.numbers[-1]

    @property
    def depth(self) -> int:
        """Folders between the source and the images."""
        return self.pattern.count("/")

    def missing(self) -> list[int]:
        """Numbers between the first and the last that no image has."""
        there = set(self.numbers)
        return [number for number in range(self.minz, self.maxz) if number not in there]

    def __str__(self) -> str:
        return f"'{self.pattern}' {self.minz} to {self.maxz} ({count(len(self.numbers), 'image')})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """The images of a folder or bucket, by series, and the names that belong to none."""

    series: tuple[Series, ...]
    """Series, that of most images first."""
    unnumbered: tuple[tuple[str, tuple[str, ...]], ...]
    """Images that are no slice of any series: why, and their names."""
    others: tuple[str, ...]
    """Names of files that are no images."""


def contents_of(names: Iterable[str]) -> Contents:
    """Sort the names of a listing into series.

    Example:
        >>> found = contents_of(["a.tif", "s_8.png", "s_9.png", "s_10.png", "notes.txt"])
        >>> [str(series) for series in found.series], found.unnumbered, found.others
        (["'s_%d.png' 8 to 10 (3 images)"], (('no number in the name', ('a.tif',)),), ('notes.txt',))
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    others = []
    for name in names:
        if is_image(name):
            groups.setdefault(tuple(_texts(name)), []).append(name)
        else:
            others.append(name)
    series: list[Series] = []
    unnumbered: dict[str, list[str]] = {}
    for group in groups.values():
        found, refused = _series_of(group)
        series += found
        for reason, images in refused:
            unnumbered.setdefault(reason, []).extend(images)
    return Contents(
        series=tuple(sorted(series, key=lambda one: (-len(one.numbers), one.pattern))),
        unnumbered=tuple((reason, tuple(images)) for reason, images in unnumbered.items()),
        others=tuple(others),
    )


def _parts(name: str) -> list[str]:
    """The texts of a name and the numbers between them, in turn; folder and suffix are text."""
    path = PurePosixPath(name)
    folder = f"{path.parent}/" if len(path.parts) > 1 else ""
    first, *middle = _NUMBER.split(path.stem)
    parts = [folder + first, *middle]
    parts[-1] += path.suffix
    return parts


def _texts(name: str) -> list[str]:
    return _parts(name)[::2]


def _series_of(group: Sequence[str]) -> tuple[list[Series], list[tuple[str, list[str]]]]:
    """The series among images whose names have the same texts, and the images of none, with the reason."""
    texts = _texts(group[0])
    if len(texts) == 1:
        return [], [("no number in the name", list(group))]
    numbers = [_parts(name)[1::2] for name in group]
    n_values = [len(set(column)) for column in zip(*numbers, strict=True)]
    place = max(range(len(n_values)), key=lambda index: (n_values[index], index))
    fixed: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for name, digits in zip(group, numbers, strict=True):
        fixed.setdefault((*digits[:place], "", *digits[place + 1 :]), []).append((name, digits[place]))
    if len(fixed) > LIMITS.most_series or (len(fixed) > 1 and 2 * len(fixed) > len(group)):
        return [], [("several numbers in the name change", list(group))]
    series: list[Series] = []
    refused: list[tuple[str, list[str]]] = []
    for digits_around, images in fixed.items():
        before = _joined(texts[: place + 1], digits_around[:place])
        after = _joined(texts[place + 1 :], digits_around[place + 1 :])
        width = _padding([digits for _, digits in images])
        if "%" in before + after:
            refused.append((_NO_PATTERN, [name for name, _ in images]))
            continue
        pattern = f"{before}%{f'0{width}' if width else ''}d{after}"
        numbers_of = {name: int(digits) for name, digits in images}
        taken = {name: number for name, number in numbers_of.items() if pattern % number == name}
        if len(taken) < len(images):
            odd = [name for name in numbers_of if name not in taken]
            refused.append((f"numbers padded otherwise than in '{pattern}'", odd))
        found = Series(pattern=pattern, numbers=tuple(sorted(taken.values())))
        reason = _why_unfit(found)
        if reason:
            refused.append((reason, list(taken)))
        else:
            series.append(found)
    return series, refused


def _joined(texts: Sequence[str], numbers: Sequence[str]) -> str:
    """A part of a name again, of its texts and the numbers between or behind them."""
    words = [word for pair in zip(texts, [*numbers, ""], strict=False) for word in pair]
    return "".join(words)


def _padding(numbers: Sequence[str]) -> int:
    """Digits to which most numbers with zeros in front are filled up; 0 where none has zeros."""
    padded = Counter(len(digits) for digits in numbers if len(digits) > 1 and digits[0] == "0")
    return padded.most_common(1)[0][0] if padded else 0


def _why_unfit(series: Series) -> str:
    """Why a series can be no stack; empty where it can."""
    if len(series.numbers) < 2:
        return "no other image is named alike"
    try:
        check_image_pattern(series.pattern)
    except ValueError:
        return _NO_PATTERN
    if series.maxz >= NUMBERS_END:
        return f"the numbers are no numbers of slices: they must be below {NUMBERS_END:,}"
    if series.maxz - series.minz + 1 > LIMITS.numbers_per_image * len(series.numbers):
        return f"the numbers are no numbers of slices: {_left_out_of(series)}"
    return ""


def _left_out_of(series: Series) -> str:
    n_numbers = series.maxz - series.minz + 1
    return (
        f"{n_numbers - len(series.numbers):,} of the {n_numbers:,} from {series.minz} to {series.maxz} are "
        f"left out, as where they are times (where they are slices, add {_flag(series)})"
    )


def chosen(contents: Contents, uri: str) -> tuple[Series, list[str]]:
    """The series that is the stack, and sentences on what is left out.

    Args:
        contents: What lies there.
        uri: Where, for messages.

    Raises:
        UserError: there is no series, or there are several that may be meant.
    """
    if not contents.series:
        raise UserError(_nothing_fits(contents, uri))
    largest = len(contents.series[0].numbers)
    large = [one for one in contents.series if len(one.numbers) * LIMITS.few_of >= largest]
    n_unnumbered = max((len(names) for _, names in contents.unnumbered), default=0)
    if n_unnumbered * LIMITS.few_of >= largest and n_unnumbered > largest:
        raise UserError(_nothing_fits(contents, uri))
    at_top = [one for one in large if one.depth == min(other.depth for other in large)]
    if len(at_top) > 1:
        raise UserError(_several(at_top, uri))
    (stack,) = at_top
    left_out = [f"series {one}" for one in contents.series if one is not stack]
    left_out += [f"{_named(names)}: {reason}" for reason, names in contents.unnumbered]
    if contents.others:
        left_out.append(f"{_named(contents.others)}: no picture that can be read")
    return stack, [f"Left out: {text}." for text in left_out]


def _named(names: Sequence[str]) -> str:
    return listed(names, _SHOWN)


def _nothing_fits(contents: Contents, uri: str) -> str:
    images = [name for _, names in contents.unnumbered for name in names]
    rule = "there must be a series of slices, numbered in their names"
    stacks = [name for name in (*images, *contents.others) if PurePosixPath(name).suffix.lower() in STACKS]
    if len(images) < 2 and stacks:
        split = shlex.join(["fibstack", "data", "split", f"{uri}/{stacks[0]}", f"{uri}-slices"])
        return (
            f"{rule}; got {_named(stacks)} in {uri}. Of a stack in one file, make slices: {split}, "
            f"then design {shlex.quote(f'{uri}-slices')}."
        )
    if images:
        reason, names = max(contents.unnumbered, key=lambda item: len(item[1]))
        return f"{rule}; got {_named(names)} in {uri}: {reason}. Number them anew: {_renumber(uri)}."
    if contents.others:
        return (
            f"{rule}, as {', '.join(SUFFIXES)}; got {_named(contents.others)} in {uri}. "
            "Give the folder of the slices."
        )
    return f"{rule}; got no file in {uri}. Give the folder of the slices."


def _renumber(uri: str, *more: str) -> str:
    return shlex.join(["fibstack", "data", "renumber", uri, f"{uri}-numbered", *more, "--yes"])


def _several(series: Sequence[Series], uri: str) -> str:
    """A sentence on several series, with the flags that choose one or take them together."""
    first, *others = series
    got = listed([str(one) for one in series], _SHOWN)
    sentence = f"there must be one series of slices; got {got} in {uri}. Add {_flag(first)} for the first"
    if all(one.numbers == first.numbers for one in others):
        more = shlex.quote(f"more_channels={json.dumps([one.pattern for one in others])}")
        return f"{sentence}, or {_flag(first)} --set {more} for detectors that were recorded together."
    if not any(set(one.numbers) & set(other.numbers) for one in series for other in series if one != other):
        return f"{sentence} alone; to put them behind one another: {_renumber(uri, '--only', '*')}."
    return f"{sentence}, or give a folder of each."


def _flag(series: Series) -> str:
    return f"--image {shlex.quote(series.pattern)}"


def completed(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The values of a configuration with those that its source tells, and sentences on these.

    Args:
        values: What is given, with `source`.

    Raises:
        UserError: the source is not there, or does not tell which series is meant.
        ConfigError: no place for the results follows from the source.
    """
    given = {ALIASES.get(key, key): value for key, value in values.items() if value not in (None, "")}
    lacking = _FOUND_KEYS - given.keys()
    # A run that makes its own buckets names the bucket of the slices, and all of their numbers.
    if not lacking or "source" not in given or ("id" in given and "output" not in given):
        return dict(values), []
    source = open_store(absolute(str(given["source"])))
    if not source.exists():
        raise UserError(
            f"the source must be a folder or bucket that exists; got {source.uri}. Check the path."
        )
    found: dict[str, Any] = {}
    said: list[str] = []
    if lacking - {"output"}:
        series, left_out = (
            _stack(source) if "image" in lacking else _stack_of_pattern(str(given["image"]), source)
        )
        found = {"image": series.pattern, "minz": series.minz, "maxz": series.maxz}
        said = [_found(series, source.uri), *left_out]
    if "output" in lacking:
        found["output"] = beside(str(given["source"]))
        said.append(f"Results go to {found['output']}; --output names another place.")
    values = {**values, **{key: value for key, value in found.items() if key in lacking}}
    if "maxz" in lacking:
        _check_still_there(values, found, source.uri)
    return values, said


def _check_still_there(values: Mapping[str, Any], found: Mapping[str, Any], source_uri: str) -> None:
    """Refuse to leave slices out of a volume since their files are gone; nobody has asked for it.

    Args:
        values: The configuration.
        found: The numbers that the source tells.
        source_uri: The source.

    Raises:
        UserError: the volume in the output has slices beyond those of the source.
    """
    earlier = None
    with suppress(FibstackError):  # what is wrong with the output, the run itself says
        earlier = earlier_plan(locations_in(absolute(str(values["output"])), source_uri))
    if earlier is None or earlier.config.image != values["image"]:
        return
    minz, maxz = int(found["minz"]), int(found["maxz"])
    gone = [*range(earlier.config.minz, minz), *range(maxz + 1, earlier.config.maxz + 1)]
    if gone:
        remedy = (
            "choose another output" if minz > earlier.config.minz else f"leave them out with --maxz {maxz}"
        )
        raise UserError(
            f"the slices of the volume in {values['output']} must still be there; got {minz} to {maxz} in "
            f"{source_uri}, without {listed([str(z) for z in gone], _SHOWN)}. Put them back, or {remedy}."
        )


def _stack(source: Store) -> tuple[Series, list[str]]:
    return chosen(contents_of(stat.key for stat in source.list()), source.uri)


def _stack_of_pattern(pattern: str, source: Store) -> tuple[Series, list[str]]:
    """The series of a pattern that was asked for.

    Raises:
        ConfigError: it is no pattern.
        UserError: no image is named so.
    """
    try:
        check_image_pattern(pattern)
    except ValueError as error:
        raise ConfigError(f"'image': {error}; got '{pattern}'. Change 'image'.") from None
    listing = number_slices(pattern, source.list(name_prefix(pattern)))
    if not listing.slices:
        names = [stat.key for stat in islice(source.list(), _SHOWN)]
        raise UserError(
            f"the source must hold images named '{pattern}'; got {_named(names) or 'no file'} in "
            f"{source.uri}. Change --image, or leave it out."
        )
    return Series(pattern=pattern, numbers=tuple(sorted(listing.slices))), []


def _found(series: Series, uri: str) -> str:
    missing = series.missing()
    gaps = f"missing: {listed(ranges(missing, to=' to '), _SHOWN)}" if missing else "none missing"
    return (
        f"Found {count(len(series.numbers), 'slice')} in {uri}: {series.pattern}, {series.minz} to "
        f"{series.maxz}, {gaps}."
    )


def beside(source: str) -> str:
    """The place of results beside a folder of slices.

    Raises:
        ConfigError: the source is a whole bucket, beside which nothing can be.

    Example:
        >>> beside("/data/em/"), beside("gs://em/raw")
        ('/data/em-aligned', 'gs://em/raw-aligned')
    """
    place = absolute(source).rstrip("/")
    inside = without_scheme(place).partition("/")[2] if scheme_of(place).is_remote else place
    if not inside:
        raise ConfigError(
            f"an output must be given where the slices fill a whole bucket; got {source}. "
            "Add --output, such as another bucket."
        )
    return f"{place}-aligned"
