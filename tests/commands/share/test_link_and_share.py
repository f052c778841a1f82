"""A link to a volume in a bucket, and the requests that make the bucket public and private again."""

from __future__ import annotations

import http.server
import json
import re
import secrets
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from neuroglancer.url_state import parse_url
from requests.structures import CaseInsensitiveDict

from commands.data.main import cors
from commands.share import main as share
from commands.view import link
from commands.view.published import find_volumes
from commands.view.volume_server import serve_stores
from components.shared.storage.s3 import Client, client
from components.shared.volume.precomputed import info
from components.shared.volume.volume import volume_of
from components.shared.web import Answer
from tests.builders import invoke
from tests.components.report.finished_run import make_plan, make_transforms, np, open_store
from tests.s3_server import KIND

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


@pytest.mark.parametrize("output", ["gs://em/out", "gs://em_ng_run1"])
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


# On S3

PAGE_OF_WEB = CaseInsensitiveDict({"Access-Control-Allow-Origin": "*"})


@pytest.fixture
def web(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """Lets the addresses of objects begin with https:// and be answered."""
    address = Client.address
    monkeypatch.setattr(
        Client, "address", lambda *given: address(*given).replace("http://127.0.0.1", "https://s3.lab.org")
    )

    def answering(answer: Answer) -> None:
        monkeypatch.setattr("commands.share.access_of_s3.ask", lambda *_, **__: answer)

    return answering


def test_a_link_to_s3_leads_to_an_address_that_everybody_reads(
    s3_bucket: str, web: Callable[[Answer], None]
) -> None:
    output = f"s3://{s3_bucket}/run"
    published(output, raw_pyramid=True)
    web(Answer(200, "OK", PAGE_OF_WEB, b""))
    done = invoke(link.main, output)
    assert done.exit_code == 0, done.output
    state = parse_url(done.output.splitlines()[0]).to_json()
    (jpeg, raw) = [layer["source"][0]["url"] for layer in state["layers"]]
    assert re.fullmatch(rf"precomputed://https://s3.lab.org:\d+/{s3_bucket}/run/neuroglancer/jpeg", jpeg)
    assert raw.endswith("/neuroglancer/raw")
    assert "It opens as long as everybody may read the volume, as is so now." in done.output


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(403, "Forbidden", PAGE_OF_WEB, b""), "got HTTP 403, for https://s3.lab.org:"),
        (
            Answer(200, "OK", CaseInsensitiveDict(), b""),
            "got no leave for pages of other origins (CORS)",
        ),
    ],
)
def test_a_private_volume_on_s3_has_no_link(
    answer: Answer, said: str, s3_bucket: str, web: Callable[[Answer], None]
) -> None:
    output = f"s3://{s3_bucket}/run"
    published(output)
    web(answer)
    done = invoke(link.main, output)
    assert done.exit_code == 65
    assert said in done.output
    assert f"Look at it with: fibstack view {output}" in done.output


def test_no_link_leads_to_a_server_without_https(s3_bucket: str) -> None:
    published(f"s3://{s3_bucket}/run")
    done = invoke(link.main, f"s3://{s3_bucket}/run")
    assert "got an http:// address, from which no page of neuroglancer may read, for http://" in done.output


def policy_of(bucket: str) -> list[dict[str, Any]]:
    try:
        told = client().ask("get_bucket_policy", Bucket=bucket)
    except ClientError:
        return []
    return list(json.loads(told["Policy"])["Statement"])


def guards_of(bucket: str) -> set[bool]:
    found = client().ask("get_public_access_block", Bucket=bucket)
    return set(found["PublicAccessBlockConfiguration"].values())


@pytest.mark.skipif(KIND == "versitygw", reason="its policies name accounts of its own alone")
def test_sharing_on_s3_opens_the_viewing_bucket_and_is_taken_back(s3_server: str) -> None:
    source = f"em{secrets.token_hex(4)}"
    bucket, output = f"{source}-ng-run1", f"s3://{source}-*-run1"
    client().ask("create_bucket", Bucket=bucket)
    own = {
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::1:root"},
        "Action": "s3:*",
        "Resource": f"arn:aws:s3:::{bucket}",
    }
    before = {"Version": "2012-10-17", "Statement": [own]}
    client().ask("put_bucket_policy", Bucket=bucket, Policy=json.dumps(before))
    for _ in range(2):  # a second time changes nothing
        done = invoke(share.main, output, answer="y\n")
        assert done.exit_code == 0, done.output
        assert f"This makes s3://{bucket} public" in done.output
        kept, ours = policy_of(bucket)
        assert kept == own
        assert (ours["Principal"], ours["Action"]) == ("*", "s3:GetObject")
        assert ours["Resource"] == f"arn:aws:s3:::{bucket}/*"
        assert guards_of(bucket) == {False}
        (rule,) = client().ask("get_bucket_cors", Bucket=bucket)["CORSRules"]
        assert (rule["AllowedOrigins"], rule["AllowedMethods"]) == (["*"], ["GET", "HEAD"])
    beside = {**own, "Principal": {"AWS": ["arn:aws:iam::1:root", "*"]}}
    policy = {"Version": "2012-10-17", "Statement": [*policy_of(bucket), beside]}
    client().ask("put_bucket_policy", Bucket=bucket, Policy=json.dumps(policy))
    done = invoke(share.main, output, "--undo", "--yes")
    assert done.exit_code == 0, done.output
    assert policy_of(bucket) == [own]
    assert guards_of(bucket) == {True}
    with pytest.raises(ClientError, match="NoSuchCORSConfiguration"):
        client().ask("get_bucket_cors", Bucket=bucket)


def test_pages_are_let_read_from_s3(s3_bucket: str) -> None:
    done = invoke(cors, f"s3://{s3_bucket}", "--origin", "https://lab.org")
    assert done.exit_code == 0, done.output
    assert f"s3://{s3_bucket}: pages of https://lab.org." in done.output
    (rule,) = client().ask("get_bucket_cors", Bucket=s3_bucket)["CORSRules"]
    assert rule["AllowedOrigins"] == ["https://lab.org"]
    assert invoke(cors, f"s3://{s3_bucket}", "--off").exit_code == 0


def test_a_volume_on_s3_is_viewed_with_ones_own_login(s3_bucket: str) -> None:
    output = f"s3://{s3_bucket}/run"
    published(output)
    shown, *_ = find_volumes(output)
    shown.store.write("8_8_16/0.shard", b"0123456789")
    url = serve_stores({"jpeg": shown.store})
    asked = urllib.request.Request(f"{url}/jpeg/8_8_16/0.shard", headers={"Range": "bytes=2-4"})
    with urllib.request.urlopen(asked, timeout=20) as answer:
        assert (answer.status, answer.read()) == (206, b"234")
