"""Removes what a run has left, and nothing that it has not."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from google.api_core.exceptions import NotFound

from commands.bucket_admin import RUN_LABEL
from components.shared.documents.plan import PLAN_KEY
from components.shared.errors import UserError
from components.shared.storage import gcs
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import Part, part_uri, run_buckets_of
from components.shared.storage.schemes import bucket_of, scheme_of, without_scheme

PARTS: tuple[Part, ...] = ("neuroglancer", "ome-zarr", "chunk", "tmp", "process")
"""Parts of an output in the order of their removal: volumes first, the record of the run last."""
_METADATA = ("info", "zarr.json")
"""Files by which viewers find a volume; they are removed first, so that nobody sees half of one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """The objects at one part of a run's output, counted."""

    uri: str
    n_objects: int
    n_bytes: int
    whole_bucket: bool
    """The bucket is the run's own, and is removed too."""


def holdings_of(output: str) -> list[Holding]:
    """The objects that a run has left, part by part. Changes nothing.

    Raises:
        UserError: what is there does not say that it is of this run, or the slices lie in it.
    """
    own = run_buckets_of(output)
    # With buckets of its own, a run's OME-Zarr lies in that of the other volumes.
    uris = [part_uri(output, part) for part in PARTS if not (own and part == "ome-zarr")]
    if own:
        there = [uri for uri in uris if _check_label(uri, own[1])]
    else:
        _check_record(output, uris)
        there = uris
    found = []
    for uri in there:
        store = open_store(uri)
        sizes = [stat.size_bytes for stat in store.list()]
        whole = own is not None and without_scheme(uri) == bucket_of(uri)
        if sizes or whole or (scheme_of(uri).is_folder and store.exists()):
            found.append(Holding(uri=uri, n_objects=len(sizes), n_bytes=sum(sizes), whole_bucket=whole))
    return found


def remove(holding: Holding, done: Callable[[], None]) -> None:
    """Remove a part with all that is in it; calls `done` after each object.

    Raises:
        UserError: a right is missing.
        TransientError: storage fails in a way that may pass; what is left goes when it is removed again.
    """
    store = open_store(holding.uri)
    keys = [stat.key for stat in store.list()]
    first, last = (
        [key for key in keys if key.rpartition("/")[2] in names] for names in (_METADATA, (PLAN_KEY,))
    )
    others = [key for key in keys if key not in (*first, *last)]

    def one(key: str) -> None:
        store.delete(key)
        done()

    for group in (first, others, last):
        in_parallel(one, group)
    if scheme_of(store.uri).is_folder:
        _remove_empty_folders(Path(store.uri))
    if holding.whole_bucket:
        bucket = bucket_of(holding.uri)
        grant = f"storage.buckets.delete on the bucket '{bucket}'"
        with gcs.failures(f"cannot remove {holding.uri}", bucket, grant), contextlib.suppress(NotFound):
            gcs.client_of().bucket(bucket).delete(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)


def _remove_empty_folders(root: Path) -> None:
    """Remove what is left of a part's folder, and the output's folder when its last part has gone."""
    folders = sorted(
        (path for path in root.rglob("*") if path.is_dir() and not path.is_symlink()), reverse=True
    )
    for folder in (*folders, root, root.parent):
        with contextlib.suppress(OSError):  # it is not empty: something lies there that is no object
            folder.rmdir()


def _check_label(uri: str, run_id: str) -> bool:
    """True where a run's bucket is there; one that is there must carry the run's label.

    Raises:
        UserError: the bucket does not carry the label.
    """
    name, prefix = gcs.bucket_and_prefix(uri)
    with gcs.failures(f"cannot look at {uri}", name, f"storage.buckets.get on the bucket '{name}'"):
        bucket = gcs.client_of().lookup_bucket(name, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    if bucket is None:
        return False
    label = bucket.labels.get(RUN_LABEL)
    if label is None or (not prefix and label != run_id):  # records of all runs share a bucket
        raise UserError(
            f"a bucket that is removed must carry the label {RUN_LABEL}={run_id}; got {label or 'none'} at "
            f"gs://{name}. Nothing was removed. Give it that label if it is of this run."
        )
    return True


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
