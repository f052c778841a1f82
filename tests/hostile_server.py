"""Servers on loopback that keep no rule: a byte a moment, answers without an end, garbage, silence."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator

MOMENT_S = 0.05
"""A second of a real one: far below a timeout for one wait, in the tests that use it."""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
Behaviour = Callable[[socket.socket], None]


def dribble(before: bytes = b"", byte: bytes = b" ") -> Behaviour:
    """Say something, then one byte a moment for ever."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(before)
        while True:
            connection.sendall(byte)
            time.sleep(MOMENT_S)

    return behave


def flood(before: bytes = HEAD, piece: bytes = b" " * 65536) -> Behaviour:
    """Say something, then the same piece for ever, as fast as it is taken."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(before)
        for _ in itertools.count():
            connection.sendall(piece)

    return behave


def say(data: bytes) -> Behaviour:
    """Say something to whoever asked, and hang up."""

    def behave(connection: socket.socket) -> None:
        connection.settimeout(2)
        asked = b""
        while b"\r\n\r\n" not in asked and (more := connection.recv(65536)):
            asked += more
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):
            pass

    return behave


def answer(body: bytes) -> Behaviour:
    """Answer a request with a body."""
    return say(HEAD[:-2] + b"Content-Length: %d\r\nConnection: close\r\n\r\n" % len(body) + body)


@contextlib.contextmanager
def hostile(behave: Behaviour) -> Iterator[str]:
    """The address, `127.0.0.1:PORT`, of a server that treats every connection so."""
    open_ones: list[socket.socket] = []

    def talk(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            behave(connection)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                open_ones.append(connection)
                threading.Thread(target=talk, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, daemon=True).start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            for connection in open_ones:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
