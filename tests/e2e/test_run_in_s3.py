"""A run from S3 to S3: the bytes of a run in folders, and every command on its output."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from components.shared.storage.folder import FolderStore
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store
from tests.builders import cli
from tests.e2e.stack import Stack, fibstack
from tests.s3_server import CREDENTIALS

TELL_TIMES_OR_PLACES = re.compile(
    r"process/(plan|cost|run|transforms|preview)\.json|process/slices\.jsonl|process/records/.*|process/report/.*"
    r"|.*/provenance"
)
"""Keys of documents that say when or where a run was: their bytes differ from run to run."""


def copied(stack: Stack, uri: str) -> str:
    """The slices of a stack, in a bucket."""
    store = open_store(uri)
    for path in sorted(stack.source.glob("img.*.png")):
        store.write(path.name, path.read_bytes())
    return uri


def run(stack: Stack, source: str, output: str, *more: object) -> subprocess.CompletedProcess[str]:
    given = ("--source", source, "--image", "img.%05d.png", "--minz", stack.minz, "--maxz", stack.maxz)
    return fibstack("run", *given, "--output", output, "--set", "raw_pyramid=true", "--jobs", 2, *more)


def contents(store: Store) -> dict[str, bytes]:
    return {stat.key: store.read(stat.key) for stat in store.list()}


def test_a_run_in_s3_has_the_bytes_of_one_in_folders(
    small_sample: Stack, s3_bucket: str, tmp_path: Path
) -> None:
    source, output = copied(small_sample, f"s3://{s3_bucket}/em/raw"), f"s3://{s3_bucket}/em/volume"
    done = run(small_sample, source, output, "--log-dir", tmp_path / "logs")
    assert f"Volume: {output}/neuroglancer/jpeg" in done.stdout
    run(small_sample, str(small_sample.source), str(tmp_path / "volume"))
    here, there = contents(FolderStore(tmp_path / "volume")), contents(open_store(output))
    assert here.keys() == there.keys()
    differ = {key for key in here if here[key] != there[key]}
    assert [key for key in sorted(differ) if not TELL_TIMES_OR_PLACES.fullmatch(key)] == []

    again = run(small_sample, source, output)
    assert "align 1/" not in again.stderr  # nothing was left to do
    assert contents(open_store(output)).keys() == there.keys()

    assert "whole" in cli("verify", output, "--full").stdout
    assert f"published: {output}/chunk" in cli("status", output).stdout
    resolved = cli("resolve", output, "--set", "force=true")
    assert resolved.exit_code == 0, resolved.stderr
    exported = tmp_path / "exported"
    assert cli("export", output, str(exported), "--crop", ":,:,:", "--jobs", 1).exit_code == 0
    assert (exported / "neuroglancer/jpeg/info").exists()
    copy = f"s3://{s3_bucket}/copy"
    assert cli("export", output, copy, "--crop", ":,:,:", "--jobs", 1).exit_code == 0
    assert contents(open_store(f"{copy}/neuroglancer")) == contents(FolderStore(exported / "neuroglancer"))

    secret = CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode()
    written = [path.read_bytes() for path in (tmp_path / "logs").rglob("*") if path.is_file()]
    assert written
    for data in (*written, *there.values(), done.stdout.encode(), done.stderr.encode()):
        assert secret not in data


def test_a_run_on_s3_without_an_output_makes_its_buckets(
    small_sample: Stack, s3_bucket: str, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_folder)
    given = {
        "id": "cell-7",
        "image": "img.%05d.png",
        "source": copied(small_sample, f"s3://{s3_bucket}/raw"),
        "minz": small_sample.minz,
        "maxz": small_sample.minz + 5,
    }
    (run_folder / "own.json").write_text(json.dumps(given))
    done = fibstack("run", "own.json", "--jobs", 2)
    made = [f"{s3_bucket}-{kind}" for kind in ("ng-cell-7", "chunk-cell-7", "tmp-cell-7", "process")]
    assert [
        line.rpartition("s3://")[2] for line in done.stderr.splitlines() if "Made the bucket" in line
    ] == made
    assert [open_store(f"s3://{name}").exists() for name in made] == [True, True, False, True]
    output = f"s3://{s3_bucket}-*-cell-7"
    assert "whole" in cli("verify", output).stdout
    resolved = cli("resolve", output, "--set", "force=true")
    assert resolved.exit_code == 0, resolved.stderr
