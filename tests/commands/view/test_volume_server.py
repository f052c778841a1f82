"""What a browser gets from `fibstack view`: parts of volumes, from folders and private buckets."""

from __future__ import annotations

import socket
import struct
import time
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from commands.view import main as view
from commands.view.published import read_transforms
from commands.view.volume_server import serve_stores
from components.shared.storage.store import Store
from tests.commands.view.test_view import SIZE_XYZ, info, json, make_plan, make_transforms, np, volume_of
from tests.components.report.finished_run import finished_run, join_uri, open_store, write_plan

BODY = bytes(range(100))


def ask(address: str, method: str = "GET", **headers: str) -> tuple[int, Message, bytes]:
    request = urllib.request.Request(address, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read()


@pytest.fixture
def served(store: Store) -> str:
    store.write("8x8x8/0.shard", BODY)
    return serve_stores({"jpeg": store}) + "/jpeg"


def test_parts_and_wholes_arrive_with_leave_for_other_origins(served: str) -> None:
    status, headers, body = ask(f"{served}/8x8x8/0.shard", Range="bytes=10-19")
    assert (status, body, headers["Content-Range"]) == (206, BODY[10:20], "bytes 10-19/*")
    status, headers, body = ask(f"{served}/8x8x8/0.shard")
    assert (status, body) == (200, BODY)
    assert headers["Access-Control-Allow-Origin"] == "*"
    status, headers, body = ask(f"{served}/8x8x8/0.shard", method="HEAD")
    assert (status, headers["Content-Length"], body) == (200, "100", b"")
    status, headers, _ = ask(f"{served}/8x8x8/0.shard", method="OPTIONS")
    assert (status, headers["Access-Control-Allow-Headers"]) == (204, "Range")


def test_a_range_beyond_the_end_is_cut_or_refused(served: str) -> None:
    status, headers, body = ask(f"{served}/8x8x8/0.shard", Range="bytes=90-199")
    assert (status, body, headers["Content-Range"]) == (206, BODY[90:], "bytes 90-99/*")
    assert ask(f"{served}/8x8x8/0.shard", Range="bytes=100-110")[0] == 416
    for last in ("99999999999999", "9" * 30, "9" * 5000):
        status, _, body = ask(f"{served}/8x8x8/0.shard", Range=f"bytes=90-{last}")
        assert (status, body) == (206, BODY[90:])
    for digits in (30, 5000):
        assert ask(f"{served}/8x8x8/0.shard", Range=f"bytes={'9' * digits}-{'9' * digits}0")[0] == 416
    assert ask(f"{served}/8x8x8/0.shard", Range=f"bytes={'0' * 5000}-9")[2] == BODY[:10]


HOSTILE = {
    "dropped": b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n",
    "half a request": b"GET %s HT",
    "no request": b"\x16\x03\x01\x00",
    "no length": b"POST %s HTTP/1.1\r\nContent-Length: many\r\n\r\n",
    "a long header": b"GET %s HTTP/1.1\r\nRange: bytes=0-" + b"9" * 70_000 + b"\r\n\r\n",
}


@pytest.mark.parametrize("request_", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_a_browser_drops_is_not_told_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], request_: bytes
) -> None:
    (tmp_path / "large").write_bytes(bytes(8 << 20))
    served = serve_stores({"jpeg": open_store(str(tmp_path))}) + "/jpeg"
    parts = urlsplit(f"{served}/large")
    for _ in range(3):
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
            connection.sendall(request_ % parts.path.encode() if b"%s" in request_ else request_)
    time.sleep(0.3)
    assert len(ask(f"{served}/large")[2]) == 8 << 20
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("path", ["8x8x8/1.shard", "info"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_black_shard_is_not_there(served: str, path: str, method: str) -> None:
    assert ask(f"{served}/{path}", method=method)[0] == 404


def test_nothing_else_is_served(served: str, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("mine")
    root, secret, _ = served.rsplit("/", 2)
    assert ask(f"{root}/guess/jpeg/8x8x8/0.shard")[0] == 404
    assert ask(f"{root}/{secret}/chunk/8x8x8/0.shard")[0] == 404
    assert ask(f"{served}/..%2Fsecret")[0] == 403
    assert ask(f"{served}/%2E%2E/secret")[0] == 403


def test_a_private_bucket_is_viewed_through_this_machine(bucket: str) -> None:
    output = f"gs://{bucket}/run"
    plan = make_plan(output, 200, resolution=(8, 8, 16))
    volume = volume_of(plan, make_transforms(plan, [np.eye(3)] * 200, SIZE_XYZ))
    for written in volume.outputs:
        open_store(written.uri).write("info", json.dumps(info(volume, written)).encode())
    viewer = view.serve(output)
    addresses = [layer["source"][0]["url"] for layer in viewer.state.to_json()["layers"]]
    assert all(address.startswith("precomputed://http://127.0.0.1:") for address in addresses)
    status, _, body = ask(addresses[0].removeprefix("precomputed://") + "/info")
    assert (status, json.loads(body)["type"]) == (200, "image")


def test_it_opens_at_the_worst_slice(tmp_path: Path) -> None:
    from tests.components.report.finished_run import preview_of

    plan, _, process = finished_run(tmp_path)
    write_plan(process, plan)
    for written in volume_of(plan, read_transforms(plan.config.output)).outputs:
        volume = volume_of(plan, read_transforms(plan.config.output))
        open_store(written.uri).write("info", json.dumps(info(volume, written)).encode())
    preview = preview_of()
    open_store(join_uri(plan.config.output, "process")).write("preview.json", preview.to_json())
    viewer = view.serve(plan.config.output)
    assert viewer.state.position[2] == preview.worst[0].z + 0.5
