"""The commit protocol: outputs first, the sealed record of the unit last.

A record names the hash of everything that the unit's result depends on and the size and checksum of each
output. A unit whose record has the same input hash and whose outputs are there is done. A record that
does not verify counts as absent, so the work is repeated, never trusted.

A record names places relative to its output (`work.places`), so it holds wherever that lies.

What vouches for an output is its store's to say (`Store.vouches`). A checksum that the store tells is
compared. Where the store keeps times, an output that was changed after its record, which was written after
it, is read and compared: also one that was given another name, or whose time of writing was put back. Where
it keeps neither, every output is read and compared: nothing passes unseen.

What rots below the file system is seen by whoever reads it; that step takes the record back (`withdraw`), so
that the next run does the unit again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from pydantic import Field, ValidationError

from components.shared.given_file import CheckedModel
from components.shared.steps import STEPS
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.store import ObjectMissingError, Stat, Store, Vouches, checksum
from components.shared.work.places import place_at, place_name

_FOLDERS = frozenset(folder for step in STEPS.values() for folder in step.records)
"""Folders below `records/`."""
_UNIT = re.compile(r"\d+(-\d+)?|transforms|thickness|preview")
"""Names of units: of a slab or block, of a chunk of slices, and of what `compose` does."""


class Output(CheckedModel):
    """An object that a unit has written, with its size and checksum."""

    uri: str
    """URI of the store that holds it; in storage the name of the place, by `work.places`."""
    key: str
    size_bytes: int
    crc32c: str


class Record(CheckedModel):
    """A unit of a step that is done, with the hash of its input and the objects that it wrote."""

    step: str
    unit: str
    input_hash: str
    outputs: tuple[Output, ...]
    read: Mapping[str, str] = Field(default_factory=dict, exclude_if=lambda read: not read)
    """CRC-32C of each file of the source of which no listing tells it, by key: what the unit has read, should
    the slices be copied elsewhere without their times. Left out where there is none."""


def input_hash(*parts: str | bytes) -> str:
    """Hash of all that a result depends on; parts are kept apart.

    Example:
        >>> input_hash("ab", "c") == input_hash("a", "bc")
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()[:32]


def write_output(store: Store, key: str, *parts: bytes | memoryview) -> Output:
    """Write an object, its parts one behind the other, and say what was written, for the record."""
    store.write(key, *parts)
    n_bytes = sum(memoryview(part).nbytes for part in parts)
    return Output(uri=store.uri, key=key, size_bytes=n_bytes, crc32c=checksum(*parts))


def record_key(step: str, unit: str) -> str:
    """Key of a unit's record below the process URI.

    Example:
        >>> record_key("align", "0-15")
        'records/align/0-15.json'
    """
    return f"records/{step}/{unit}.json"


def commit(process: Store, record: Record) -> None:
    """Seal a unit: call it when every output is written."""
    body = _with_uris(record, lambda uri: place_name(uri, process.uri)).model_dump_json().encode()
    process.write(record_key(record.step, record.unit), body + _seal(body))


def _seal(body: bytes) -> bytes:
    return b"\n" + checksum(body).encode() + b"\n"


def _with_uris(record: Record, changed: Callable[[str], str]) -> Record:
    """A record whose outputs lie elsewhere, or are named otherwise."""
    uris = {uri: changed(uri) for uri in {output.uri for output in record.outputs}}
    if all(old == new for old, new in uris.items()):
        return record
    outputs = (
        Output(uri=uris[output.uri], key=output.key, size_bytes=output.size_bytes, crc32c=output.crc32c)
        for output in record.outputs
    )
    return record.model_copy(update={"outputs": tuple(outputs)})


def read_record(process: Store, step: str, unit: str) -> Record | None:
    """The record of a unit, or None where it is absent or does not verify."""
    return record_at(process, record_key(step, unit))


def record_at(process: Store, key: str) -> Record | None:
    """The record in an object, or None where it is absent or does not verify."""
    try:
        sealed = process.read(key)
    except ObjectMissingError:
        return None
    body = sealed[: -len(_seal(b""))]
    if sealed != body + _seal(body):
        return None
    try:
        record = Record.model_validate_json(body)
    except ValidationError:
        return None
    if record_key(record.step, record.unit) != key:
        return None
    return _with_uris(record, lambda name: place_at(name, process.uri))


def record_keys(process: Store, step: str) -> list[str]:
    """Keys of the records of a step's units; what else lies among them is nobody's record.

    Args:
        process: the store of the records.
        step: a folder of them, such as `pyramid/0`, or a folder of folders, such as `pyramid`.
    """
    keys = [found.key for found in process.list(f"records/{step}/")]
    return [key for key in keys if is_record_key(key)]


def is_record_key(key: str) -> bool:
    """Whether a unit's record may have this key below the process URI.

    Example:
        >>> [is_record_key(f"records/{rest}") for rest in ("pyramid/0/7.json", "tile/7.json", "tile/7b.json")]
        [True, True, False]
    """
    folder, _, name = key.removeprefix("records/").rpartition("/")
    unit = name.removesuffix(".json")
    return folder in _FOLDERS and key == record_key(folder, unit) and _UNIT.fullmatch(unit) is not None


def unseal(process: Store, step: str) -> int:
    """Remove the record of every unit of a step, so that it is made again; what it has written stays.

    Returns:
        The number of units.
    """
    keys = record_keys(process, step)
    in_parallel(process.delete, keys)
    return len(keys)


def withdraw(process: Store, step: str, unit: str, expected_hash: str) -> None:
    """Remove the record of a unit whose output was found damaged, so that the next run does the unit again.

    A record with another input hash stays: it is of another run, and may be true. Where the store
    does not go by times nothing is removed: `is_done` compares every output, and steps may not delete.
    """
    if process.vouches is not Vouches.TIMES:
        return
    record = read_record(process, step, unit)
    if record is not None and record.input_hash == expected_hash:
        process.delete(record_key(step, unit))


def is_done(process: Store, step: str, unit: str, expected_hash: str) -> bool:
    """True of a unit whose record has the expected input hash, and whose outputs are all in place, untouched.

    Reads no data, but for files that were changed after the record, and objects that nothing vouches for.
    """
    record = read_record(process, step, unit)
    if record is None or record.input_hash != expected_hash:
        return False
    looked_at = []
    for one in _look_at(record.outputs):
        if not one.is_present:
            return False
        looked_at.append(one)
    return not _changed(process, record, looked_at)


def outputs_present(outputs: Collection[Output]) -> bool:
    """True where each output exists with the recorded size, and the checksum where the store tells one."""
    return all(one.is_present for one in _look_at(outputs))


def overwritten(process: Store, record: Record) -> list[Output]:
    """The outputs of a unit that hold something else since the unit was sealed.

    Outputs in a store that lists checksums are not looked at: `outputs_present`, and whoever compares a
    listing with the records, has their checksums.
    """
    stores = {output.uri: open_store(output.uri) for output in record.outputs}
    unsure = [output for output in record.outputs if stores[output.uri].vouches is not Vouches.CHECKSUM]
    return _changed(process, record, list(_look_at(unsure)))


@dataclass(frozen=True, slots=True)
class _LookedAt:
    """An output, and what its store tells of it without reading it."""

    store: Store
    output: Output
    found: Stat | None

    @property
    def is_present(self) -> bool:
        if self.found is None or self.found.size_bytes != self.output.size_bytes:
            return False
        return self.found.crc32c in (None, self.output.crc32c)

    def is_changed(self, sealed: Stat | None) -> bool:
        """True where it has other bytes than its record says; it is read unless something vouches for it."""
        if self.found is None:
            return False
        if self.found.crc32c is not None:
            return self.found.crc32c != self.output.crc32c
        if sealed is None or _is_known_older(self.found, sealed):
            return False
        return checksum(self.store.read(self.output.key)) != self.output.crc32c


def _look_at(outputs: Collection[Output]) -> Iterator[_LookedAt]:
    stores = {uri: open_store(uri) for uri in {output.uri for output in outputs}}
    for output in outputs:
        yield _LookedAt(stores[output.uri], output, stores[output.uri].stat(output.key))


def _changed(process: Store, record: Record, looked_at: Collection[_LookedAt]) -> list[Output]:
    is_told = all(one.found is None or one.found.crc32c is not None for one in looked_at)
    sealed = None if is_told else process.stat(record_key(record.step, record.unit))
    return [one.output for one in looked_at if one.is_changed(sealed)]


def _is_known_older(found: Stat, sealed: Stat) -> bool:
    """True of an object last changed before its record, by a clock that both stores keep."""
    if found.changed_ns is None or sealed.changed_ns is None:
        return False
    return found.changed_ns <= sealed.changed_ns
