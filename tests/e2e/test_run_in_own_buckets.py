"""A run of a configuration of the older workflow, which makes buckets of its own; the slices lie in `raw`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.shared.storage.registry import open_store
from tests.builders import cli
from tests.e2e.stack import Stack, fibstack


def test_a_run_without_an_output_makes_its_buckets(
    small_sample: Stack, bucket: str, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run_folder)
    source = open_store(f"gs://{bucket}/raw")
    for path in sorted(small_sample.source.glob("img.*.png")):
        source.write(path.name, path.read_bytes())
    older = {
        "id": "cell_7",
        "image": "img.%05d.png",
        "source": bucket,
        "project": "test-project",
        "mail": "a@b.org",
        "minz": small_sample.minz,
        "maxz": str(small_sample.maxz),
        "downsample_factor": 1,
        "rawPyramid": "true",
        "skip_align": True,
        "clip-limit": "0.02",
        "resolution": 8,
    }
    (run_folder / "older.json").write_text(json.dumps(older, indent="\t"))
    done = fibstack("run", "older.json", "--jobs", 2)
    made = [f"{bucket}_{kind}_cell_7" for kind in ("ng", "chunk", "tmp")] + [f"{bucket}_process"]
    assert [line.rpartition("/")[2] for line in done.stderr.splitlines() if "Made the bucket" in line] == made
    keys = {name: {found.key for found in open_store(f"gs://{name}").list()} for name in made}
    volumes, lossless, tiles, records = keys.values()
    assert {"jpeg/info", "raw/info"} < volumes
    assert "info" in lossless
    assert tiles == set()
    assert {"cell_7/plan.json", "cell_7/transforms.json", "cell_7/run.json"} < records
    assert all(key.startswith("cell_7/") for key in records)
    assert f"Volume: gs://{bucket}_ng_cell_7/jpeg" in done.stdout

    output = f"gs://{bucket}_*_cell_7"
    assert "whole" in cli("verify", output).stdout
    assert f"published: gs://{bucket}_chunk_cell_7" in cli("status", output).stdout
    resolved = cli("resolve", output, "--set", "force=true")
    # The emulator forgets labels, without which a bucket counts as somebody else's.
    assert "must carry the label fibstack-run=cell_7" in resolved.stderr

    exported = str(run_folder / "exported")
    assert cli("export", output, exported, "--crop", ":,:,:", "--jobs", 1).exit_code == 0
    assert Path(exported, "neuroglancer/jpeg/info").exists()
