"""A run in an output that holds an earlier one: nothing that was decided there is undone in silence."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import Result

from commands.resolve import resolved_config
from components.report.run_status import other_settings
from components.report.unit_counts import status_lines
from components.shared.documents.config_flags import decisions_sentence
from components.shared.documents.plan import Override
from components.shared.work import units
from tests.components.plan.plan_step import (
    FIRST,
    LAST,
    files_below,
    left_by_refusal,
    plan_of,
    refusal,
    run,
    write_slice,
)


def resolve(source: Path, *keys: str, **changes: Any) -> Result:
    """The plan step as `fibstack resolve` starts it: with the keys that it sets on purpose."""
    return run(source, decided=json.dumps(sorted(keys)), **changes)


def commands(sentence: str) -> tuple[list[str], list[str]]:
    """The words of the two commands of a refusal: the one that keeps and the one that takes back."""
    keep, take_back = re.findall(r'"(fibstack .*?)"(?=,|\.$)', sentence)
    return shlex.split(keep), shlex.split(take_back)


def test_a_resolved_setting_is_not_undone_by_the_first_configuration(source: Path, tmp_path: Path) -> None:
    assert run(source).exit_code == 0
    assert resolve(source, "clip_limit", clip_limit=0).exit_code == 0
    before = files_below(tmp_path / "out")
    said = refusal(run(source), 78)
    assert "got clip_limit 0.02 for 0.0" in said
    assert files_below(tmp_path / "out") == before | left_by_refusal(tmp_path)
    keep, take_back = commands(said)
    assert keep == ["fibstack", "resolve", str(tmp_path / "out")]
    assert take_back == [*keep, "--set", "clip_limit=0.02"]


def test_resolved_overrides_are_not_undone_by_the_first_configuration(source: Path, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    assert run(source).exit_code == 0
    assert resolve(source, "overrides", overrides=decisions).exit_code == 0
    said = refusal(run(source), 78)
    assert f"got no override {{z: {FIRST + 1}, skip: true}}" in said
    assert commands(said)[1][-2:] == ["--overrides", ""]
    assert plan_of(tmp_path).overrides == (Override(z=FIRST + 1, skip=True),)


def test_resolved_overrides_stay_when_their_file_has_gone(source: Path, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    assert run(source).exit_code == 0
    assert resolve(source, "overrides", overrides=decisions).exit_code == 0
    decisions.unlink()
    assert resolve(source, overrides=decisions).exit_code == 0
    assert plan_of(tmp_path).overrides == (Override(z=FIRST + 1, skip=True),)
    assert "which does not exist" in refusal(run(source, overrides=tmp_path / "other.yaml"), 78)


def test_overrides_that_were_taken_away_do_not_come_back(source: Path, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    assert run(source, overrides=decisions).exit_code == 0
    assert resolve(source, "overrides").exit_code == 0
    said = refusal(run(source, overrides=decisions), 78)
    assert "overrides that were taken away" in said


def test_another_file_with_more_decisions_undoes_none(source: Path, tmp_path: Path) -> None:
    few, more = tmp_path / "few.yaml", tmp_path / "more.yaml"
    few.write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    more.write_text(f"{few.read_text()}- {{z: {FIRST + 3}, skip: true}}\n")
    assert run(source).exit_code == 0
    assert resolve(source, "overrides", overrides=few).exit_code == 0
    assert run(source, overrides=more).exit_code == 0
    assert f"got no override {{z: {FIRST + 3}, skip: true}}" in refusal(run(source, overrides=few), 78)


def test_no_overrides_by_decision_stay_none_whatever_file_is_named(source: Path, tmp_path: Path) -> None:
    first, other = tmp_path / "first.yaml", tmp_path / "other.yaml"
    for file in (first, other):
        file.write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    assert run(source, overrides=first).exit_code == 0
    assert resolve(source, "overrides").exit_code == 0
    assert "overrides that were taken away" in refusal(run(source, overrides=other), 78)


def test_the_decisions_that_stand_are_told_with_the_command_that_takes_them_back(
    source: Path, tmp_path: Path
) -> None:
    output, decisions = tmp_path / "out", tmp_path / "decisions.yaml"
    decisions.write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    assert run(source).exit_code == 0
    assert decisions_sentence(plan_of(tmp_path)) == ""
    assert resolve(source, "replace_with", replace_with="blend").exit_code == 0
    assert decisions_sentence(plan_of(tmp_path)) == (
        'Decided by resolve: replace_with=blend (before: nearest); take it back with "fibstack resolve '
        f'{output} --set replace_with=nearest".'
    )
    others = {"replace_with": "blend", "overrides": decisions, "clip_limit": 0}
    assert resolve(source, "overrides", "clip_limit", **others).exit_code == 0
    *_, told = status_lines(str(output))
    assert told == (
        f"Decided by resolve: clip_limit=0.0 (before: 0.02), {{z: {FIRST + 1}, skip: true}} (before: none), "
        f'replace_with=blend (before: nearest); take it back with "fibstack resolve {output} --set '
        f"clip_limit=0.02 --overrides '' --set replace_with=nearest\"."
    )
    back = resolved_config(str(output), "", ["clip_limit=0.02", "replace_with=nearest"])
    assert resolve(source, *back.decided).exit_code == 0
    assert decisions_sentence(plan_of(tmp_path)) == ""


def test_overrides_of_a_run_are_told_too_where_the_output_lies_now(source: Path, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text(f"- {{z: {FIRST + 1}, skip: true}}\n")
    assert run(source, overrides=decisions).exit_code == 0
    assert decisions_sentence(plan_of(tmp_path), "moved") == (
        f"Decided by overrides: {{z: {FIRST + 1}, skip: true}}; take it back with "
        "\"fibstack resolve moved --overrides ''\"."
    )


def test_what_is_taken_back_on_purpose_leaves_the_first_plan(source: Path, tmp_path: Path) -> None:
    assert run(source).exit_code == 0
    first = files_below(tmp_path / "out")
    assert resolve(source, "clip_limit", clip_limit=0).exit_code == 0
    assert resolve(source, "clip_limit", clip_limit=0.02).exit_code == 0
    assert files_below(tmp_path / "out") == first
    assert run(source).exit_code == 0


def test_two_resolves_are_both_kept(source: Path, tmp_path: Path) -> None:
    assert run(source).exit_code == 0
    assert resolve(source, "clip_limit", clip_limit=0).exit_code == 0
    assert resolve(source, "trend", clip_limit=0, trend="keep").exit_code == 0
    said = refusal(run(source), 78)
    assert "clip_limit 0.02 for 0.0" in said
    assert 'trend "hybrid" for "keep"' in said
    assert "clip_limit 0.02" in refusal(run(source, trend="keep"), 78)
    assert run(source, trend="keep", clip_limit=0).exit_code == 0


def test_a_resolve_that_read_another_plan_undoes_no_other_resolve(source: Path) -> None:
    assert run(source).exit_code == 0
    assert resolve(source, "clip_limit", clip_limit=0).exit_code == 0
    assert "clip_limit" in refusal(resolve(source, "trend", trend="keep"), 78)


def test_the_same_step_tried_again_says_the_same(source: Path, tmp_path: Path) -> None:
    assert run(source).exit_code == 0
    for _ in range(2):
        assert resolve(source, "clip_limit", clip_limit=0).exit_code == 0
    assert plan_of(tmp_path).resolved_from == {"clip_limit": 0.02}
    for _ in range(2):
        assert resolve(source, "clip_limit", clip_limit=0.02).exit_code == 0
    assert plan_of(tmp_path).resolved_from == {}


def test_another_setting_of_a_run_keeps_its_way_and_the_commands_carry_it(source: Path) -> None:
    assert run(source).exit_code == 0
    assert run(source, jpeg_quality=60).exit_code == 0
    assert resolve(source, "clip_limit", jpeg_quality=60, clip_limit=0).exit_code == 0
    keep, take_back = commands(refusal(run(source, jpeg_quality=70), 78))
    assert keep[3:] == ["--set", "jpeg_quality=70"]
    assert take_back[3:] == ["--set", "jpeg_quality=70", "--set", "clip_limit=0.02"]


def test_more_slices_with_and_without_the_decisions_are_commands_of_run(source: Path, tmp_path: Path) -> None:
    assert run(source, maxz=LAST - 1).exit_code == 0
    assert resolve(source, "clip_limit", maxz=LAST - 1, clip_limit=0).exit_code == 0
    keep, take_back = commands(refusal(run(source), 78))
    for words, clip_limit in ((keep, "0.0"), (take_back, "0.02")):
        assert words[:2] == ["fibstack", "run"]
        flags = dict(zip(words[2::2], words[3::2], strict=True))
        assert flags["--maxz"] == str(LAST)
        if "--set" in flags and clip_limit == "0.0":
            assert flags["--set"] == "clip_limit=0.0"
    assert take_back[-1] == 'decided=["clip_limit"]'
    assert run(source, decided='["clip_limit"]').exit_code == 0
    assert plan_of(tmp_path).config.clip_limit == 0.02


@pytest.mark.parametrize("name", ["id", "email", "project"])
def test_another_name_undoes_nothing(source: Path, name: str) -> None:
    value = {"id": "other", "email": "a@b.org", "project": "my-project"}[name]
    assert run(source).exit_code == 0
    assert resolve(source, "clip_limit", clip_limit=0).exit_code == 0
    assert run(source, clip_limit=0, **{name: value}).exit_code == 0


def test_channels_are_added_by_a_resolve_and_taken_back_by_one_alone(source: Path, tmp_path: Path) -> None:
    for z in range(FIRST, LAST + 1):
        write_slice(source / f"esb.{z:05d}.png")
    assert run(source).exit_code == 0
    first = plan_of(tmp_path)
    more = '["esb.%05d.png"]'
    assert resolve(source, "more_channels", more_channels=more).exit_code == 0
    plan = plan_of(tmp_path)
    assert plan.file_channels == (1, 1)
    assert [units.chunk_hash(plan, c) for c in units.chunks(plan)] == [
        units.chunk_hash(first, c) for c in units.chunks(first)
    ]
    assert "--set 'more_channels=[]'" in refusal(run(source), 78)
    assert resolve(source, "more_channels").exit_code == 0
    assert plan_of(tmp_path).to_json() == first.to_json()


def test_a_channel_that_is_not_named_any_more_is_told_with_both_ways_on(source: Path, tmp_path: Path) -> None:
    for z in range(FIRST, LAST + 1):
        write_slice(source / f"esb.{z:05d}.png")
    assert run(source, more_channels='["esb.%05d.png"]').exit_code == 0
    said = refusal(run(source), 65)
    assert (
        "got none of esb.%05d.png. Add --set 'more_channels=[\"esb.%05d.png\"]', or take the channel" in said
    )
    assert said.endswith(f"away: \"fibstack resolve {tmp_path / 'out'} --set 'more_channels=[]'\".")


def test_another_stack_is_told_before_decisions_on_the_one_that_is_there(source: Path) -> None:
    assert run(source).exit_code == 0
    assert resolve(source, "clip_limit", clip_limit=0).exit_code == 0
    assert "an output must hold one stack" in refusal(run(source, minz=FIRST + 1), 65)


def test_slices_may_be_appended_or_left_out_at_the_end(source: Path, tmp_path: Path) -> None:
    assert run(source, maxz=LAST - 2).exit_code == 0
    assert run(source).exit_code == 0
    assert json.loads((tmp_path / "parameters/chunks").read_text()) == ["8-15", "16-23", "24-25"]
    assert run(source, maxz=LAST - 4).exit_code == 0
    assert plan_of(tmp_path).config.maxz == LAST - 4


def test_a_stack_that_grows_beyond_the_fan_is_cut_as_it_was(source: Path, tmp_path: Path) -> None:
    assert run(source, maxz=LAST - 2, fan=2).exit_code == 0
    first = plan_of(tmp_path)
    assert run(source, fan=2).exit_code == 0
    assert json.loads((tmp_path / "parameters/chunks").read_text()) == ["8-23", "24-25"]
    plan = plan_of(tmp_path)
    kept, *_ = units.chunks(plan)
    assert units.chunk_hash(plan, kept) == units.chunk_hash(first, kept)


@pytest.mark.parametrize("spelled", ["{}/", "file://{}", "{}-linked"])
def test_another_name_of_the_source_changes_nothing(source: Path, tmp_path: Path, spelled: str) -> None:
    Path(f"{source}-linked").symlink_to(source)
    assert run(source).exit_code == 0
    before = files_below(tmp_path / "out")
    other = spelled.format(source)
    assert run(source, source=other).exit_code == 0
    assert files_below(tmp_path / "out") == before
    fields = {"source": other, "image": "img.%05d.png", "minz": str(FIRST), "maxz": str(LAST)}
    assert other_settings({**fields, "output": str(tmp_path / "out")}, plan_of(tmp_path).config) == ""


def why_matched_again(source: Path, caplog: pytest.LogCaptureFixture, **changes: Any) -> str:
    """The reason that the plan step gives for matching all slices again; empty where it gives none."""
    caplog.clear()
    assert run(source, **changes).exit_code == 0
    said = [message for message in caplog.messages if message.startswith("all slices are matched again: ")]
    return said[0].partition(": ")[2] if said else ""


def test_why_all_is_matched_again_is_said(
    source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING")
    assert why_matched_again(source, caplog, maxz=LAST - 2) == ""
    assert why_matched_again(source, caplog) == ""
    assert why_matched_again(source, caplog, neighbours=2) == "neighbours=2, before neighbours=4"
    write_slice(source / f"img.{LAST + 1:05d}.png", width=600)
    assert why_matched_again(source, caplog, maxz=LAST + 1, neighbours=2) == (
        "the longest side of a slice is 600 px, before 40, and the scale follows it"
    )
    for z in range(4):
        tissue = np.random.default_rng(z).uniform(0, z + 1, (30, 40)).astype(np.float32)
        assert cv2.imwrite(str(source / f"wide.{z}.tif"), tissue)
    wide = {"image": "wide.%d.tif", "minz": 0, "output": tmp_path / "wide"}
    assert why_matched_again(source, caplog, maxz=1, **wide) == ""
    assert "spread over grey levels from" in why_matched_again(source, caplog, maxz=3, **wide)
