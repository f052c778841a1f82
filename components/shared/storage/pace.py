"""Requests that surely end: one that moves too few bytes in a while is given up.

A timeout of requests counts for one wait on a socket, so a server that says a byte a second is never late for
it. A deadline for the whole would cut off a large object on a slow line. So a request is looked at once in a
while: it must be done, or have moved bytes at a least speed since the last look.
"""

from __future__ import annotations

import io
import re
import socket
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import accumulate
from typing import IO, TYPE_CHECKING, Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection

from components.shared.limits import limit
from components.shared.web import ANSWER_BYTES, AnswerError, DeadlineError, result_within, start

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_PIECE_BYTES = 1 << 18
_LONGEST_REASON = 300
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-[0-9]{1,19}/([0-9]{1,19})")
_BUFFER_BYTES = 1 << 18
"""Bytes that wait to be sent in the system's buffer: they count as moved, so they must be few."""
AS_STORED = {"Accept-Encoding": "identity"}
"""Headers of a request for the bytes of an object, which are taken as they are stored, however many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaceLimits:
    """When a request to storage is given up."""

    least_bytes_per_s: int = limit(
        8192,
        unit="bytes/s",
        why="32 reads at a time need a line of 2 Mbit/s then; what is slower has stalled, or dribbles",
        measured_on="not measured; chosen far below any line on which a stack can be read",
        too_small="a server that dribbles holds a program up for hours",
        too_large="many requests that share a slow line are given up though they would end",
    )


PACE = PaceLimits()
STALLED = "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS"
"""Environment variable: a read that arrives too slowly for so long is given up, here and by tensorstore."""
TENSORSTORE_PACE = {STALLED: "30", "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": str(PACE.least_bytes_per_s)}
"""Environment of tensorstore, whose reads end by it as those here do."""


class UntrustedServerError(OSError):
    """The certificate of a server is not to be trusted; its text is the reason."""


class PacedAdapter(HTTPAdapter):
    """Sends the requests of a session and reads their whole answers, each at a least speed.

    The timeout of a request is the time between two looks at it: so long it may take at least, also to begin.
    """

    def init_poolmanager(self, *args: Any, **settings: Any) -> None:  # noqa: ANN401 - the base class's
        """Make connections that hold little back."""
        buffer = (socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        options = [*HTTPConnection.default_socket_options, buffer]
        super().init_poolmanager(*args, socket_options=options, **settings)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - all answers are read whole
        timeout: Any = None,  # noqa: ANN401 - seconds, or seconds to connect and to read
        verify: bool | str = True,
        cert: Any = None,  # noqa: ANN401
        proxies: Any = None,  # noqa: ANN401
    ) -> requests.Response:
        """The answer, whose body has been read.

        Raises:
            requests.Timeout: it is too slow.
            AnswerError: it is longer than `ANSWER_BYTES`, and no object.
            UntrustedServerError: the server cannot be trusted.
            requests.RequestException: the server cannot be reached, or hangs up; likewise urllib3's errors.
        """
        patience_s = float(timeout[-1] if isinstance(timeout, tuple) else timeout)
        transfer = _Transfer()
        watched = request.copy()  # the caller keeps its own, for another try
        if isinstance(watched.body, bytes):
            watched.body = io.BytesIO(watched.body)  # shares the bytes
        body: Any = watched.body
        if hasattr(body, "read"):
            watched.body = _Outgoing(body, transfer)

        def sent() -> requests.Response:
            answer = super(PacedAdapter, self).send(watched, True, timeout, verify, cert, proxies)
            try:
                answer._content = transfer.received(answer)
            except BaseException:
                answer.close()
                raise
            answer._content_consumed = True
            return answer

        try:
            return _paced(start(sent), transfer, patience_s)
        except requests.exceptions.SSLError as error:
            if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                raise
            raise UntrustedServerError(_certificate_reason(str(error))) from error


class _Transfer:
    """The bytes that a request has moved so far; written by one thread, read by another."""

    def __init__(self) -> None:
        self.moved_bytes = 0
        self.is_given_up = False

    def received(self, answer: requests.Response) -> bytes:
        """The body of an answer."""
        as_stored = answer.request.headers.get("Accept-Encoding") == AS_STORED["Accept-Encoding"]
        pieces = []
        n_bytes = 0
        while piece := answer.raw.read1(_PIECE_BYTES, decode_content=not as_stored):
            pieces.append(piece)
            n_bytes += len(piece)
            self.moved_bytes += len(piece)
            if n_bytes > ANSWER_BYTES and not as_stored:
                raise AnswerError(f"an answer of more than {ANSWER_BYTES:,} bytes")
            if self.is_given_up:
                raise DeadlineError("an answer that nobody waits for")
        return b"".join(pieces)


class _Outgoing:
    """The body of a request as a file, whose bytes are counted as they leave."""

    def __init__(self, body: IO[bytes], transfer: _Transfer) -> None:
        self._file = body
        self._transfer = transfer

    def read(self, n_bytes: int = -1) -> bytes:
        piece = self._file.read(n_bytes)
        self._transfer.moved_bytes += len(piece)
        return piece


def _paced(future: Future[requests.Response], transfer: _Transfer, patience_s: float) -> requests.Response:
    """The answer that is being waited for, as long as enough moves."""
    moved_bytes, enough = 0, patience_s * PACE.least_bytes_per_s
    while True:
        try:
            return result_within(future, patience_s)
        except DeadlineError:
            before, moved_bytes = moved_bytes, transfer.moved_bytes
            if moved_bytes - before >= enough:
                continue
            transfer.is_given_up = True
        raise requests.exceptions.ReadTimeout(
            f"it must end, or move {PACE.least_bytes_per_s:,} bytes a second; got {moved_bytes - before:,} "
            f"bytes in {patience_s:.3g} s"
        )


def _certificate_reason(text: str) -> str:
    """Why a certificate is refused, out of what the libraries have put around it."""
    return (
        text.partition("certificate verify failed: ")[2].partition(" (_ssl.c")[0] or "it cannot be verified"
    )


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


def cause_of(error: BaseException) -> BaseException:
    """The failure of a request, without what requests and urllib3 wrap around it.

    Example:
        >>> cause_of(requests.ConnectionError(ConnectionResetError("reset")))
        ConnectionResetError('reset')
    """
    inner: Any = None
    if isinstance(error, requests.ConnectionError) and error.args:
        inner = error.args[0]
    elif isinstance(error, urllib3.exceptions.MaxRetryError):
        inner = error.reason
    return cause_of(inner) if isinstance(inner, Exception) else error


def reason_of_request(cause: BaseException) -> str:
    """Why a request failed that got no answer, in words that stand inside a sentence."""
    if isinstance(cause, urllib3.exceptions.NameResolutionError):
        return f"the name {cause.conn.host!a} is not known; check the network and the name"
    if isinstance(cause, urllib3.exceptions.NewConnectionError):
        return f"nobody answers at {cause.conn.host}:{cause.conn.port}; check the network"
    if isinstance(cause, AttributeError | LookupError | TypeError | ValueError):
        return (
            f"storage must answer as its interface says; got what makes no sense ({first_line(str(cause))})"
        )
    return first_line(str(cause)) or type(cause).__name__


def first_line(said: str) -> str:
    """The first line of what a library or a server says, cut to a length."""
    lines = said.strip().splitlines()
    if not lines:
        return ""
    return lines[0][:_LONGEST_REASON].encode("ascii", "backslashreplace").decode().rstrip(".")


def bytes_of_range(data: bytes, content_range: str | None, start: int, stop: int) -> bytes:
    """The bytes that an answer holds of a range of an object; none beyond the object's end.

    Args:
        data: Content of the answer.
        content_range: Its header `Content-Range`; None for an answer that holds the whole object.
        start: First byte that was asked for.
        stop: The byte behind the last one.

    Raises:
        AnswerError: they are those of another range, or too few.

    Example:
        >>> bytes_of_range(b"cd", "bytes 2-3/4", 2, 9), bytes_of_range(b"abcd", None, 0, 9)
        (b'cd', b'abcd')
    """
    if content_range is None:
        if start == 0 and len(data) <= stop:
            return data
        raise AnswerError(f"the whole object: byte range [{start}, {stop}) was ignored by server")
    found = _CONTENT_RANGE.fullmatch(content_range)
    size = int(found[2]) if found else 0
    if found is None or int(found[1]) != start or len(data) < min(stop, size) - start:
        raise AnswerError(
            f"{len(data):,} bytes of the range {content_range[:100]!a} for bytes={start}-{stop - 1}"
        )
    return data[: stop - start]
