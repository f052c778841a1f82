"""Serves volumes to a viewer on this machine, from folders or, with the user's own credentials, from buckets.

The viewer runs in the user's browser, which has no credentials for a private bucket; this program has. It
answers on loopback alone, unless the user says otherwise, below a path that nobody can guess, and reads
nothing but the volumes.
"""

from __future__ import annotations

import re
import secrets
import socket
import threading
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from components.shared.errors import TransientError, UserError
from components.shared.storage.store import ObjectMissingError, Store

LOOPBACK = "127.0.0.1"
_EVERY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - of all networks, which the user asks for
_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]+)")
_IDLE_S = 60
"""Seconds that a browser may say nothing before its connection is closed."""
_LARGEST_POSITION = 2**63 - 1
"""Last byte of the largest file that there can be; storage cannot be asked for bytes further on."""
_HEADERS = {
    # The viewer's page comes from another port, which counts as another origin.
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "Range",
    "Access-Control-Expose-Headers": "Content-Range, Content-Length",
    "Accept-Ranges": "bytes",
}


def serve_stores(
    stores: Mapping[str, Store], host: str = LOOPBACK, port: int = 0, secret: str | None = None
) -> str:
    """Serve stores from background threads, as long as this process lives.

    Args:
        stores: by the name that stands for each in addresses.
        host: address of this machine at which they are served.
        port: 0 for any that is free.
        secret: the part of the address that nobody can guess; None for a new one.

    Returns:
        The address below which each lies under its name.
    """
    server = _Server((host, port), _Handler)
    server.stores = stores
    server.secret = secret or server.secret
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://{_told_host(host)}:{server.server_port}/{server.secret}"


def _told_host(host: str) -> str:
    """The name by which others reach an address of this machine, as neuroglancer tells it for its page."""
    return socket.getfqdn() if host in _EVERY_ADDRESS else host


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    stores: Mapping[str, Store]

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - the base class's arguments
        super().__init__(*args)
        self.secret = secrets.token_urlsafe(16)

    def find(self, path: str) -> tuple[Store, str]:
        """The store and the key of a path.

        Raises:
            ObjectMissingError: it names none, or does not hold the secret.
        """
        _, given, name, key = [*unquote(path).split("/", 3), "", "", ""][:4]
        if not secrets.compare_digest(given.encode(), self.secret.encode()) or name not in self.stores:
            raise ObjectMissingError("there is nothing here")
        return self.stores[name], key

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - the base class's
        """Say nothing: a browser drops what it no longer needs, and the terminal is the user's."""


def _position(digits: str) -> int:
    """The place of a byte, however many digits it is told with."""
    digits = digits.lstrip("0") or "0"
    is_short = len(digits) < len(str(_LARGEST_POSITION))
    return int(digits) if is_short else _LARGEST_POSITION


class _Handler(BaseHTTPRequestHandler):
    """Answers whole objects, and ranges `bytes=first-last` of them: what neuroglancer asks for."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: _Server

    def do_OPTIONS(self) -> None:
        self._answer(HTTPStatus.NO_CONTENT)

    def do_HEAD(self) -> None:
        self._answer_from_store()

    def do_GET(self) -> None:
        self._answer_from_store()

    def _answer_from_store(self) -> None:
        try:
            store, key = self.server.find(urlsplit(self.path).path)
            asked = _RANGE.fullmatch(self.headers.get("Range", ""))
            if self.command == "HEAD":
                self._answer_size(store, key)
            elif asked:
                self._answer_part(store, key, _position(asked[1]), _position(asked[2]) + 1)
            else:
                self._answer(HTTPStatus.OK, store.read(key))
        except ObjectMissingError:
            self._answer(HTTPStatus.NOT_FOUND)
        except UserError as error:
            self._answer(HTTPStatus.FORBIDDEN, str(error).encode())
        except TransientError as error:
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, str(error).encode())

    def _answer_size(self, store: Store, key: str) -> None:
        stat = store.stat(key)
        if stat is None:
            self._answer(HTTPStatus.NOT_FOUND)
        else:
            self._answer(HTTPStatus.OK, length=stat.size_bytes)

    def _answer_part(self, store: Store, key: str, start: int, stop: int) -> None:
        stop = min(stop, _LARGEST_POSITION)
        data = store.read_range(key, start, max(start, stop))
        if not data:
            self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            return
        # The size of the whole is left open, since asking a bucket for it would take another request.
        told = {"Content-Range": f"bytes {start}-{start + len(data) - 1}/*"}
        self._answer(HTTPStatus.PARTIAL_CONTENT, data, told)

    def _answer(
        self,
        status: HTTPStatus,
        data: bytes = b"",
        headers: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> None:
        self.send_response(status)
        for header, value in {**_HEADERS, **(headers or {})}.items():
            self.send_header(header, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002, ANN401 - the base class's signature
        """Say nothing: the terminal is the user's."""
