"""Serves this folder to browsers with ranges, which a sharded volume is read in.

It needs Python 3.8 or newer and nothing else. Only this machine is answered unless --host says otherwise.
"""

import argparse
import contextlib
import os
import re
import sys
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO, Optional

LOOPBACK = "127.0.0.1"
PIECE_BYTES = 1 << 20
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


class Handler(SimpleHTTPRequestHandler):
    """Answers files, and one range of a file."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    extensions_map = {  # noqa: RUF012 - as the base class has it
        **SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".json": "application/json",
        ".py": "text/plain",
    }
    left: Optional[int] = None  # noqa: UP045 - for Python 3.8
    """Bytes to send; None for all that is left of the file."""

    def do_OPTIONS(self) -> None:
        self.send_response(HTTPStatus.NO_CONTENT)
        self.end_headers()

    def send_head(self):  # type: ignore[no-untyped-def]  # noqa: ANN201 - the base class's
        """The open file at the first byte to send, behind the header; None where there is none to send."""
        self.left = None
        path = Path(self.translate_path(self.path))
        asked = RANGE.fullmatch(self.headers.get("Range", "").strip())
        if asked is None or not any(asked.groups()) or not path.is_file():
            return super().send_head()
        size = path.stat().st_size
        first, last = asked.groups()
        start = int(first) if first else max(0, size - int(last))
        stop = min(size, int(last) + 1 if first and last else size)
        if not start < stop:
            self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
            self.send_header("Content-Range", f"bytes */{size}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        file = path.open("rb")
        file.seek(start)
        self.left = stop - start
        self.send_response(HTTPStatus.PARTIAL_CONTENT)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.send_header("Content-Length", str(self.left))
        self.end_headers()
        return file

    def copyfile(self, source: BinaryIO, outputfile: BinaryIO) -> None:  # type: ignore[override]
        """Send what was promised of an open file."""
        if self.left is None:
            super().copyfile(source, outputfile)
            return
        while self.left > 0:
            piece = source.read(min(PIECE_BYTES, self.left))
            if not piece:
                self.close_connection = True
                return
            outputfile.write(piece)
            self.left -= len(piece)

    def end_headers(self) -> None:
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Access-Control-Allow-Headers", "Range")
        self.send_header("Access-Control-Expose-Headers", "Content-Range, Content-Length")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's
        """Say nothing: a page asks for hundreds of parts."""


class Server(ThreadingHTTPServer):
    """Answers each browser in a thread of its own."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a browser drops what it no longer needs."""


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8000, help="0 for any that is free; 8000 if not given")
    parser.add_argument(
        "--host",
        default=LOOPBACK,
        help="address to answer at: 0.0.0.0 for everybody who reaches this machine",
    )
    asked = parser.parse_args()
    folder = os.fspath(Path(__file__).resolve().parent)
    try:
        server = Server((asked.host, asked.port), partial(Handler, directory=folder))
    except (OSError, OverflowError) as error:
        sys.exit(
            f"error: the address must be free; got {asked.host}:{asked.port}: {error}. "
            "Use: python3 serve.py --port 0"
        )
    with contextlib.suppress(KeyboardInterrupt), server:
        print(f"http://{asked.host}:{server.server_port}/  Ctrl-C ends it.", flush=True)  # noqa: T201
        server.serve_forever()


if __name__ == "__main__":
    main()
