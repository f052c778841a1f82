"""What every bucket does when its server fails, is slow, refuses, or sends what is not stored there."""

from __future__ import annotations

import http.server
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import pytest
import tensorstore as ts

from components.shared.errors import TransientError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.store import READS, ObjectChangedError, ObjectMissingError, checksum
from tests.components.shared.storage.conftest import Service
from tests.components.shared.storage.faults import (
    CALLS,
    RESET,
    STALL,
    UNENDING,
    encrypted_server,
    slow_line,
)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("name", CALLS)
def test_what_may_pass_is_tried_again(service: Service, name: str, status: int) -> None:
    service.allow_retries(10)  # a busy machine is no lasting failure
    service.faulty.script = [status, status, 200]
    CALLS[name](service.store())
    compares = name == "read" and service.scheme == "gs"  # with what S3 tells in the answer itself
    assert len(service.faulty.requests) == (4 if compares else 3)


@pytest.mark.parametrize("fault", [408, 429, 500, 502, 503, 504, 520, RESET, *UNENDING], ids=str)
@pytest.mark.parametrize("name", CALLS)
def test_a_lasting_failure_is_transient_and_ends(service: Service, name: str, fault: int | str) -> None:
    """520 stands for a status that is no standard."""
    service.look_every(0.2)
    service.faulty.script = [fault]
    started = time.monotonic()
    with pytest.raises(TransientError, match=rf"{service.root}.*[Tt]ry again") as caught:
        CALLS[name](service.store())
    assert caught.value.exit_code == 75
    assert time.monotonic() - started < 5
    assert len(service.faulty.requests) > (0 if fault == 520 else 1)


@pytest.mark.parametrize("name", ["read", "read_range", "write"])
def test_a_slow_transfer_that_goes_on_is_waited_for(
    gcs_emulator: str, bucket: str, s3_server: str, s3_bucket: str, service: Service, name: str
) -> None:
    """4 MB at 600 kB/s, with a timeout of 3 s: it takes twice that."""
    uri = f"gs://{bucket}" if service.scheme == "gs" else f"s3://{s3_bucket}"
    server = gcs_emulator if service.scheme == "gs" else s3_server
    data = os.urandom(4_000_000)
    service.lead_to(server)
    open_store(uri).write("a", data)
    service.look_every(3)
    service.allow_retries(1)  # there is one try
    host, port = server.removeprefix("http://").split(":")
    with slow_line(host, int(port), 600_000) as url:
        service.lead_to(url)
        store = open_store(uri)
        started = time.monotonic()
        if name == "write":
            store.write("b", data)
        else:
            assert (store.read("a") if name == "read" else store.read_range("a", 0, 10**9)) == data
        assert time.monotonic() - started > 4


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["read", "read_range", "write", "stat", "list", "exists"])
def test_redirections_end_with_a_sentence(service: Service, name: str, status: int) -> None:
    """A page to log in, mostly."""
    service.faulty.script = [status]
    with pytest.raises(TransientError, match=r"got redirections.*login page|storage must answer"):
        CALLS[name](service.store())
    assert len(service.faulty.requests) < 12


@pytest.mark.parametrize("name", CALLS)
def test_a_name_that_nobody_knows_is_named(service: Service, name: str) -> None:
    service.lead_to("http://no-such-host.invalid")
    with pytest.raises(TransientError, match=r"'no-such-host.invalid' is not known; check the network"):
        CALLS[name](service.store())


@pytest.mark.parametrize("name", CALLS)
def test_a_certificate_that_nobody_trusts_is_named_at_once(
    service: Service, name: str, tmp_path: Path
) -> None:
    with encrypted_server(tmp_path, service.faulty) as url:
        service.lead_to(url)
        service.allow_retries(30)
        started = time.monotonic()
        with pytest.raises(UserError, match=r"certificate is not trusted .*(REQUESTS|AWS)_CA_BUNDLE"):
            CALLS[name](service.store())
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("name", CALLS)
def test_a_missing_permission_is_named_at_once(service: Service, name: str, status: int) -> None:
    service.faulty.script = [status]
    started = time.monotonic()
    with pytest.raises(
        UserError, match=r"(Grant (storage\.objects\.|s3:)\w+.* on the bucket 'bucket'|Log in with)"
    ):
        CALLS[name](service.store())
    assert time.monotonic() - started < 5
    assert len(service.faulty.requests) <= 2


@pytest.mark.parametrize("name", CALLS)
def test_a_bad_request_is_not_repeated(service: Service, name: str) -> None:
    service.faulty.script = [400]
    with pytest.raises(UserError, match=service.root):
        CALLS[name](service.store())
    # A HEAD has no words, and may be refused since the bucket lies in another region: that is asked for.
    assert len(service.faulty.requests) == (2 if (service.scheme, name) == ("s3", "stat") else 1)


def test_an_absent_object_is_not_looked_for_again(service: Service) -> None:
    service.faulty.script = [404]
    with pytest.raises(ObjectMissingError, match=f"{service.root}/a"):
        service.store().read("a")
    assert len(service.faulty.requests) == 1


@pytest.mark.parametrize("name", ["write", "stat", "list", "exists", "delete"])
def test_a_call_that_is_not_answered_is_made_again(service: Service, name: str) -> None:
    service.look_every(0.3)
    service.allow_retries(10)  # a busy machine is no lasting failure
    service.faulty.script = [STALL, 200]
    started = time.monotonic()
    CALLS[name](service.store())
    assert time.monotonic() - started < 10
    assert len(service.faulty.requests) == 1  # the one that was answered in full


def test_many_threads_share_the_connections(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    store = service.store()
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(store.stat, [f"{n}" for n in range(200)]))
    assert len(service.faulty.requests) == 200
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
        self.send_header("ETag", '"e"')
        self.send_header("Content-Length", "6")
        self.end_headers()
        self.wfile.write(b"stored")

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def slow_storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    SlowStorage.in_flight, SlowStorage.most = set(), 0
    monkeypatch.setattr(http.server.ThreadingHTTPServer, "request_queue_size", 64)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowStorage) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_up_to_32_reads_are_in_flight_at_a_time(service: Service, slow_storage: str) -> None:
    service.lead_to(slow_storage)
    objects = ts.KvStore.open(service.store().kvstore()).result()
    reads = [objects.read(f"{n}", byte_range=slice(0, 6)) for n in range(200)]
    assert {read.result().value for read in reads} == {b"stored"}
    assert 24 < SlowStorage.most <= 32  # all 32, unless this machine is busy


def test_no_answer_at_all_is_transient(service: Service) -> None:
    service.lead_to("http://127.0.0.1:1")
    for call in CALLS.values():
        with pytest.raises(TransientError, match=rf"{service.root}.*nobody answers at 127.0.0.1:1"):
            call(service.store())


@pytest.mark.parametrize("crc32c", [None, checksum(b"stored")], ids=["checksum unknown", "checksum known"])
def test_what_is_damaged_on_its_way_is_read_again(service: Service, crc32c: str | None) -> None:
    service.faulty.arriving = [b"stoRed", b"store", b"\0tored"]
    assert service.store().read("a", crc32c) == b"stored"
    assert service.faulty.n_reads() == 4


@pytest.mark.parametrize("crc32c", [None, checksum(b"stored")], ids=["checksum unknown", "checksum known"])
def test_what_always_arrives_damaged_is_named_and_may_pass(service: Service, crc32c: str | None) -> None:
    service.faulty.arriving = [b"stoRed"] * 99
    with pytest.raises(TransientError, match=rf"{service.root}/a must arrive as it is stored.*Try again"):
        service.store().read("a", crc32c)
    assert service.faulty.n_reads() == READS


def test_another_content_is_no_damage_on_the_way(service: Service) -> None:
    with pytest.raises(
        ObjectChangedError, match=rf"keep its crc32c 00000000; got \w{{8}} in {service.root}/a"
    ):
        service.store().read("a", "00000000")
    assert len(service.faulty.requests) <= 2  # at once: what arrived is what is stored


def test_a_known_checksum_costs_no_request(service: Service) -> None:
    assert service.store().read("a", checksum(b"stored")) == b"stored"
    assert len(service.faulty.requests) == 1


def test_no_request_asks_for_the_bucket_itself(service: Service) -> None:
    """A worker has permissions on objects only."""
    store = service.store()
    for call in CALLS.values():
        call(store)
    time.sleep(0.1)  # telemetry would ask in the background
    about_objects = "/o" if service.scheme == "gs" else "/bucket"
    assert all(about_objects in request for request in service.faulty.requests)
    assert not any(
        "?location" in request or "HEAD /bucket " in request for request in service.faulty.requests
    )


def test_tensorstore_tries_for_two_minutes_as_the_other_requests_do() -> None:
    from components.shared.storage import gcs, s3

    for module in (gcs, s3):
        tries = module._READ_RETRIES
        first_s, longest_s = (float(tries[key].removesuffix("s")) for key in ("initial_delay", "max_delay"))
        pauses_s = [min(first_s * 2**n, longest_s) for n in range(tries["max_retries"])]
        assert sum(pauses_s) == pytest.approx(module.RETRY.timeout, rel=0.1)
