"""Buckets of Google Cloud Storage.

tensorstore reads (in a third of the time and of the CPU), google-cloud-storage does the rest (its uploads
carry a checksum that the server verifies). Both retry what may pass, with jittered exponential back-off, and
give up in the end. tensorstore does not verify what it has read: `GcsStore.read` does, and asks again. What a
range of an object holds nobody can verify but its reader.
"""

from __future__ import annotations

import base64
import functools
import io
import os
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import accumulate
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import tensorstore as ts
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.auth import exceptions as auth
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests import RequestException
from requests.adapters import HTTPAdapter

from components.shared.errors import FibstackError, TransientError, UserError
from components.shared.storage.schemes import without_scheme
from components.shared.storage.store import (
    READS,
    ObjectChangedError,
    ObjectMissingError,
    Stat,
    Vouches,
    check_key,
    check_prefix,
    check_range,
    checksum,
)

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

TIMEOUT_S = 60
RETRY: Retry = DEFAULT_RETRY.with_delay(initial=0.5, maximum=30, multiplier=2).with_timeout(120)
"""Retries of google-cloud-storage; every call may be repeated, since a write puts the whole object."""
_READ_RETRIES = {"max_retries": 9, "initial_delay": "500ms", "max_delay": "32s"}
"""Retries of tensorstore, which add up to about the same two minutes."""

_ENVIRONMENT = {
    # A body that stops arriving would hang tensorstore for ever.
    "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": "30",
    "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1",
    # Telemetry would ask for storage.buckets.get, which no step needs.
    "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
}
_UPLOAD_PART_BYTES = 16 * 2**20
"""Bytes of a large object in one request; they are held twice meanwhile, and the default is 100 MiB."""
_CONNECTIONS = 64
"""Most connections that are kept open: more than any program has threads that ask."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_UNKNOWN_TYPE = "application/octet-stream"
_CONTENT_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".png": "image/png",
}
_PERMISSIONS = {
    "read": "storage.objects.get",
    "look at": "storage.objects.get",
    "write": "storage.objects.create (and storage.objects.delete to replace an object)",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
}


class _OutOfRangeError(TransientError):
    """The object ends before the range does."""


class GcsStore:
    """A bucket, or the objects below a prefix of one.

    `STORAGE_EMULATOR_HOST` sends every request to an emulator, without credentials.

    Args:
        uri: `gs://bucket` or `gs://bucket/prefix`.

    Raises:
        UserError: the bucket or prefix breaks the rules for names, or there are no credentials.
    """

    def __init__(self, uri: str) -> None:
        self._bucket_name, self._prefix = bucket_and_prefix(uri)
        self._bucket = client_of().bucket(self._bucket_name)
        self._objects = ts.KvStore.open(self.kvstore()).result()

    @property
    def uri(self) -> str:
        return f"gs://{self._bucket_name}/{self._prefix}".rstrip("/")

    @property
    def vouches(self) -> Vouches:
        return Vouches.CHECKSUM

    def exists(self) -> bool:
        try:
            with self._failures("list", ""):
                next(iter(self._blobs(self._prefix, max_results=1)), None)
        except ObjectMissingError:
            return False
        return True

    def read(self, key: str, crc32c: str | None = None) -> bytes:
        for _ in range(READS):
            data = self._read(key, None)
            found = checksum(data)
            if found == crc32c:
                return data
            stored = self.stat(key)
            if stored is None or stored.crc32c != found:
                continue  # damaged on its way, or replaced in between
            if crc32c is None:
                return data
            raise ObjectChangedError(self.uri, key, crc32c, found)
        raise TransientError(
            f"{self.uri}/{key} must arrive as it is stored; got other bytes {READS} times. Try again."
        )

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        check_range(start, stop)
        try:
            return self._read(key, slice(start, stop))
        except _OutOfRangeError:  # tensorstore gives all the bytes that it is asked for, or none
            found = self.stat(key)
            size = found.size_bytes if found else 0
            return self._read(key, slice(start, size)) if start < size else b""

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        check_key(key)
        file = JoinedParts(parts)
        blob = new_blob(self._bucket, self._prefix + key)
        with self._failures("write", key):
            try:
                blob.upload_from_file(
                    file,
                    size=len(file),
                    checksum="crc32c",
                    timeout=TIMEOUT_S,
                    retry=RETRY,
                )
            except api.Forbidden:
                # Who may create but not replace is refused when it repeats a write whose answer was lost.
                with suppress(UserError):  # what is refused is the write, not the look at it
                    if self._holds(key, parts):
                        return
                raise

    def stat(self, key: str) -> Stat | None:
        check_key(key)
        with self._failures("look at", key):
            blob = self._bucket.get_blob(self._prefix + key, timeout=TIMEOUT_S, retry=RETRY)
        return None if blob is None else self._stat_of(blob)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        check_prefix(prefix)
        return self._list(prefix)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._failures("delete", key):
            try:
                self._bucket.blob(self._prefix + key).delete(timeout=TIMEOUT_S, retry=RETRY)
            except api.NotFound:
                return

    def kvstore(self, prefix: str = "") -> dict[str, Any]:
        check_prefix(prefix)
        folder = prefix.rstrip("/") + "/" if prefix else ""
        return {
            "driver": "gcs",
            "bucket": self._bucket_name,
            "path": self._prefix + folder,
            "gcs_request_retries": _READ_RETRIES,
        }

    def _read(self, key: str, byte_range: slice | None) -> bytes:
        check_key(key)
        with self._failures("read", key):
            found = self._objects.read(key, byte_range=byte_range).result()
            if found.state == "missing":
                raise ObjectMissingError(
                    f"cannot read {self.uri}/{key}: there is no such object. "
                    "Check the names of the bucket and the object."
                )
            if found.state != "value":
                raise TransientError(f"cannot read {self.uri}/{key}: storage gave no answer. Try again.")
            return bytes(found.value)

    def _list(self, prefix: str) -> Iterator[Stat]:
        with self._failures("list", prefix):
            for blob in self._blobs(self._prefix + prefix):
                if not blob.name.endswith("/"):  # the console's placeholder for a folder
                    yield self._stat_of(blob)

    def _blobs(self, prefix: str, max_results: int | None = None) -> Any:  # noqa: ANN401 - untyped library
        return self._bucket.list_blobs(
            prefix=prefix,
            max_results=max_results,
            fields="items(name,size,crc32c,updated),nextPageToken",
            timeout=TIMEOUT_S,
            retry=RETRY,
        )

    def _stat_of(self, blob: Any) -> Stat:  # noqa: ANN401 - untyped library
        return Stat(
            key=blob.name.removeprefix(self._prefix),
            size_bytes=blob.size,
            crc32c=base64.b64decode(blob.crc32c).hex() if blob.crc32c else None,
            written_s=blob.updated.timestamp() if blob.updated else None,
        )

    def _holds(self, key: str, parts: Sequence[bytes | memoryview]) -> bool:
        found = self.stat(key)
        return found is not None and found.crc32c == checksum(*parts)

    def _failures(self, verb: str, key: str) -> AbstractContextManager[None]:
        grant = f"{_PERMISSIONS[verb]} on the bucket '{self._bucket_name}'"
        return failures(f"cannot {verb} {self.uri}/{key}", self._bucket_name, grant)


def bucket_and_prefix(uri: str) -> tuple[str, str]:
    """The parts of a `gs://` URI; the prefix ends with a slash where there is one.

    Raises:
        UserError: the bucket or prefix breaks the rules for names.

    Example:
        >>> bucket_and_prefix("gs://scope/raw/a"), bucket_and_prefix("gs://scope")
        (('scope', 'raw/a/'), ('scope', ''))
    """
    bucket, _, prefix = without_scheme(uri).rstrip("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UserError(
            f"a bucket's name must be 3 to 222 lower-case letters, digits, dots, dashes or underscores; "
            f"got {bucket!a} in {uri!a}. Change the name."
        )
    check_prefix(prefix)
    return bucket, f"{prefix}/" if prefix else ""


@contextmanager
def failures(what: str, bucket: str, grant: str) -> Iterator[None]:
    """Turn exceptions of the libraries into errors with a sentence.

    Args:
        what: what fails, such as "cannot read gs://bucket/key".
        bucket: the bucket that it concerns.
        grant: what it takes, such as "storage.objects.get on the bucket 'b'".
    """
    try:
        yield
    except FibstackError:
        raise
    except api.NotFound as error:
        raise ObjectMissingError(
            f"{what}: there is no bucket '{bucket}'. Check its name or create it."
        ) from error
    except (
        api.GoogleAPICallError,
        api.RetryError,
        auth.GoogleAuthError,
        DataCorruption,
        InvalidResponse,
        RequestException,
        ValueError,  # what tensorstore raises
        OSError,
    ) as error:
        raise _failure(what, grant, error) from error


def _failure(what: str, grant: str, error: Exception) -> UserError | TransientError:
    reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
    if isinstance(error, api.Forbidden | api.Unauthorized) or reason.startswith("PERMISSION_DENIED"):
        return UserError(f"{what}: permission denied. Grant {grant}.")
    if reason.startswith("OUT_OF_RANGE"):
        return _OutOfRangeError(f"{what}: {reason}. Try again.")
    if isinstance(error, auth.GoogleAuthError) and not isinstance(error, auth.TransportError):
        return UserError(f"{what}: {reason}. Log in with 'gcloud auth application-default login'.")
    refused = isinstance(error, api.ClientError) and error.code not in (408, 429)
    if refused or "http_response_code='400'" in str(error):
        return UserError(f"{what}: {reason}. Check the bucket and the object's name.")
    return TransientError(f"{what}: {reason}. Try again.")


def client_of(project: str | None = None) -> Any:  # noqa: ANN401 - untyped library
    """The client of google-cloud-storage, for an emulator where `STORAGE_EMULATOR_HOST` names one.

    Raises:
        UserError: there are no credentials.
    """
    _set_environment()
    return _client(os.environ.get("STORAGE_EMULATOR_HOST", ""), project)


def _set_environment() -> None:
    """Set the environment variables that configure the libraries, unless they are set already."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    emulator = os.environ.get("STORAGE_EMULATOR_HOST")
    if emulator:
        os.environ.setdefault("TENSORSTORE_GCS_HTTP_URL", emulator)
        os.environ.setdefault("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")


@functools.cache
def _client(emulator: str, project: str | None) -> Any:  # noqa: ANN401, ARG001 - untyped; tells clients apart
    """The client for all stores of this process, since each one logs in anew."""
    try:
        client = storage.Client(project=project)
    except auth.DefaultCredentialsError as error:
        raise UserError(
            f"buckets must be opened with credentials; there are none ({error}). "
            "Log in with 'gcloud auth application-default login'."
        ) from error
    for scheme in ("https://", "http://"):
        # Else a connection is opened anew, with a warning, for each request beyond ten at a time.
        client._http.mount(scheme, HTTPAdapter(pool_maxsize=_CONNECTIONS))
    return client


def new_blob(bucket: Any, name: str) -> Any:  # noqa: ANN401 - untyped library
    """An object that is to be written, with what browsers are told of it."""
    blob = bucket.blob(name, chunk_size=_UPLOAD_PART_BYTES)
    blob.content_type = _content_type(name)
    if blob.content_type != _UNKNOWN_TYPE:
        # Public objects are cached for an hour otherwise, and a viewer would go on showing the old run.
        blob.cache_control = "no-cache"
    return blob


def _content_type(key: str) -> str:
    name = PurePosixPath(key)
    if name.name == "info":  # of a precomputed volume
        return "application/json"
    return _CONTENT_TYPES.get(name.suffix, _UNKNOWN_TYPE)


class JoinedParts(io.RawIOBase):
    """A readable and seekable file over parts that lie one behind the other, without a copy of them.

    Example:
        >>> file = JoinedParts([b"abc", b"", b"de"])
        >>> len(file), file.read(4), file.read(4)
        (5, b'abcd', b'e')
    """

    def __init__(self, parts: Sequence[bytes | memoryview]) -> None:
        self._parts = [memoryview(part).cast("B") for part in parts]
        self._starts = [0, *accumulate(len(part) for part in self._parts)]
        self._position = 0

    def __len__(self) -> int:
        return self._starts[-1]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self)}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        filled = 0
        while filled < len(target) and self._position < len(self):
            index = bisect_right(self._starts, self._position) - 1
            offset = self._position - self._starts[index]
            piece = self._parts[index][offset : offset + len(target) - filled]
            target[filled : filled + len(piece)] = piece
            filled += len(piece)
            self._position += len(piece)
        return filled
