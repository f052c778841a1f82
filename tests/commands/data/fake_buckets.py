"""A server that knows buckets as storage does: labels, lifecycle rules, CORS, rights; and objects in them."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

from components.shared.storage.store import checksum


class FakeBuckets(http.server.BaseHTTPRequestHandler):
    """`buckets` by name, each a document of the API; `objects` by bucket and name, each with its bytes."""

    buckets: ClassVar[dict[str, dict[str, Any]]]
    objects: ClassVar[dict[str, dict[str, bytes]]]
    refused: ClassVar[set[str]]
    """Permissions that the caller does not have."""
    requests: ClassVar[list[tuple[str, str]]]

    def answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append((self.command, unquote(url.path)))
        status, document = self.respond(url.path, parse_qs(url.query), body)
        data = document if isinstance(document, bytes) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def respond(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        name, *below = [unquote(part) for part in path.split("/")[4:]]
        if name not in self.buckets:
            return 404, {"error": {"message": "no such bucket"}}
        bucket, objects = self.buckets[name], self.objects.setdefault(name, {})
        if below[:1] == ["iam"]:
            if "storage.buckets.get" in self.refused:
                return 403, {"error": {"message": "no"}}
            wanted = query.get("permissions", [])
            return 200, {"permissions": [p for p in wanted if p not in self.refused]}
        if below == ["o"]:
            if "storage.objects.list" in self.refused:
                return 403, {"error": {"message": "no"}}
            prefix = query.get("prefix", [""])[0]
            keys = sorted(key for key in objects if key.startswith(prefix))
            return 200, {"items": [{"name": key, "size": len(objects[key])} for key in keys]}
        if below[:1] == ["o"]:
            return self.respond_object(below[1], objects, query)
        if "storage.buckets.get" in self.refused:
            return 403, {"error": {"message": "no"}}
        if self.command == "DELETE":
            assert not objects, "storage removes no bucket that holds objects"
            del self.buckets[name]
            return 204, {}
        if self.command == "PATCH":
            bucket |= json.loads(body)
        return 200, {"name": name, "metageneration": "1", **bucket}

    def respond_object(
        self, key: str, objects: dict[str, bytes], query: dict[str, list[str]]
    ) -> tuple[int, Any]:
        if key not in objects:
            return 404, {"error": {"message": "no such object"}}
        if self.command == "DELETE":
            del objects[key]
            return 204, {}
        if query.get("alt") == ["media"]:
            return 200, objects[key]
        crc32c = base64.b64encode(bytes.fromhex(checksum(objects[key]))).decode()
        return 200, {"name": key, "size": len(objects[key]), "crc32c": crc32c}

    do_GET = do_POST = do_DELETE = do_PATCH = answer  # noqa: N815 - names of the base class

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def serve_buckets() -> Iterator[str]:
    """The URL of an empty server; `FakeBuckets` holds what it knows."""
    FakeBuckets.buckets, FakeBuckets.objects = {}, {}
    FakeBuckets.refused, FakeBuckets.requests = set(), []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FakeBuckets)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
