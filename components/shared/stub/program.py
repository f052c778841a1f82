"""The programs of the steps in a stub: each proves that it could do its work, and does none of it.

A pod has come this far with its image, machine, account and volumes. What is left to prove is storage: the
program reads what its step reads, writes an empty object wherever its step writes, reads it back, and seals a
record. It takes the arguments that it takes in a run, and gives outputs of the same kind, so that the graph
is walked as a run would walk it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

from components.shared.command import write_parameter
from components.shared.documents.config import RunConfig
from components.shared.documents.config_flags import parse_flags
from components.shared.documents.cost import parse_pods
from components.shared.documents.locations import locations_of
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import SealedDocument
from components.shared.errors import FibstackError, TransientError, UserError
from components.shared.grid import Span
from components.shared.steps import MEMORY_OUTPUTS, STEPS, STUB, STUB_ITEMS
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import Part
from components.shared.storage.schemes import scheme_of
from components.shared.stub.scratch import remove_scratch, scratch_uris, stub_of
from components.shared.text import memory_quantity
from components.shared.work import records
from components.shared.work.superseded import SUPERSEDED_KEY

STUB_PLAN_KEY = "stub.json"
"""Key below the URI of a stub's records."""
_LOOKED_AT_BYTES = 4096
"""Bytes of a slice that are read: its header, or a part of it."""
_UNITS = tuple(str(Span(item, item)) for item in range(STUB_ITEMS))
"""Items of each loop."""
_LISTS = frozenset(loop.items for step in STEPS.values() for loop in step.loops)
"""Outputs of programs that list the items of a loop."""

Ending = Callable[[Mapping[str, Any]], None]
"""Does what a program does in a stub beside using storage, given its arguments."""
_Function = TypeVar("_Function", bound=Callable[..., None])
log = logging.getLogger(__name__)


class StubPlan(SealedDocument):
    """`process/stub.<name>/stub.json`: what `plan` tells the other steps of a stub."""

    schema_version: Literal[1] = 1
    output: str
    ome_zarr: bool
    source_uri: str
    slice_key: str
    """A slice that `plan` has found."""


def or_stub(step: str, ending: Ending | None = None) -> Callable[[_Function], _Function]:
    """Decorator of a step's program, which does its part of a stub where its arguments name one.

    Args:
        step: The step.
        ending: What the program does besides, once it has used storage, whatever came of that.
    """

    def decorate(main: _Function) -> _Function:
        @functools.wraps(main)
        def program(**given: Any) -> None:  # noqa: ANN401 - the arguments of any program
            stub = str(given.pop(STUB, "") or stub_of(given.get("process_uri", "")))
            if not stub:
                main(**given)
                return
            log.info("stub %s: no work is done", stub)
            _take_part(step, stub, given, ending)

        return program  # type: ignore[return-value]

    return decorate


def _take_part(step: str, stub: str, given: Mapping[str, Any], ending: Ending | None) -> None:
    """Do a step's part of a stub, and what it does besides.

    Raises:
        FibstackError: something is not as the step needs it.
    """
    failures: list[FibstackError] = []
    for prove in (functools.partial(_use_storage, step, stub), ending):
        try:
            if prove is not None:
                prove(given)
        except FibstackError as error:
            failures.append(error)
    for other in failures[1:]:
        log.error("%s", other)
    if failures:
        raise failures[0]


def _use_storage(step: str, stub: str, given: Mapping[str, Any]) -> None:
    """Prove the rights of a step in storage, and give outputs of the kind that its program gives."""
    if STEPS[step].is_last:
        uris = scratch_uris(given["output"], stub, ome_zarr=_is_set(given, "ome_zarr"))
        try:
            _use_parts(step, "0", uris)
            _remove_as_in_a_run(uris, keep_tiles=_is_set(given, "keep_tiles"))
        finally:
            if scheme_of(given["output"]).is_folder:
                _clear(uris)
        return
    if "process_uri" in given:
        plan = read_document(open_store(given["process_uri"]), STUB_PLAN_KEY, StubPlan)
    else:
        plan = _plan_of(parse_flags({key: given[key] for key in RunConfig.model_fields}))
    uris = scratch_uris(plan.output, stub, ome_zarr=plan.ome_zarr)
    if "process_uri" not in given:
        open_store(uris["process"]).write(STUB_PLAN_KEY, plan.to_json())
    if "source" in STEPS[step].reads:
        open_store(plan.source_uri).read_range(plan.slice_key, 0, _LOOKED_AT_BYTES)
    _use_parts(step, _unit_of(given), uris)
    for name, file in given.items():
        output = name.removesuffix("_out")
        if name != output and file:
            write_parameter(file, _value_of(output, uris["process"], given))


def _value_of(output: str, process_uri: str, given: Mapping[str, Any]) -> str | list[str]:
    """Output of a program in a stub: two items, the URI of records, or all memory that pods may ask for."""
    if output in _LISTS:
        return list(_UNITS)
    step = next((step for step, of_step in MEMORY_OUTPUTS.items() if of_step == output), None)
    return memory_quantity(round(parse_pods(given["pods"])[step].memory_bytes)) if step else process_uri


def _plan_of(config: RunConfig) -> StubPlan:
    """The plan of a stub: a slice that the source holds.

    Raises:
        UserError: it holds none, or may not be listed.
    """
    source = open_store(locations_of(config).source_uri)
    name = config.image.partition("%")[0]
    found = next((slice_ for where in (name, f"raw/{name}") for slice_ in source.list(where)), None)
    if found is None:
        raise UserError(
            f"the source must hold slices '{config.image}'; got no such file in {source.uri}. "
            "Change --source or --image."
        )
    return StubPlan(
        output=config.output, ome_zarr=config.ome_zarr, source_uri=source.uri, slice_key=found.key
    )


def _unit_of(given: Mapping[str, Any]) -> str:
    """The unit of work that a program was called for, as a part of a key."""
    loops = [loop for step in STEPS.values() for loop in step.loops]
    words = dict.fromkeys(word for loop in loops for word in (*loop.constants, loop.item) if word in given)
    return "-".join(str(given[word]) for word in words) or "0"


def _use_parts(step: str, unit: str, uris: Mapping[Part, str]) -> None:
    """Use the parts of an output as a step does, and seal a record of the empty objects that were written.

    Raises:
        FibstackError: a right is missing, or what was written is not what is read.
    """
    outputs = []
    for part, uri in uris.items():
        store = open_store(uri)
        if part in STEPS[step].reads:
            store.stat("none")
            next(iter(store.list()), None)
        if part in STEPS[step].writes and part != "process":
            outputs.append(records.write_output(store, f"{step}-{unit}"))
            store.read(outputs[-1].key, outputs[-1].crc32c)
    process = open_store(uris["process"])
    record = records.Record(step=step, unit=unit, input_hash="", outputs=tuple(outputs))
    records.commit(process, record)
    if records.read_record(process, step, unit) != record:
        raise TransientError(
            f"a record must be read as it was written; got another in {process.uri}. Try again."
        )


def _remove_as_in_a_run(uris: Mapping[Part, str], *, keep_tiles: bool) -> None:
    """Prove the rights of the last step to remove, which are to two things: tiles, and the end of a name.

    Raises:
        FibstackError: one is missing.
    """
    process, tmp = open_store(uris["process"]), open_store(uris["tmp"])
    process.write(SUPERSEDED_KEY, b"")
    process.delete(SUPERSEDED_KEY)
    for key in () if keep_tiles else records.record_keys(process, "tile"):
        record = records.record_at(process, key)
        for written in record.outputs if record else ():
            if written.uri == tmp.uri:
                tmp.delete(written.key)


def _clear(uris: Mapping[Part, str]) -> None:
    """Remove all of a stub from a volume, which whoever has started it may not see.

    Raises:
        UserError: something stays.
    """
    for part, reason in remove_scratch(uris).items():
        raise UserError(f"a stub must leave nothing behind; got {uris[part]}, which stays: {reason}")


def _is_set(given: Mapping[str, Any], key: str) -> bool:
    return str(given.get(key)).lower() == "true"
