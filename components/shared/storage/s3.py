"""Buckets of Amazon S3, and of the servers of others that speak its protocol.

botocore finds endpoint, region and credentials where its users have them, signs each request and takes each
answer apart. The requests themselves go through an adapter of `pace`, which sees to it that each one ends.
What may pass is tried again, with jittered exponential back-off, and given up in the end.

An upload carries its crc32c, which the server verifies and keeps, and the SHA-256 in its signature. A server
that knows no checksums keeps none: `S3Store.stat` tells of each object what it has. `S3Store.read` verifies
what it has read with what the answer says of it, and asks again.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import io
import json
import os
import re
import secrets
import shlex
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import botocore.session
import requests
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import ClientError
from google.api_core.retry import Retry
from requests.structures import CaseInsensitiveDict

from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.storage.pace import (
    AS_STORED,
    STALLED,
    TENSORSTORE_PACE,
    JoinedParts,
    PacedAdapter,
    bytes_of_range,
)
from components.shared.storage.s3_failures import failures, has_code, is_absent, may_pass
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
from components.shared.web import AnswerError, within

TIMEOUT_S = 60
"""Seconds that a request may take, but where enough bytes move (`pace`)."""
RETRY: Retry = Retry(predicate=may_pass, initial=0.5, maximum=30, multiplier=2, timeout=120)
"""Tries of a request, for two minutes; every call may be repeated, since a write puts the whole object."""
MOST_BYTES = 5 * 2**30
"""Largest object that one request may put, by the rules of S3."""
_LOGIN_S = 120
"""Seconds in which credentials must be found, or renewed."""
_LOGIN_MINUTES = 10
"""Minutes for which tensorstore may use credentials: botocore renews them so long before they expire."""
_READ_RETRIES = {"max_retries": 6, "initial_delay": "2s", "max_delay": "64s"}
"""Tries of tensorstore, whose pauses add up to about the same two minutes; each may take half a minute."""
_MOST_EMPTY_PAGES = 1000
"""Pages of a listing in a row that may be without any object: storage may skip objects that were deleted."""
_CONNECTIONS = 64
"""Most connections that are kept open: more than any program has threads that ask."""
_OF_OBJECTS = frozenset({"get_object", "head_object", "put_object"})
"""Requests whose answer has the ETag of an object; the page of a proxy has none."""
_REGION = "x-amz-bucket-region"
_CRC32C_BYTES = 4
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")
_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
_PERMISSIONS = {
    "read": "s3:GetObject",
    "look at": "s3:GetObject",
    "write": "s3:PutObject",
    "list": "s3:ListBucket",
    "delete": "s3:DeleteObject",
}
_T = TypeVar("_T")


class S3Store:
    """A bucket, or the objects below a prefix of one.

    Args:
        uri: `s3://bucket` or `s3://bucket/prefix`.

    Raises:
        UserError: the bucket or prefix breaks the rules for names, or the settings of AWS cannot be read.
    """

    def __init__(self, uri: str) -> None:
        self._bucket, self._prefix = bucket_and_prefix(uri)
        self._client = client()

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def vouches(self) -> Vouches:
        return Vouches.WHEN_ASKED

    def exists(self) -> bool:
        try:
            with self._failures("list", ""):
                self._client.page(self._bucket, self._prefix, MaxKeys=1)
        except ObjectMissingError:
            return False
        return True

    def read(self, key: str, crc32c: str | None = None) -> bytes:
        earlier = None
        for _ in range(READS):
            data, answer = self._get(key, ChecksumMode="ENABLED")
            found = checksum(data)
            if found == crc32c:
                return data
            is_intact = _is_intact(answer, data)
            if crc32c is None and is_intact is not False:
                return data
            # What has arrived twice in the same way lies there so: not every server's ETag is an MD5.
            if is_intact or (found == earlier and _crc32c_of(answer) is None):
                if crc32c is None:
                    return data
                raise ObjectChangedError(self.uri, key, crc32c, found)
            earlier = found
        raise TransientError(
            f"{self.uri}/{key} must arrive as it is stored; got other bytes {READS} times. Try again."
        )

    def read_range(self, key: str, start: int, stop: int) -> bytes:
        check_range(start, stop)
        try:
            data, answer = self._get(key, Range=f"bytes={start}-{max(start, stop - 1)}")
        except _BeyondEndError:
            return b""
        with self._failures("read", key):
            return bytes_of_range(data, answer.get("ContentRange") or None, start, stop)

    def write(self, key: str, *parts: bytes | memoryview) -> None:
        check_key(key)
        crc32c = checksum(*parts)
        n_bytes = len(JoinedParts(parts))
        if n_bytes > MOST_BYTES:
            raise UserError(
                f"an object in S3 must have at most {MOST_BYTES:,} bytes; got {n_bytes:,} for "
                f"{self.uri}/{key}. Choose a folder or gs:// URI instead."
            )
        content_type, cache_control = told_browsers(key)
        with self._failures("write", key):
            self._client.ask(
                "put_object",
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=lambda: JoinedParts(parts),
                ContentType=content_type,
                ChecksumAlgorithm="CRC32C",
                ChecksumCRC32C=base64.b64encode(bytes.fromhex(crc32c)).decode(),
                **({"CacheControl": cache_control} if cache_control else {}),
            )

    def stat(self, key: str) -> Stat | None:
        check_key(key)
        with self._failures("look at", key):
            try:
                answer = self._client.ask(
                    "head_object", Bucket=self._bucket, Key=self._prefix + key, ChecksumMode="ENABLED"
                )
            except ClientError as error:
                if is_absent(error):
                    return None
                raise
            if "LastModified" not in answer:
                raise AnswerError("a page that is no object")
            crc32c = _crc32c_of(answer)
            written_s = answer["LastModified"].timestamp()
            return Stat(
                key=key,
                size_bytes=answer["ContentLength"],
                crc32c=crc32c,
                modified_ns=None if crc32c else int(written_s) * 10**9,
                written_s=written_s,
            )

    def list(self, prefix: str = "") -> Iterator[Stat]:
        check_prefix(prefix)
        return self._list(prefix)

    def delete(self, key: str) -> None:
        check_key(key)
        with self._failures("delete", key):
            self._client.ask("delete_object", Bucket=self._bucket, Key=self._prefix + key)

    def kvstore(self, prefix: str = "") -> dict[str, Any]:
        check_prefix(prefix)
        folder = prefix.rstrip("/") + "/" if prefix else ""
        return {
            "driver": "s3",
            "bucket": self._bucket,
            "path": self._prefix + folder,
            "s3_request_retries": _READ_RETRIES,
            **self._client.tensorstore_settings(),
        }

    def _get(self, key: str, **more: str) -> tuple[bytes, Mapping[str, Any]]:
        """The bytes of an object or of a range of it, and what the answer says of them."""
        check_key(key)
        with self._failures("read", key):
            try:
                return self._client.content(self._bucket, self._prefix + key, **more)
            except ClientError as error:
                if is_absent(error):
                    raise ObjectMissingError(
                        f"cannot read {self.uri}/{key}: there is no such object. "
                        "Check the names of the bucket and the object."
                    ) from error
                if has_code(error, "InvalidRange"):
                    raise _BeyondEndError from error
                if has_code(error, "InvalidObjectState"):
                    whole_key = shlex.quote(self._prefix + key)
                    raise UserError(
                        f"cannot read {self.uri}/{key}: it lies in a storage class from which it has to be "
                        f"restored first, in hours. Do: aws s3api restore-object --bucket {self._bucket} "
                        f"--key {whole_key} --restore-request Days=30"
                    ) from error
                raise

    def _list(self, prefix: str) -> Iterator[Stat]:
        with self._failures("list", prefix):
            for item in self._client.listed(self._bucket, self._prefix + prefix):
                if not item["Key"].endswith("/"):  # the console's placeholder for a folder
                    yield Stat(
                        key=item["Key"].removeprefix(self._prefix),
                        size_bytes=item["Size"],
                        written_s=item["LastModified"].timestamp() if "LastModified" in item else None,
                    )

    def _failures(self, verb: str, key: str) -> AbstractContextManager[None]:
        return failures(
            f"cannot {verb} {self.uri}/{key}",
            self._bucket,
            f"{_PERMISSIONS[verb]} on the bucket '{self._bucket}'",
            is_anonymous=self._client.is_anonymous,
        )


class _BeyondEndError(TransientError):
    """A range begins behind the end of an object."""


class Client:
    """Asks a server, with the credentials of this machine; of an open bucket also without any."""

    def __init__(self) -> None:
        session = botocore.session.Session()
        if region := os.environ.get("AWS_REGION"):  # botocore knows the older AWS_DEFAULT_REGION alone
            session.set_config_variable("region", region)
        self._credentials = within(_LOGIN_S, session.get_credentials)
        self.is_anonymous = self._credentials is None
        self.ca_bundle: str | None = session.get_config_variable("ca_bundle")
        """File with the certificates of the server's own authority; None for those that all trust."""
        if self.ca_bundle:
            if not Path(self.ca_bundle).exists():
                raise ConfigError(
                    f"the certificates of the server of S3 must lie in a file; got {self.ca_bundle[:200]!a}, "
                    "which is not there. Change AWS_CA_BUNDLE, or 'ca_bundle' in ~/.aws/config."
                )
            os.environ.setdefault("TENSORSTORE_CA_BUNDLE", self.ca_bundle)
        settings = Config(
            # Named, since addresses would be signed in an older way that newer buckets refuse.
            signature_version=UNSIGNED if self.is_anonymous else "s3v4",
            retries={"total_max_attempts": 1},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        try:
            self._client = session.create_client("s3", config=settings)
        except ValueError as error:
            raise ConfigError(
                f"the server of S3 must have an address like https://s3.lab.org; got {str(error)[:200]!a}. "
                "Change AWS_ENDPOINT_URL, or 'endpoint_url' in ~/.aws/config."
            ) from None
        self._session = requests.Session()
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, PacedAdapter(pool_maxsize=_CONNECTIONS))
        self._client.meta.events.register("before-send.s3", self._sent)

    def ask(self, operation: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - as botocore takes them
        """The answer to a request, which is tried again while it may pass.

        Args:
            operation: Name of a method of botocore's client.
            given: Its parameters; a body is made anew for each try.
        """
        return _tried(lambda: self.ask_once(operation, **given))

    def ask_once(self, operation: str, **given: Any) -> dict[str, Any]:  # noqa: ANN401 - as botocore takes them
        """The answer to a request, as `ask`, but to the first try of it."""
        self._renew_login()
        body = {"Body": given["Body"]()} if callable(given.get("Body")) else {}
        answer: dict[str, Any] = getattr(self._client, operation)(**{**given, **body})
        if operation in _OF_OBJECTS and "ETag" not in answer:
            raise AnswerError("a page that is no object")
        return answer

    def content(self, bucket: str, key: str, **more: str) -> tuple[bytes, dict[str, Any]]:
        """The bytes of an object or of a range of it, and what the answer says of them."""

        def read() -> tuple[bytes, dict[str, Any]]:
            answer = self.ask_once("get_object", Bucket=bucket, Key=key, **more)
            return answer["Body"].read(), answer  # compared with a checksum that botocore knows

        return _tried(read)

    @property
    def is_of_amazon(self) -> bool:
        """The server is Amazon's, which bills requests and storage; not one of a lab's own."""
        return ".amazonaws.com" in (urlsplit(self.endpoint).hostname or "")

    @property
    def endpoint(self) -> str:
        """The address of the server."""
        return str(self._client.meta.endpoint_url)

    def address(self, bucket: str, key: str, holds_s: int) -> str:
        """The address of an object for who has no credentials, signed with those of this process.

        Args:
            bucket: Bucket of the object.
            key: Its key.
            holds_s: Seconds for which the signature holds, unless the credentials expire before.
        """
        self._renew_login()
        given = {"Bucket": bucket, "Key": key}
        return str(self._client.generate_presigned_url("get_object", Params=given, ExpiresIn=holds_s))

    def listed(self, bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
        """The objects of a bucket whose keys start with a prefix.

        Raises:
            AnswerError: one has another prefix or no size, or the listing does not move on.
        """
        more: dict[str, str] = {}
        tokens: set[str] = set()
        n_empty = 0
        while True:
            page = self.page(bucket, prefix, **more)
            items = page.get("Contents", [])
            for item in items:
                if not item.get("Key", "").startswith(prefix):
                    raise AnswerError(f"an object of another name, {item.get('Key', '')[:100]!a}")
                if item.get("Size", -1) < 0:
                    raise AnswerError(f"an object without a size, {item['Key'][:100]!a}")
                yield item
            if not page["IsTruncated"]:
                return
            token = page.get("NextContinuationToken", "")
            n_empty = 0 if items else n_empty + 1
            if not token or token in tokens or n_empty > _MOST_EMPTY_PAGES:
                raise AnswerError("a list that does not end")
            tokens.add(token)
            more = {"ContinuationToken": token}

    def page(self, bucket: str, prefix: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - as botocore
        """A page of a listing.

        Raises:
            AnswerError: it is something else, such as an empty answer, which botocore takes for a page.
        """
        page = self.ask("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
        if "IsTruncated" not in page:
            raise AnswerError("a page that is no listing")
        return page

    def tensorstore_settings(self) -> dict[str, Any]:
        """The members of tensorstore's specification that lead it to the same server."""
        endpoint = self._client.meta.endpoint_url.rstrip("/")  # tensorstore would ask for //bucket
        host = urlsplit(endpoint).hostname or ""
        is_of_aws = ".amazonaws.com" in host and ".vpce." not in host  # a private endpoint has to be named
        server = {} if is_of_aws else {"endpoint": endpoint, "aws_region": self._client.meta.region_name}
        if self.is_anonymous:
            return {**server, "aws_credentials": {"type": "anonymous"}}
        return {**server, "aws_credentials": {"type": "ecs", "endpoint": self._login_server.url}}

    @functools.cached_property
    def _login_server(self) -> _LoginServer:
        return _LoginServer(self._credentials)

    def _renew_login(self) -> None:
        """Renew credentials that expire, which botocore would do without a deadline."""
        credentials = self._credentials
        if isinstance(credentials, RefreshableCredentials) and credentials.refresh_needed():
            within(_LOGIN_S, credentials.get_frozen_credentials)

    def _sent(self, request: Any, event_name: str, **_: Any) -> AWSResponse:  # noqa: ANN401 - botocore's
        """The answer to a request that is signed; botocore calls this in place of its own connection."""
        prepared = requests.PreparedRequest()
        prepared.method, prepared.url, prepared.body = request.method, request.url, request.body
        prepared.headers = CaseInsensitiveDict(request.headers)
        prepared.headers.pop("Expect", None)  # nobody here would wait for the server to agree
        reads_object = event_name.endswith(".GetObject")
        if reads_object:
            prepared.headers.update(AS_STORED)
        settings = self._session.merge_environment_settings(request.url, {}, None, self.ca_bundle, None)
        patience_s = float(os.environ[STALLED]) if reads_object else TIMEOUT_S
        adapter = self._session.get_adapter(request.url)
        answer = adapter.send(prepared, timeout=patience_s, **settings)
        if answer.is_redirect and _REGION not in answer.headers:  # AWS names the region of the bucket
            raise AnswerError("redirections to elsewhere")
        return AWSResponse(request.url, answer.status_code, answer.headers, _Body(answer.content))


class _LoginServer:
    """Tells tensorstore the credentials of this process, as the agent of a container does.

    By itself tensorstore finds fewer kinds of them than botocore, and says so on the terminal. Nothing is
    left on a disk, and only who has the address is answered.
    """

    def __init__(self, credentials: Any) -> None:  # noqa: ANN401 - untyped library
        path = f"/{secrets.token_urlsafe(32)}"

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_asked = secrets.compare_digest(self.path.encode(), path.encode())
                body = _told_login(credentials) if is_asked else b""
                self.send_response(HTTPStatus.OK if is_asked else HTTPStatus.NOT_FOUND)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing on the terminal."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, name="login", daemon=True).start()
        self.url = f"http://127.0.0.1:{server.server_port}{path}"


def _told_login(credentials: Any) -> bytes:  # noqa: ANN401 - untyped library
    """Credentials in the words of the agent of a container; they are asked for again before they expire."""
    login = within(_LOGIN_S, credentials.get_frozen_credentials)
    until = datetime.now(UTC) + timedelta(minutes=_LOGIN_MINUTES)
    told = {
        "AccessKeyId": login.access_key,
        "SecretAccessKey": login.secret_key,
        "Token": login.token or "",
        "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    return json.dumps(told).encode()


class _Body(io.BytesIO):
    """The body of an answer, as botocore reads it."""

    def stream(self, **_: Any) -> Iterator[bytes]:  # noqa: ANN401 - of urllib3
        yield self.read()


def _tried(call: Callable[[], _T]) -> _T:
    result: _T = RETRY(call)()
    return result


def client() -> Client:
    """The client for all stores of this process, since each one reads the settings of AWS anew.

    Raises:
        UserError: they cannot be read.
        ConfigError: the address of the server is none.
    """
    for name, value in TENSORSTORE_PACE.items():
        os.environ.setdefault(name, value)
    settings = tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))
    with failures("cannot use S3", "", ""):
        return _client(settings)


@functools.cache
def _client(settings: tuple[tuple[str, str], ...]) -> Client:  # noqa: ARG001 - tells clients apart
    return Client()


def bucket_and_prefix(uri: str) -> tuple[str, str]:
    """The parts of an `s3://` URI; the prefix ends with a slash where there is one.

    Raises:
        UserError: the bucket or prefix breaks the rules for names.

    Example:
        >>> bucket_and_prefix("s3://scope/raw/a"), bucket_and_prefix("s3://scope")
        (('scope', 'raw/a/'), ('scope', ''))
    """
    bucket, _, prefix = without_scheme(uri).rstrip("/").partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise UserError(
            f"a bucket's name must be 3 to 63 lower-case letters, digits, dots, dashes or underscores; "
            f"got {bucket!a} in {uri!a}. Change the name."
        )
    check_prefix(prefix)
    return bucket, f"{prefix}/" if prefix else ""


def _crc32c_of(answer: Mapping[str, Any]) -> str | None:
    """The crc32c of a whole object that a server keeps; None where it keeps none, or one of parts."""
    told = answer.get("ChecksumCRC32C", "")
    if not told or "-" in told:
        return None
    try:
        crc32c = base64.b64decode(told, validate=True)
    except ValueError:
        crc32c = b""
    if len(crc32c) != _CRC32C_BYTES:
        raise AnswerError(f"no whole checksum, {told[:100]!a}")
    return crc32c.hex()


def _is_intact(answer: Mapping[str, Any], data: bytes) -> bool | None:
    """Whether an object has arrived as it is stored; None where its server does not say what it is.

    The ETag of what was put in one request is its MD5, unless the server encrypts it with a key of AWS KMS
    or of the user.
    """
    crc32c = _crc32c_of(answer)
    if crc32c is not None:
        return crc32c == checksum(data)
    md5 = _MD5.fullmatch(answer.get("ETag", ""))
    is_opaque = answer.get("ServerSideEncryption", "").startswith("aws:") or "SSECustomerAlgorithm" in answer
    if md5 is None or is_opaque:
        return None
    return hashlib.md5(data, usedforsecurity=False).hexdigest() == md5[1]
