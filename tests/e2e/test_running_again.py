"""What a command does that is given again, on a small stack: each row of docs/running-again.md is a test."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorstore as ts
from click.testing import Result

from components.shared.documents.align import AlignRecord
from components.shared.documents.plan import Plan
from components.shared.steps import RESULT_VERSIONS
from tests.builders import cli
from tests.e2e.forked import ForkedProcesses
from tests.e2e.steps import run_steps

PAGE = Path(__file__).parents[2] / "docs/running-again.md"
N_SLICES, N_MORE, SIDE_PX = 20, 4, 96
CHUNKS = ["0-7", "8-15", "16-19"]
"""Twice two neighbours reach four slices beyond the end of each chunk."""
REFUSED, PAGE_OF_REPORT = "process/refused.json", "process/report/index.html"
ROWS: dict[str, str] = {
    "another detector in an output of its own: `apply OUTPUT FOLDER NEW`": "test_second_stack.py",
    "the same `apply` again": "test_second_stack.py",
}
"""Test, or file of tests, by the row of the page that it holds true."""


def row(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorator of the test of rows of the page, by their first cell."""

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        ROWS.update(dict.fromkeys(names, test.__name__))
        return test

    return decorate


def pictures() -> list[np.ndarray]:
    """Texture that changes a little and moves by whole pixels from slice to slice."""
    rng = np.random.default_rng(11)
    field = rng.normal(size=(SIDE_PX + 40, SIDE_PX + 40))
    found = []
    for z in range(N_SLICES + N_MORE):
        field = 0.97 * field + 0.24 * rng.normal(size=field.shape)
        texture = cv2.GaussianBlur(field, (0, 0), 1.6) * 5
        x, y = 10 + 3 * (z % 3), 10 + 2 * (z % 2)
        grey = 128 + 35 * texture[y : y + SIDE_PX, x : x + SIDE_PX]
        found.append(np.clip(grey, 1, 255).astype(np.uint8))
    return found


PICTURES = pictures()


def write(folder: Path, numbers: range | list[int], name: str = "img") -> None:
    folder.mkdir(exist_ok=True)
    for z in numbers:
        assert cv2.imwrite(str(folder / f"{name}.{z:05d}.png"), PICTURES[z])


@dataclass
class Again:
    """A finished run, and what the commands that follow do with its output."""

    source: Path
    output: Path
    logs: Path

    def run(self, *words: object, check: bool = True) -> Result:
        """The command that was given first, with more words."""
        words = ("--set", "neighbours=2", *words)
        return self.give("run", self.source, "--output", self.output, *words, check=check)

    def resolve(self, *words: object, check: bool = True) -> Result:
        return self.give("resolve", self.output, *words, check=check)

    def give(self, *words: object, check: bool = True) -> Result:
        shutil.rmtree(self.logs, ignore_errors=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("commands.run.main._processes", ForkedProcesses)
            done = cli(*words, "--log-dir", self.logs)
        assert done.exit_code == 0 or not check, done.output
        return done

    def tasks(self) -> dict[str, int]:
        """Number of tasks of each step with a loop that the last command has started."""
        steps = ("align", "tile", "pyramid")
        return {step: len(list(self.logs.glob(f"*/{step}*/*/log.txt"))) for step in steps}

    def matched(self) -> list[str]:
        """The chunks that the last command has matched."""
        logs = "".join(path.read_text() for path in sorted(self.logs.glob("*/align/*/log.txt")))
        return sorted(re.findall(r"chunk (\S+): \d+ slices", logs), key=lambda name: int(name.split("-")[0]))

    def files(self) -> dict[str, bytes]:
        """Every file of the output but the page, which tells how long the steps took."""
        found = (path for path in self.output.rglob("*") if path.is_file() and path.name != "index.html")
        return {str(path.relative_to(self.output)): path.read_bytes() for path in found}

    def written(self) -> dict[str, int]:
        """When each file of the output was written."""
        found = (path for path in self.output.rglob("*") if path.is_file())
        return {str(path.relative_to(self.output)): path.stat().st_mtime_ns for path in found}


def volume_of(files: dict[str, bytes], written: str = "", as_in: str = "") -> dict[str, bytes]:
    """The files of the volumes, and where the slices lie in them.

    Args:
        files: Those of an output.
        written: The output.
        as_in: The output whose name stands for it.
    """
    return {
        key: data.replace(written.encode(), as_in.encode()) if written else data
        for key, data in files.items()
        if not key.startswith("process/") or key == "process/transforms.json"
    }


def matching_of(files: dict[str, bytes]) -> dict[str, bytes]:
    """The evidence of `align` and its records."""
    return {
        key: data
        for key, data in files.items()
        if key.startswith(("process/align/", "process/records/align/"))
    }


def shards_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {key: data for key, data in files.items() if key.endswith(".shard")}


def n_pairs(files: dict[str, bytes], chunks: list[str]) -> int:
    return sum(
        len(AlignRecord.model_validate_json(files[f"process/align/{chunk}.json"]).pairs) for chunk in chunks
    )


@pytest.fixture(scope="module")
def first(run_folder: Path) -> tuple[Again, Path]:
    """The first run, and a copy of all that it has left."""
    folder = run_folder / "again"
    again = Again(folder / "raw", folder / "out", run_folder / "again-logs")
    folder.mkdir()
    write(again.source, range(N_SLICES))
    again.run()
    assert again.matched() == CHUNKS
    kept = run_folder / "again-kept"
    shutil.copytree(folder, kept)
    return again, kept


@pytest.fixture
def again(first: tuple[Again, Path]) -> Again:
    """The first run as it was when it ended."""
    stack, kept = first
    shutil.rmtree(stack.output.parent)
    shutil.copytree(kept, stack.output.parent)
    return stack


NOTHING = {"align": 0, "tile": 0, "pyramid": 0}
"""Tasks of a command that has nothing to match and nothing to write."""


@row("the same command, also with another `--jobs`")
def test_the_same_command_makes_nothing(again: Again) -> None:
    before, written = again.files(), again.written()
    again.run("--jobs", 1)
    assert again.tasks() == NOTHING
    assert again.files() == before
    now = again.written()
    work = {key for key in written if ".shard" in key or key in matching_of(before)}
    assert all(now[key] == written[key] for key in work)


@row("other settings")
def test_other_settings_keep_what_is_matched(again: Again) -> None:
    before = again.files()
    said = again.run("--set", "jpeg_quality=60", "--set", "trend=keep").stderr
    assert "This would change what is published" in said
    assert 'trend from "hybrid" to "keep"' in said
    assert "jpeg_quality from 80 to 60" in said
    assert again.matched() == []
    assert matching_of(again.files()) == matching_of(before)
    assert again.run().exit_code == 0
    assert again.matched() == []
    assert volume_of(again.files()) == volume_of(before)


@row("a setting of matching, such as `match_size`")
def test_a_setting_of_matching_matches_all(again: Again) -> None:
    again.run("--set", "match_size=64")
    assert again.matched() == CHUNKS


@row("`resolve --set`, `resolve --overrides`")
def test_resolve_keeps_what_is_matched_and_what_it_has_decided(again: Again, tmp_path: Path) -> None:
    before = again.files()
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text("- {z: 5, skip: true}\n")
    done = again.resolve("--set", "replace_with=previous")
    assert again.tasks() == NOTHING, "no slice is replaced, so no picture changes"
    assert (
        decided("replace_with=previous (before: nearest)", again, "--set replace_with=nearest") in done.stdout
    )
    done = again.resolve("--overrides", decisions)
    assert again.matched() == []
    back = "--overrides '' --set replace_with=nearest"
    both = "{z: 5, skip: true} (before: none), replace_with=previous (before: nearest)"
    assert decided(both, again, back) in done.stdout
    assert decided(both, again, back) in cli("status", again.output).stdout
    transforms = again.files()["process/transforms.json"]
    again.run("--set", "replace_with=previous", "--set", f"overrides={decisions}")
    assert again.files()["process/transforms.json"] == transforms
    again.resolve("--overrides", "", "--set", "replace_with=nearest")
    assert again.matched() == []
    assert again.files() == before


def decided(what: str, again: Again, back: str) -> str:
    return f'Decided by resolve: {what}; take it back with "fibstack resolve {again.output} {back}".'


@row("the first command after a `resolve`")
@pytest.mark.parametrize("words", [(), ("--from", "tile")])
def test_the_first_command_undoes_no_decision(again: Again, words: tuple[str, ...]) -> None:
    again.resolve("--set", "clip_limit=0")
    before = again.written()
    done = again.run(*words, check=False)
    assert done.exit_code == 78
    assert "got clip_limit 0.02 for 0.0" in done.stderr
    assert f'Keep it with "fibstack resolve {again.output}"' in done.stderr
    assert f'take it back with "fibstack resolve {again.output} --set clip_limit=0.02"' in done.stderr
    now = again.written()
    assert {key for key in now if now[key] != before.get(key)} <= {
        REFUSED,
        PAGE_OF_REPORT,
        "process/run.json",
    }


@row("more slices at the end", "another output")
def test_more_slices_at_the_end_make_what_a_run_on_all_in_another_output_makes(again: Again) -> None:
    before = again.files()
    write(again.source, range(N_SLICES, N_SLICES + N_MORE))
    said = again.run().stderr
    assert f"maxz from {N_SLICES - 1} to {N_SLICES + N_MORE - 1}" in said
    assert again.matched() == ["16-23"]
    now = again.files()
    assert n_pairs(now, ["16-23"]) < 2 * (N_MORE + 4)
    for chunk in ("0-7", "8-15"):
        assert now[f"process/align/{chunk}.json"] == before[f"process/align/{chunk}.json"]
    fresh = Again(again.source, again.output.with_name("fresh"), again.logs)
    fresh.run()
    assert fresh.matched() == ["0-7", "8-15", "16-23"]
    assert again.files() == now
    assert volume_of(now) == volume_of(fresh.files(), str(fresh.output), str(again.output))


def test_a_stack_that_has_grown_is_the_same_however_it_is_cut(again: Again) -> None:
    write(again.source, range(N_SLICES, N_SLICES + N_MORE))
    stack = {"image": "img.%05d.png", "minz": 0, "maxz": N_SLICES + N_MORE - 1, "neighbours": 2}
    run_steps(again.source, again.output, **stack)
    grown = again.files()
    fresh = Again(again.source, again.output.with_name("fresh"), again.logs)
    run_steps(again.source, fresh.output, fan=2, **stack)
    now = fresh.files()
    assert {Path(key).name for key in matching_of(now)} == {
        "0-11.json",
        "0-11.npz",
        "12-23.json",
        "12-23.npz",
    }
    assert volume_of(grown) == volume_of(now, str(fresh.output), str(again.output))


@row("more slices at the end, after a `resolve`")
def test_more_slices_keep_what_was_decided(again: Again, tmp_path: Path) -> None:
    decisions = tmp_path / "decisions.yaml"
    decisions.write_text("- {z: 5, skip: true}\n")
    again.resolve("--overrides", decisions, "--set", "clip_limit=0")
    write(again.source, range(N_SLICES, N_SLICES + N_MORE))
    done = again.run(check=False)
    assert done.exit_code == 78
    keep, _ = re.findall(r'"(fibstack run .*?)"(?=,|\.$)', done.stderr, re.MULTILINE)
    again.give(*shlex.split(keep)[1:])
    assert again.matched() == ["16-23"]
    plan = Plan.model_validate_json(again.files()["process/plan.json"])
    assert (plan.config.clip_limit, [override.z for override in plan.overrides]) == (0, [5])
    assert plan.resolved_from == {"clip_limit": 0.02, "overrides": ""}


@row("fewer slices at the end: a lower `maxz`")
def test_fewer_slices_at_the_end_and_again_as_many(again: Again) -> None:
    before = again.files()
    again.run("--maxz", N_SLICES - 3)
    assert again.matched() == ["8-15", "16-17"]
    again.run()
    assert again.matched() == ["8-15"], "the evidence of the last chunk has stayed"
    assert volume_of(again.files()) == volume_of(before)


@row("files at an end of the folder are gone")
@pytest.mark.parametrize(
    ("gone", "remedy"),
    [(0, "choose another output"), (N_SLICES - 1, f"leave them out with --maxz {N_SLICES - 2}")],
)
def test_slices_that_are_gone_are_not_left_out_in_silence(again: Again, gone: int, remedy: str) -> None:
    before = again.written()
    (again.source / f"img.{gone:05d}.png").rename(again.source / "away")
    done = again.run(check=False)
    assert done.exit_code == 65
    assert f"without {gone}. Put them back, or {remedy}." in done.stderr
    assert again.written() == before


@row("slices that were missing in the middle")
def test_a_missing_slice_that_arrives(again: Again) -> None:
    before = again.files()
    (again.source / "img.00012.png").rename(again.source / "later")
    again.run("--set", "allow_gaps=true")
    assert again.matched() == ["8-15"]
    (again.source / "later").rename(again.source / "img.00012.png")
    again.run()
    assert again.matched() == ["8-15"]
    assert volume_of(again.files()) == volume_of(before)


@row("another `minz` or `image`")
@pytest.mark.parametrize("words", [("--minz", 1), ("--image", "other.%05d.png")])
def test_another_stack_is_refused(again: Again, words: tuple[object, ...]) -> None:
    write(again.source, range(N_SLICES), "other")
    before = again.written()
    given = ("--image", "img.%05d.png", "--maxz", N_SLICES - 1)
    done = again.run(*given, *words, check=False)
    assert done.exit_code == 65
    assert "an output must hold one stack" in done.stderr
    now = again.written()
    assert {key for key in now if now[key] != before.get(key)} <= {
        REFUSED,
        PAGE_OF_REPORT,
        "process/run.json",
    }


@row("another detector: `resolve --set more_channels=...`")
def test_a_detector_is_added_without_matching(again: Again) -> None:
    before = again.files()
    write(again.source, range(N_SLICES), "esb")
    again.resolve("--set", 'more_channels=["esb.%05d.png"]')
    assert again.matched() == []
    assert matching_of(again.files()) == matching_of(before)
    chunk = {"driver": "neuroglancer_precomputed", "kvstore": f"file://{again.output}/chunk/"}
    volume = ts.open(chunk, read=True).result().read().result()
    assert volume.shape[3] == 2
    assert volume.any(axis=(0, 1, 2)).all()
    assert np.array_equal(volume[..., 0], volume[..., 1]), "the same pictures, warped alike"


@row("an output that was moved or copied", "slices that were moved: `resolve --set source=...`")
def test_a_moved_output_and_moved_slices(again: Again) -> None:
    before = again.files()
    moved = Again(again.source, again.output.with_name("moved"), again.logs)
    again.output.rename(moved.output)
    moved.run()
    assert moved.tasks() == NOTHING
    again.source.rename(again.source.with_name("elsewhere"))
    moved.resolve("--set", f"source={again.source.with_name('elsewhere')}")
    assert moved.tasks() == NOTHING
    assert shards_of(moved.files()) == shards_of(before)


@row("a changed file of a slice")
def test_a_changed_slice(again: Again) -> None:
    before = again.files()
    assert cv2.imwrite(str(again.source / "img.00009.png"), 255 - PICTURES[9])
    again.run()
    assert again.matched() == ["0-7", "8-15"]
    write(again.source, [9])
    again.run()
    assert again.matched() == ["0-7", "8-15"]
    assert volume_of(again.files()) == volume_of(before)


@row("a file of the volume is gone or damaged")
def test_a_lost_shard(again: Again) -> None:
    before = again.files()
    (again.output / "neuroglancer/jpeg/16x16x16/0.shard").unlink()
    again.run()
    assert again.tasks() | {"tile": 0} == {"align": 0, "tile": 0, "pyramid": 1}
    assert again.files() == before


@row("`--from STEP`")
def test_from_a_step(again: Again) -> None:
    before, written = again.files(), again.written()
    again.run("--from", "pyramid")
    assert again.matched() == []
    assert again.files() == before
    now = again.written()
    assert {key for key in written if now[key] == written[key] and ".shard" in key} == set()


@row("after an upgrade")
@pytest.mark.parametrize("step", ["align", "compose", "tile", "pyramid"])
def test_an_upgrade_makes_anew_what_a_step_writes_otherwise(
    again: Again, step: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = again.files()
    caplog.set_level("INFO")
    monkeypatch.setitem(RESULT_VERSIONS, step, RESULT_VERSIONS[step] + 1)
    stack = {"image": "img.%05d.png", "minz": 0, "maxz": N_SLICES - 1, "neighbours": 2}
    run_steps(again.source, again.output, **stack)
    assert volume_of(again.files()) == volume_of(before)
    n_matched = sum(message.startswith("chunk ") for message in caplog.messages)
    n_slabs = sum(message.startswith("slab ") for message in caplog.messages)
    assert n_matched == (len(CHUNKS) if step == "align" else 0)
    assert bool(n_slabs) == (step in ("tile", "pyramid"))


def test_every_row_of_the_page_is_a_test() -> None:
    _, _, after = PAGE.read_text().partition("| you |")
    table = after.partition("\n\n")[0].splitlines()[2:]
    assert {line.split(" | ")[0].removeprefix("| ") for line in table} == set(ROWS)
