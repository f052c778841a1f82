"""Files of points: tables (CSV) and traced neurons (SWC), of which nothing but the places changes.

A file is gone through twice, for its coordinates and to be written anew, so that no more than its bytes and
its coordinates are in memory.
"""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from components.shared.errors import ConfigError, UserError

Floats = NDArray[np.float64]
NOTE = "fibstack_note"
"""Column of a table that says where a point lies, if not at an ordinary place."""
_BOM = b"\xef\xbb\xbf"
_DELIMITERS = (",", ";", "\t")
_SWC_X, _SWC_RADIUS = 2, 5
"""Columns of SWC: number, kind, x, y, z, radius, parent."""
_SHOWN_LENGTH = 60
"""Characters of a refused value that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPlaces:
    """Places and notes that a file of points is written anew with."""

    xyz: Floats
    """[n, 3] new coordinates."""
    digits: int
    """Decimals of a coordinate."""
    magnified: Floats
    """[n] by how much lengths have grown."""
    note: Sequence[int]
    """[n] which of `notes` concerns each point."""
    notes: Sequence[str]
    """Sentences without a full stop, the first empty."""


class PointFile(Protocol):
    """A file of points."""

    z_counts_slices: bool
    """True where z is the number of a slice, whatever unit x and y have."""

    def coordinates(self) -> Floats:
        """[n, 3] x, y and z as they stand in the file."""

    def lines(self, new: NewPlaces) -> Iterator[str]:
        """The lines of the file with new coordinates."""


def point_file(name: str, data: bytes) -> PointFile:
    """The file of points with a name that tells its kind.

    Raises:
        ConfigError: its name ends otherwise.
        UserError: its columns are not those of points.
    """
    kinds: dict[str, Callable[[str, bytes], PointFile]] = {".csv": Table, ".swc": Neuron}
    kind = kinds.get(PurePosixPath(name).suffix.lower())
    if kind is None:
        raise ConfigError(
            f"points must lie in a file that ends in .csv or .swc; got {name}. Give it a name that tells its "
            f"kind."
        )
    return kind(name, data)


class Table:
    """A CSV file whose header names x, y, and z or slice; all other columns stay as they are."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name = name
        self._bom, self._data = (_BOM, data[len(_BOM) :]) if data.startswith(_BOM) else (b"", data)
        head = self._data.split(b"\n", 1)[0]
        self._delimiter = max(_DELIMITERS, key=lambda mark: head.count(mark.encode()))
        self._line_end = "\r\n" if head.endswith(b"\r") else "\n"
        self._header = next(self._rows(), (1, [""]))[1]
        names = [column.strip().lower() for column in self._header]
        wanted = ["x", "y", *(column for column in ("z", "slice") if column in names)]
        if [names.count(column) for column in wanted] != [1, 1, 1]:
            raise UserError(
                f"the first line of a table of points must name x, y, and either z or slice, each once; got "
                f"{self._delimiter.join(self._header)[:_SHOWN_LENGTH] or 'nothing'!r} in {name}. "
                f"Name the columns so."
            )
        self.z_counts_slices = wanted[2] == "slice"
        self._columns = [names.index(column) for column in wanted]
        self._note = names.index(NOTE) if NOTE in names else None

    def coordinates(self) -> Floats:
        found = array("d")
        for line, row in self._points():
            found.extend(_numbers([row[column] for column in self._columns], self._name, line))
        return np.array(found).reshape(-1, 3)

    def lines(self, new: NewPlaces) -> Iterator[str]:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self._delimiter, lineterminator=self._line_end)
        yield self._bom.decode()
        writer.writerow(self._header if self._note is not None else [*self._header, NOTE])
        x, y, z = self._columns
        for (_, row), (new_x, new_y, new_z), note in zip(
            self._points(), _rows(new.xyz), new.note, strict=True
        ):
            row[x], row[y] = _number(new_x, new.digits), _number(new_y, new.digits)
            row[z] = _number(new_z, 4 if self.z_counts_slices else new.digits)
            if self._note is None:
                row.append(new.notes[note])
            else:
                row[self._note] = new.notes[note]
            writer.writerow(row)
            if out.tell() > 1 << 16:
                yield out.getvalue()
                out.seek(0)
                out.truncate()
        yield out.getvalue()

    def _points(self) -> Iterator[tuple[int, list[str]]]:
        """The rows below the header with their lines; empty lines are no points, and go."""
        rows = self._rows()
        next(rows)
        n_columns = len(self._header)
        for line, row in rows:
            if not row:
                continue
            if len(row) != n_columns:
                raise UserError(
                    f"each line of {self._name} must have the {n_columns} columns that the first names; got "
                    f"{len(row)} in line {line}. Mend that line."
                )
            yield line, row

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """All rows, with the last line of each."""
        text = io.TextIOWrapper(io.BytesIO(self._data), "utf-8", "surrogateescape", newline="")
        reader = csv.reader(text, delimiter=self._delimiter)
        try:
            for row in reader:
                yield reader.line_num, row
        except csv.Error as error:
            raise UserError(
                f"{self._name} must be a table; got {error} in line {reader.line_num}. Mend that line."
            ) from None


class Neuron:
    """An SWC file: a line for each node, with its number, kind, x, y, z, radius and parent."""

    z_counts_slices = False

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data

    def coordinates(self) -> Floats:
        found = array("d")
        for line, _, words in self._lines():
            if words:
                found.extend(_numbers(words[_SWC_X : _SWC_RADIUS + 1], self._name, line)[:3])
        return np.array(found).reshape(-1, 3)

    def lines(self, new: NewPlaces) -> Iterator[str]:
        """The lines; comments at the end name the nodes that do not lie at ordinary places."""
        noted: dict[int, list[str]] = {}
        places = zip(_rows(new.xyz), new.magnified.tolist(), new.note, strict=True)
        for _, text, words in self._lines():
            if not words:
                yield f"{text.rstrip()}\n"
                continue
            xyz, magnified, note = next(places)
            words[_SWC_X:_SWC_RADIUS] = [_number(value, new.digits) for value in xyz]
            words[_SWC_RADIUS] = _number(float(words[_SWC_RADIUS]) * magnified, new.digits)
            if note:
                noted.setdefault(note, []).append(words[0])
            yield f"{' '.join(words)}\n"
        for note, nodes in sorted(noted.items()):
            yield f"# fibstack: {new.notes[note]}: {', '.join(nodes)}\n"

    def _lines(self) -> Iterator[tuple[int, str, list[str]]]:
        """Number, text and words of each line; comments and empty lines have no words."""
        text = io.TextIOWrapper(io.BytesIO(self._data), "utf-8", "surrogateescape")
        for line, whole in enumerate(text, 1):
            words = [] if whole.lstrip().startswith("#") else whole.split()
            if 0 < len(words) < 7:
                raise UserError(
                    f"a node of {self._name} must have 7 columns: number, kind, x, y, z, radius and parent; "
                    f"got {len(words)} in line {line}. Mend that line."
                )
            yield line, whole, words


def _numbers(texts: list[str], name: str, line: int) -> list[float]:
    """The numbers of a point.

    Raises:
        UserError: one of them is none, or not finite.
    """
    try:
        numbers = [float(text) for text in texts]
        if math.isfinite(sum(numbers)) and "_" not in "".join(texts):  # Python reads 1_000 as 1000
            return numbers
    except ValueError:
        pass
    raise UserError(
        f"places of points must be numbers, with a point for decimals; got "
        f"{', '.join(texts)[:_SHOWN_LENGTH]} in line {line} of {name}. Mend that line."
    )


def _rows(xyz: Floats) -> Iterator[list[float]]:
    """The rows of an array, some thousands of which are lists at a time."""
    for first in range(0, len(xyz), 4096):
        yield from xyz[first : first + 4096].tolist()


def _number(value: float, digits: int) -> str:
    """A number without zeros at its end.

    Example:
        >>> _number(12.5, 4), _number(45.0, 4), _number(-0.00001, 4), _number(1200.0, 0)
        ('12.5', '45', '0', '1200')
    """
    text = f"{value:.{digits}f}"
    text = text.rstrip("0").rstrip(".") if digits else text
    return "0" if text == "-0" else text
