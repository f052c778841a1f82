"""Removes what a run has left, and nothing that it has not."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from google.api_core.exceptions import NotFound

from commands.buckets import RUN_LABEL
from commands.data.contents import EMPTY_FOLDER, UNFINISHED, Entry, entries_of
from components.report.run_document import PAGE_KEY, RUN_KEY
from components.shared.documents.cost import COST_KEY
from components.shared.documents.plan import PLAN_KEY, plan_in
from components.shared.documents.preview import PREVIEW_KEY
from components.shared.documents.read_document import read_document
from components.shared.documents.slices import SLICES_KEY
from components.shared.documents.thickness import THICKNESS_KEY
from components.shared.documents.transforms import TRANSFORMS_KEY, TRENDS_KEY, Transforms
from components.shared.errors import FibstackError, UserError
from components.shared.storage import gcs
from components.shared.storage.folder import remove_empty_folders
from components.shared.storage.gcs_failures import failures
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import Part, part_uri, run_buckets_of
from components.shared.storage.schemes import bucket_of, folder_of, scheme_of, without_scheme
from components.shared.storage.store import Store, join_uri
from components.shared.volume.layout import is_metadata
from components.shared.volume.volume import volume_of
from components.shared.work.export import EXPORT_KEY, Export, exported_volume
from components.shared.work.records import is_record_key, record_at
from components.shared.work.refusal import ACCEPTED_KEY, REFUSED_KEY
from components.shared.work.superseded import (
    SUPERSEDED_KEY,
    Place,
    files_of_record,
    files_of_volume,
    noted_places,
)

PARTS: tuple[Part, ...] = ("neuroglancer", "ome-zarr", "chunk", "tmp", "process")
"""Parts of an output in the order of their removal: volumes first, the record of the run last."""
DOCUMENTS = frozenset(
    {
        *(PLAN_KEY, COST_KEY, TRANSFORMS_KEY, TRENDS_KEY, SLICES_KEY, PREVIEW_KEY, RUN_KEY, PAGE_KEY),
        *(THICKNESS_KEY, EXPORT_KEY, SUPERSEDED_KEY, REFUSED_KEY, ACCEPTED_KEY),
    }
)
"""Keys of the documents of a run or an export below the process URI."""
_OF_UNITS = re.compile(r"align/\d+-\d+\.(json|npz)|pyramid/level-\d+(-uint16)?/\d+(\.\d+)?\.raw")
"""Keys below the process URI of what `align` and `pyramid` leave there for later steps."""
_NAMES = (PLAN_KEY, TRANSFORMS_KEY, EXPORT_KEY, SUPERSEDED_KEY)
"""Documents that say which files are a run's; with the records, they go when those have gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Content of one part of a run's output: the run's own files, and what somebody else has put there."""

    uri: str
    own: tuple[Entry, ...]
    """Files that plan, records or the kind of document name: they are removed."""
    others: tuple[Entry, ...]
    """Everything else: it stays."""
    whole_bucket: bool
    """The bucket is the run's own, and is removed too; not where something stays in it."""

    @property
    def files(self) -> tuple[Entry, ...]:
        """The run's own files, without its empty folders."""
        return tuple(entry for entry in self.own if entry.kind != EMPTY_FOLDER)

    @property
    def n_bytes(self) -> int:
        """Bytes of the files that are removed."""
        return sum(entry.size_bytes for entry in self.own)


def holdings_of(output: str) -> list[Holding]:
    """Content of an output, part by part. Changes nothing.

    Raises:
        UserError: what is there does not say that it is of this run, or the slices lie in it.
    """
    own_buckets = run_buckets_of(output)
    # With buckets of its own, a run's OME-Zarr lies in that of the other volumes.
    parts = [part for part in PARTS if not (own_buckets and part == "ome-zarr")]
    uris = {part: part_uri(output, part) for part in parts}
    if own_buckets:
        uris = {part: uri for part, uri in uris.items() if _check_label(uri, own_buckets[1])}
    else:
        _check_record(output, list(uris.values()))
    entries = {part: list(entries_of(uri)) for part, uri in uris.items()}
    names = _names_by_part(uris, entries.get("process", []))
    found = []
    for part, uri in uris.items():
        is_own = [_is_own(entry, part, names[part]) for entry in entries[part]]
        others = tuple(e for e, own in zip(entries[part], is_own, strict=True) if not own)
        whole = own_buckets is not None and without_scheme(uri) == bucket_of(uri) and not others
        path = folder_of(uri)
        if path is not None and path.is_symlink():
            others = (Entry(uri=uri.rpartition("/")[0], key=path.name, kind="a link"), *others)
        if entries[part] or whole or (path is not None and path.exists()):
            own = tuple(e for e, own in zip(entries[part], is_own, strict=True) if own)
            found.append(Holding(uri=uri, own=own, others=others, whole_bucket=whole))
    return found


def _is_own(entry: Entry, part: Part, names: _Names) -> bool:
    """Whether a run has written a file, or made a folder that is empty by now."""
    if entry.kind == EMPTY_FOLDER:
        return entry.key in names.folders
    if entry.kind == UNFINISHED:
        return str(PurePosixPath(entry.key).parent) in names.folders
    return entry.is_object and (entry.key in names.keys or (part == "process" and is_document(entry.key)))


def is_document(key: str) -> bool:
    """Whether a key below the process URI is of a document, a record or a file of a run.

    Example:
        >>> [is_document(key) for key in ("plan.json", "align/0-15.npz", "records/tile/3.json", "thesis.tex")]
        [True, True, True, False]
    """
    return key in DOCUMENTS or is_record_key(key) or _OF_UNITS.fullmatch(key) is not None


@dataclass(frozen=True, slots=True)
class _Names:
    """Keys that a run has given to files of one part, and the folders that it has made for them."""

    keys: frozenset[str]
    folders: frozenset[str]

    @classmethod
    def of(cls, keys: Iterable[str]) -> _Names:
        named = frozenset(keys)
        return cls(named, frozenset(str(folder) for key in named for folder in PurePosixPath(key).parents))


def _names_by_part(uris: dict[Part, str], in_process: list[Entry]) -> dict[Part, _Names]:
    """The names of files in each part that the plan, the records and what they have superseded give."""
    if "process" not in uris:
        return {part: _Names.of(()) for part in uris}
    process = open_store(uris["process"])
    keys = [entry.key for entry in in_process if entry.is_object]
    places: set[Place] = set()
    for record in in_parallel(lambda key: record_at(process, key), filter(is_record_key, keys)):
        places |= files_of_record(record) if record is not None else set()
    with contextlib.suppress(FibstackError):
        places |= noted_places(process)
    with contextlib.suppress(FibstackError):
        places |= _planned(process)
    roots = {open_store(uri).uri: part for part, uri in uris.items()}
    named: dict[Part, set[str]] = {part: set() for part in uris}
    for uri, key in places:
        for root, part in roots.items():
            if uri == root or uri.startswith(f"{root}/"):
                named[part].add("/".join(filter(None, (uri[len(root) + 1 :], key))))
    named["process"] |= {key for key in keys if is_document(key)}
    return {part: _Names.of(some) for part, some in named.items()}


def _planned(process: Store) -> set[Place]:
    """The files of the volume that the documents of a run or an export describe.

    Raises:
        FibstackError: a document is missing, or not of this version.
    """
    plan = plan_in(process)
    transforms = read_document(process, TRANSFORMS_KEY, Transforms)
    if process.stat(EXPORT_KEY) is None:
        return files_of_volume(volume_of(plan, transforms), plan.locations)
    export = read_document(process, EXPORT_KEY, Export)
    return files_of_volume(exported_volume(export, plan, transforms), plan.locations)


def remove(holding: Holding, done: Callable[[], None]) -> None:
    """Remove a part as far as it is the run's; calls `done` after each object.

    Raises:
        UserError: a right is missing.
        TransientError: storage fails in a way that may pass; what is left goes when it is removed again.
    """
    store = open_store(holding.uri)
    keys = [entry.key for entry in holding.files]
    in_process = PLAN_KEY in keys
    metadata = [key for key in keys if is_metadata(key)]
    names = [key for key in keys if in_process and (key in _NAMES or is_record_key(key))]
    first = {*metadata, *names}
    groups = (
        metadata,
        [key for key in keys if key not in first],
        [key for key in names if key != PLAN_KEY],
        [PLAN_KEY] if in_process else [],
    )

    def one(key: str) -> None:
        store.delete(key)
        done()

    for group in groups:
        in_parallel(one, group)
    in_empty = [join_uri(entry.key, "any") for entry in holding.own if entry.kind == EMPTY_FOLDER]
    path = folder_of(holding.uri)
    if path is not None:
        remove_empty_folders(store.uri, (*keys, *in_empty), keep_root=path.is_symlink())
        with contextlib.suppress(OSError):  # something else lies there
            path.rmdir()
    if holding.whole_bucket and scheme_of(holding.uri).cloud == "aws":
        from commands import buckets_of_s3

        buckets_of_s3.remove_empty(bucket_of(holding.uri))
    elif holding.whole_bucket:
        bucket = bucket_of(holding.uri)
        grant = f"storage.buckets.delete on the bucket '{bucket}'"
        with failures(f"cannot remove {holding.uri}", bucket, grant), contextlib.suppress(NotFound):
            gcs.client_of().bucket(bucket).delete(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)


def remove_output_folder(output: str) -> None:
    """Remove the folder of an output whose parts have gone, unless something else lies there."""
    path = folder_of(output)
    if path is not None:
        with contextlib.suppress(OSError):
            path.rmdir()


def _check_label(uri: str, run_id: str) -> bool:
    """True where a run's bucket is there; one that is there must carry the run's label.

    Raises:
        UserError: the bucket does not carry the label.
    """
    name, prefix = bucket_of(uri), without_scheme(uri).partition("/")[2]
    labels = _labels_of(uri, name)
    if labels is None:
        return False
    label = labels.get(RUN_LABEL)
    if label is None or (not prefix and label != run_id):  # records of all runs share a bucket
        raise UserError(
            f"a bucket that is removed must carry the label {RUN_LABEL}={run_id}; got {label or 'none'} at "
            f"{scheme_of(uri).name}://{name}. Nothing was removed. Give it that label if it is of this run."
        )
    return True


def _labels_of(uri: str, name: str) -> Mapping[str, str] | None:
    """The labels of a bucket, tags on S3; None where there is none."""
    if scheme_of(uri).cloud == "aws":
        from commands import buckets_of_s3

        return buckets_of_s3.tags_of(name)
    with failures(f"cannot look at {uri}", name, f"storage.buckets.get on the bucket '{name}'"):
        bucket = gcs.client_of().lookup_bucket(name, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    return None if bucket is None else dict(bucket.labels)


def _check_record(output: str, uris: list[str]) -> None:
    """Refuse a place that no run has written to, or where the slices lie among what would go.

    Raises:
        UserError: there is no record of a run, or the slices lie there.
    """
    process = open_store(part_uri(output, "process"))
    try:
        plan = json.loads(process.read(PLAN_KEY)) if process.stat(PLAN_KEY) else None
        source = open_store(plan["locations"]["source_uri"]).uri if plan else ""
    except (ValueError, TypeError, KeyError):
        source = ""
    if not source:
        raise UserError(
            f"an output that is removed must hold the record of its run; got no {PLAN_KEY} in {process.uri}. "
            "Nothing was removed. Check the path: it is the output of the run, not a folder in it."
        )
    for uri in (open_store(uri).uri for uri in uris):
        if f"{source}/".startswith(f"{uri}/"):
            raise UserError(
                f"the slices must not lie in what is removed; got {source} in {uri}. Nothing was removed. "
                "Move the slices away first."
            )
