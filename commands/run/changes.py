"""The objects that `fibstack run` or `resolve` would write and remove, found by rehearsing the run in memory.

The documents are made by the functions of the steps themselves, in a store that keeps them in memory, and the
units that are left follow from them. Slabs and shards are named, not made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import cv2

from commands.dry_run import Changes
from components.align.main import match_chunk
from components.compose.documents import read_findings, write_documents
from components.compose.look import told_by_thumbnails
from components.compose.main import judged
from components.compose.preview.write import refusal
from components.compose.solve.place import place
from components.plan.estimate import Estimate, cost_estimate, estimate
from components.plan.main import make_plan, write_cost, write_plan
from components.plan.output import written_uris
from components.plan.work import expected_volume
from components.report.run_document import PAGE_KEY, RUN_KEY
from components.shared.documents.config import RunConfig
from components.shared.documents.cost import parse_pods, read_prices
from components.shared.documents.plan import Plan
from components.shared.errors import UserError
from components.shared.grid import Span
from components.shared.limits import limit
from components.shared.steps import steps_from, steps_until
from components.shared.storage.folder import abandoned_files
from components.shared.storage.overlay import OverlayStore
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store, join_uri
from components.shared.volume import tiles
from components.shared.volume.layout import exact_keys, metadata_files, shards_of_block
from components.shared.volume.volume import RAW_TILES_KEY, TILES_KEY
from components.shared.work.left import WorkLeft, chunks_to_do, note_before_work, work_left
from components.shared.work.publication import volumes_left_alone
from components.shared.work.records import record_key, unseal
from components.shared.work.refusal import leave_refusal, take_refusal_back
from components.shared.work.run import Run
from components.shared.work.superseded import (
    SUPERSEDED_KEY,
    files_of_volume,
    note_all,
    noted_files,
    recorded_files,
    superseded_files,
)
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalLimits:
    """Limits of what a dry run does to name the objects of a run."""

    longest_matching_core_s: float = limit(
        300.0,
        unit="s of a core, as estimated",
        why="which shards a volume has is known when its slices are matched; a person waits for the list",
        measured_on="not measured; 40 slices of 2,000 x 2,000 px",
        too_small="the shards of a small first run are told by their folders alone",
        too_large="a dry run takes as long as the run",
    )


LIMITS = RehearsalLimits()


@dataclass(slots=True)
class Rehearsal:
    """The rehearsed part of a run: its documents, and the URIs of all else that it would write and remove."""

    plan: Plan
    process: OverlayStore
    written: set[str] = field(default_factory=set)
    """URIs of the outputs and records of units; those of documents are known to `process`."""
    removed: set[str] = field(default_factory=set)
    folders: list[str] = field(default_factory=list)
    refusal: UserError | None = None
    """The error with which the run would end."""

    def changes(self) -> Changes:
        """The changes, told apart by what is there now."""
        process = self.process
        written = self.written | {join_uri(process.uri, key) for key in process.written}
        removed = self.removed | {join_uri(process.uri, key) for key in process.removed}
        uris = written_uris(self.plan.locations)
        there = {*_objects(uris), *_abandoned(uris)}
        found = Changes.of(written, removed & (there | written), there)
        return Changes(
            new=found.new, replaced=found.replaced, removed=found.removed, folders=tuple(self.folders)
        )


def rehearse(config: RunConfig, settings: Settings, until: str, again_from: str | None) -> Rehearsal:
    """Find what a run would do; nothing is written or removed.

    Args:
        config: The configuration of the run.
        settings: Compile-time settings.
        until: The last step.
        again_from: The first step whose units are done again although they are complete; None for none.

    Raises:
        UserError: the input is refused.
        ConfigError: the configuration is refused.
        TransientError: storage fails, or evidence is damaged.
    """
    plan = make_plan(config, settings.fan)
    process = OverlayStore(open_store(plan.locations.process_uri))
    found = Rehearsal(plan, process)
    found.removed |= set(_abandoned(written_uris(plan.locations)))
    write_plan(plan, process, config.decided)
    take_refusal_back(process)
    pods, prices = parse_pods(settings.pods), read_prices()
    predicted = estimate(plan, expected_volume(plan), pods, prices)
    write_cost(cost_estimate(predicted, pods, prices), process)
    if again_from is not None:
        note_all(process, plan.locations)
        process.write("plan.json", process.read("plan.json"))
        for step in steps_from(again_from):
            unseal(process, step)
    steps = steps_until(until)
    chunks = chunks_to_do(plan, process) if "align" in steps else []
    if "compose" not in steps:
        _name_chunks(found, chunks)
    elif _matching_core_s(plan, chunks, predicted) <= LIMITS.longest_matching_core_s:
        cv2.setNumThreads(1)
        for chunk in chunks:
            match_chunk(plan, chunk, process)
        _solve(found, steps)
    else:
        _name_chunks(found, chunks)
        volume = expected_volume(plan)
        places = {open_store(output.uri).uri for output in volume.outputs}
        places |= {open_store(join_uri(plan.locations.tmp_uri, array.key)).uri for array in volume.arrays}
        found.folders = sorted({process.uri, *places})
    return found


def _name_chunks(found: Rehearsal, chunks: Iterable[Span]) -> None:
    """Name what chunks of slices write, without matching them."""
    for chunk in chunks:
        keys = (f"align/{chunk}.npz", f"align/{chunk}.json", record_key("align", str(chunk)))
        found.written |= {join_uri(found.process.uri, key) for key in keys}


def _matching_core_s(plan: Plan, chunks: Iterable[Span], predicted: Estimate) -> float:
    """Seconds of a core that the matching of chunks is expected to take."""
    n_left = sum(entry.z in chunk for chunk in chunks for entry in plan.slices)
    core_hours = sum(step.core_hours for step in predicted.steps if step.step == "align")
    return 3600 * core_hours * n_left / len(plan.slices)


def _solve(found: Rehearsal, steps: tuple[str, ...]) -> None:
    """Place the slices, and name what follows: slabs, shards, and what the report writes and removes."""
    plan, process = found.plan, found.process
    findings = read_findings(plan, process)
    placement = place(plan, findings.pairs)
    transforms = judged(plan, placement, findings)
    told = told_by_thumbnails(plan, transforms, findings, process)
    transforms, preview = told.transforms, told.preview
    write_documents(plan, placement, transforms, told.thickness, findings, process)
    if preview.gate.stops_the_run:
        found.refusal = refusal(plan, preview)
        leave_refusal(process, "compose", found.refusal)
        found.written |= _pages(process)
        return
    run = Run.of(process, plan, transforms)
    superseded = superseded_files(run)
    left = work_left(run, superseded)
    note_before_work(run, left, superseded)
    if "tile" in steps and left.slabs:
        found.written |= set(_slabs(run, left))
        for array in run.volume.arrays:
            store = open_store(join_uri(plan.locations.tmp_uri, array.key))
            in_the_way = tiles.tiles_in_the_way(store, run.volume, array)
            found.removed |= {join_uri(store.uri, key) for key in in_the_way}
    if "pyramid" in steps:
        found.written |= set(_blocks(run, left))
    if "report" in steps:
        _report(found, run)


def _slabs(run: Run, left: WorkLeft) -> Iterator[str]:
    """URIs of what the slabs that are left write."""
    for array in run.volume.arrays:
        store = open_store(join_uri(run.plan.locations.tmp_uri, array.key))
        data = tiles.metadata_bytes(run.volume, array)
        if store.stat(tiles.METADATA_KEY) is None or store.read(tiles.METADATA_KEY) != data:
            yield join_uri(store.uri, tiles.METADATA_KEY)
        yield from (join_uri(store.uri, tiles.shard_key(slab, array)) for slab in left.slabs)
    for slab in left.slabs:
        yield join_uri(run.process.uri, record_key("tile", str(slab)))


def _blocks(run: Run, left: WorkLeft) -> Iterator[str]:
    """URIs of what the blocks that are left write, where none of their shards is all black."""
    for pyramid_pass, blocks in zip(run.volume.passes, left.blocks, strict=False):
        level = pyramid_pass.base_level
        for block in blocks:
            yield join_uri(run.process.uri, record_key(f"pyramid/{level}", str(block)))
            for output in run.volume.outputs:
                uri = open_store(output.uri).uri
                yield from (join_uri(uri, key) for key in shards_of_block(run.volume, output, level, block))
            keys = exact_keys(run.volume, pyramid_pass, block)
            yield from (join_uri(run.process.uri, key) for key in keys)


def _pages(process: Store) -> set[str]:
    return {join_uri(process.uri, key) for key in (PAGE_KEY, RUN_KEY)}


def _report(found: Rehearsal, run: Run) -> None:
    """Name what a report on a whole volume writes and removes."""
    locations, process = run.plan.locations, found.process
    found.written |= _pages(process)
    for output in run.volume.outputs:
        uri = open_store(output.uri).uri
        found.written |= {join_uri(uri, key) for key in metadata_files(run.volume, output)}
    if process.stat(SUPERSEDED_KEY) is not None:
        gone = noted_files(process, locations) - files_of_volume(run.volume, locations)
        found.removed |= {join_uri(place.uri, place.key) for place in gone}
        found.removed.add(join_uri(process.uri, SUPERSEDED_KEY))
    found.removed |= {join_uri(uri, key) for uri, key in volumes_left_alone(run.volume, locations)}
    if not run.plan.config.keep_tiles:
        found.removed |= _tiles(run)


def _tiles(run: Run) -> set[str]:
    """URIs of the aligned tiles, which go when the volume is whole."""
    roots = {open_store(join_uri(run.plan.locations.tmp_uri, key)).uri for key in (TILES_KEY, RAW_TILES_KEY)}
    places = files_of_volume(run.volume, run.plan.locations)
    places |= recorded_files(run.process, run.plan.locations, ("tile",))
    return {join_uri(place.uri, place.key) for place in places if place.uri in roots}


def _objects(uris: Iterable[str]) -> Iterator[str]:
    """URIs of all objects below those of some roots that are there."""
    for uri in uris:
        store = open_store(uri)
        if store.exists():  # not a bucket that the run is to make
            yield from (join_uri(store.uri, stat.key) for stat in store.list())


def _abandoned(uris: Iterable[str]) -> Iterator[str]:
    """Paths of the temporary files that killed writers left below some roots, which no store lists."""
    for uri in uris:
        yield from (str(path) for path in abandoned_files(uri))
