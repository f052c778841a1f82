"""What only a bucket does: metadata, permissions, retries.

Faults come from a small server that plays storage.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import pytest
import requests
import tensorstore as ts
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.storage import gcs, pace
from components.shared.storage.gcs import RETRY, GcsStore
from components.shared.storage.gcs_failures import failures
from components.shared.storage.pace import JoinedParts
from components.shared.storage.store import READS, ObjectChangedError, ObjectMissingError, checksum


def blob_of(bucket: str, name: str) -> Any:
    from google.cloud import storage

    return storage.Client(project="test").bucket(bucket).get_blob(name)


@pytest.mark.parametrize(
    ("key", "content_type"),
    [
        ("info", "application/json"),
        ("process/plan.json", "application/json"),
        ("report/index.html", "text/html; charset=utf-8"),
        ("slices.jsonl", "application/jsonl"),
        ("preview.png", "image/png"),
        ("8_8_8/0.shard", "application/octet-stream"),
        ("8_8_8/info/0", "application/octet-stream"),
    ],
)
def test_viewers_get_the_right_type_and_no_transcoding(bucket: str, key: str, content_type: str) -> None:
    GcsStore(f"gs://{bucket}/run").write(key, b"{}")
    blob = blob_of(bucket, f"run/{key}")
    assert blob.content_type == content_type
    assert blob.content_encoding is None
    assert blob.cache_control == ("no-cache" if content_type != "application/octet-stream" else None)


def test_a_shard_larger_than_one_request_is_whole(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is sent at a time is held twice, so it is little."""
    sent_bytes = []
    read = JoinedParts.readinto

    def note(parts: JoinedParts, buffer: bytearray) -> int:
        sent_bytes.append(len(buffer))
        return read(parts, buffer)

    monkeypatch.setattr(JoinedParts, "readinto", note)
    data = os.urandom(1 << 20) * 37  # above 8 MiB the upload is resumable
    store = GcsStore(f"gs://{bucket}")
    store.write("0.shard", data[:5], data[5:])
    found = store.stat("0.shard")
    assert found is not None
    assert (found.size_bytes, found.crc32c) == (len(data), checksum(data))
    assert store.read_range("0.shard", len(data) - 5, len(data)) == data[-5:]
    assert max(sent_bytes) == 16 << 20


def test_the_root_is_the_prefix(bucket: str) -> None:
    whole = GcsStore(f"gs://{bucket}/")
    part = GcsStore(f"gs://{bucket}/run/one/")
    assert (whole.uri, part.uri) == (f"gs://{bucket}", f"gs://{bucket}/run/one")
    part.write("a", b"x")
    whole.write("run/one.more", b"y")
    assert [found.key for found in whole.list()] == ["run/one.more", "run/one/a"]
    assert [found.key for found in part.list()] == ["a"]


def test_folder_placeholders_are_no_objects(bucket: str) -> None:
    from google.cloud import storage

    storage.Client(project="test").bucket(bucket).blob("run/sub/").upload_from_string(b"")
    assert list(GcsStore(f"gs://{bucket}/run").list()) == []


def test_a_missing_bucket_is_named(gcs_emulator: str) -> None:
    store = GcsStore("gs://no-such-bucket/run")
    assert not store.exists()
    assert store.stat("a") is None
    for call in (lambda: store.write("a", b"x"), lambda: list(store.list()), lambda: store.read("a")):
        with pytest.raises(UserError, match=r"no-such-bucket.*Check"):
            call()


@pytest.mark.parametrize(
    "uri",
    ["gs://", "gs://UPPER/x", "gs://ab", "gs://a b c/x", "gs://-abc", "gs://bucket/../x", "gs://bucket//x"],
)
def test_bad_names_are_refused(uri: str) -> None:
    with pytest.raises(UserError, match="must"):
        GcsStore(uri)


def test_an_emulator_of_one_library_is_that_of_both(
    gcs_emulator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENSORSTORE_GCS_HTTP_URL")
    monkeypatch.delenv("TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS", raising=False)
    GcsStore("gs://any-bucket")
    assert os.environ["TENSORSTORE_GCS_HTTP_URL"] == gcs_emulator
    assert int(os.environ["TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS"]) > 0


# Faults


STALL = "body that stops"
RESET = "reset"
DRIBBLE = "body, a byte a moment"
DRIBBLED_HEAD = "head, a byte a moment"
UNENDING = (STALL, DRIBBLE, DRIBBLED_HEAD)
MOMENT_S = 0.05


class FaultyStorage(http.server.BaseHTTPRequestHandler):
    """Answers each request with the next item of the script, the last one for ever.

    An item is a status, a fault by its name, or the bytes of a body that takes the place of JSON.
    """

    script: ClassVar[list[int | str | bytes]]
    requests: ClassVar[list[str]]
    bodies: ClassVar[list[bytes]]
    stored: ClassVar[bytes]
    arriving: ClassVar[list[bytes]]
    """What arrives of the object, one read after the other, before it arrives as it is stored."""
    released: ClassVar[threading.Event]

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
            return
        if item == STALL:
            self.stall()
            return
        crc32c = base64.b64encode(bytes.fromhex(checksum(self.stored))).decode()
        body = json.dumps({"name": "a", "size": len(self.stored), "crc32c": crc32c, "items": []}).encode()
        if "alt=media" in self.path:
            body = self.arriving.pop(0) if self.arriving else self.stored
        elif isinstance(item, bytes):
            body = item
        if item == DRIBBLED_HEAD:
            self.dribble(b"HTTP/1.1 200 OK\r\nX: ", b"x")
        self.send_response(item if isinstance(item, int) else 200)
        self.send_header("Content-Type", "application/json")
        if isinstance(item, int) and 300 <= item < 400:
            self.send_header("Location", self.path)
        self.send_header("Content-Length", str(len(body) if item != DRIBBLE else 1_000_000))
        self.end_headers()
        if item == DRIBBLE:
            self.dribble(b"", b" ")
        self.wfile.write(body)

    def stall(self) -> None:
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

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of the base class

    def log_message(self, *args: object) -> None:
        """Say nothing."""


class QuietServer(http.server.ThreadingHTTPServer):
    """A server that says nothing of connections that were cut."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def faulty_server() -> Iterator[str]:
    """One server for all tests of this file, so that they share a client."""
    with QuietServer(("127.0.0.1", 0), FaultyStorage) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def faulty(faulty_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyStorage]]:
    """A server that fails as its script says, and stores whose retries do not wait long."""
    FaultyStorage.script, FaultyStorage.requests, FaultyStorage.stored = [200], [], b"stored"
    FaultyStorage.bodies, FaultyStorage.arriving = [], []
    FaultyStorage.released = threading.Event()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", faulty_server)
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", faulty_server)
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(0.5))
    monkeypatch.setattr(
        gcs, "_READ_RETRIES", {"max_retries": 3, "initial_delay": "10ms", "max_delay": "50ms"}
    )
    yield FaultyStorage
    FaultyStorage.released.set()


CALLS = {
    "read": lambda store: store.read("a"),
    "read_range": lambda store: store.read_range("a", 0, 6),
    "write": lambda store: store.write("a", b"data"),
    "stat": lambda store: store.stat("a"),
    "list": lambda store: list(store.list()),
    "exists": lambda store: store.exists(),
    "delete": lambda store: store.delete("a"),
}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("name", CALLS)
def test_what_may_pass_is_tried_again(
    faulty: type[FaultyStorage], name: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_timeout(10))  # a busy machine is no lasting failure
    faulty.script = [status, status, 200]
    CALLS[name](GcsStore("gs://bucket/run"))
    assert len(faulty.requests) == (4 if name == "read" else 3)  # the last compares checksums


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, 520, RESET, *UNENDING], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_a_lasting_failure_is_transient_and_ends(
    faulty: type[FaultyStorage], name: str, fault: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """520 stands for a status that is no standard: tensorstore would abort the process."""
    monkeypatch.setattr(gcs, "TIMEOUT_S", 0.2)
    monkeypatch.setenv(pace.STALLED, "0.2")
    faulty.script = [fault]
    started = time.monotonic()
    with pytest.raises(TransientError, match=r"gs://bucket/run.*Try again") as caught:
        CALLS[name](GcsStore("gs://bucket/run"))
    assert caught.value.exit_code == 75
    assert time.monotonic() - started < 5
    assert len(faulty.requests) > (0 if fault == 520 else 1)


@pytest.mark.parametrize("name", ["read", "read_range", "write"])
def test_a_slow_transfer_that_goes_on_is_waited_for(
    gcs_emulator: str, bucket: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4 MB at 600 kB/s, with a timeout of 3 s: it takes twice that."""
    host, port = gcs_emulator.removeprefix("http://").split(":")
    data = os.urandom(4_000_000)
    GcsStore(f"gs://{bucket}").write("a", data)
    monkeypatch.setattr(gcs, "TIMEOUT_S", 3)
    monkeypatch.setenv(pace.STALLED, "3")
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_timeout(1))  # there is one try
    with slow_line(host, int(port), 600_000) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        store = GcsStore(f"gs://{bucket}")
        started = time.monotonic()
        if name == "write":
            store.write("b", data)
        else:
            assert (store.read("a") if name == "read" else store.read_range("a", 0, 10**9)) == data
        assert time.monotonic() - started > 4


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


NO_JSON = {
    "empty": b"",
    "a page": b"<!doctype html><title>Log in</title>",
    "half": b'{"items": [{"name": "run/a", "si',
    "a list": b"[]",
    "null": b"null",
    "too deep": b"[" * 100_000,
    "items of another kind": b'{"items": 7, "size": {}}',
    "an item of another kind": b'{"items": [7], "size": []}',
    "no size": b'{"items": [{"name": "run/a"}], "name": "run/a"}',
    "no name": b'{"items": [{"size": "6"}]}',
    "a name elsewhere": b'{"items": [{"name": "other/a", "size": "6"}]}',
    "a size that is none": b'{"items": [{"name": "run/a", "size": "many"}], "size": "many"}',
    "a negative size": b'{"items": [{"name": "run/a", "size": "-6"}], "size": "-6"}',
    "short checksum": b'{"items": [{"name": "run/a", "size": 6, "crc32c": "AA=="}], "size": ""}',
    "no checksum": b'{"items": [{"name": "run/a", "size": 6, "crc32c": "A"}], "size": 6, "crc32c": "A"}',
    "no time": b'{"items": [{"name": "run/a", "size": 6, "updated": "now"}], "size": 6, "updated": "now"}',
    "pages without an end": b'{"items": [], "nextPageToken": "again"}',
}
ONLY_IN_LISTS = (NO_JSON["no name"], NO_JSON["a name elsewhere"])


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON.keys())
def test_an_answer_that_is_none_is_one_sentence(faulty: type[FaultyStorage], body: bytes) -> None:
    """Not an empty list, nor a record without a size: a proxy, or a page to log in, has answered."""
    faulty.script = [body]
    told_by = ["list"] if body in ONLY_IN_LISTS else ["list", "stat"]
    for name in (
        told_by if body.startswith(b"{") and body != NO_JSON["half"] else [*told_by, "write", "exists"]
    ):
        faulty.requests.clear()
        with pytest.raises(TransientError, match="storage must answer as its interface says; got ") as caught:
            CALLS[name](GcsStore("gs://bucket/run"))
        assert "Try again" in str(caught.value)
        assert len(str(caught.value)) < 700
        assert len(faulty.requests) <= 3


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["read", "read_range", "write", "stat", "list", "exists"])
def test_redirections_end_with_a_sentence(faulty: type[FaultyStorage], name: str, status: int) -> None:
    """A page to log in, mostly; tensorstore would abort the process."""
    faulty.script = [status]
    with pytest.raises(TransientError, match=r"got redirections.*login page|storage must answer"):
        CALLS[name](GcsStore("gs://bucket/run"))
    assert len(faulty.requests) < 12


@pytest.mark.parametrize("name", CALLS)
def test_a_name_that_nobody_knows_is_named(
    faulty: type[FaultyStorage], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://no-such-host.invalid")
    with pytest.raises(TransientError, match=r"'no-such-host.invalid' is not known; check the network"):
        CALLS[name](GcsStore("gs://bucket/run"))


@pytest.mark.parametrize(
    "address", ["127.0.0.1:4443", "ftp://127.0.0.1", "http://", "http://[", "http://a b"]
)
def test_an_address_that_is_none_is_a_matter_of_configuration(
    faulty: type[FaultyStorage], address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    for call in CALLS.values():
        with pytest.raises(ConfigError, match="STORAGE_EMULATOR_HOST"):
            call(GcsStore("gs://bucket/run"))


@pytest.mark.parametrize("name", CALLS)
def test_a_certificate_that_nobody_trusts_is_named_at_once(
    faulty: type[FaultyStorage], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with encrypted_server(tmp_path) as url:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
        monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_timeout(30))
        started = time.monotonic()
        with pytest.raises(UserError, match=r"certificate is not trusted .*REQUESTS_CA_BUNDLE"):
            CALLS[name](GcsStore("gs://bucket/run"))
        assert time.monotonic() - started < 5


@contextlib.contextmanager
def encrypted_server(folder: Path) -> Iterator[str]:
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
    with QuietServer(("127.0.0.1", 0), FaultyStorage) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_login_that_expires_in_the_middle_is_named(faulty: type[FaultyStorage]) -> None:
    store = GcsStore("gs://bucket/run")
    assert store.read("a") == b"stored"
    faulty.script = [401]
    for call in CALLS.values():
        with pytest.raises(UserError, match=r"login is not accepted, or has expired.*Log in with 'gcloud"):
            call(store)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (auth.RefreshError(auth.TransportError("metadata server unavailable")), TransientError),
        (auth.RefreshError("invalid_grant: Bad Request"), UserError),
    ],
)
def test_a_login_that_nobody_could_be_asked_for_may_pass(error: Exception, expected: type[Exception]) -> None:
    with (
        pytest.raises(expected, match=r"unavailable|invalid_grant"),
        failures("cannot read gs://b/a", "b", "x"),
    ):
        raise error


def refusal(reason: str, message: str) -> bytes:
    return json.dumps({"error": {"code": 403, "message": message, "errors": [{"reason": reason}]}}).encode()


@pytest.mark.parametrize(
    ("reason", "error", "says"),
    [
        ("forbidden", UserError, "permission denied. Grant storage"),
        ("accountDisabled", UserError, r"permission denied \(The billing account is closed\)"),
        ("rateLimitExceeded", TransientError, r"403 Forbidden \(The billing account is closed\). Try again"),
        ("userRateLimitExceeded", TransientError, "Try again"),
    ],
)
def test_what_storage_says_of_a_refusal_is_told(reason: str, error: type[Exception], says: str) -> None:
    answer = requests.Response()
    answer.status_code = 403
    answer._content = refusal(reason, "The billing account is closed.")
    answer.request = requests.Request("GET", "http://storage").prepare()
    grant = "storage.objects.get"
    with pytest.raises(error, match=says), failures("cannot read gs://b/a", "b", grant):
        raise api.from_http_response(answer)


@pytest.mark.parametrize(
    "error", [AttributeError("x"), KeyError("x"), TypeError("x"), RuntimeError(), OSError()]
)
def test_whatever_a_library_raises_is_one_sentence(error: Exception) -> None:
    sentence = r"^cannot read gs://b/a: .+\. Try again\.$"
    with pytest.raises(TransientError, match=sentence), failures("cannot read gs://b/a", "b", "x"):
        raise error


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("name", CALLS)
def test_a_missing_permission_is_named_at_once(faulty: type[FaultyStorage], name: str, status: int) -> None:
    faulty.script = [status]
    started = time.monotonic()
    with pytest.raises(
        UserError, match=r"(Grant storage\.objects\.\w+.* on the bucket 'bucket'|Log in with)"
    ):
        CALLS[name](GcsStore("gs://bucket/run"))
    assert time.monotonic() - started < 5
    assert len(faulty.requests) <= 2


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_request_is_not_repeated(faulty: type[FaultyStorage], name: str) -> None:
    faulty.script = [400]
    with pytest.raises(UserError, match="gs://bucket/run"):
        CALLS[name](GcsStore("gs://bucket/run"))
    assert len(faulty.requests) == 1


def test_an_absent_object_is_not_looked_for_again(faulty: type[FaultyStorage]) -> None:
    faulty.script = [404]
    with pytest.raises(ObjectMissingError, match="gs://bucket/run/a"):
        GcsStore("gs://bucket/run").read("a")
    assert len(faulty.requests) == 1


@pytest.mark.parametrize("name", ["write", "stat", "list", "exists", "delete"])
def test_a_call_that_is_not_answered_is_made_again(
    faulty: type[FaultyStorage], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(gcs, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_timeout(10))  # a busy machine is no lasting failure
    faulty.script = [STALL, 200]
    started = time.monotonic()
    CALLS[name](GcsStore("gs://bucket/run"))
    assert time.monotonic() - started < 10
    assert len(faulty.requests) == 1  # the one that was answered in full


def test_many_threads_share_the_connections(
    faulty: type[FaultyStorage], caplog: pytest.LogCaptureFixture
) -> None:
    store = GcsStore("gs://bucket/run")
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(store.stat, [f"{n}" for n in range(200)]))
    assert len(faulty.requests) == 200
    assert "pool is full" not in caplog.text


class SlowStorage(http.server.BaseHTTPRequestHandler):
    """Answers each request after a tenth of a second, and counts those that wait for it."""

    in_flight: ClassVar[set[str]]
    most: ClassVar[int]

    def do_GET(self) -> None:
        self.in_flight.add(self.path)
        SlowStorage.most = max(self.most, len(self.in_flight))
        time.sleep(0.1)
        self.in_flight.discard(self.path)
        self.send_response(200)
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"stored")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_up_to_32_reads_are_in_flight_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    SlowStorage.in_flight, SlowStorage.most = set(), 0
    monkeypatch.setattr(http.server.ThreadingHTTPServer, "request_queue_size", 64)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowStorage) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")
        objects = ts.KvStore.open(GcsStore("gs://bucket").kvstore()).result()
        reads = [objects.read(f"{n}", byte_range=slice(0, 6)) for n in range(200)]
        assert {read.result().value for read in reads} == {b"stored"}
        server.shutdown()
        thread.join()
    assert 24 < SlowStorage.most <= 32  # all 32, unless this machine is busy


def test_no_answer_at_all_is_transient(faulty: type[FaultyStorage], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("STORAGE_EMULATOR_HOST", "TENSORSTORE_GCS_HTTP_URL"):
        monkeypatch.setenv(variable, "http://127.0.0.1:1")
    for call in CALLS.values():
        with pytest.raises(TransientError, match="gs://bucket/run"):
            call(GcsStore("gs://bucket/run"))


@pytest.mark.parametrize("stored", [b"data", b"other"])
def test_a_repeated_write_that_may_not_replace_is_done_if_its_bytes_are_there(
    faulty: type[FaultyStorage], stored: bytes
) -> None:
    """The first answer is lost, although the object is written; then the repetition is refused."""
    faulty.script = [503, 403, 200]
    faulty.stored = stored
    expected = contextlib.nullcontext() if stored == b"data" else pytest.raises(UserError, match="Grant")
    with expected:
        GcsStore("gs://bucket/run").write("a", b"data")
    assert [request.split()[0] for request in faulty.requests] == ["POST", "POST", "GET"]


@pytest.mark.parametrize("crc32c", [None, checksum(b"stored")], ids=["checksum unknown", "checksum known"])
def test_what_is_damaged_on_its_way_is_read_again(faulty: type[FaultyStorage], crc32c: str | None) -> None:
    faulty.arriving = [b"stoRed", b"store", b"\0tored"]
    assert GcsStore("gs://bucket/run").read("a", crc32c) == b"stored"
    assert sum("alt=media" in request for request in faulty.requests) == 4


@pytest.mark.parametrize("crc32c", [None, checksum(b"stored")], ids=["checksum unknown", "checksum known"])
def test_what_always_arrives_damaged_is_named_and_may_pass(
    faulty: type[FaultyStorage], crc32c: str | None
) -> None:
    faulty.arriving = [b"stoRed"] * 99
    with pytest.raises(TransientError, match=r"gs://bucket/run/a must arrive as it is stored.*Try again"):
        GcsStore("gs://bucket/run").read("a", crc32c)
    assert sum("alt=media" in request for request in faulty.requests) == READS


@pytest.mark.parametrize("call", [lambda store: store.read("a"), lambda store: store.read_range("a", 2, 4)])
def test_an_object_that_storage_unpacks_is_refused(
    faulty: type[FaultyStorage], call: Callable[[GcsStore], bytes]
) -> None:
    """An object of `gsutil cp -Z` is sent unpacked by storage, and whole where a range was asked for."""
    packed = {"name": "a", "size": 4, "crc32c": "4waSgw==", "contentEncoding": "gzip"}
    faulty.script = [json.dumps(packed).encode()]
    with pytest.raises(
        UserError, match=r"gs://bucket/run/a must be stored without Content-Encoding; got 'gzip'"
    ):
        call(GcsStore("gs://bucket/run"))
    assert sum("alt=media" in request for request in faulty.requests) == 1


def test_another_content_is_no_damage_on_the_way(faulty: type[FaultyStorage]) -> None:
    with pytest.raises(ObjectChangedError, match=r"keep its crc32c 00000000; got \w{8} in gs://bucket/run/a"):
        GcsStore("gs://bucket/run").read("a", "00000000")
    assert len(faulty.requests) == 2  # at once: what arrived is what is stored


def test_a_known_checksum_costs_no_request(faulty: type[FaultyStorage]) -> None:
    assert GcsStore("gs://bucket/run").read("a", checksum(b"stored")) == b"stored"
    assert len(faulty.requests) == 1


def test_an_upload_declares_its_checksum(faulty: type[FaultyStorage]) -> None:
    """Storage refuses an upload that was damaged on its way; the emulator does not look."""
    GcsStore("gs://bucket/run").write("a", b"123456789")
    assert b'"crc32c": "4waSgw=="' in faulty.bodies[0]


def test_no_request_asks_for_the_bucket_itself(faulty: type[FaultyStorage]) -> None:
    """A worker has permissions on objects only."""
    store = GcsStore("gs://bucket/run")
    for call in CALLS.values():
        call(store)
    time.sleep(0.1)  # telemetry would ask in the background
    assert all("/o" in request for request in faulty.requests)


STALLED = """
from components.shared.storage import gcs
gcs._ENVIRONMENT["TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS"] = "1"
print(gcs.GcsStore("gs://bucket").read("a").decode())
"""


def test_a_body_that_stops_arriving_is_asked_for_again(
    faulty: type[FaultyStorage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, since tensorstore looks at the limit once."""
    for name in gcs._ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    faulty.script = [STALL, 200]
    reader = subprocess.run(
        [sys.executable, "-c", STALLED], capture_output=True, text=True, timeout=50, check=False
    )
    assert reader.stdout == "stored\n", reader.stderr
    assert len(faulty.requests) == 2  # the one that was answered in full, and one for the checksum


def test_tensorstore_tries_for_two_minutes_as_the_other_requests_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://127.0.0.1:1")
    tries = GcsStore("gs://bucket").kvstore()["gcs_request_retries"]
    first_s, longest_s = (float(tries[key].removesuffix("s")) for key in ("initial_delay", "max_delay"))
    pauses_s = [min(first_s * 2**n, longest_s) for n in range(tries["max_retries"])]
    assert sum(pauses_s) == pytest.approx(RETRY.timeout, rel=0.1)
