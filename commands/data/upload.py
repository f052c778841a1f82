"""Copies a folder into a bucket, leaving out what is there already."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import google_crc32c
from google.api_core.exceptions import PreconditionFailed

from components.shared.errors import TransientError, UserError
from components.shared.regular_file import check_regular, open_regular
from components.shared.storage import gcs
from components.shared.storage.folder import TEMPORARY_PREFIX, LinkTarget, where_it_leads
from components.shared.storage.gcs_failures import failures
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import (
    Stat,
    Store,
    check_key,
    checksum,
    join_uri,
    told_browsers,
    with_checksums,
)
from components.shared.text import listed

_READ_BYTES = 1 << 20
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Item:
    """A file to upload."""

    key: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Uploads:
    """The files that are to be uploaded, and those that are there already."""

    items: tuple[Item, ...]
    left_out: tuple[str, ...]
    """Names of links to folders: what these hold is not uploaded."""
    n_there: int
    """Number of files that are in the bucket already, with the same content."""
    bytes_there: int

    @property
    def n_bytes(self) -> int:
        return sum(item.size_bytes for item in self.items)


def plan_uploads(folder: Path, target: str, jobs: int, *, follow_links: bool = False) -> Uploads:
    """Compare a folder with what is in the bucket, by size and crc32c. Writes nothing.

    Args:
        folder: The folder.
        target: A bucket, or a folder in one.
        jobs: Files at a time.
        follow_links: Whether links that leave the folder are followed on its file system.

    Raises:
        UserError: the folder is not there or holds no files, or an object is there with another content.
    """
    store = open_store(target)
    there = {stat.key: stat for stat in store.list()}
    items = list(list_files(folder, follow_links=follow_links))
    if not items:
        raise UserError(f"the folder must hold files; got none in {folder}. Check the path.")
    states = in_parallel(lambda item: _state(item, there.get(item.key), store), items, jobs)
    others = [item.key for item, state in zip(items, states, strict=True) if state == "other"]
    if others:
        shown = listed(others, _SHOWN, rest=", ...")
        raise UserError(
            f"what is in the bucket must be the same as in the folder; got {len(others):,} that differ "
            f"({shown}) in {target}. Choose another target, or delete these objects first."
        )
    done = [item for item, state in zip(items, states, strict=True) if state == "same"]
    missing = (item for item, state in zip(items, states, strict=True) if state == "missing")
    links = (path for path in folder.rglob("*") if path.is_symlink() and path.is_dir())
    left_out = tuple(sorted(path.relative_to(folder).as_posix() for path in links))
    return Uploads(tuple(missing), left_out, len(done), sum(item.size_bytes for item in done))


def upload(items: Sequence[Item], target: str, jobs: int, done: Callable[[Item], None]) -> None:
    """Upload files, several at a time; calls `done` after each.

    An object appears when all of it has arrived with the checksum that the file has here.

    Raises:
        UserError: a right is missing, a file cannot be read, or an object has appeared meanwhile.
        TransientError: storage fails in a way that may pass; what has arrived stays.
    """
    store = open_store(target)
    is_s3 = scheme_of(target).cloud == "aws"

    def one(item: Item) -> None:
        if is_s3:
            _upload_to_s3(item, store)
        else:
            _upload(item, target)
        done(item)

    in_parallel(one, items, jobs)


def list_files(folder: Path, *, follow_links: bool = False) -> Iterator[Item]:
    """The files below a folder, in an order that stays; links to files inside of it are followed.

    Args:
        folder: The folder.
        follow_links: Whether links that leave the folder are followed on its file system.

    Raises:
        UserError: the folder cannot be read, a link leads nowhere or out of it, or a name cannot be a key.
    """
    root = folder.resolve()

    def refuse(error: OSError) -> None:
        raise UserError(f"cannot list {error.filename}: {error.strerror}. Check the path.") from error

    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders.sort()
        for name in sorted(names):
            path = Path(parent, name)
            key = path.relative_to(folder).as_posix()
            check_key(key)
            try:
                found = path.stat()
                check_regular(path, found.st_mode)
            except IsADirectoryError:  # a link to a folder
                continue
            except OSError as error:
                raise UserError(f"cannot read {path}: {error.strerror}. Remove or mend it.") from None
            where = where_it_leads(path, root)
            if where is LinkTarget.ELSEWHERE or (where is LinkTarget.FILE_SYSTEM and not follow_links):
                rule = "lie on the file system of" if follow_links else "lie inside"
                raise UserError(
                    f"'{key}' must {rule} {folder}; it is a link that leaves it. Copy the file instead, or "
                    "add --follow-links, which follows links on one file system."
                )
            if not name.startswith(TEMPORARY_PREFIX):
                yield Item(key, path, found.st_size)


def _state(item: Item, there: Stat | None, store: Store) -> str:
    if there is None:
        return "missing"
    if there.size_bytes != item.size_bytes:
        return "other"
    (known,) = with_checksums(store, [there])
    found = known.crc32c or checksum(store.read(item.key))
    return "same" if found == file_checksum(item.path) else "other"


def file_checksum(path: Path) -> str:
    """The crc32c of a file as eight hex digits.

    Raises:
        UserError: the file cannot be read.
    """
    crc = 0
    try:
        with open_regular(path) as file:
            while block := file.read(_READ_BYTES):
                crc = google_crc32c.extend(crc, block)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}. Check who may read it.") from None
    return f"{crc:08x}"


def _upload_to_s3(item: Item, store: Store) -> None:
    """Put a file under a name that must not be there, where the server can be told so."""
    from botocore.exceptions import ClientError

    from components.shared.storage import s3
    from components.shared.storage.s3_failures import failures as failures_of_s3
    from components.shared.storage.s3_failures import is_unknown_to_server

    uri = join_uri(store.uri, item.key)
    if item.size_bytes > s3.MOST_BYTES:
        raise UserError(
            f"a file for S3 must have at most {s3.MOST_BYTES:,} bytes; got {item.size_bytes:,} in "
            f"{item.path}. Make a file of each slice: fibstack data split"
        )
    bucket, prefix = s3.bucket_and_prefix(store.uri)
    crc32c = file_checksum(item.path)
    with failures_of_s3(f"cannot write {uri}", bucket, f"s3:PutObject on the bucket '{bucket}'"):
        with open_regular(item.path) as file:

            def body() -> BinaryIO:
                file.seek(0)
                return file

            put = partial(
                s3.client().ask,
                "put_object",
                Bucket=bucket,
                Key=prefix + item.key,
                Body=body,
                ContentType=told_browsers(item.key)[0],
                ChecksumAlgorithm="CRC32C",
                ChecksumCRC32C=base64.b64encode(bytes.fromhex(crc32c)).decode(),
            )
            try:
                put(IfNoneMatch="*")
            except ClientError as error:
                if is_unknown_to_server(error):
                    put()
                elif error.response["ResponseMetadata"]["HTTPStatusCode"] != HTTPStatus.PRECONDITION_FAILED:
                    raise
        # It has appeared meanwhile, or the answer to the first try was lost; or it is as it was sent.
        made = store.stat(item.key)
        arrived = (made.crc32c if made else None) or checksum(store.read(item.key))
    _require_arrived(arrived, crc32c, uri)


def _upload(item: Item, target: str) -> None:
    name, prefix = gcs.bucket_and_prefix(target)
    blob = gcs.new_blob(gcs.client_of().bucket(name), prefix + item.key)
    uri = join_uri(target, item.key)
    crc32c = file_checksum(item.path)
    with failures(f"cannot write {uri}", name, f"storage.objects.create on the bucket '{name}'"):
        try:
            blob.upload_from_filename(
                str(item.path),
                if_generation_match=0,
                checksum="crc32c",
                timeout=gcs.TIMEOUT_S,
                retry=gcs.RETRY,
            )
        except PreconditionFailed:  # it has appeared meanwhile, or the answer to the first try was lost
            blob.reload(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    _require_arrived(base64.b64decode(blob.crc32c or "").hex(), crc32c, uri)


def _require_arrived(arrived: str, crc32c: str, uri: str) -> None:
    """Refuse an object that is not what its file is.

    Raises:
        TransientError: it is not.
    """
    if arrived != crc32c:
        raise TransientError(
            f"an object must arrive as the file is; got crc32c {arrived} for {crc32c} in {uri}. "
            "Delete it and start again, with the file at rest."
        )
