"""What `fibstack resolve` takes from an earlier run, and what it refuses."""

import json
import shutil
from pathlib import Path

import pytest

from commands.resolve import resolved_config
from components.shared.errors import ConfigError, UserError
from components.shared.steps import MATCHING_KEYS, STEPS
from pipeline.configuration import read_config


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """The output of a run, with the plan that it left."""
    folder = tmp_path / "out"
    flags = {"source": "/in", "image": "img.%05d.png", "minz": 0, "maxz": 5, "output": str(folder)}
    config = read_config(None, flags, ["neighbours=2", "overrides=/decisions.yaml"])
    (folder / "process").mkdir(parents=True)
    plan = {"config": config.model_dump(mode="json"), "slices": []}
    (folder / "process/plan.json").write_text(json.dumps(plan))
    return folder


def test_the_configuration_is_that_of_the_run(output: Path) -> None:
    config = resolved_config(str(output), None, [])
    assert (config.neighbours, config.source, config.overrides) == (2, "/in", "/decisions.yaml")


def test_other_settings_and_overrides(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = resolved_config("out", "mine.yaml", ["trend=keep", "force=true"])
    assert config.overrides == str(tmp_path / "mine.yaml")
    assert (config.trend, config.force, config.output) == ("keep", True, str(output))
    assert resolved_config("out", "", []).overrides == ""
    assert resolved_config("out", None, ["overrides=gs://em/mine.yaml"]).overrides == "gs://em/mine.yaml"


def test_the_keys_that_are_set_are_told_to_the_plan(output: Path) -> None:
    config = resolved_config(str(output), "mine.yaml", ["trend=keep", "email=a@b.org"])
    assert config.decided == ("overrides", "trend")
    assert resolved_config(str(output), None, []).decided == ()


@pytest.mark.parametrize("key", sorted(MATCHING_KEYS))
def test_what_would_match_again_is_refused(output: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"'{key}' must stay as it is"):
        resolved_config(str(output), None, [f"{key}=1"])


def test_the_keys_that_matching_depends_on_are_all_refused() -> None:
    assert STEPS["align"].hashed_keys < MATCHING_KEYS


def test_overrides_are_given_once(output: Path) -> None:
    with pytest.raises(ConfigError, match="must be given once"):
        resolved_config(str(output), "a.yaml", ["overrides=b.yaml"])


def test_a_run_that_was_moved_goes_on_where_it_lies(output: Path) -> None:
    moved = output.rename(output.with_name("elsewhere"))
    assert resolved_config(str(moved), None, []).output == str(moved)


def test_a_copy_never_writes_to_what_it_was_made_from(output: Path) -> None:
    copy = shutil.copytree(output, output.with_name("copy"))
    assert resolved_config(str(copy), None, ["trend=keep"]).output == str(copy)


def test_the_place_of_the_slices_may_change_and_is_no_decision(output: Path) -> None:
    config = resolved_config(str(output), None, ["source=/moved", "trend=keep"])
    assert (config.source, config.decided) == ("/moved", ("trend",))


@pytest.mark.parametrize("text", ["", "[]", '{"config": 3}', "{}"])
def test_what_is_no_plan_is_refused(output: Path, text: str) -> None:
    (output / "process/plan.json").write_text(text)
    with pytest.raises(UserError, match="must be the plan of a run"):
        resolved_config(str(output), None, [])


@pytest.mark.parametrize("text", ["", "[]", "{}", "\0", "[" * 100_000])
def test_a_damaged_export_is_told_as_one(output: Path, text: str) -> None:
    (output / "process/export.json").write_text(text)
    with pytest.raises(UserError, match="made from another output"):
        resolved_config(str(output), None, [])


def test_a_run_in_a_bucket(bucket: str, output: Path) -> None:
    from components.shared.storage.registry import open_store

    plan = json.loads((output / "process/plan.json").read_text())
    plan["config"]["output"] = f"gs://{bucket}/out/"
    open_store(f"gs://{bucket}/out").write("process/plan.json", json.dumps(plan).encode())
    assert resolved_config(f"gs://{bucket}/out", None, ["force=true"]).force
