"""Probe of a bucket of S3: what a run relies on is tried out, since the servers of its protocol differ.

A probe object is written, read in each way that a run reads, and removed. Every request is made once, with a
short deadline: who asks for a diagnosis does not wait for a server that is down.
"""

from __future__ import annotations

import base64
import io
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError

from commands.buckets import RUN_LABEL
from commands.buckets_of_s3 import tags_of
from commands.doctor.findings import VIEWER, Finding, Use
from components.shared.errors import FibstackError
from components.shared.storage.s3 import bucket_and_prefix, client
from components.shared.storage.s3_failures import failures, is_absent
from components.shared.storage.store import checksum
from components.shared.web import Answer, ask, reason_of, within

_DEADLINE_S = 20
_PROBE_BYTES = 1 << 18
"""Size of the probe object: many packets, and sent in a second on most lines."""
_ROUNDS = 4
"""Times that the probe object is replaced, and read while and after that."""
_FIRST_OBJECTS = 20
"""Objects of a source among which one is looked for that is not empty."""
_NOTED_SKEW_S, _REFUSED_SKEW_S = 60, 15 * 60
"""Difference between two clocks that is noted, and the one from which on Amazon S3 refuses signatures."""
_ADDRESS_S = 60
"""Seconds for which the signed address of the probe object holds."""
_RIGHTS = {
    "list_objects_v2": "s3:ListBucket",
    "get_object": "s3:GetObject",
    "head_object": "s3:GetObject",
    "put_object": "s3:PutObject",
    "delete_object": "s3:DeleteObject and s3:DeleteObjectVersion",
}


def check_login() -> Finding:
    """Check that there are credentials for S3, and say which server they are for."""
    found = client()
    if found.is_anonymous:
        return Finding(
            "note", f"there are no credentials for {found.endpoint}: only what is public can be read"
        )
    return Finding("ok", f"there are credentials for {found.endpoint}")


def check_bucket(uri: str, use: Use) -> Iterator[Finding]:
    """Check that a bucket can be read and, unless it is only a source, try out what its server promises.

    Raises:
        FibstackError: a request fails.
    """
    place = _Place(uri)
    yield from _reading(place)
    if use == "read":
        return
    probe = _Probe(place)
    try:
        yield from probe.findings(use)
    finally:
        left = probe.remove()
    yield from left


def check_own_bucket(uri: str, run_id: str) -> Iterator[Finding]:
    """Check a bucket that a run makes for itself, unless it is there.

    Raises:
        FibstackError: a request fails.
    """
    bucket, prefix = bucket_and_prefix(uri)
    tags = tags_of(bucket)
    expected = "any" if prefix else run_id  # all runs share the bucket of the records
    if tags is None:
        takes = "s3:CreateBucket, s3:PutBucketTagging and s3:PutLifecycleConfiguration"
        yield Finding("note", f"s3://{bucket} is made when the run starts; that takes {takes}")
    elif tags.get(RUN_LABEL) != expected:
        yield Finding(
            "wrong",
            f"s3://{bucket} is there and not of this run: its tag {RUN_LABEL} is "
            f"{tags.get(RUN_LABEL) or 'not set'}",
            f"aws s3api put-bucket-tagging --bucket {bucket} "
            f"--tagging 'TagSet=[{{Key={RUN_LABEL},Value={expected}}}]'",
        )
    else:
        yield from check_bucket(uri, "write")


class _Place:
    """A bucket with a prefix, whose server is asked once for each request."""

    def __init__(self, uri: str) -> None:
        self.uri = uri.rstrip("/")
        self.bucket, self.prefix = bucket_and_prefix(uri)
        self.client = client()

    def ask(self, operation: str, **given: Any) -> Mapping[str, Any]:  # noqa: ANN401 - as botocore takes them
        """The answer to a request.

        Args:
            operation: Name of a method of botocore's client.
            given: Its parameters but the bucket.

        Raises:
            FibstackError: it fails.
        """
        what, grant = f"cannot use {self.uri}", f"{_RIGHTS[operation]} on the bucket '{self.bucket}'"
        with failures(what, self.bucket, grant, is_anonymous=self.client.is_anonymous):
            return within(_DEADLINE_S, lambda: self.client.ask_once(operation, Bucket=self.bucket, **given))


def _reading(place: _Place) -> Iterator[Finding]:
    """Read a byte of the first object, which takes ranges."""
    found = place.ask("list_objects_v2", Prefix=place.prefix, MaxKeys=_FIRST_OBJECTS)
    first = next((item["Key"] for item in found.get("Contents", ()) if item["Size"] > 1), None)
    if first is None:
        yield Finding("note", f"there is nothing in {place.uri} yet")
        return
    part = place.ask("get_object", Key=first, Range="bytes=1-1")["Body"].read()
    if len(part) == 1:
        yield Finding("ok", f"ranges of s3://{place.bucket}/{first} can be read")
    else:
        yield Finding("wrong", f"ranges of s3://{place.bucket}/{first} cannot be read")


class _Probe:
    """An object that is written to try out a server, and removed."""

    def __init__(self, place: _Place) -> None:
        self._place = place
        self._key = f"{place.prefix}fibstack-probe-{secrets.token_hex(6)}"
        self._uri = f"s3://{place.bucket}/{self._key}"
        self._may_be_there = False
        self._versions: list[str] = []
        """Versions of the object, of a bucket that keeps them."""

    def findings(self, use: Use) -> Iterator[Finding]:
        """Write the object, and say what its server does with it.

        Raises:
            FibstackError: a request fails.
        """
        place = self._place
        self._may_be_there = True
        try:
            self._put(_content(0))
        except FibstackError as error:
            self._may_be_there = not isinstance(error.__cause__, ClientError)
            yield Finding("wrong" if use == "write" else "note", f"you may not write: {error}")
            return
        yield Finding("ok", f"you may write to {place.uri}")
        yield self._whole_at_once()
        yield self._listed()
        yield self._range()
        yield self._checksum()
        yield self._damaged_upload()
        yield self._condition()
        yield self._clock()
        yield from self._others()

    def remove(self) -> list[Finding]:
        """Remove the object with all its versions, and say what is left of it."""
        if not self._may_be_there:
            return []
        try:
            for version in self._versions or [""]:
                which = {"VersionId": version} if version else {}
                self._place.ask("delete_object", Key=self._key, **which)
            if self._get() is None:
                return [Finding("ok", "what is deleted is gone at once, as is the probe object")]
            text = f"{self._uri} is still there after it was deleted: remove it later"
        except FibstackError as error:
            text = f"{self._uri}, the object of this probe, is left there: {error}"
        return [Finding("note", text, f"aws s3 rm {self._uri}")]

    def _whole_at_once(self) -> Finding:
        """Replace the object some times, and read it while and after that."""
        before = _content(0)
        for n in range(1, _ROUNDS + 1):
            after, meanwhile = _content(n), list[bytes | None]()
            self._put(after, lambda: meanwhile.append(self._get()))  # noqa: B023 - called in this round
            if any(seen not in (before, after) for seen in meanwhile):
                return Finding(
                    "wrong",
                    "its server shows a part of an object while it is written: a run would take it for the "
                    "whole. No output can lie there",
                )
            if self._get() != after:
                return Finding(
                    "wrong",
                    "its server goes on showing what an object was before it was written: a run would read "
                    "old records and tiles. No output can lie there",
                )
            before = after
        return Finding("ok", "an object is seen whole, and as soon as it is written")

    def _listed(self) -> Finding:
        found = self._place.ask("list_objects_v2", Prefix=self._key).get("Contents", ())
        if [(item["Key"], item["Size"]) for item in found] == [(self._key, len(_content(_ROUNDS)))]:
            return Finding("ok", "a listing tells what was just written")
        return Finding(
            "wrong",
            "its server does not list what was just written: a run would do again what is done, and miss "
            "shards in its report. No output can lie there",
        )

    def _range(self) -> Finding:
        whole = _content(_ROUNDS)
        start, stop = _PROBE_BYTES // 3, _PROBE_BYTES // 2
        if self._get(Range=f"bytes={start}-{stop - 1}") == whole[start:stop]:
            return Finding("ok", "its server gives ranges of an object")
        return Finding(
            "wrong", "its server gives no ranges of an object: neither slabs nor sharded volumes can be read"
        )

    def _checksum(self) -> Finding:
        told = self._place.ask("head_object", Key=self._key, ChecksumMode="ENABLED").get("ChecksumCRC32C")
        if told == _crc32c(_content(_ROUNDS)):
            return Finding("ok", "its server keeps the CRC32C of an object, which vouches for a result")
        return Finding(
            "note",
            "its server keeps no CRC32C of an object, so nothing but its bytes vouches for a result: a "
            "second run, fibstack status and fibstack verify read all results again",
        )

    def _damaged_upload(self) -> Finding:
        """Send an object with the checksum of another one."""
        status = self._refusal(_content(0), checksum_of=_content(1))
        if status:
            return Finding("ok", "its server refuses an upload that was damaged on its way")
        return Finding(
            "note",
            "its server keeps an upload that was damaged on its way, which is found only when it is read; by "
            "an https:// endpoint nothing is damaged unseen",
        )

    def _condition(self) -> Finding:
        status = self._refusal(_content(0), IfNoneMatch="*")
        if status == HTTPStatus.PRECONDITION_FAILED:
            return Finding("ok", "its server can be told not to overwrite (If-None-Match)")
        return Finding(
            "note",
            "its server cannot be told not to overwrite (If-None-Match): no run needs that, but two programs "
            "that put files there at the same time replace each other's",
        )

    def _clock(self) -> Finding:
        answer = self._place.ask("head_object", Key=self._key)
        told = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
        try:
            skew_s = round(time.time() - parsedate_to_datetime(told).timestamp())
        except (TypeError, ValueError):
            return Finding("note", "its server does not tell the time")
        if abs(skew_s) < _NOTED_SKEW_S:
            return Finding("ok", "its clock and that of this machine agree")
        which = f"{abs(skew_s):,} s {'ahead of' if skew_s > 0 else 'behind'} that of the server"
        rule = f"from {_REFUSED_SKEW_S} s on, signatures are refused. Set the time"
        return Finding(
            "wrong" if abs(skew_s) >= _REFUSED_SKEW_S else "note",
            f"the clock of this machine is {which}; {rule}",
        )

    def _others(self) -> Iterator[Finding]:
        """Say what the object is to those who do not log in, and to pages of other origins."""
        place = self._place
        signed = place.client.address(place.bucket, self._key, _ADDRESS_S)
        bare = signed.partition("?")[0]
        try:
            is_public = _visit("GET", bare).status < HTTPStatus.MULTIPLE_CHOICES
            is_open = _visit("PUT", bare, data=_content(0)).status < HTTPStatus.MULTIPLE_CHOICES
            page = _visit("GET", signed)
        except Exception as error:
            # Also what a library raises about an address or an answer that no standard allows.
            yield Finding("note", f"{bare} cannot be asked for without a login ({reason_of(error)})")
            return
        if is_open:
            yield Finding(
                "note",
                f"{place.uri} is open to everybody who reaches its server: they may write without a login. "
                "Give the server users, unless nobody else reaches it",
            )
        if is_public:
            yield Finding("note", f"{place.uri} is public: what is written there can be read without a login")
        else:
            yield Finding(
                "ok", f"{place.uri} is private: a browser shows what is there by fibstack view alone"
            )
        if page.headers.get("Access-Control-Allow-Origin") in ("*", VIEWER):
            yield Finding("ok", "its server lets pages of other origins read (CORS)")
        else:
            yield Finding(
                "note",
                "its server lets no pages of other origins read (CORS), so neuroglancer on the web cannot, "
                "also where it is public; fibstack view needs it not",
                f"fibstack data cors s3://{place.bucket}",
            )

    def _put(
        self, data: bytes, watch: Callable[[], None] = lambda: None, checksum_of: bytes = b"", **more: str
    ) -> None:
        """Write the object.

        Args:
            data: What it is to hold.
            watch: Called while the second half of it is still to be sent.
            checksum_of: Bytes whose checksum is sent in place of its own.
            more: Further parameters of botocore.
        """
        answer = self._place.ask(
            "put_object",
            Key=self._key,
            Body=lambda: _Body(data, watch),
            ChecksumAlgorithm="CRC32C",
            ChecksumCRC32C=_crc32c(checksum_of or data),
            **more,
        )
        if "VersionId" in answer:
            self._versions.append(answer["VersionId"])

    def _refusal(self, data: bytes, **more: Any) -> int:  # noqa: ANN401 - as `_put` takes them
        """The status with which the server refuses to write the object; 0 where it does not."""
        try:
            self._put(data, **more)
        except FibstackError as error:
            if not isinstance(error.__cause__, ClientError):
                raise
            return int(error.__cause__.response["ResponseMetadata"]["HTTPStatusCode"])
        return 0

    def _get(self, **more: str) -> bytes | None:
        """The bytes of the object or of a range of it; None where there is none."""
        try:
            return bytes(self._place.ask("get_object", Key=self._key, **more)["Body"].read())
        except FibstackError as error:
            if isinstance(error.__cause__, ClientError) and is_absent(error.__cause__):
                return None
            raise


class _Body(io.BytesIO):
    """The bytes of an upload; who watches is called when the first half of them was taken."""

    def __init__(self, data: bytes, watch: Callable[[], None]) -> None:
        super().__init__(data)
        self._watch = watch

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        piece = super().read(size)
        if start < _PROBE_BYTES // 2 <= self.tell() < _PROBE_BYTES:
            self._watch()
        return piece


def _content(n: int) -> bytes:
    """The bytes of the object after it was replaced n times, of another size each time."""
    return bytes([65 + n]) * (_PROBE_BYTES + n)


def _crc32c(data: bytes) -> str:
    return base64.b64encode(bytes.fromhex(checksum(data))).decode()


def _visit(method: str, address: str, **more: Any) -> Answer:  # noqa: ANN401 - what requests takes
    """The answer to a browser on a page of another origin."""
    headers = {"Origin": VIEWER, "Range": "bytes=0-0"} if method == "GET" else {"Origin": VIEWER}
    more["verify"] = client().ca_bundle or True
    return ask(method, address, deadline_s=_DEADLINE_S, most_bytes=0, headers=headers, **more)
