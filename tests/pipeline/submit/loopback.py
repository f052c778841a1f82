"""A server on loopback that answers as a test tells it, and remembers what it was asked."""

import contextlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """What the server was asked."""

    method: str
    path: str
    query: dict[str, str]
    body: Any
    headers: dict[str, str]


@dataclass
class Answer:
    """What it answers; `body` is JSON, or text as it is."""

    body: Any
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Loopback:
    """The server's address, what was asked, and the rules of its answers: the newest that fits counts."""

    url: str
    requests: list[Request] = field(default_factory=list)
    rules: list[tuple[str, re.Pattern[str], Callable[..., Any]]] = field(default_factory=list)

    def on(self, method: str, path: str, answer: Any) -> None:
        """Answer a path (a regular expression) with an `Answer`, JSON, or what a function returns."""
        function = answer if callable(answer) else lambda *_: answer
        self.rules.insert(0, (method, re.compile(path), function))

    def asked(self, method: str, path: str) -> list[Request]:
        """The requests so far to a path (a regular expression)."""
        return [r for r in self.requests if r.method == method and re.fullmatch(path, r.path)]

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        for method, path, function in self.rules:
            found = path.fullmatch(request.path)
            if method == request.method and found:
                answer = function(request, *found.groups())
                return answer if isinstance(answer, Answer) else Answer(answer)
        return Answer({"error": f"no rule for {request.method} {request.path}"}, 501)


def serve() -> tuple[Loopback, ThreadingHTTPServer]:
    """Start a server; `shutdown` and `server_close` stop it."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_any(self) -> None:
            parts = urlsplit(self.path)
            length = int(self.headers.get("Content-Length") or 0)
            data = self.rfile.read(length)
            answer = loopback.answer(
                Request(
                    method=self.command,
                    path=parts.path,
                    query={key: values[0] for key, values in parse_qs(parts.query).items()},
                    body=json.loads(data) if data else None,
                    headers={key.lower(): value for key, value in self.headers.items()},
                )
            )
            is_text = isinstance(answer.body, str)
            body = answer.body.encode() if is_text else json.dumps(answer.body).encode()
            self.send_response(answer.status)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            with contextlib.suppress(ConnectionError):  # who asked may have given up
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_any  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    loopback = Loopback(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    return loopback, server
