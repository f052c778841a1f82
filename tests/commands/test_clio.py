"""The record that Clio gets, and a clio-store on loopback that takes it."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from requests.structures import CaseInsensitiveDict

from commands import clio
from commands.clio import TOKEN_VARIABLE, main
from components.shared.storage.registry import open_store
from components.shared.storage.s3 import Client
from components.shared.volume.precomputed import info
from components.shared.volume.volume import volume_of
from components.shared.web import Answer
from tests.builders import invoke
from tests.components.report.finished_run import make_plan, make_transforms, np
from tests.hostile_server import HEAD, Behaviour, answer, dribble, flood, hostile, say

SIZE_XYZ = (1100, 70, 200)


class ClioStore(http.server.BaseHTTPRequestHandler):
    """Datasets by name, for who has the token."""

    datasets: ClassVar[dict[str, Any]]
    status: ClassVar[int]

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        welcome = self.headers["Authorization"] == "Bearer tok.en" and self.path == "/v2/datasets"
        status = self.status if welcome else 401
        if status == 200 and self.command == "POST":
            self.datasets |= json.loads(body)
        data = json.dumps(self.datasets if self.command == "GET" else None).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = respond  # noqa: N815 - names of the base class

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def store_url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    ClioStore.datasets, ClioStore.status = {"hemibrain": {}}, 200
    monkeypatch.setenv(TOKEN_VARIABLE, "tok.en\n")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ClioStore)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v2/"
    server.shutdown()
    thread.join()
    server.server_close()


def publish(output: str, **settings: Any) -> str:
    """What a viewer finds of a finished run, and its plan."""
    plan = make_plan(output, 200, resolution=(8, 8, 16), raw_pyramid=True, **settings)
    volume = volume_of(plan, make_transforms(plan, [np.eye(3)] * 200, SIZE_XYZ))
    for written in volume.outputs:
        open_store(written.uri).write("info", json.dumps(info(volume, written)).encode())
    open_store(output).write("process/plan.json", plan.to_json())
    return output


@pytest.fixture
def output(bucket: str) -> str:
    return publish(f"gs://{bucket}/medulla", id="m7")


def test_the_record_names_volume_place_and_size(output: str) -> None:
    result = invoke(main, output)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "m7": {
            "description": "1,100 x 70 x 200 voxels of 8 x 8 x 16 nm, aligned by fibstack",
            "location": f"{output}/neuroglancer/jpeg",
            "public": False,
            "layers": [{"name": "raw", "location": f"{output}/neuroglancer/raw"}],
            "dimensions": {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [1.6e-8, "m"]},
            "position": [550, 35, 100],
        }
    }


def test_the_record_tells_where_a_slice_lies_for_who_counts_voxels(output: str) -> None:
    transforms = make_transforms(make_plan(output, 200), [np.eye(3)] * 200, SIZE_XYZ)
    slices = tuple(s.model_copy(update={"z": s.z + 17}) for s in transforms.slices)
    numbered = transforms.model_copy(update={"slices": slices})
    open_store(output).write("process/transforms.json", numbered.to_json())
    (record,) = json.loads(invoke(main, output).stdout).values()
    assert record["description"].endswith(
        "aligned by fibstack. In the files of the volume slice n lies at z = n - 17."
    )


def test_name_and_publicity_can_be_given(output: str, bucket: str) -> None:
    (name,) = json.loads(invoke(main, output, "--name", "optic", "--public").stdout)
    assert name == "optic"
    (name,) = json.loads(invoke(main, publish(f"gs://{bucket}/without-id")).stdout)
    assert name == "without-id"


def test_it_is_posted_with_the_token(output: str, store_url: str) -> None:
    result = invoke(main, output, "--post", store_url)
    assert result.exit_code == 0, result.output
    assert ClioStore.datasets == {"hemibrain": {}, **json.loads(result.stdout)}
    assert "tok.en" not in result.output


def test_a_dataset_is_never_replaced(output: str, store_url: str) -> None:
    result = invoke(main, output, "--name", "hemibrain", "--post", store_url)
    assert result.exit_code == 65
    assert "must be new to clio-store; got 'hemibrain'" in result.stderr
    assert ClioStore.datasets == {"hemibrain": {}}


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (401, 65, "must accept the token"),
        (404, 65, "got HTTP 404"),
        (302, 65, "got HTTP 302"),
        (503, 75, "got HTTP 503"),
    ],
)
def test_a_refusal_is_a_sentence(output: str, store_url: str, status: int, code: int, sentence: str) -> None:
    ClioStore.status = status
    result = invoke(main, output, "--post", store_url)
    assert (result.exit_code, sentence in result.stderr) == (code, True), result.stderr


@pytest.mark.parametrize(
    ("body", "got"),
    [
        (b"<!doctype html><title>Log in</title>", "got '<!doctype html>"),
        (b"", "got an empty answer"),
        (b"[]", "got a list in JSON"),
        (b"\xff\xfe{}", "got '"),
        (b'{"a": ' + b"9" * 5000 + b"}", "got '"),
    ],
    ids=["html", "empty", "list", "bytes", "digits"],
)
def test_what_is_no_clio_store_is_a_sentence(output: str, store_url: str, body: bytes, got: str) -> None:
    del store_url  # it sets the token
    with hostile(answer(body)) as server:
        result = invoke(main, output, "--post", f"http://{server}/v2")
    assert result.exit_code == 65, result.output
    (line,) = result.stderr.splitlines()
    assert f"clio-store must answer with a JSON object; {got}" in line
    assert f" from http://{server}/v2/datasets. Check --post." in line


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (dribble(HEAD), "timed out"),
        (dribble(b"HTTP/1.1 200 OK\r\nX: "), "timed out"),
        (flood(), "an answer of more than 67,108,864 bytes"),
        (say(b""), "ConnectionError"),
    ],
    ids=["body", "headers", "flood", "closed"],
)
def test_a_store_that_never_ends_is_given_up(
    output: str, store_url: str, behave: Behaviour, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del store_url
    monkeypatch.setattr(clio, "DEADLINE_S", 0.4 if reason == "timed out" else 20)
    with hostile(behave) as server:
        result = invoke(main, output, "--post", f"http://{server}/v2")
    assert result.exit_code == 75, result.output
    (line,) = result.stderr.splitlines()
    assert f"cannot reach http://{server}/v2/datasets: {reason}" in line


def test_a_store_that_is_not_there_is_transient(output: str, store_url: str) -> None:
    del store_url  # it sets the token
    assert invoke(main, output, "--post", "http://127.0.0.1:1/").exit_code == 75


def test_a_token_goes_nowhere_unencrypted(
    output: str, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del store_url
    result = invoke(main, output, "--post", "http://clio.org/v2")
    assert result.exit_code == 78
    assert "must be an https:// address" in result.stderr
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert f"there is none in {TOKEN_VARIABLE}" in invoke(main, output, "--post", "https://clio.org").stderr


def test_a_folder_is_nothing_for_clio(tmp_path: Path) -> None:
    result = invoke(main, publish(str(tmp_path / "out")))
    assert result.exit_code == 65
    assert "a volume in a bucket, which Clio can read" in result.stderr


def test_on_s3_clio_gets_an_address_that_everybody_reads(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = publish(f"s3://{s3_bucket}/run")
    monkeypatch.setattr(Client, "address", lambda _, bucket, key, __: f"https://s3.lab.org/{bucket}/{key}?x")
    page = CaseInsensitiveDict({"Access-Control-Allow-Origin": "*"})
    for status in (200, 403):
        answered = Answer(status, "", page, b"")
        monkeypatch.setattr("commands.share.access_of_s3.ask", lambda *_, answered=answered, **__: answered)
        done = invoke(main, output, "--name", "em")
        if status == 200:
            location = json.loads(done.stdout)["em"]["location"]
            assert location == f"https://s3.lab.org/{s3_bucket}/run/neuroglancer/jpeg"
        else:
            assert done.exit_code == 65
            assert "got HTTP 403" in done.output
