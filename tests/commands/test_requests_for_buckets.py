"""The requests that make and remove a run's buckets, as a server records them."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from commands.buckets import RUN_LABEL, create_buckets, remove_temporary_bucket
from components.shared.documents.config import RunConfig, parse_config
from components.shared.errors import TransientError, UserError
from components.shared.storage import gcs


class Buckets(http.server.BaseHTTPRequestHandler):
    """Storage's requests on buckets, as far as fibstack makes them."""

    buckets: ClassVar[dict[str, dict[str, Any]]]
    objects: ClassVar[set[str]]
    requests: ClassVar[list[tuple[str, str]]]
    refusal: ClassVar[int]

    def answer(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append((self.command, url.path))
        status, document = self.respond(url.path, parse_qs(url.query), body)
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def respond(self, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, dict[str, Any]]:
        if self.refusal:
            return self.refusal, {"error": {"message": "no"}}
        _, _, _, _, *rest = path.split("/")
        if not rest:
            document = json.loads(body)
            if document["name"] in self.buckets:
                return 409, {"error": {"message": "it is there"}}
            self.buckets[document["name"]] = document | {"project": query.get("project")}
            return 200, document
        name, *below = rest
        if name not in self.buckets:
            return 404, {"error": {"message": "no such bucket"}}
        if self.buckets[name].get("of somebody else"):
            return 403, {"error": {"message": "not yours"}}
        if below == ["o"]:
            return 200, {"items": [{"name": key} for key in sorted(self.objects)]}
        if self.command == "DELETE":
            if below:
                self.objects.discard(below[1])
            else:
                del self.buckets[name]
            return 204, {}
        return 200, self.buckets[name]

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - names of the base class

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Buckets]]:
    """A cloud with the bucket of the slices."""
    Buckets.buckets = {"em": {"name": "em", "location": "EUROPE-WEST4"}}
    Buckets.objects, Buckets.requests, Buckets.refusal = set(), [], 0
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Buckets)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(gcs, "RETRY", gcs.RETRY.with_delay(initial=0.01, maximum=0.05).with_timeout(0.5))
    yield Buckets
    server.shutdown()
    thread.join()
    server.server_close()


def config_of(run_id: str = "run1", **values: object) -> RunConfig:
    given = {
        "source": "gs://em/raw",
        "image": "%d.png",
        "minz": 0,
        "maxz": 1,
        "id": run_id,
        "project": "my-project",
    }
    return parse_config({**given, **values})


def test_the_buckets_of_a_run_are_private_and_labelled(cloud: type[Buckets]) -> None:
    made = create_buckets(config_of())
    assert made == ["em_ng_run1", "em_chunk_run1", "em_tmp_run1", "em_process"]
    # Each is made as it stays: there is no moment in which it is open, and no right to change it is needed.
    assert [method for method, _ in cloud.requests] == ["GET"] + 4 * ["POST"]
    for name in made:
        bucket = cloud.buckets[name]
        assert bucket["project"] == ["my-project"]
        assert bucket["location"] == "EUROPE-WEST4"  # where the slices lie
        assert bucket["iamConfiguration"]["uniformBucketLevelAccess"]["enabled"] is True
        assert bucket["iamConfiguration"]["publicAccessPrevention"] == "enforced"
        assert bucket["labels"] == {RUN_LABEL: "any" if name == "em_process" else "run1"}


def test_only_the_temporary_bucket_forgets(cloud: type[Buckets]) -> None:
    create_buckets(config_of())
    rules = cloud.buckets["em_tmp_run1"]["lifecycle"]["rule"]
    assert rules == [{"action": {"type": "Delete"}, "condition": {"age": 14}}]
    assert cloud.buckets["em_tmp_run1"]["softDeletePolicy"]["retentionDurationSeconds"] == 0
    for name in ("em_ng_run1", "em_chunk_run1", "em_process"):
        assert not {"lifecycle", "softDeletePolicy"} & cloud.buckets[name].keys()


def test_the_buckets_of_a_run_that_goes_on_are_kept(cloud: type[Buckets]) -> None:
    create_buckets(config_of())
    before = {name: dict(bucket) for name, bucket in cloud.buckets.items()}
    assert create_buckets(config_of()) == []
    assert cloud.buckets == before
    assert create_buckets(config_of("run2")) == ["em_ng_run2", "em_chunk_run2", "em_tmp_run2"]


@pytest.mark.parametrize("theirs", [{}, {"labels": {RUN_LABEL: "run2"}}, {"of somebody else": True}], ids=str)
def test_a_bucket_of_somebody_else_is_refused(cloud: type[Buckets], theirs: dict[str, Any]) -> None:
    cloud.buckets["em_tmp_run1"] = {"name": "em_tmp_run1", **theirs}
    with pytest.raises(
        UserError, match=r"fibstack-run=run1; got gs://em_tmp_run1.*Choose another with --set id=NAME"
    ):
        create_buckets(config_of())


def test_the_temporary_bucket_goes_with_what_is_left_in_it(cloud: type[Buckets]) -> None:
    create_buckets(config_of())
    cloud.objects |= {"left", "over"}
    assert remove_temporary_bucket(config_of())
    assert cloud.objects == set()
    assert sorted(cloud.buckets) == ["em", "em_chunk_run1", "em_ng_run1", "em_process"]
    assert not remove_temporary_bucket(config_of())
    removed = {path for method, path in cloud.requests if method == "DELETE"}
    assert all("/b/em_tmp_run1" in path for path in removed)


@pytest.mark.parametrize("labels", [{}, {RUN_LABEL: "run2"}], ids=str)
def test_a_bucket_without_the_runs_label_is_left_alone(
    cloud: type[Buckets], labels: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    cloud.buckets["em_tmp_run1"] = {"name": "em_tmp_run1", "labels": labels}
    cloud.objects.add("precious")
    assert not remove_temporary_bucket(config_of())
    assert "left alone" in caplog.text
    assert cloud.objects == {"precious"}
    assert "em_tmp_run1" in cloud.buckets


def test_an_output_below_one_uri_makes_and_removes_nothing(cloud: type[Buckets]) -> None:
    config = config_of(output="gs://em/out")
    assert create_buckets(config) == []
    assert not remove_temporary_bucket(config)
    assert cloud.requests == []


@pytest.mark.parametrize("call", [create_buckets, remove_temporary_bucket])
def test_a_missing_right_is_named(cloud: type[Buckets], call: Any) -> None:
    cloud.refusal = 403
    with pytest.raises(UserError, match=r"permission denied\. Grant storage\.buckets\.\w+"):
        call(config_of())


@pytest.mark.parametrize("call", [create_buckets, remove_temporary_bucket])
def test_a_lasting_failure_is_transient(cloud: type[Buckets], call: Any) -> None:
    cloud.refusal = 503
    with pytest.raises(TransientError, match="Try again"):
        call(config_of())
    assert len(cloud.requests) > 2


def test_a_source_that_is_not_there_is_named(cloud: type[Buckets]) -> None:
    del cloud.buckets["em"]
    with pytest.raises(UserError, match="there is no bucket 'em'"):
        create_buckets(config_of())
