"""A proxy on the loopback in front of a server of gs:// or s3://: injects faults, checks rights, keeps a log.

Run as a program, in a process of its own. It listens at one port for each identity, so that a client needs
no token to be somebody, and prints the ports as one line of JSON. `POST /_rules` at any port sets the rules.

Whether a request meets a fault follows from a hash of the seed, the request and how often it was made, so a
client that asks the same meets the same, whatever else runs. After `most_in_a_row` faults a request passes,
so that everything ends. Standard library only.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import re
import socket
import struct
import sys
import time
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

REFUSALS = {
    "408": "Request Timeout",
    "429": "Too Many Requests",
    "500": "Internal",
    "502": "Bad Gateway",
    "503": "Unavailable",
    "504": "Gateway Timeout",
}
"""Answered without asking storage."""
ANY_REQUEST = (*REFUSALS, "reset", "truncated", "slow", "hung", "dribbled")
WRITES_ONLY = ("lost 503", "lost reset")
"""Storage has done what it was asked for, but the client hears of a failure."""
UPLOADS_ONLY = ("damaged",)
"""A bit of an upload is flipped on its way: a server that verifies what arrives refuses it."""
BODIES_ONLY = ("stalled", "flipped")
"""What happens to the bytes of an object that is read."""
SLOW_S = 0.05
DRIBBLE_S = 0.5
"""Pause between two bytes of an answer that dribbles."""
_OBJECT = re.compile(r"(?P<upload>/upload)?/storage/v1/b/(?P<bucket>[^/]+)(/o(/(?P<key>.+))?)?$")
_OBJECT_OF_S3 = re.compile(r"/(?P<bucket>[^/?]+)(/(?P<key>.*))?$")
_CODES_OF_S3 = {
    "403": "AccessDenied",
    "408": "RequestTimeout",
    "429": "TooManyRequests",
    "500": "InternalError",
    "503": "SlowDown",
}
"""Words of S3 for a status; a gateway in front of it, which answers 502 and 504, has none."""
_UPLOADED_NAME = re.compile(rb'"name":\s*"((?:[^"\\]|\\.)*)"')


@dataclass
class Rules:
    """What happens to requests."""

    seed: int = 0
    share: float = 0.0
    """Of the requests to which one of the kinds applies."""
    kinds: tuple[str, ...] = ()
    only: str = ""
    """Pattern of what a request must ask for to meet a fault."""
    most_in_a_row: int = 2
    stall_s: float = 60.0
    outage_s: float = 0.0
    """So long from now, nothing is answered but 503."""
    always: tuple[tuple[str, int], ...] = ()
    """Pattern of what a request asks for, status that answers it."""
    rights: dict[str, list[tuple[str, list[str]]]] = field(default_factory=dict)
    """Of an identity: a prefix `bucket/folder`, what may be done below it. Others may do all."""
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Request:
    """A request, and what it means to storage."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    bucket: str
    key: str
    operation: str
    """get (the bytes), stat, list, create, part (of a resumable upload), delete, or other."""
    scheme: str = "gs"

    @property
    def what(self) -> str:
        return f"{self.operation} {self.bucket}/{self.key}"

    @property
    def identity(self) -> str:
        """Text that repetitions of a request share; tensorstore adds a random parameter to each."""
        return f"{self.what} {self.headers.get('range', '')}"

    @property
    def billing(self) -> str:
        """Class A or B operation of Google's price list, or free."""
        return {"create": "A", "list": "A", "get": "B", "stat": "B", "other": "B"}.get(self.operation, "free")


@dataclass(frozen=True)
class Answer:
    status: int
    head: list[tuple[str, str]]
    body: bytes
    told_bytes: str = ""
    """Size of an object, in an answer without its bytes."""

    def encoded(self, asked_by: str) -> bytes:
        lines = [f"HTTP/1.1 {self.status} {REFUSALS.get(str(self.status), 'Status')}"]
        for name, value in self.head:
            # A resumable upload goes on at the address that it was begun at.
            shown = re.sub(r"//[^/]+", f"//{asked_by}", value, count=1) if name == "location" else value
            lines.append(f"{name}: {shown}")
        lines.append(f"content-length: {self.told_bytes or len(self.body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


class Proxy:
    """One for all ports."""

    def __init__(self, upstream: str, scheme: str, log: Path) -> None:
        self._scheme = scheme
        self._host, port = upstream.split(":")
        self._port = int(port)
        self._log = log.open("a", buffering=1)
        self._rules = Rules()
        self._times: Counter[str] = Counter()
        self._in_a_row: Counter[str] = Counter()

    async def serve(self, who: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until one of the two has enough."""
        upstream: Connection | None = None
        try:
            while (request := await read_request(self._scheme, reader, writer)) is not None:
                if upstream and not upstream.is_kept:
                    upstream.writer.close()
                    upstream = None
                upstream = upstream or await Connection.to(self._host, self._port)
                if not await self._handle(who, request, upstream, writer):
                    break
        except (OSError, EOFError, asyncio.IncompleteReadError):
            pass  # a client was killed, or gave up
        finally:
            for end in (writer, upstream and upstream.writer):
                if end:
                    end.close()

    async def _handle(
        self, who: str, request: Request, upstream: Connection, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; returns whether the connection is still good."""
        if request.target == "/_rules":
            self._rules = Rules(**json.loads(request.body))
            self._times.clear()
            self._in_a_row.clear()
            writer.write(Answer(200, [], b"{}").encoded(""))
            return True
        fault = self._fault(request)
        answer = await self._refusal(who, request, fault, upstream)
        if answer is None and fault != "reset":
            body = self._damaged(request, request.body) if fault == "damaged" else request.body
            signed_host = request.headers["host"] if request.scheme == "s3" else ""
            answer = await upstream.ask(request.method, request.target, request.headers, body, signed_host)
        self._note(who, request, answer, fault)
        if fault == "slow":
            await asyncio.sleep(SLOW_S)
        if fault == "hung":
            await asyncio.sleep(self._rules.stall_s)
            return False
        return await self._send(request, answer, fault, writer)

    async def _refusal(self, who: str, request: Request, fault: str, upstream: Connection) -> Answer | None:
        """The answer to a request that does not reach storage."""
        if fault in REFUSALS:
            return _refused(request, int(fault))
        for pattern, status in self._rules.always:
            if re.search(pattern, request.what):
                return _refused(request, status)
        if who in self._rules.rights and not await self._may(who, request, upstream):
            return _refused(request, 403, f"{who} may not {request.what}")
        return None

    async def _may(self, who: str, request: Request, upstream: Connection) -> bool:
        """Whether an identity has the right; replacing an object takes the right to delete it."""
        path = f"{request.bucket}/{request.key}"
        allowed = {
            right for prefix, rights in self._rules.rights[who] if path.startswith(prefix) for right in rights
        }
        needed = {"get": "get", "stat": "get", "part": "create"}.get(request.operation, request.operation)
        if needed not in allowed:
            return False
        if request.operation != "create" or "delete" in allowed:
            return True
        quoted = request.key.replace("%", "%25").replace("/", "%2F")
        found = await upstream.ask("GET", f"/storage/v1/b/{request.bucket}/o/{quoted}", {}, b"")
        return found.status == 404

    def _fault(self, request: Request) -> str:
        """Which fault this request meets; none is ''."""
        rules = self._rules
        if time.monotonic() < rules.since + rules.outage_s:
            return "503"
        kinds = [k for k in rules.kinds if _applies(k, request) and re.search(rules.only, request.what)]
        name = request.identity
        self._times[name] += 1
        hashed = hashlib.sha256(f"{rules.seed} {name} {self._times[name]}".encode()).digest()
        chance, choice = struct.unpack_from("<QQ", hashed)
        if not kinds or chance / 2**64 >= rules.share or self._in_a_row[name] >= rules.most_in_a_row:
            self._in_a_row[name] = 0
            return ""
        self._in_a_row[name] += 1
        return kinds[choice % len(kinds)]

    async def _send(
        self, request: Request, answer: Answer | None, fault: str, writer: asyncio.StreamWriter
    ) -> bool:
        """Send an answer, or what a fault makes of it; returns whether the connection is still good."""
        if answer is None or fault == "lost reset":
            reset(writer)
            return False
        if fault == "lost 503":
            answer = Answer(503, [], b"{}")
        if fault == "flipped" and answer.body and answer.status < 300:
            answer = Answer(answer.status, answer.head, self._damaged(request, answer.body))
        data = answer.encoded(request.headers.get("host", ""))
        if fault == "dribbled":
            for at in range(len(data)):
                writer.write(data[at : at + 1])
                await writer.drain()
                await asyncio.sleep(DRIBBLE_S)
            return False
        if fault in ("truncated", "stalled") and answer.body and answer.status < 300:
            writer.write(data[: len(data) - (len(answer.body) + 1) // 2])
            await writer.drain()
            if fault == "stalled":
                await asyncio.sleep(self._rules.stall_s)
            return False
        writer.write(data)
        await writer.drain()
        return True

    def _damaged(self, request: Request, data: bytes) -> bytes:
        """Bytes of which one has a bit flipped."""
        name = request.identity
        at = zlib.crc32(f"{self._rules.seed} {name} {self._times[name]}".encode()) % len(data)
        return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]

    def _note(self, who: str, request: Request, answer: Answer | None, fault: str) -> None:
        entry = {
            "s": round(time.monotonic() - self._rules.since, 3),
            "who": who,
            "operation": request.operation,
            "billing": request.billing,
            "bucket": request.bucket,
            "key": request.key,
            "range": request.headers.get("range", ""),
            "status": answer.status if answer else 0,
            "bytes": len(answer.body) if answer else 0,
            "fault": fault,
        }
        self._log.write(json.dumps(entry) + "\n")


def _refused(request: Request, status: int, message: str = "") -> Answer:
    """What a server says that does not do what it is asked for."""
    if request.scheme == "gs":
        told = {"error": {"code": status, "message": message}} if message else {}
        return Answer(status, [], json.dumps(told).encode())
    absent = "NoSuchKey" if request.operation in ("get", "stat") else "NoSuchBucket"
    code = absent if status == 404 else _CODES_OF_S3.get(str(status), "")
    if request.method == "HEAD" or not code:
        return Answer(status, [], b"")
    words = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    return Answer(status, [("content-type", "application/xml")], words.encode())


def _applies(kind: str, request: Request) -> bool:
    if kind in UPLOADS_ONLY:
        return request.operation == "create" and bool(request.body)
    if kind in WRITES_ONLY:
        return request.operation in ("create", "part", "delete")
    if kind in BODIES_ONLY:
        return request.operation == "get"
    return True


@dataclass
class Connection:
    """To the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    host: str
    is_kept: bool = True
    """The server takes a further request on it."""

    @classmethod
    async def to(cls, host: str, port: int) -> Connection:
        reader, writer = await asyncio.open_connection(host, port, limit=2**20)
        return cls(reader, writer, f"{host}:{port}")

    async def ask(
        self, method: str, target: str, headers: dict[str, str], body: bytes, host: str = ""
    ) -> Answer:
        kept = {k: v for k, v in headers.items() if k not in _BETWEEN_TWO}
        kept |= {"host": host or self.host, "content-length": str(len(body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in kept.items())
        self.writer.write(f"{method} {target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        await self.writer.drain()
        first, headers_back = await read_head(self.reader)
        version, code = first.split()[:2]
        status = int(code)
        self.is_kept = version != "HTTP/1.0" and headers_back.get("connection") != "close"
        found = (
            b"" if method == "HEAD" or status in (204, 304) else await read_body(self.reader, headers_back)
        )
        told_bytes = headers_back.get("content-length", "") if method == "HEAD" else ""
        head = [(k, v) for k, v in headers_back.items() if k not in _BETWEEN_TWO]
        return Answer(status, head, found, told_bytes)


_BETWEEN_TWO = {"connection", "content-length", "expect", "host", "keep-alive", "transfer-encoding"}
"""Headers that are about one connection."""


async def read_head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
    pairs = (line.partition(":") for line in lines)
    return first, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding") != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    body = b""
    while size := int(await reader.readline(), 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def read_request(
    scheme: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> Request | None:
    """The next request of a connection; None where it has ended."""
    try:
        first, headers = await read_head(reader)
    except asyncio.IncompleteReadError:
        return None
    if headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = await read_body(reader, headers)
    method, target, _ = first.split(" ", 2)
    parts = urlsplit(target)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    if scheme == "s3":
        found = _OBJECT_OF_S3.match(parts.path)
        bucket, key = (found["bucket"], unquote(found["key"] or "")) if found else ("", "")
        operation = _operation_of_s3(method, query, key)
        key = key or query.get("prefix", "")
        return Request(method, target, headers, body, bucket, key, operation, scheme)
    bucket, key, operation = "", "", "other"
    if match := _OBJECT.match(parts.path):
        bucket, key = match["bucket"], unquote(match["key"] or "")
        is_objects = "/o" in parts.path[match.end("bucket") :]
        operation = _operation(method, query, key, is_upload=bool(match["upload"]))
        if operation == "create" and not key:
            named = _UPLOADED_NAME.search(body)
            key = query.get("name") or (json.loads(b'"' + named[1] + b'"') if named else "")
        elif operation == "list":
            key = query.get("prefix", "")
        if not is_objects:
            operation = "other"  # of a bucket
    return Request(method, target, headers, body, bucket, key, operation)


def _operation(method: str, query: dict[str, str], key: str, *, is_upload: bool) -> str:
    if is_upload:
        return "part" if "upload_id" in query else "create"
    if method == "GET" and key:
        return "get" if query.get("alt") == "media" else "stat"
    return {"GET": "list", "DELETE": "delete"}.get(method, "other")


def _operation_of_s3(method: str, query: dict[str, str], key: str) -> str:
    if not key:
        return "list" if "list-type" in query else "other"
    if query.keys() - {"x-id", "partNumber"} and not any(name.startswith("X-Amz-") for name in query):
        return "other"  # of its tags, its parts
    return {"GET": "get", "HEAD": "stat", "PUT": "create", "DELETE": "delete"}.get(method, "other")


def reset(writer: asyncio.StreamWriter) -> None:
    """Cut a connection with a reset instead of an end."""
    end = writer.get_extra_info("socket")
    if end is not None:
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--upstream", required=True, help="host:port of the server")
    parser.add_argument("--scheme", required=True, choices=("gs", "s3"), help="of the server's URIs")
    parser.add_argument("--log", required=True, type=Path, help="file that gets a line of JSON a request")
    parser.add_argument("--identities", required=True, help="names, comma between")
    options = parser.parse_args()
    proxy = Proxy(options.upstream, options.scheme, options.log)
    ports = {}
    for who in options.identities.split(","):

        async def serve(r: asyncio.StreamReader, w: asyncio.StreamWriter, who: str = who) -> None:
            await proxy.serve(who, r, w)

        server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**20)
        ports[who] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
    sys.exit(0)
