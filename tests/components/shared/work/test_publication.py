"""What viewers find, and what they no longer find."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from components.shared.documents.plan import Plan
from components.shared.storage.registry import open_store
from components.shared.volume.volume import Volume, volume_of
from components.shared.work.left import files_in_the_way
from components.shared.work.publication import publish, withdraw, withdraw_unwritten
from tests.builders import plan_of, transforms_of


def volume_in(folder: Path, width_px: int = 100, **config: Any) -> tuple[Plan, Volume]:
    plan = plan_of(0, 9, output=str(folder), **config)
    return plan, volume_of(plan, transforms_of(plan, size_px=(width_px, 80)))


def published(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


EVERYTHING = {"raw_pyramid": True, "ome_zarr": True}


def test_every_output_is_published_and_withdrawn(tmp_path: Path) -> None:
    _, volume = volume_in(tmp_path, **EVERYTHING)
    publish(volume)
    arrays = ["ome-zarr/0/zarr.json", "ome-zarr/1/zarr.json"]
    beside = [f"{name}/provenance" for name in ("chunk", "neuroglancer/jpeg", "neuroglancer/raw")]
    found_by = ["chunk/info", "neuroglancer/jpeg/info", "neuroglancer/raw/info", "ome-zarr/zarr.json"]
    assert published(tmp_path) == sorted(arrays + beside + found_by)
    assert withdraw(volume) == [output.uri for output in volume.outputs]
    assert published(tmp_path) == sorted(arrays + beside)
    assert withdraw(volume) == []


@pytest.mark.parametrize(
    ("later", "withdrawn"),
    [
        (EVERYTHING, []),
        ({"raw_pyramid": True}, ["ome-zarr"]),
        ({"ome_zarr": True}, ["neuroglancer/raw"]),
        ({}, ["neuroglancer/raw", "ome-zarr"]),
    ],
)
def test_what_a_later_run_does_not_write_is_no_longer_shown(
    tmp_path: Path, later: Any, withdrawn: Any
) -> None:
    _, volume = volume_in(tmp_path, **EVERYTHING)
    publish(volume)
    plan, volume = volume_in(tmp_path, **later)
    publish(volume)
    assert withdraw_unwritten(volume, plan.locations) == [str(tmp_path / name) for name in withdrawn]
    assert withdraw_unwritten(volume, plan.locations) == []
    assert (tmp_path / "chunk/info").exists()


@pytest.mark.parametrize(
    ("before", "later", "withdrawn"),
    [
        ("0.6", {"ome_zarr": True, "ome_zarr_version": "0.6"}, []),
        ("0.6", {"ome_zarr": True}, ["ome-zarr/volume"]),
        ("0.6", {}, ["ome-zarr/volume", "ome-zarr"]),
        ("0.5", {"ome_zarr": True, "ome_zarr_version": "0.6"}, []),  # the scene takes its place
    ],
)
def test_no_image_of_another_version_of_ome_zarr_is_left(
    tmp_path: Path, before: str, later: Any, withdrawn: Any
) -> None:
    _, volume = volume_in(tmp_path, ome_zarr=True, ome_zarr_version=before)
    publish(volume)
    plan, volume = volume_in(tmp_path, **later)
    publish(volume)
    assert withdraw_unwritten(volume, plan.locations) == [str(tmp_path / name) for name in withdrawn]


def test_shards_of_an_earlier_larger_volume_are_found(tmp_path: Path) -> None:
    _, large = volume_in(tmp_path, width_px=3000, **EVERYTHING)
    _, small = volume_in(tmp_path, **EVERYTHING)
    assert files_in_the_way(small) == []
    for output in large.outputs:
        folder = "0/c/0/0" if output.format == "ome-zarr" else "8x8x8"
        for name in ("0", "2") if output.format == "ome-zarr" else ("0.shard", "2.shard"):
            open_store(output.uri).write(f"{folder}/{name}", b"shard")
    publish(large)
    assert files_in_the_way(large) == []
    sentences = [problem.sentence for problem in files_in_the_way(small)]
    assert len(sentences) == 4
    assert all("1 files belong to no block" in sentence for sentence in sentences)
    only_jpeg = dataclasses.replace(small, outputs=small.outputs[:1])
    assert "8x8x8/2.shard" in files_in_the_way(only_jpeg)[0].sentence
