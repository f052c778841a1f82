"""Buckets of Google Cloud Storage.

Every request goes through the session of one client of google-cloud-storage: its uploads carry a checksum
that the server verifies, it renews the login, and `pace` sees to it that each request ends. What may pass is
tried again, with jittered exponential back-off, and given up in the end. `GcsStore.read` verifies what it has
read, and asks again. What a range of an object holds nobody can verify but its reader.

tensorstore alone reads arrays, by a connection of its own with limits of the same kind. Whole objects and
ranges are not read by it: an answer with a status that it has no words for, such as a redirection to a login
page, ends its process.
"""

from __future__ import annotations

import base64
import functools
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any
from urllib.parse import quote

import requests
from google.api_core import exceptions as api
from google.api_core.retry import Retry
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY

from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.storage.gcs_failures import failures
from components.shared.storage.pace import (
    AS_STORED,
    STALLED,
    TENSORSTORE_PACE,
    JoinedParts,
    PacedAdapter,
    bytes_of_range,
)
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
    told_browsers,
)
from components.shared.web import AnswerError, DeadlineError, is_web_address, json_object, within

TIMEOUT_S = 60
"""Seconds that a request may take, but where enough bytes move (`pace`)."""
RETRY: Retry = DEFAULT_RETRY.with_delay(initial=0.5, maximum=30, multiplier=2).with_timeout(120)
"""Tries of a request, for two minutes; every call may be repeated, since a write puts the whole object."""
_LOGIN_S = 120
"""Seconds in which the credentials of this machine must be found."""
_READ_RETRIES = {"max_retries": 6, "initial_delay": "2s", "max_delay": "64s"}
"""Tries of tensorstore, whose pauses add up to about the same two minutes; each may take half a minute."""

_ENVIRONMENT = {
    **TENSORSTORE_PACE,
    # Telemetry would ask for storage.buckets.get, which no step needs.
    "DISABLE_GCS_PYTHON_CLIENT_OTEL_BUCKET_METADATA": "true",
}
_MOST_EMPTY_PAGES = 1000
"""Pages of a listing in a row that may be without any object: storage may skip objects that were deleted."""
_MOST_REDIRECTIONS = 3
_CRC32C_BYTES = 4
_UPLOAD_PART_BYTES = 16 * 2**20
"""Bytes of a large object in one request; they are held twice meanwhile, and the default is 100 MiB."""
_CONNECTIONS = 64
"""Most connections that are kept open: more than any program has threads that ask."""
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_PERMISSIONS = {
    "read": "storage.objects.get",
    "look at": "storage.objects.get",
    "write": "storage.objects.create (and storage.objects.delete to replace an object)",
    "list": "storage.objects.list",
    "delete": "storage.objects.delete",
}


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
        self._client = client_of()
        self._bucket = self._client.bucket(self._bucket_name)

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
            data = self._read(key)
            found = checksum(data)
            if found == crc32c:
                return data
            stored = self.stat(key)
            if stored is None or stored.crc32c != found:
                self._refuse_unpacked(key)
                continue  # damaged on its way, or replaced in between
            if crc32c is None:
                return data
            raise ObjectChangedError(self.uri, key, crc32c, found)
        raise TransientError(
            f"{self.uri}/{key} must arrive as it is stored; got other bytes {READS} times. Try again."
        )

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        check_range(start, stop)
        return self._read(key, (start, stop))

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

    def _read(self, key: str, byte_range: tuple[int, int] | None = None) -> bytes:
        """The object, or a range of it from its first to before its second number."""
        check_key(key)
        with self._failures("read", key):
            answer = RETRY(self._asked)(self._prefix + key, byte_range)
            if answer.status_code == requests.codes.not_found:
                raise ObjectMissingError(
                    f"cannot read {self.uri}/{key}: there is no such object. "
                    "Check the names of the bucket and the object."
                )
            try:
                return _content(answer, byte_range)
            except AnswerError:
                self._refuse_unpacked(key)
                raise

    def _refuse_unpacked(self, key: str) -> None:
        """Refuse an object that storage unpacks on its way; what it tells of it is of the packed bytes.

        Raises:
            UserError: the object's metadata say that it is stored with gzip.
        """
        with self._failures("look at", key):
            blob = self._bucket.get_blob(self._prefix + key, timeout=TIMEOUT_S, retry=RETRY)
        encoding = str(blob.content_encoding or "") if blob is not None else ""
        if "gzip" in encoding.lower():
            raise UserError(
                f"{self.uri}/{key} must be stored without Content-Encoding; got {encoding[:100]!a}, which "
                "storage unpacks on the way, so that no checksum fits. Upload the file again with "
                "'gcloud storage cp' and none of its options --gzip-local and --gzip-local-all (-z, -Z)."
            )

    def _asked(self, name: str, byte_range: tuple[int, int] | None) -> requests.Response:
        """The answer to a request for an object, or for a range of its bytes."""
        headers = dict(AS_STORED)
        if byte_range is not None:
            start, stop = byte_range
            headers["Range"] = f"bytes={start}-{max(start, stop - 1)}"
        objects = f"{self._client.api_endpoint}/storage/v1/b/{self._bucket_name}/o"
        answer: requests.Response = self._client._http.request(
            "GET",
            f"{objects}/{quote(name, safe='')}?alt=media",
            headers=headers,
            timeout=float(os.environ[STALLED]),
            allow_redirects=False,
        )
        expected = [requests.codes.ok, requests.codes.not_found]
        if byte_range is not None:
            expected += [requests.codes.partial_content, requests.codes.range_not_satisfiable]
        if answer.status_code not in expected:
            raise api.from_http_response(answer)  # type: ignore[no-untyped-call]
        return answer

    def _list(self, prefix: str) -> Iterator[Stat]:
        with self._failures("list", prefix):
            for blob in listed(self._blobs(self._prefix + prefix), self._prefix + prefix):
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
        """The facts that storage tells of an object.

        Raises:
            AnswerError: it says too little.
        """
        crc32c = base64.b64decode(blob.crc32c) if blob.crc32c else None
        _check_size(blob)
        if crc32c is not None and len(crc32c) != _CRC32C_BYTES:
            raise AnswerError(f"an object without a whole checksum, {blob.name[:100]!a}")
        return Stat(
            key=blob.name.removeprefix(self._prefix),
            size_bytes=blob.size,
            crc32c=crc32c.hex() if crc32c else None,
            written_s=blob.updated.timestamp() if blob.updated else None,
        )

    def _holds(self, key: str, parts: Sequence[bytes | memoryview]) -> bool:
        found = self.stat(key)
        return found is not None and found.crc32c == checksum(*parts)

    def _failures(self, verb: str, key: str) -> AbstractContextManager[None]:
        grant = f"{_PERMISSIONS[verb]} on the bucket '{self._bucket_name}'"
        return failures(f"cannot {verb} {self.uri}/{key}", self._bucket_name, grant)


def listed(blobs: Any, prefix: str) -> Iterator[Any]:  # noqa: ANN401 - untyped library
    """The objects of a listing that has been begun.

    Raises:
        AnswerError: one has another prefix or no size, or the listing does not move on.
    """
    tokens: set[object] = set()
    n_empty = 0
    for page in blobs.pages:
        n_empty = 0 if page.num_items else n_empty + 1
        token = blobs.next_page_token
        if token in tokens or n_empty > _MOST_EMPTY_PAGES:
            raise AnswerError("a list that does not end")
        tokens.add(token)
        for blob in page:
            if not isinstance(blob.name, str) or not blob.name.startswith(prefix):
                raise AnswerError(f"an object of another name, {str(blob.name)[:100]!a}")
            _check_size(blob)
            yield blob


def _check_size(blob: Any) -> None:  # noqa: ANN401 - untyped library
    if blob.size is None or blob.size < 0:
        raise AnswerError(f"an object without a size, {blob.name[:100]!a}")


def _content(answer: requests.Response, byte_range: tuple[int, int] | None) -> bytes:
    """The bytes that an answer holds of an object, or of a range of it; none beyond the object's end.

    Raises:
        AnswerError: they are those of another range, or too few.
    """
    body: bytes = answer.content
    if byte_range is None:
        return body
    start, stop = byte_range
    if answer.status_code == requests.codes.range_not_satisfiable:
        return b""
    is_whole = answer.status_code == requests.codes.ok
    return bytes_of_range(body, None if is_whole else answer.headers.get("Content-Range", ""), start, stop)


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


def client_of(project: str | None = None) -> Any:  # noqa: ANN401 - untyped library
    """The client of google-cloud-storage, for an emulator where `STORAGE_EMULATOR_HOST` names one.

    Raises:
        UserError: there are no credentials.
        ConfigError: the address of the emulator is none.
    """
    _set_environment()
    emulator = os.environ.get("STORAGE_EMULATOR_HOST", "")
    if emulator and not is_web_address(emulator):
        raise ConfigError(
            f"STORAGE_EMULATOR_HOST must be an address like http://127.0.0.1:4443; got {emulator[:100]!a}. "
            "Change it, or remove it to use Google Cloud Storage."
        )
    return _client(emulator, project)


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
        client = within(_LOGIN_S, lambda: storage.Client(project=project))
    except DeadlineError as error:
        raise TransientError(
            f"buckets must be opened with credentials; looking for them {error}. "
            "Check GOOGLE_APPLICATION_CREDENTIALS, or log in with 'gcloud auth application-default login'."
        ) from error
    except Exception as error:  # a file of credentials may hold anything
        reason = str(error).strip().rstrip(".").splitlines() or [type(error).__name__]
        raise UserError(
            f"buckets must be opened with credentials; there are none that can be used ({reason[0][:300]}). "
            "Log in with 'gcloud auth application-default login'."
        ) from error
    session = client._http
    session.max_redirects = _MOST_REDIRECTIONS
    session.hooks["response"].append(_check_answer)
    for used in (session, session._auth_request.session):  # the latter renews the login
        for scheme in ("https://", "http://"):
            # By default a connection is opened anew, with a warning, for each request beyond ten at a time.
            used.mount(scheme, PacedAdapter(pool_maxsize=_CONNECTIONS))
    return client


def _check_answer(answer: requests.Response, **_: Any) -> None:  # noqa: ANN401 - requests' hook
    """Refuse a page of a login or a proxy in place of what storage says of an object or a bucket.

    Raises:
        AnswerError: it is no JSON object.
    """
    asked = answer.request
    is_object = asked.headers.get("Accept-Encoding") == AS_STORED["Accept-Encoding"]
    begins_upload = "Location" in answer.headers
    if answer.status_code == requests.codes.ok and not (
        is_object or begins_upload or asked.method == "DELETE"
    ):
        json_object(answer.content)


def new_blob(bucket: Any, name: str) -> Any:  # noqa: ANN401 - untyped library
    """An object that is to be written, with what browsers are told of it."""
    blob = bucket.blob(name, chunk_size=_UPLOAD_PART_BYTES)
    blob.content_type, blob.cache_control = told_browsers(name)
    return blob
