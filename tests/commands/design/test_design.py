"""`fibstack design` as a user calls it: it tells, and writes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import Result

from benchmarks.scale.stacks import IMAGE, Stack, png_header, write_headers
from commands.design import here
from components.plan.main import main as plan
from components.shared.errors import ConfigError, UserError
from components.shared.steps import MEMORY_OUTPUTS, STEPS
from components.shared.storage.registry import open_store
from pipeline.settings import Settings
from tests.builders import cli, invoke

STACK = Stack("small", n_slices=40, side_px=700)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_headers(tmp_path / "raw", STACK, STACK.file_bytes)
    for z in range(STACK.n_slices):
        with (tmp_path / "raw" / (IMAGE % z)).open("r+b") as file:
            file.seek(STACK.file_bytes // 2)
            file.write(bytes([z]))  # no two are the same
    return tmp_path


def design(folder: Path, *more: str, maxz: int = STACK.n_slices - 1) -> Result:
    given = ["--source", str(folder / "raw"), "--output", str(folder / "out"), "--image", IMAGE]
    return cli("design", *given, "--minz", "0", "--maxz", maxz, *more)


def tree(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns,
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [folder, *folder.rglob("*")]
    }


def test_it_tells_the_plan_and_the_price_and_writes_nothing(folder: Path) -> None:
    before = tree(folder)
    result = design(folder, "--target", "argo")
    assert result.exit_code == 0, result.output
    for part in (
        "40 of at most 700 x 700 px, 8 bit; no gap",
        "700 x 700 x 40 voxels of 8 x 8 x 8 nm",
        "40 slices",
        "3 slabs",
        "1 block ",
        "dollars, at prices of us-central1",
        "Nothing looks wrong",
        "have raw ones: --set clip_limit=0",
    ):
        assert part in result.output, result.output
    assert tree(folder) == before


def test_of_a_run_on_this_machine_it_tells_time_memory_and_disk(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(here, "available_cores", lambda: 4)
    monkeypatch.setattr(here, "memory_bytes", lambda: 8 * 10**9)
    result = design(folder)
    assert result.exit_code == 0, result.output
    assert re.search(r"time +about \d+ s on 4 cores of this machine", result.output), result.output
    assert re.search(r"memory +[\d.]+ [MG]B at a time, of 8.0 GB", result.output), result.output
    assert re.search(r"disk +.* are written, of which .* stay; .* are free", result.output), result.output
    assert not re.search(r"dollars|pods|core-hours|0\.00", result.output), "no table of a short run"
    assert "Assumed: pixels of 8 nm, since no file tells their size" in result.output
    told = design(folder, "--set", "resolution=4")
    assert "Assumed" not in told.output
    found = json.loads(design(folder, "--json").stdout)["here"]
    assert (found["cores"], found["jobs"], found["machine_bytes"]) == (4, 4, 8 * 10**9)
    assert found["stored_bytes"] > found["kept_bytes"] > 0
    assert found["wall_s"] == pytest.approx(sum(seconds for _, seconds in found["steps_s"]))


def test_a_long_run_here_has_a_table_of_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "available_cores", lambda: 1)
    long = Stack("long", n_slices=600, side_px=2500)
    write_headers(tmp_path / "raw", long, 6000)
    result = design(tmp_path, maxz=long.n_slices - 1)
    assert re.search(r"^align +\d+ min", result.output, re.MULTILINE), result.output
    assert f"{tmp_path}/out/chunk" in result.output
    assert not re.search(r"dollars|pods|core-hours", result.output)


def test_a_machine_that_is_too_small_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(here, "available_cores", lambda: 8)
    monkeypatch.setattr(here, "memory_bytes", lambda: 700 * 10**6)
    monkeypatch.setattr(here.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    said = " ".join(json.loads(design(folder, "--json").stdout)["concerns"])
    assert "add --jobs 2" in said
    assert "1.0 MB are free: free some, or choose a place with more: --output FOLDER" in said
    monkeypatch.setattr(here, "memory_bytes", lambda: 10**6)
    said = " ".join(json.loads(design(folder, "--json").stdout)["concerns"])
    assert "this machine has 1.0 MB: use one with more, or match smaller pictures" in said


def test_results_in_a_bucket_are_told_with_dollars(folder: Path, bucket: str) -> None:
    where = ["--source", str(folder / "raw"), "--output", f"gs://{bucket}/out", "--image", IMAGE]
    numbers = ["--minz", "0", "--maxz", "39"]
    assert "dollars, at prices of" in cli("design", *where, *numbers).output
    result = cli("design", *where, *numbers, "--target", "here")
    assert re.search("storage +.* are written", result.output), result.output
    assert "dollars" not in result.output


def test_pods_of_kubeflow_are_those_that_a_real_one_started(folder: Path) -> None:
    """A run of 12 slices in two chunks was 25 pods on Kubeflow Pipelines 2.17."""
    result = design(folder, "--target", "kfp", maxz=11)
    assert "On Kubeflow Pipelines 25 pods, with its drivers" in result.output, result.output
    assert "Kubeflow" not in design(folder, maxz=11).output


def test_loops_are_those_of_the_target(tmp_path: Path) -> None:
    long = Stack("long", n_slices=1600, side_px=64)
    write_headers(tmp_path / "raw", long, long.file_bytes)
    pods = {}
    for target in ("argo", "vertex", "kfp"):
        result = design(tmp_path, "--target", target, "--json", maxz=long.n_slices - 1)
        steps = json.loads(result.stdout)["steps"]
        pods[target] = next(step["n_pods"] for step in steps if step["step"] == "tile")
    assert pods == {"argo": 100, "vertex": 100, "kfp": 50}


def test_memory_that_pods_ask_for_is_that_of_the_target(folder: Path) -> None:
    """Vertex AI knows limits alone: a task gets what the settings say."""
    result = design(folder, "--target", "argo")
    (header,) = [line for line in result.output.splitlines() if line.startswith("step ")]
    assert "asks for" in header
    asked = {}
    for target in ("argo", "kfp", "vertex"):
        steps = json.loads(design(folder, "--target", target, "--json").stdout)["steps"]
        asked[target] = {step["step"]: step["asked_memory"] for step in steps}
    assert asked["argo"] == asked["kfp"]
    assert asked["vertex"] == {step: Settings().step(step).memory for step in STEPS}
    assert {step for step in STEPS if asked["argo"][step] != asked["vertex"][step]} == set(MEMORY_OUTPUTS)


def test_a_bucket_is_only_read(bucket: str) -> None:
    store = open_store(f"gs://{bucket}")
    for z in range(5):
        store.write(f"raw/{IMAGE % z}", png_header(64) + bytes(4000))
    before = list(store.list())
    given = ["--source", f"gs://{bucket}/raw", "--output", f"gs://{bucket}/out", "--image", IMAGE]
    result = cli("design", *given, "--minz", "0", "--maxz", "4", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["n_slices"] == 5
    # Buckets tell checksums, so copies are seen.
    assert found["concerns"] == ["the same file twice: slices 1 to 4 equal the one before"]
    assert list(store.list()) == before


def test_json_holds_the_same(folder: Path) -> None:
    result = design(folder, "--json", "--set", "raw_pyramid=true")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert (found["n_slices"], found["missing_z"], found["volume_size_xyz"]) == (40, [], [700, 700, 40])
    assert [step["step"] for step in found["steps"]] == [*STEPS]
    assert found["n_pods"] == sum(step["n_pods"] for step in found["steps"])
    assert [Path(output["uri"]).name for output in found["outputs"]] == ["jpeg", "chunk", "raw"]
    assert found["dollars"]["on_demand"] > found["dollars"]["spot"] > 0
    assert (found["concerns"], found["refusal"]) == ([], "")


def test_a_configuration_file_is_taken_as_by_run(folder: Path) -> None:
    config = folder / "run.yaml"
    values = {
        "source": str(folder / "raw"),
        "output": str(folder / "out"),
        "image": IMAGE,
        "minz": 0,
        "maxz": 39,
    }
    config.write_text(json.dumps(values))
    result = cli("design", config, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output)["config"]["maxz"] == 39


def test_gaps_are_shown_although_a_run_would_refuse_them(folder: Path) -> None:
    for z in (7, 8, 20):
        (folder / "raw" / (IMAGE % z)).unlink()
    before = tree(folder)
    result = design(folder)
    assert result.exit_code == UserError.exit_code
    assert "3 missing (7 to 8, 20)" in result.output
    assert "missing: 7 to 8, 20" in result.output
    assert "error: every slice from 0 to 39 must be there; got 3 missing" in result.output
    shown = result.output.splitlines()
    command = shlex.split(shown[shown.index("Run it, with the gaps filled, with:") + 1])
    assert command[-2:] == ["--set", "allow_gaps=true"]
    allowed = design(folder, "--set", "allow_gaps=true", "--json")
    assert allowed.exit_code == 0, allowed.output
    assert json.loads(allowed.output)["missing_z"] == [7, 8, 20]
    assert tree(folder) == before


def test_a_stack_that_cannot_be_planned_is_refused_in_one_sentence(folder: Path) -> None:
    (folder / "raw" / (IMAGE % 5)).write_bytes(b"not a picture")
    result = design(folder)
    assert result.exit_code == UserError.exit_code
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1


def test_another_stack_in_the_output_is_told(folder: Path) -> None:
    parameters = ["--process-uri-out", str(folder / "a"), "--chunks-out", str(folder / "b")]
    where = ["--source", str(folder / "raw"), "--output", str(folder / "out"), "--image", IMAGE]
    planned = invoke(plan, *where, "--minz", "0", "--maxz", "39", *parameters)
    assert planned.exit_code == 0, planned.output
    assert design(folder).exit_code == 0
    assert design(folder, maxz=30).exit_code == 0
    later = design(folder, "--minz", "1")
    assert later.exit_code == UserError.exit_code
    assert "an output must hold one stack" in later.output


def test_prices_and_machines_are_the_users(folder: Path) -> None:
    prices = folder / "prices.yaml"
    prices.write_text(
        "{region: mars, date: 2030-01-01, source: me, on_demand: {core_hour: 1, gib_hour: 0},"
        " spot: {core_hour: 0.5, gib_hour: 0}, storage_gib_month: 0,"
        " class_a_per_1000: 0, class_b_per_1000: 0}"
    )
    settings = folder / "settings.toml"
    settings.write_text("[align]\nmemory = '100M'\n")
    result = design(
        folder, "--prices", str(prices), "--settings", str(settings), "--json", "--target", "argo"
    )
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["prices"]["region"] == "mars"
    assert found["dollars"]["on_demand"] == pytest.approx(2 * found["core_hours"])
    assert any("[align]" in sentence for sentence in found["concerns"])
    broken = design(folder, "--prices", str(settings))
    assert broken.exit_code == ConfigError.exit_code


def test_help_needs_no_storage_libraries() -> None:
    code = (
        "import sys; from commands.design.main import design; design(['--help'], standalone_mode=False); "
        "assert not {'numpy', 'tensorstore', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, env=os.environ)
