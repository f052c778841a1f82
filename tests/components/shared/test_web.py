"""Calls to servers on loopback that dribble, never end, hang up or talk nonsense: each ends, and says why."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import sys
import time

import pytest
import requests
import urllib3

from components.shared import web
from components.shared.web import (
    AnswerError,
    BoundedPool,
    DeadlineError,
    MailConnection,
    ask,
    json_object,
    within,
)
from tests.hostile_server import HEAD, Behaviour, answer, dribble, flood, hostile, say

DEADLINE_S = 0.4
WITHOUT_END = {
    "silence": dribble(b"", b""),
    "headers, a byte a moment": dribble(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
    "headers, one after the other": dribble(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "status lines of 100": dribble(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body, a byte a moment": dribble(HEAD),
    "chunks, a byte a moment": dribble(HEAD[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
}


@pytest.mark.parametrize("behave", WITHOUT_END.values(), ids=WITHOUT_END.keys())
def test_an_answer_without_an_end_is_given_up(behave: Behaviour) -> None:
    with hostile(behave) as server:
        started = time.monotonic()
        # A header line or a hundred headers too many may be refused before the deadline.
        with pytest.raises(OSError):  # noqa: PT011 - any reason will do
            ask("GET", f"http://{server}/", deadline_s=DEADLINE_S)
        assert time.monotonic() - started < DEADLINE_S + 1


@pytest.mark.parametrize(
    "behave", [dribble(), dribble(b"\x16\x03\x03\x3f\xff", b"\0")], ids=["byte", "record"]
)
def test_a_handshake_without_an_end_is_given_up(behave: Behaviour) -> None:
    with hostile(behave) as server:
        started = time.monotonic()
        with pytest.raises(OSError):  # noqa: PT011 - any reason will do
            ask("GET", f"https://{server}/", deadline_s=DEADLINE_S)
        assert time.monotonic() - started < DEADLINE_S + 1


def test_redirections_without_an_end_are_given_up() -> None:
    around = b"HTTP/1.1 302 Found\r\nLocation: /\r\n"
    with hostile(flood(around + b"\r\n")) as server:
        with pytest.raises((DeadlineError, requests.TooManyRedirects)):
            ask("GET", f"http://{server}/", deadline_s=DEADLINE_S)
        assert (
            ask("GET", f"http://{server}/", deadline_s=5, most_bytes=0, allow_redirects=False).status == 302
        )


def test_no_more_than_the_limit_is_read() -> None:
    with hostile(flood()) as server:
        with pytest.raises(AnswerError, match="more than 1,000,000 bytes"):
            ask("GET", f"http://{server}/", deadline_s=10, most_bytes=1_000_000)
        found = ask("GET", f"http://{server}/", deadline_s=10, most_bytes=0)
    assert (found.status, found.body) == (200, b"")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe garbage", b"HTTP/1.1 abc\r\n\r\n"], ids=repr)
def test_a_server_that_speaks_no_http_is_an_error_of_the_system(data: bytes) -> None:
    with hostile(say(data)) as server, pytest.raises(OSError):  # noqa: PT011 - requests' own
        ask("GET", f"http://{server}/", deadline_s=5)


def test_a_body_that_is_cut_off_is_no_answer() -> None:
    cut = HEAD[:-2] + b"Content-Length: 10\r\n\r\n{}"
    with hostile(say(cut)) as server, pytest.raises(requests.RequestException):
        ask("GET", f"http://{server}/", deadline_s=5)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "an empty answer"),
        (b"<!doctype html><title>Log in</title>", "<!doctype html>"),
        (b'{"a": "\xff"}', '\'{"a": '),
        (b'{"a": ' + b"9" * 5000 + b"}", "999"),
        (b"[" * 100_000, "\\[\\[\\["),
        (b"[]", "a list in JSON"),
        (b"null", "null in JSON"),
        (b'"text"', "a text in JSON"),
        (b"1e999", "a number in JSON"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_what_is_no_json_object_is_named(body: bytes, reason: str) -> None:
    with hostile(answer(body)) as server:
        found = ask("GET", f"http://{server}/", deadline_s=5)
    assert found.body == body
    with pytest.raises(AnswerError, match=reason) as caught:
        json_object(body)
    assert str(caught.value).isascii()


def test_what_a_call_raises_reaches_who_waits() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_a_program_ends_though_a_call_does_not() -> None:
    code = (
        "import time; from components.shared.web import *\n"
        "try: within(0.2, lambda: time.sleep(60))\n"
        "except DeadlineError as error: print(error)"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert (done.stdout, done.stderr) == ("timed out with no whole answer within 0.2 s\n", "")
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("behave", WITHOUT_END.values(), ids=WITHOUT_END.keys())
def test_a_pool_of_a_generated_client_gives_up_too(behave: Behaviour) -> None:
    timeout = urllib3.Timeout(connect=1, read=DEADLINE_S)
    with hostile(behave) as server, urllib3.PoolManager(retries=False) as pool:
        started = time.monotonic()
        with pytest.raises((OSError, urllib3.exceptions.HTTPError)):
            BoundedPool(pool).request("GET", f"http://{server}/", timeout=timeout)
        assert time.monotonic() - started < DEADLINE_S + 1


def test_a_pool_of_a_generated_client_reads_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    timeout = urllib3.Timeout(connect=1, read=10)
    monkeypatch.setattr(web, "ANSWER_BYTES", 8)
    with urllib3.PoolManager(retries=False) as pool:
        for endless in (flood(), answer(b'{"a": 12}')):
            with hostile(endless) as server, pytest.raises(AnswerError, match="more than 8 bytes"):
                BoundedPool(pool).request("GET", f"http://{server}/", timeout=timeout)
        with hostile(answer(b'{"a": 1}')) as server:
            found = BoundedPool(pool).request("GET", f"http://{server}/", timeout=timeout)
    assert (found.status, found.data) == (200, b'{"a": 1}')


def test_a_pool_of_a_generated_client_reads_an_empty_answer_as_no_bytes() -> None:
    timeout = urllib3.Timeout(connect=1, read=10)
    with urllib3.PoolManager(retries=False) as pool, hostile(answer(b"")) as server:
        assert BoundedPool(pool).request("GET", f"http://{server}/", timeout=timeout).data == b""


def test_a_mail_server_may_say_as_much_as_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    said = b"220 ready\r\n"
    for limit_bytes in (len(said), len(said) - 1):
        monkeypatch.setattr(web, "_MAIL_ANSWER_BYTES", limit_bytes)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            connection = MailConnection()
            connection.sock = ours
            theirs.sendall(said)
            if limit_bytes == len(said):
                assert connection.getreply() == (220, b"ready")
            else:
                with pytest.raises(smtplib.SMTPServerDisconnected, match="does not end"):
                    connection.getreply()
            connection.close()
