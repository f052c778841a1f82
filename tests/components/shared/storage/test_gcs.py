"""What only a bucket does: metadata, permissions, retries.

Faults come from a small server that plays storage.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
import tensorstore as ts

from components.shared.errors import TransientError, UserError
from components.shared.storage import gcs
from components.shared.storage.gcs import GcsStore, JoinedParts
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


STALL = -1


class FaultyStorage(http.server.BaseHTTPRequestHandler):
    """Answers each request with the next status of the script, the last one for ever."""

    script: ClassVar[list[int]]
    requests: ClassVar[list[str]]
    bodies: ClassVar[list[bytes]]
    stored: ClassVar[bytes]
    arriving: ClassVar[list[bytes]]
    """What arrives of the object, one read after the other, before it arrives as it is stored."""
    released: ClassVar[threading.Event]

    def answer(self) -> None:
        if self.script[0] == STALL:
            self.script.pop(0)
            self.send_response(200)
            self.send_header("Content-Length", "6")
            self.end_headers()
            self.wfile.write(b"sto")
            self.wfile.flush()
            self.released.wait(60)
            return
        self.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.requests.append(f"{self.command} {self.path}")
        status = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        crc32c = base64.b64encode(bytes.fromhex(checksum(self.stored))).decode()
        body = json.dumps({"name": "a", "size": len(self.stored), "crc32c": crc32c, "items": []}).encode()
        if "alt=media" in self.path:
            body = self.arriving.pop(0) if self.arriving else self.stored
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = do_DELETE = answer  # noqa: N815 - names of the base class

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def faulty(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[FaultyStorage]]:
    """A server that fails as its script says, and stores whose retries do not wait long."""
    FaultyStorage.script, FaultyStorage.requests, FaultyStorage.stored = [200], [], b"stored"
    FaultyStorage.bodies, FaultyStorage.arriving = [], []
    FaultyStorage.released = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), FaultyStorage)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    monkeypatch.setenv("TENSORSTORE_GCS_HTTP_URL", url)
    monkeypatch.setenv("GOOGLE_AUTH_TOKEN_FOR_TESTING", "emulator")
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(0.5))
    monkeypatch.setattr(
        gcs, "_READ_RETRIES", {"max_retries": 3, "initial_delay": "10ms", "max_delay": "50ms"}
    )
    yield FaultyStorage
    FaultyStorage.released.set()
    server.shutdown()
    thread.join()
    server.server_close()


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


@pytest.mark.parametrize("status", [408, 429, 500, 503])
@pytest.mark.parametrize("name", CALLS)
def test_a_lasting_failure_is_transient_and_ends(faulty: type[FaultyStorage], name: str, status: int) -> None:
    faulty.script = [status]
    with pytest.raises(TransientError, match=r"gs://bucket/run.*Try again") as caught:
        CALLS[name](GcsStore("gs://bucket/run"))
    assert caught.value.exit_code == 75
    assert len(faulty.requests) > 2


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
