"""What `plan` leaves of cost for the report: the estimate of `fibstack design`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from commands.design.main import design
from components.shared.documents.cost import COST_KEY, CostEstimate, read_prices
from components.shared.errors import UserError
from components.shared.steps import MEMORY_OUTPUTS, STEPS
from components.shared.storage.folder import FolderStore
from pipeline.settings import Settings, read_settings
from tests.builders import invoke
from tests.components.plan.plan_step import FIRST, LAST, plan_of, refusal, run

DIGEST = f"sha256:{'0a' * 32}"


def cost_of(folder: Path) -> CostEstimate:
    return CostEstimate.model_validate_json((folder / "out/process/cost.json").read_bytes())


def designed(source: Path, folder: Path, *more: str) -> dict[str, Any]:
    """What `fibstack design` says of the stack that `run` plans."""
    flags = {
        "source": source,
        "image": "img.%05d.png",
        "minz": FIRST,
        "maxz": LAST,
        "output": folder / "out",
    }
    words = [text for name, value in flags.items() for text in (f"--{name}", str(value))]
    result = invoke(design, *words, "--target", "argo", "--json", *more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


@pytest.mark.filterwarnings("ignore")
def test_the_estimate_is_that_of_design(source: Path, tmp_path: Path) -> None:
    expected = designed(source, tmp_path)
    assert run(source, pods=Settings().pods).exit_code == 0
    cost = cost_of(tmp_path)
    assert sum(cost.core_hours.values()) == pytest.approx(expected["core_hours"])
    for name, dollars in cost.dollars:
        assert dollars == pytest.approx(expected["dollars"][name])
    assert cost.prices == read_prices()
    assert cost.core_hours.keys() == cost.pods.keys() == set(STEPS)


def test_pods_are_those_of_the_settings(source: Path, tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {
            "registry": "reg",
            "tag": "1",
            "digests": {"tile": DIGEST},
            "tile": {"cpu": "500m", "memory": "4G", "spot": True},
        }
    )
    run(source, pods=settings.pods)
    pods = cost_of(tmp_path).pods
    assert pods["align"].image == "reg/align:1"
    tile = pods["tile"]
    assert (tile.image, tile.cores, tile.memory_bytes, tile.spot) == (f"reg/tile:1@{DIGEST}", 0.5, 4e9, True)


@pytest.mark.filterwarnings("ignore")
def test_pods_are_told_to_ask_for_the_memory_that_design_says(source: Path, tmp_path: Path) -> None:
    """Also where an earlier run has left its plan; what a small machine has is asked for as it is written."""
    files = {f"{output}_out": tmp_path / "memory" / output for output in MEMORY_OUTPUTS.values()}
    settings = tmp_path / "settings.toml"
    settings.write_text("tile = { memory = '96M', memory_limit = '4G' }\n")
    for pods, given in ((Settings().pods, ()), (read_settings(settings).pods, ("--settings", str(settings)))):
        said = {s["step"]: s["asked_memory"] for s in designed(source, tmp_path, *given)["steps"]}
        assert run(source, pods=pods, **files).exit_code == 0
        assert {step: files[f"{output}_out"].read_text() for step, output in MEMORY_OUTPUTS.items()} == {
            step: said[step] for step in MEMORY_OUTPUTS
        }
    assert (said["align"], said["tile"], said["plan"]) == ("256Mi", "96M", "1G")


def test_memory_is_refused_to_pods_that_are_not_told(source: Path, tmp_path: Path) -> None:
    assert "--pods must be JSON" in refusal(run(source, align_memory_out=tmp_path / "memory"), 78)


def test_the_same_estimate_is_not_written_again(source: Path, tmp_path: Path) -> None:
    run(source, pods=Settings().pods)
    written = tmp_path / "out/process/cost.json"
    before = written.stat().st_mtime_ns
    run(source, pods=Settings().pods)
    assert written.stat().st_mtime_ns == before
    run(source, pods=Settings(tag="other").pods)
    assert cost_of(tmp_path).pods["plan"].image.endswith(":other")


def test_without_pods_there_is_no_estimate(source: Path, tmp_path: Path) -> None:
    run(source)
    assert plan_of(tmp_path)
    assert not (tmp_path / "out/process/cost.json").exists()


def test_pods_that_cannot_be_read_are_refused(source: Path) -> None:
    assert "--pods must be JSON" in refusal(run(source, pods='{"tile": 1}'), 78)


def test_an_identity_that_may_not_replace_the_estimate_runs_all_the_same(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run(source, pods=Settings().pods)
    write = FolderStore.write

    def refuse_cost(store: FolderStore, key: str, *parts: bytes) -> None:
        if key == COST_KEY:
            raise UserError("no right to replace")
        write(store, key, *parts)

    monkeypatch.setattr(FolderStore, "write", refuse_cost)
    again = run(source, pods=Settings(tag="other").pods)
    assert again.exit_code == 0
    assert "estimated before: no right to replace" in caplog.text
    assert not cost_of(tmp_path).pods["plan"].image.endswith(":other")
