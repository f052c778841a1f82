"""A link to a volume in a bucket, and the requests that make the bucket public and private again."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from neuroglancer.url_state import parse_url

from commands.view import link, share
from components.shared.volume.precomputed import info
from components.shared.volume.volume import volume_of
from tests.builders import invoke
from tests.components.report.finished_run import make_plan, make_transforms, np, open_store

OUTPUT = "gs://em_*_run1"
READERS = "roles/storage.legacyObjectReader"
OWNER = {"role": "roles/storage.admin", "members": ["user:me@example.org"]}


class Cloud(http.server.BaseHTTPRequestHandler):
    """One bucket's metadata and policy, as storage keeps them; every change is recorded."""

    bucket: ClassVar[dict[str, Any]]
    policy: ClassVar[dict[str, Any]]
    changes: ClassVar[list[tuple[str, str, Any]]]
    refuses_policy: ClassVar[bool]

    def answer(self) -> None:
        path = urlsplit(self.path).path
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        if self.command != "GET":
            self.changes.append((self.command, path, body))
        status, document = self.respond(path, body)
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def respond(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path not in ("/storage/v1/b/em_ng_run1", "/storage/v1/b/em_ng_run1/iam"):
            return 404, {"error": {"message": "no such bucket"}}
        if not path.endswith("/iam"):
            Cloud.bucket = self.bucket | body
            return 200, self.bucket
        if self.command == "PUT":
            if self.refuses_policy:
                return 412, {"error": {"message": "public access is forbidden by the organisation"}}
            assert body["etag"] == self.policy["etag"], "a change in between would be lost"
            Cloud.policy = body
        return 200, self.policy

    do_GET = do_PATCH = do_PUT = answer  # noqa: N815 - names of the base class

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Cloud]]:
    Cloud.bucket = {"name": "em_ng_run1", "iamConfiguration": {"publicAccessPrevention": "enforced"}}
    Cloud.policy = {"version": 1, "etag": "CAE=", "bindings": [OWNER]}
    Cloud.changes, Cloud.refuses_policy = [], False
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cloud)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    yield Cloud
    server.shutdown()
    server.server_close()


def everybody(cloud: type[Cloud]) -> list[str]:
    """What the world may do."""
    return [binding["role"] for binding in cloud.policy["bindings"] if "allUsers" in binding["members"]]


def test_sharing_opens_the_viewing_bucket_for_readers_who_know_the_names(cloud: type[Cloud]) -> None:
    done = invoke(share.main, OUTPUT, answer="y\n")
    assert done.exit_code == 0, done.output
    assert "everybody in the world can read" in done.output
    assert "share --undo" in done.output
    assert everybody(cloud) == [READERS]
    assert OWNER in [binding | {"members": list(binding["members"])} for binding in cloud.policy["bindings"]]
    (rule,) = cloud.bucket["cors"]
    assert (rule["origin"], "Range" in rule["responseHeader"]) == (["*"], True)
    assert cloud.bucket["iamConfiguration"]["publicAccessPrevention"] == "inherited"
    assert {path.split("/")[4] for _, path, _ in cloud.changes} == {"em_ng_run1"}


def test_sharing_twice_changes_no_right_again(cloud: type[Cloud]) -> None:
    invoke(share.main, OUTPUT, "--yes")
    cloud.changes.clear()
    assert invoke(share.main, OUTPUT, "--yes").exit_code == 0
    assert everybody(cloud) == [READERS]
    assert not [path for _, path, _ in cloud.changes if path.endswith("/iam")]


def test_undo_takes_everything_back(cloud: type[Cloud]) -> None:
    invoke(share.main, OUTPUT, "--yes")
    done = invoke(share.main, OUTPUT, "--undo", answer="y\n")
    assert done.exit_code == 0, done.output
    assert cloud.policy["bindings"] == [OWNER]
    assert cloud.bucket["cors"] == []
    assert cloud.bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"


@pytest.mark.parametrize("answer", ["n\n", "\n"])
@pytest.mark.parametrize("flags", [[], ["--undo"]])
def test_nothing_happens_without_a_yes(cloud: type[Cloud], answer: str, flags: list[str]) -> None:
    done = invoke(share.main, OUTPUT, *flags, answer=answer)
    assert done.exit_code == 0
    assert "Nothing was changed" in done.output
    assert cloud.changes == []


def test_nobody_there_to_answer_changes_nothing(cloud: type[Cloud]) -> None:
    assert invoke(share.main, OUTPUT).exit_code == 1
    assert cloud.changes == []


@pytest.mark.parametrize("output", ["gs://em/out", "folder", "gs://em_ng_run1"])
def test_a_bucket_that_holds_more_is_never_shared(cloud: type[Cloud], output: str) -> None:
    done = invoke(share.main, output, "--yes")
    assert done.exit_code == 65
    assert "a bucket of its own" in done.output
    assert cloud.changes == []


def test_a_refusal_is_told_in_a_sentence(cloud: type[Cloud]) -> None:
    cloud.refuses_policy = True
    done = invoke(share.main, OUTPUT, "--yes")
    assert done.exit_code == 65
    assert "cannot make gs://em_ng_run1 public" in done.output
    assert "forbidden by the organisation" in done.output


def published(output: str, **settings: Any) -> None:
    plan = make_plan(output, 40, (1100, 70), resolution=(8, 8, 16), **settings)
    volume = volume_of(plan, make_transforms(plan, [np.eye(3)] * 40, (1100, 70, 40)))
    for written in volume.outputs:
        open_store(written.uri).write("info", json.dumps(info(volume, written)).encode())


def test_a_link_shows_the_middle_of_the_volume(bucket: str) -> None:
    output = f"gs://{bucket}/run"
    published(output, raw_pyramid=True)
    done = invoke(link.main, output)
    assert done.exit_code == 0, done.output
    address, *_ = done.output.splitlines()
    assert address.startswith("https://neuroglancer-demo.appspot.com#!")
    state = parse_url(address).to_json()
    assert state["dimensions"] == {"x": [8e-9, "m"], "y": [8e-9, "m"], "z": [1.6e-8, "m"]}
    assert state["position"] == [550, 35, 20]
    sources = {layer["name"]: layer["source"][0]["url"] for layer in state["layers"]}
    assert sources["jpeg"] == f"precomputed://{output}/neuroglancer/jpeg"
    assert sources["raw"] == f"precomputed://{output}/neuroglancer/raw"


def test_a_link_never_names_a_bucket_that_is_not_shared(bucket: str) -> None:
    output = f"gs://{bucket}/run"
    published(output)
    state = parse_url(link.link_to(output)[0]).to_json()
    assert [layer["name"] for layer in state["layers"]] == ["jpeg"]


def test_a_folder_has_no_link(tmp_path: Path) -> None:
    done = invoke(link.main, str(tmp_path))
    assert done.exit_code == 65
    assert f"fibstack view {tmp_path}" in done.output


def test_without_a_volume_there_is_no_link(bucket: str) -> None:
    done = invoke(link.main, f"gs://{bucket}/run")
    assert done.exit_code == 65
    assert "a finished volume must be there" in done.output
