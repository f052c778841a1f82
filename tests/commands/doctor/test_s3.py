"""`fibstack doctor s3://...`: which promises of a server it finds kept, and what it says of the others."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from requests.structures import CaseInsensitiveDict

from commands.buckets import RUN_LABEL
from components.shared.storage.s3 import Client, S3Store, client
from components.shared.web import Answer
from tests.builders import cli
from tests.commands.doctor.test_doctor import CONFIG, doctor, wrong
from tests.s3_server import KIND

Answered = dict[str, Any]
Server = Callable[[str, Answered, Callable[[], Answered]], Answered]
"""What answers a request, given its operation, its parameters, and what the good server answers."""


@pytest.fixture
def answered_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server], None]:
    """Put something in front of the server that changes what it does."""
    good = Client.ask_once

    def install(server: Server) -> None:
        def ask_once(self: Client, operation: str, **given: Any) -> Answered:
            return server(operation, given, lambda: good(self, operation, **given))

        monkeypatch.setattr(Client, "ask_once", ask_once)

    return install


def lines(state: str, output: str) -> list[str]:
    return [line.removeprefix(state).strip() for line in output.splitlines() if line.startswith(state)]


def in_bucket(name: str) -> list[str]:
    return [item["Key"] for item in client().listed(name, "")]


def test_the_promises_of_a_good_server(s3_bucket: str) -> None:
    S3Store(f"s3://{s3_bucket}/raw").write("img.00000.png", b"PNG")
    assert cli("data", "cors", f"s3://{s3_bucket}").exit_code == 0
    result = doctor(f"s3://{s3_bucket}/raw/")
    assert result.exit_code == 0, result.output
    said = lines("ok", result.output)
    # moto keeps what it is sent.
    assert ("its server refuses an upload that was damaged on its way" in said) == (KIND != "moto")
    for sentence in (
        f"ranges of s3://{s3_bucket}/raw/img.00000.png can be read",
        f"you may write to s3://{s3_bucket}/raw",
        "an object is seen whole, and as soon as it is written",
        "a listing tells what was just written",
        "its server gives ranges of an object",
        "its server keeps the CRC32C of an object, which vouches for a result",
        "its server can be told not to overwrite (If-None-Match)",
        "its clock and that of this machine agree",
        f"s3://{s3_bucket}/raw is private: a browser shows what is there by fibstack view alone",
        "its server lets pages of other origins read (CORS)",
        "what is deleted is gone at once, as is the probe object",
    ):
        assert sentence in said, result.output
    assert in_bucket(s3_bucket) == ["raw/img.00000.png"]


def shown_in_part(operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
    """As a server that writes into the object itself."""
    if operation == "put_object" and "IfNoneMatch" not in given:
        body = given["Body"]()
        client()._client.put_object(Bucket=given["Bucket"], Key=given["Key"], Body=body.getvalue()[:1000])
    return good()


class Late:
    """As a server behind a cache: an object is read as it was before the last write."""

    def __init__(self) -> None:
        self.contents: list[bytes] = []

    def __call__(self, operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
        if operation == "put_object":
            self.contents.append(given["Body"]().getvalue())
        answer = good()
        if operation == "get_object" and len(self.contents) > 1:
            read = answer["Body"].read
            answer["Body"].read = lambda: self.contents[-2] if read() else b""
        return answer


def unlisted(operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
    return {**good(), "Contents": []} if operation == "list_objects_v2" else good()


def without_ranges(operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
    given.pop("Range", None)
    return client()._client.get_object(**given) if operation == "get_object" else good()


@pytest.mark.parametrize(
    ("server", "sentence"),
    [
        (shown_in_part, "its server shows a part of an object while it is written: a run would take it for"),
        (Late(), "its server goes on showing what an object was before it was written"),
        (unlisted, "its server does not list what was just written"),
        (without_ranges, "its server gives no ranges of an object: neither slabs nor sharded volumes"),
    ],
    ids=["part", "late", "unlisted", "ranges"],
)
def test_a_server_on_which_no_run_can_rely_is_refused(
    server: Server, sentence: str, s3_bucket: str, answered_by: Callable[[Server], None]
) -> None:
    answered_by(server)
    result = doctor(f"s3://{s3_bucket}/out")
    assert result.exit_code == 65, result.output
    assert sentence in wrong(result)[0]
    assert in_bucket(s3_bucket) == []


def without_checksums(operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
    answer = good()
    answer.pop("ChecksumCRC32C", None)
    return answer


def overwriting(operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
    return {} if "IfNoneMatch" in given else good()


class Clock:
    """As a server whose clock goes wrong."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def __call__(self, operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
        answer = good()
        told = format_datetime(datetime.now(UTC) + self._ahead, usegmt=True)
        answer["ResponseMetadata"]["HTTPHeaders"]["date"] = told
        return answer


@pytest.mark.parametrize(
    ("server", "state", "sentence"),
    [
        (
            without_checksums,
            "note",
            "its server keeps no CRC32C of an object, so nothing but its bytes vouches",
        ),
        (
            overwriting,
            "note",
            r"its server cannot be told not to overwrite \(If-None-Match\): no run needs that",
        ),
        (
            Clock(timedelta(minutes=5)),
            "note",
            r"the clock of this machine is (299|30\d) s behind that of the",
        ),
        (
            Clock(timedelta(minutes=-20)),
            "WRONG",
            r"is 1,(199|20\d) s ahead of that .* from 900 s on, signatures are",
        ),
    ],
    ids=["checksums", "overwriting", "clock", "clock far off"],
)
def test_what_follows_from_a_promise_that_is_not_kept_is_said(
    server: Server, state: str, sentence: str, s3_bucket: str, answered_by: Callable[[Server], None]
) -> None:
    answered_by(server)
    result = doctor(f"s3://{s3_bucket}/out")
    assert any(re.search(sentence, line) for line in lines(state, result.output)), result.output
    assert result.exit_code == (65 if state == "WRONG" else 0)


@pytest.mark.parametrize("may", ["GET", "GET PUT"])
def test_what_is_public_or_open_is_said(may: str, s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server that gives the world rights, which moto's cannot."""

    def visited(method: str, address: str, **_: object) -> Answer:
        is_allowed = "?" in address or method in may.split()
        return Answer(200 if is_allowed else 403, "", CaseInsensitiveDict(), b"")

    monkeypatch.setattr("commands.doctor.s3.ask", visited)
    output = doctor(f"s3://{s3_bucket}").output
    assert f"s3://{s3_bucket} is public: what is written there can be read without a login" in output
    assert (f"s3://{s3_bucket} is open to everybody who reaches its server" in output) == ("PUT" in may)
    assert "its server lets no pages of other origins read (CORS), so neuroglancer on the web" in output
    assert f"-> fibstack data cors s3://{s3_bucket}" in output


def test_an_object_that_may_not_be_removed_is_named(
    s3_bucket: str, answered_by: Callable[[Server], None]
) -> None:
    answered_by(refusing("delete_object"))
    result = doctor(f"s3://{s3_bucket}/out")
    assert result.exit_code == 0, result.output
    (left,) = in_bucket(s3_bucket)
    assert re.fullmatch(r"out/fibstack-probe-\w{12}", left)
    assert f"note   s3://{s3_bucket}/{left}, the object of this probe, is left there: " in result.output
    assert f"Grant s3:DeleteObject and s3:DeleteObjectVersion on the bucket '{s3_bucket}'." in result.output
    assert f"-> aws s3 rm s3://{s3_bucket}/{left}" in result.output


def test_all_versions_are_removed(s3_bucket: str) -> None:
    client().ask("put_bucket_versioning", Bucket=s3_bucket, VersioningConfiguration={"Status": "Enabled"})
    assert doctor(f"s3://{s3_bucket}").exit_code == 0
    kept = client().ask("list_object_versions", Bucket=s3_bucket)
    assert not kept.get("Versions")
    assert not kept.get("DeleteMarkers")


def refusing(refused: str) -> Server:
    """As a server that forbids an operation."""
    from botocore.exceptions import ClientError

    told = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}

    def server(operation: str, given: Answered, good: Callable[[], Answered]) -> Answered:
        if operation == refused:
            raise ClientError(told, operation)
        return good()

    return server


def test_a_right_that_is_missing_is_named_where_it_is_needed(
    s3_bucket: str, answered_by: Callable[[Server], None], tmp_path: Path
) -> None:
    S3Store(f"s3://{s3_bucket}/raw").write("img.00000.png", b"PNG")
    answered_by(refusing("put_object"))
    result = doctor(f"s3://{s3_bucket}/raw")
    assert result.exit_code == 0, result.output
    assert f"note   you may not write: cannot use s3://{s3_bucket}/raw: permission denied. " in result.output
    config = tmp_path / "run.yaml"
    config.write_text(CONFIG.format(source=f"s3://{s3_bucket}/raw", output=f"s3://{s3_bucket}/out"))
    result = doctor(config)
    assert result.exit_code == 65
    assert f"Grant s3:PutObject on the bucket '{s3_bucket}'." in wrong(result)[0]
    assert "there are credentials for http://127.0.0.1:" in result.output
    assert "1 files like img.%05d.png in s3://" in result.output
    answered_by(refusing("list_objects_v2"))
    assert f"Grant s3:ListBucket on the bucket '{s3_bucket}'." in wrong(doctor(f"s3://{s3_bucket}"))[0]


@pytest.fixture
def without_server(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")


@pytest.mark.usefixtures("without_server")
def test_a_server_that_is_not_there_is_told_in_seconds() -> None:
    (sentence,) = wrong(doctor("s3://em-raw"))
    assert sentence.startswith("cannot use s3://em-raw: ")
    assert sentence.endswith("Check AWS_ENDPOINT_URL, and try again.")


def test_a_bucket_that_is_not_there(s3_server: str) -> None:
    assert "there is no bucket 'em-nowhere'" in wrong(doctor("s3://em-nowhere"))[0]


def test_the_buckets_of_a_run(s3_server: str) -> None:
    source = f"em{secrets.token_hex(4)}"
    result = doctor(f"s3://{source}-*-run1")
    assert result.exit_code == 0, result.output
    assert result.output.count("is made when the run starts; that takes s3:CreateBucket") == 4
    client().ask("create_bucket", Bucket=f"{source}-ng-run1")
    assert wrong(doctor(f"s3://{source}-*-run1")) == [
        f"s3://{source}-ng-run1 is there and not of this run: its tag fibstack-run is not set"
    ]
    tag = {"Key": RUN_LABEL, "Value": "run1"}
    client().ask("put_bucket_tagging", Bucket=f"{source}-ng-run1", Tagging={"TagSet": [tag]})
    result = doctor(f"s3://{source}-*-run1")
    assert result.exit_code == 0, result.output
    assert f"you may write to s3://{source}-ng-run1" in result.output
