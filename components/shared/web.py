"""Calls to services on the web that surely end: each has a deadline, and reads an answer up to a limit.

A timeout of a library counts for one wait on a socket. A server that sends a byte a second in its headers,
its body, its greeting or its handshake is never late for it. So every call runs in a thread of its own that
is left behind at the deadline; the thread does not keep the program from ending.
"""

from __future__ import annotations

import io
import json
import re
import smtplib
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:  # imported where they are called: a bare installation has neither
    import requests
    import urllib3

ANSWER_BYTES = 64 << 20
"""Longest answer that is read of a service: the state of a run of thousands of tasks has a few MB."""
_MAIL_ANSWER_BYTES = 1 << 18
"""Longest that a mail server may say between two handshakes; a mail takes it less than 4 KB."""
_PIECE_BYTES = 1 << 16
_T = TypeVar("_T")


class DeadlineError(TimeoutError):
    """A service was not done at the deadline."""


class AnswerError(OSError):
    """An answer is too long, or not what was asked for; its text is the reason, without the address."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a web server."""

    status: int
    reason: str
    headers: requests.structures.CaseInsensitiveDict[str]
    body: bytes
    """Empty where nothing of it was to be read."""


def start(call: Callable[[], _T]) -> Future[_T]:
    """A call in a thread that does not keep the program from ending; exceptions are in its result.

    Example:
        >>> start(lambda: 6 * 7).result(timeout=5)
        42
    """
    future: Future[_T] = Future()

    def work() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # it belongs to who waits
            future.set_exception(error)

    # A pool's threads would be waited for when the program ends.
    try:
        threading.Thread(target=work, name="web", daemon=True).start()
    except RuntimeError as error:  # no further threads
        future.set_exception(OSError(str(error)))
    return future


def result_within(future: Future[_T], deadline_s: float) -> _T:
    """The result of a call that was started.

    Raises:
        DeadlineError: it is not done after so many seconds.
    """
    try:
        return future.result(max(0.0, deadline_s))
    except TimeoutError:
        if future.done():
            raise
        raise DeadlineError(f"timed out with no whole answer within {deadline_s:.3g} s") from None


def within(deadline_s: float, call: Callable[[], _T]) -> _T:
    """The result of a call that is given up at a deadline.

    Raises:
        DeadlineError: it is not done after so many seconds.
    """
    return result_within(start(call), deadline_s)


def ask(
    method: str,
    address: str,
    *,
    deadline_s: float,
    most_bytes: int = ANSWER_BYTES,
    session: requests.Session | None = None,
    **more: Any,  # noqa: ANN401 - what requests takes: json, headers, allow_redirects
) -> Answer:
    """The answer of a web server.

    Args:
        method: GET or POST.
        address: Where to ask.
        deadline_s: Seconds for all of it: name, handshake, redirections, headers and body.
        most_bytes: Longest body that is read; 0 reads nothing of it, since the status is enough.
        session: One with a login; None for none.
        more: What requests takes, such as `json`, `headers`, `allow_redirects`.

    Raises:
        DeadlineError: the answer is not there at the deadline.
        AnswerError: the body is longer.
        OSError: the server cannot be reached, as requests says it.
    """
    import requests

    more["hooks"] = {"response": _without_redirection}

    def asked() -> Answer:
        until = time.monotonic() + deadline_s
        with (
            session or requests.Session() as used,
            used.request(method, address, timeout=deadline_s, stream=True, **more) as answer,
        ):
            pieces = answer.iter_content(_PIECE_BYTES) if most_bytes else ()
            body = _joined(pieces, most_bytes, until)
            return Answer(answer.status_code, answer.reason or "", answer.headers, body)

    return within(deadline_s, asked)


def _without_redirection(answer: requests.Response, **_: Any) -> None:  # noqa: ANN401 - requests' hook
    """Drop the body of a redirection, which requests would read without a limit."""
    if answer.is_redirect:
        answer._content = b""
        answer.raw.close()


def _joined(pieces: Iterable[bytes], most_bytes: int, until: float) -> bytes:
    """The bytes of a body that comes in pieces, of which none may come after `until`."""
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > most_bytes:
            raise AnswerError(f"an answer of more than {most_bytes:,} bytes")
        if time.monotonic() > until:
            raise DeadlineError("an answer that does not end")
    return bytes(body)


def is_web_address(address: str) -> bool:
    """Whether a text is the address of a web server, with nothing that no address holds.

    Example:
        >>> [is_web_address(text) for text in ("http://[::1]:80", "localhost:80", "http://[", "http://a b")]
        [True, False, False, False]
    """
    try:
        parts = urlsplit(address)
        has_host = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    return (
        parts.scheme in ("http", "https") and has_host and address.isascii() and not re.search(r"\s", address)
    )


def reason_of(error: Exception) -> str:
    """Why a service gave no answer that can be used, without what the error tells of the request."""
    return str(error) if isinstance(error, DeadlineError | AnswerError) else type(error).__name__


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object that is the body of an answer.

    Raises:
        AnswerError: it is something else; the text says what.

    Example:
        >>> json_object(b'{"a": 1}')
        {'a': 1}
        >>> json_object(b"<html>")
        Traceback (most recent call last):
        components.shared.web.AnswerError: '<html>'
    """
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # invalid UTF-8 and huge integers too
        shown = body[:40].decode(errors="replace").strip()
        raise AnswerError(ascii(shown) if shown else "an empty answer") from None
    if not isinstance(found, dict):
        kind = {list: "a list", str: "a text", type(None): "null"}.get(type(found), "a number")
        raise AnswerError(f"{kind} in JSON")
    return found


class BoundedPool:
    """A pool of urllib3, in place of the one in a client that was generated from an API, whose calls end.

    The read timeout that the client gives counts for the whole answer.

    Args:
        pool: The client's own.
    """

    def __init__(self, pool: urllib3.PoolManager) -> None:
        self._pool = pool

    def request(self, method: str, url: str, **more: Any) -> urllib3.HTTPResponse:  # noqa: ANN401 - urllib3's
        """An answer whose body has been read.

        Raises:
            DeadlineError: it is not there at the deadline.
            AnswerError: it is longer than `ANSWER_BYTES`.
        """
        timeout = more["timeout"]
        deadline_s = float(timeout.read_timeout)

        import urllib3

        def asked() -> urllib3.HTTPResponse:
            until = time.monotonic() + deadline_s
            answer = self._pool.request(method, url, **{**more, "preload_content": False})
            try:
                body = _joined(answer.stream(_PIECE_BYTES), ANSWER_BYTES, until)
            finally:
                answer.close()
            headers = {
                name: value for name, value in answer.headers.items() if name.lower() != "content-encoding"
            }
            return urllib3.HTTPResponse(
                io.BytesIO(body),  # of empty bytes alone it would make no bytes but None
                headers,
                status=answer.status,
                reason=answer.reason,
                enforce_content_length=False,
            )

        return within(deadline_s, asked)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - the rest is the pool's
        return getattr(self._pool, name)


class _BoundedLines:
    """The lines that a mail server says, up to a limit; smtplib joins the lines of an answer without any."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - of a socket
        self._file = file
        self._left = _MAIL_ANSWER_BYTES

    def readline(self, size: int) -> bytes:
        line: bytes = self._file.readline(size)
        self._left -= len(line)
        if self._left < 0:
            raise AnswerError("an answer that does not end")
        return line

    def close(self) -> None:
        self._file.close()


class MailConnection(smtplib.SMTP):
    """A connection to a mail server that reads no endless answers; it has no deadline by itself."""

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _BoundedLines(self.sock.makefile("rb"))
        return super().getreply()


class EncryptedMailConnection(MailConnection, smtplib.SMTP_SSL):
    """A connection to a mail server that is encrypted from the start and reads no endless answers."""
