"""Servers that play a bucket and fail as a script says, lines that are slow, and certificates of nobody."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components.shared.storage.store import checksum

STALL = "body that stops"
RESET = "reset"
DRIBBLE = "body, a byte a moment"
DRIBBLED_HEAD = "head, a byte a moment"
UNENDING = (STALL, DRIBBLE, DRIBBLED_HEAD)
MOMENT_S = 0.05


class FaultyStorage(http.server.BaseHTTPRequestHandler):
    """Answers each request with the next item of the script, the last one for ever.

    An item is a status, a fault by its name, or the bytes of a body in the place of what is asked for.
    """

    script: ClassVar[list[int | str | bytes]]
    requests: ClassVar[list[str]]
    bodies: ClassVar[list[bytes]]
    stored: ClassVar[bytes]
    arriving: ClassVar[list[bytes]]
    """What arrives of the object, one read after the other, before it arrives as it is stored."""
    released: ClassVar[threading.Event]

    @classmethod
    def begin(cls) -> None:
        """Forget what another test left."""
        cls.script, cls.requests, cls.stored = [200], [], b"stored"
        cls.bodies, cls.arriving = [], []
        cls.released = threading.Event()

    @classmethod
    def n_reads(cls) -> int:
        """Requests for the content of the object."""
        return sum(cls.reads_object(*request.split(" ", 1)) for request in cls.requests)

    @staticmethod
    def reads_object(method: str, path: str) -> bool:
        raise NotImplementedError

    def usual(self) -> tuple[dict[str, str], bytes]:
        """Headers and body of an answer that is no fault."""
        raise NotImplementedError

    def answer(self) -> None:
        if self.script[0] == STALL and len(self.script) > 1:
            self.script.pop(0)
            self.stall()
            return
        self.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.requests.append(f"{self.command} {self.path}")
        item = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if item == RESET:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.close_connection = True
            self.connection.close()
        elif item == STALL:
            self.stall()
        else:
            self.say(item)

    def say(self, item: int | str | bytes) -> None:
        """Send a whole answer, or one that dribbles."""
        headers, body = self.usual()
        if self.reads_object(self.command, self.path):
            body = self.arriving.pop(0) if self.arriving else self.stored
        elif isinstance(item, bytes):
            headers, body = {}, item
        if item == DRIBBLED_HEAD or (item == DRIBBLE and self.command == "HEAD"):
            self.dribble(b"HTTP/1.1 200 OK\r\nX: ", b"x")
        self.send_response(item if isinstance(item, int) else 200)
        if isinstance(item, int) and 300 <= item < 400:
            self.send_header("Location", self.path)
        for name, value in headers.items() if item == 200 or not isinstance(item, int) else ():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if item != DRIBBLE else 1_000_000))
        self.end_headers()
        if item == DRIBBLE:
            self.dribble(b"", b" ")
        if self.command != "HEAD":
            self.wfile.write(body)

    def stall(self) -> None:
        if self.command != "HEAD":  # of which there is no body
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"sto")
            self.wfile.flush()
        self.released.wait(60)

    def dribble(self, before: bytes, byte: bytes) -> None:
        """Say something, then one byte a moment until the client hangs up."""
        with contextlib.suppress(OSError):
            self.wfile.write(before)
            while not self.released.wait(MOMENT_S):
                self.wfile.write(byte)
        raise ConnectionAbortedError

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = answer  # noqa: N815 - names of the base class

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class FaultyGoogle(FaultyStorage):
    """Plays Google Cloud Storage."""

    @staticmethod
    def reads_object(method: str, path: str) -> bool:
        return "alt=media" in path

    def usual(self) -> tuple[dict[str, str], bytes]:
        crc32c = base64.b64encode(bytes.fromhex(checksum(self.stored))).decode()
        told = {"name": "a", "size": len(self.stored), "crc32c": crc32c, "items": []}
        return {"Content-Type": "application/json"}, json.dumps(told).encode()


class FaultyS3(FaultyStorage):
    """Plays S3."""

    keeps_checksums: ClassVar[bool] = True

    @staticmethod
    def reads_object(method: str, path: str) -> bool:
        return method == "GET" and "list-type" not in path

    def usual(self) -> tuple[dict[str, str], bytes]:
        if "list-type" in self.path:
            return {}, b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        crc32c = base64.b64encode(bytes.fromhex(checksum(self.stored))).decode()
        md5 = hashlib.md5(self.stored, usedforsecurity=False).hexdigest()
        headers = {"ETag": f'"{md5}"', "Last-Modified": "Mon, 30 Nov 2026 12:00:00 GMT"}
        if self.keeps_checksums:
            headers["x-amz-checksum-crc32c"] = crc32c
        return headers, self.stored if self.command == "HEAD" else b""


class QuietServer(http.server.ThreadingHTTPServer):
    """A server that says nothing of connections that were cut."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serving(handler: type[FaultyStorage]) -> Iterator[str]:
    """The address of a server."""
    with QuietServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


CALLS = {
    "read": lambda store: store.read("a"),
    "read_range": lambda store: store.read_range("a", 0, 6),
    "write": lambda store: store.write("a", b"data"),
    "stat": lambda store: store.stat("a"),
    "list": lambda store: list(store.list()),
    "exists": lambda store: store.exists(),
    "delete": lambda store: store.delete("a"),
}


@contextlib.contextmanager
def slow_line(host: str, port: int, bytes_per_s: int) -> Iterator[str]:
    """A line to a server that lets so many bytes a second pass, each way and on each connection."""
    ends: list[socket.socket] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(bytes_per_s // 20):
                time.sleep(len(piece) / bytes_per_s)
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listening.accept()
                far = socket.create_connection((host, port))
                ends.extend((near, far))
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=(source, target), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # else megabytes wait in the system's buffers
            listening.setsockopt(socket.SOL_SOCKET, option, 1 << 17)
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)
            for end in ends:
                end.close()


@contextlib.contextmanager
def encrypted_server(folder: Path, handler: type[FaultyStorage]) -> Iterator[str]:
    """The address of a server whose certificate it has signed itself."""
    make = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=127.0.0.1",
        "-days",
        "1",
    ]
    made = subprocess.run(
        [*make, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("needs openssl")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    with QuietServer(("127.0.0.1", 0), handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
