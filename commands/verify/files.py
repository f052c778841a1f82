"""Every file of a finished output, by what it is, compared with what vouches for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import google_crc32c

from components.report.run_document import PAGE_KEY, RUN_KEY, RunDocument
from components.shared.cores import available_cores
from components.shared.documents.cost import COST_KEY, CostEstimate
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.preview import PREVIEW_KEY, Preview
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import SealedDocument, is_sealed_page
from components.shared.documents.slices import SLICES_KEY
from components.shared.documents.thickness import THICKNESS_KEY, Thickness
from components.shared.documents.transforms import (
    PLACES_KEY,
    TRANSFORMS_KEY,
    TRENDS_KEY,
    GivenPlaces,
    Transforms,
    Trends,
)
from components.shared.errors import UserError
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.store import Stat, Store, join_uri
from components.shared.text import listed
from components.shared.volume.layout import metadata_files, predicted_shards, scale_at, shards_of_block
from components.shared.volume.provenance import PROVENANCE_KEY, without_version
from components.shared.work.completeness import shards_of
from components.shared.work.export import EXPORT_KEY, Export
from components.shared.work.records import Output, Record, read_record, record_key
from components.shared.work.refusal import REFUSED_KEY, Refusal
from components.shared.work.superseded import SUPERSEDED_KEY, Superseded
from components.shared.work.units import chunks
from components.shared.work.verification import Written
from components.shared.work.versions import blocks_as_written

_NAMED = 3
"""Files that a sentence names of those that it is about."""
PIECE_BYTES = 8 * 2**20
"""Bytes of a file that are read at a time."""
_SEALED: tuple[tuple[str, type[SealedDocument]], ...] = (
    (PLAN_KEY, Plan),
    (TRANSFORMS_KEY, Transforms),
    (PLACES_KEY, GivenPlaces),
    (EXPORT_KEY, Export),
    (COST_KEY, CostEstimate),
    (TRENDS_KEY, Trends),
    (PREVIEW_KEY, Preview),
    (THICKNESS_KEY, Thickness),
    (SUPERSEDED_KEY, Superseded),
    (REFUSED_KEY, Refusal),
)
"""Documents that carry their own checksum, by their keys below the process URI."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file of an output that is not as it was written, is missing, or is one too many."""

    sentence: str
    remove: tuple[str, ...] = ()
    """URIs of the files that are to be removed, so that the command that wrote them makes them anew."""


@dataclass(slots=True)
class LookedAt:
    """The files of one kind that were looked at, and what is wrong with them."""

    kind: str
    compared_with: str
    n_files: int = 0
    n_bytes: int = 0
    damages: list[Damage] = field(default_factory=list)


class OutputFiles:
    """The files of a finished output, listed once and looked at kind by kind."""

    def __init__(self, written: Written) -> None:
        self._written = written
        self._process = open_store(written.plan.locations.process_uri)
        self._is_export = self._process.stat(EXPORT_KEY) is not None
        self._listed = dict(_listing(written))
        self._seen: set[str] = set()
        self._sealed = LookedAt("records", "own checksums")
        self.notes: list[str] = []
        """Sentences on what nothing vouches for, and that no command reads."""

    def look(self) -> list[LookedAt]:
        """Look at every file that a person or a later command reads."""
        looked = [
            self._documents(),
            self._evidence(),
            self._shards(),
            self._exact_levels(),
            self._tiles(),
            self._metadata(),
            self._report(),
        ]
        self._records_of_compose()
        self._records_of_blocks()
        looked.append(self._sealed)
        others = sorted(self._listed.keys() - self._seen)
        if others:
            self.notes.append(_sentence_on_others(others))
        return [kind for kind in looked if kind.n_files or kind.damages]

    def _documents(self) -> LookedAt:
        """Look at the documents by their own checksums; those of `compose` also by the record of the step."""
        looked = LookedAt("documents", "own checksums, record")
        recorded = self._recorded("compose", "transforms") + self._recorded("compose", "preview")
        self._compare(looked, "the transforms", recorded)
        damaged = {uri for damage in looked.damages for uri in damage.remove}
        self._count(looked, self._uri(SLICES_KEY))  # also where its record is damaged
        for key, kind in _SEALED:
            uri = self._uri(key)
            if uri in self._listed and uri not in damaged:
                self._count(looked, uri)
                self._read_sealed(looked, key, kind)
        return looked

    def _read_sealed(self, looked: LookedAt, key: str, kind: type[SealedDocument]) -> SealedDocument | None:
        uri = self._uri(key)
        try:
            document = read_document(self._process, key, kind)
        except UserError as error:
            looked.damages.append(Damage(str(error), (uri,)))
            return None
        if not document.crc32c:
            self.notes.append(f"nothing vouches for {uri}, of which a person has removed the key 'crc32c'.")
        return document

    def _evidence(self) -> LookedAt:
        """Look at the evidence of `align`, its pairs and thumbnails, chunk by chunk."""
        looked = LookedAt("evidence", "records of align")
        spans = [] if self._is_export else [str(chunk) for chunk in chunks(self._written.plan)]
        sealed = self._records("align", spans, "slices {} of align".format)
        for chunk in spans:
            files = [self._uri(f"align/{chunk}.{ending}") for ending in ("json", "npz")]
            record = sealed.get(chunk)
            if record is not None:
                self._compare(looked, f"slices {chunk} of align", record.outputs)
            elif sealed or any(uri in self._listed for uri in files):
                self._missing_record("align", chunk, f"slices {chunk} of align")
                for uri in files:
                    self._count(looked, uri)
        return looked

    def _records_of_compose(self) -> None:
        for unit, keys in (
            ("transforms", (SLICES_KEY, TRENDS_KEY)),
            ("thickness", (THICKNESS_KEY,)),
            ("preview", (PREVIEW_KEY,)),
        ):
            sealed = self._records("compose", [unit], "the {}".format)
            if not sealed and any(self._uri(key) in self._listed for key in keys):
                self._missing_record("compose", unit, f"the {unit}")

    def _records_of_blocks(self) -> None:
        blocks = blocks_as_written(self._written)
        for level in sorted({block.level for block in blocks}):
            units = [str(block.index) for block in blocks if block.level == level]
            self._records(f"pyramid/{level}", units, f"block {{}} of level {level}".format)
        for block in blocks:
            what = f"block {block.index} of level {block.level}"
            step, unit = f"pyramid/{block.level}", str(block.index)
            if block.record is None:
                self._missing_record(step, unit, what)
            elif not block.is_done:
                uri = self._uri(record_key(step, unit))
                sentence = f"{what} must be of the current plan; its record is of another, in {uri}."
                self._sealed.damages.append(Damage(sentence))

    def _tiles(self) -> LookedAt:
        """Look at the tiles that are kept: the others are removed at the end, and made again where needed."""
        looked = LookedAt("tiles", "records of tile")
        slabs = [] if self._is_export else [str(slab) for slab in range(self._written.volume.n_slabs)]
        for slab, record in self._records("tile", slabs, self._tiles_of).items():
            self._compare(looked, self._tiles_of(slab), self._kept(record.outputs))
        return looked

    def _tiles_of(self, slab: str) -> str:
        """Name of the tiles of a slab, by the numbers of its slices."""
        z_indices = self._written.volume.slab_z_indices(int(slab))
        first_z = self._written.transforms.slices[0].z
        return f"slices {first_z + z_indices.first}-{first_z + z_indices.last} of the tiles"

    def _kept(self, outputs: Iterable[Output]) -> list[Output]:
        outputs = list(outputs)
        gone = [uri for uri in map(_uri_of, outputs) if uri not in self._listed]
        if self._written.plan.config.keep_tiles and gone:
            self.notes.append(f"a file of the tiles is gone, and made again where it is needed: {gone[0]}.")
        return [output for output in outputs if _uri_of(output) in self._listed]

    def _records(self, step: str, units: Iterable[str], what: Callable[[str], str]) -> dict[str, Record]:
        """The records of units that are there and whole; of one that is damaged, tell.

        Args:
            step: The step that has sealed them.
            units: The units.
            what: Names a unit.
        """
        there = [unit for unit in units if self._uri(record_key(step, unit)) in self._listed]
        found = in_parallel(lambda unit: self._record(step, unit), there)
        for unit, record in zip(there, found, strict=True):
            uri = self._uri(record_key(step, unit))
            self._count(self._sealed, uri)
            if record is None:
                sentence = (
                    f"the record of {what(unit)} must hold what was sealed; got other bytes than its "
                    f"checksum says in {uri}."
                )
                self._sealed.damages.append(Damage(sentence, (uri,)))
        return {unit: record for unit, record in zip(there, found, strict=True) if record is not None}

    def _recorded(self, step: str, unit: str) -> list[Output]:
        record = self._record(step, unit)
        return list(record.outputs) if record is not None else []

    def _record(self, step: str, unit: str) -> Record | None:
        return read_record(self._process, step, unit)

    def _missing_record(self, step: str, unit: str, what: str) -> None:
        """Tell of a unit without a record; of one whose record is damaged, `_records` has told."""
        uri = self._uri(record_key(step, unit))
        if uri not in self._listed:
            self._sealed.damages.append(Damage(f"{what} must have a record; got none in {uri}."))

    def _shards(self) -> LookedAt:
        """Look at the shards of every level, and at what else lies in their folders."""
        looked = LookedAt("shards", "records of pyramid")
        volume, blocks = self._written.volume, self._written.blocks
        roots = {open_store(output.uri).uri: output for output in volume.outputs}
        for block in blocks:
            outputs = block.record.outputs if block.record is not None else ()
            shards = [output for output in outputs if output.uri in roots]
            self._compare(looked, f"block {block.index} of level {block.level}", shards)
        unsealed = [block for block in blocks if block.record is None]
        for root, output in roots.items():
            for block in unsealed:  # its record is named already; what it wrote is nobody else's
                for key in shards_of_block(volume, output, block.level, block.index):
                    self._count(looked, join_uri(root, key))
            recorded = {join_uri(root, key) for key in shards_of(blocks, root)}
            predicted = {
                join_uri(root, scale, name)
                for scale, names in predicted_shards(volume, output).items()
                for name in names
            }
            folders = [join_uri(root, scale_at(volume, output, n).shards_prefix) for n in output.levels]
            known = (recorded & predicted) | self._seen
            others = [uri for uri in self._listed if uri.startswith(tuple(folders)) and uri not in known]
            for uri in sorted(others):
                self._seen.add(uri)
                sentence = (
                    f"the folders of shards must hold those of the volume alone; got another file, {uri}."
                )
                looked.damages.append(Damage(sentence, (uri,)))
        return looked

    def _exact_levels(self) -> LookedAt:
        """Look at the exact levels that blocks have left for the coarser pass."""
        looked = LookedAt("exact levels", "records of pyramid")
        for block in self._written.blocks:
            outputs = block.record.outputs if block.record is not None else ()
            exact = [output for output in outputs if output.uri == self._process.uri]
            self._compare(looked, f"block {block.index} of level {block.level}", exact)
        return looked

    def _metadata(self) -> LookedAt:
        """Look at the files by which readers find the volume."""
        looked = LookedAt("metadata", "the volume")
        for output in self._written.volume.outputs:
            store = open_store(output.uri)
            for key, content in metadata_files(self._written.volume, output).items():
                uri = join_uri(store.uri, key)
                if uri not in self._listed:
                    if key == PROVENANCE_KEY:
                        self.notes.append(f"there is no {uri}, which an older version has not written.")
                    else:
                        looked.damages.append(Damage(f"the volume must be published; there is no {uri}."))
                    continue
                self._count(looked, uri)
                if without_version(store.read(key)) != without_version(content):
                    sentence = f"the metadata must be those of the volume; got others in {uri}."
                    looked.damages.append(Damage(sentence, (uri,)))
        return looked

    def _report(self) -> LookedAt:
        """Look at the report, a page that holds its pictures, and the document of its figures."""
        looked = LookedAt("report", "own checksums")
        document_uri, page_uri = self._uri(RUN_KEY), self._uri(PAGE_KEY)
        there = [uri for uri in (document_uri, page_uri) if uri in self._listed]
        for uri in there:
            self._count(looked, uri)
        missing = {document_uri, page_uri} - set(there)
        if len(missing) == 1:
            looked.damages.append(Damage(f"the report must be there; got none in {missing.pop()}."))
        run = self._read_sealed(looked, RUN_KEY, RunDocument) if document_uri in there else None
        if page_uri in there and isinstance(run, RunDocument):
            if not run.page_is_sealed:
                self.notes.append(f"nothing vouches for {page_uri}, which an older version has written.")
            elif not is_sealed_page(self._process.read(PAGE_KEY)):
                sentence = f"the report must hold what was written; got other bytes in {page_uri}."
                looked.damages.append(Damage(sentence, (page_uri,)))
        return looked

    def _compare(self, looked: LookedAt, what: str, outputs: Iterable[Output]) -> None:
        """Compare files with what their record says of them."""
        outputs = list(outputs)
        for output in outputs:
            self._count(looked, _uri_of(output))
        found = in_parallel(lambda output: self._damage(what, output), outputs, available_cores())
        looked.damages += [damage for damage in found if damage is not None]

    def _damage(self, what: str, output: Output) -> Damage | None:
        uri = _uri_of(output)
        stat = self._listed.get(uri)
        if stat is None:
            return Damage(f"a file of {what} must be there; got none in {uri}.")
        if stat.size_bytes != output.size_bytes:
            return Damage(
                f"a file of {what} must have the {output.size_bytes:,} bytes of its record; got "
                f"{stat.size_bytes:,} in {uri}.",
                (uri,),
            )
        crc32c = stat.crc32c or checksum_of(open_store(output.uri), output.key, output.size_bytes)
        if crc32c != output.crc32c:
            return Damage(
                f"a file of {what} must have the checksum of its record, {output.crc32c}; got {crc32c} in "
                f"{uri}.",
                (uri,),
            )
        return None

    def _count(self, looked: LookedAt, uri: str) -> None:
        if uri in self._listed and uri not in self._seen:
            self._seen.add(uri)
            looked.n_files += 1
            looked.n_bytes += self._listed[uri].size_bytes

    def _uri(self, key: str) -> str:
        return join_uri(self._process.uri, key)


def _sentence_on_others(uris: Sequence[str]) -> str:
    if len(uris) == 1:
        rule = "1 file belongs to nothing of this volume and was not looked at; no command reads it"
    else:
        n = f"{len(uris):,}"
        rule = f"{n} files belong to nothing of this volume and were not looked at; no command reads them"
    return f"{rule}: {listed(uris, _NAMED)}."


def _uri_of(output: Output) -> str:
    return join_uri(output.uri, output.key)


def _listing(written: Written) -> Iterator[tuple[str, Stat]]:
    """Every file in the parts of an output, by its URI."""
    locations = written.plan.locations
    roots = {
        locations.process_uri,
        locations.tmp_uri,
        locations.neuroglancer_uri,
        locations.chunk_uri,
        locations.ome_zarr_uri,
    }
    for root in sorted(roots):
        store = open_store(root)
        if store.exists():
            yield from ((join_uri(store.uri, found.key), found) for found in store.list())


def checksum_of(store: Store, key: str, size_bytes: int) -> str:
    """The crc32c of an object, read piece by piece, as eight hex digits."""
    crc = 0
    for start in range(0, size_bytes, PIECE_BYTES):
        crc = google_crc32c.extend(crc, store.read_range(key, start, min(start + PIECE_BYTES, size_bytes)))
    return f"{crc:08x}"
