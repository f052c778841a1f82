"""Everything that lies below a location: objects, and in folders what is none."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.shared.regular_file import kind_of
from components.shared.storage import gcs
from components.shared.storage.folder import TEMPORARY_PREFIX
from components.shared.storage.gcs_failures import failures
from components.shared.storage.registry import open_store
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import join_uri

STANDARD = "STANDARD"
EMPTY_FOLDER = "an empty folder"
UNFINISHED = "a file that was never finished"
"""Kind of a file that a killed writer has left under the name that it has while it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An object; or what lies in a folder and is none, neither opened nor followed."""

    uri: str
    """Location that was listed."""
    key: str
    size_bytes: int = 0
    kind: str = ""
    """Kind of what is no object, such as "a pipe" or "a link"; empty for an object."""
    storage_class: str = STANDARD

    @property
    def is_object(self) -> bool:
        return not self.kind

    def __str__(self) -> str:
        uri = join_uri(self.uri, self.key)
        printable = uri if uri.isprintable() else ascii(uri)[1:-1]
        return f"{printable} ({self.kind})" if self.kind else printable


def entries_of(uri: str) -> Iterator[Entry]:
    """All that lies below a location, folders that hold something aside; nothing where there is none.

    Raises:
        UserError: a bucket is not there, or a right is missing.
    """
    store = open_store(uri)
    scheme = scheme_of(uri)
    if scheme.cloud == "google":
        yield from _in_bucket(store.uri)
    elif scheme.cloud == "aws":
        yield from _in_s3_bucket(store.uri)
    elif scheme.is_folder:
        yield from _in_folder(store.uri, "")
    else:
        for found in store.list():
            yield Entry(uri=store.uri, key=found.key, size_bytes=found.size_bytes)


def _in_s3_bucket(uri: str) -> Iterator[Entry]:
    from components.shared.storage import s3
    from components.shared.storage.s3_failures import failures

    bucket, prefix = s3.bucket_and_prefix(uri)
    with failures(f"cannot list {uri}", bucket, f"s3:ListBucket on the bucket '{bucket}'"):
        for found in s3.client().listed(bucket, prefix):
            yield Entry(
                uri=uri,
                key=found["Key"].removeprefix(prefix),
                size_bytes=found["Size"],
                storage_class=found.get("StorageClass", STANDARD),
            )


def _in_folder(root: str, folder: str) -> Iterator[Entry]:
    try:
        with os.scandir(Path(root, folder)) as found:
            entries = sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return
    except OSError as error:
        yield Entry(uri=root, key=folder, kind=f"cannot be listed: {error.strerror}")
        return
    if folder and not entries:
        yield Entry(uri=root, key=folder, kind=EMPTY_FOLDER)
    for entry in entries:
        key = f"{folder}/{entry.name}" if folder else entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _in_folder(root, key)
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        is_file = stat.S_ISREG(status.st_mode)
        kind = UNFINISHED if entry.name.startswith(TEMPORARY_PREFIX) else ""
        size_bytes = status.st_size if is_file else 0
        yield Entry(
            uri=root, key=key, size_bytes=size_bytes, kind=kind if is_file else kind_of(status.st_mode)
        )


def _in_bucket(uri: str) -> Iterator[Entry]:
    bucket, prefix = gcs.bucket_and_prefix(uri)
    with failures(f"cannot list {uri}", bucket, f"storage.objects.list on the bucket '{bucket}'"):
        blobs = gcs.client_of().list_blobs(
            bucket,
            prefix=prefix or None,
            fields="items(name,size,storageClass),nextPageToken",
            timeout=gcs.TIMEOUT_S,
            retry=gcs.RETRY,
        )
        for blob in gcs.listed(blobs, prefix):
            yield Entry(
                uri=uri,
                key=blob.name.removeprefix(prefix),
                size_bytes=blob.size,
                storage_class=blob.storage_class or STANDARD,
            )
