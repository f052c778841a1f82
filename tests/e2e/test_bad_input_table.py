"""Every mistake of the table gets the one sentence of docs/bad-input.md; nothing is published."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from components.plan.main import make_plan
from components.shared.documents.config import RunConfig
from components.shared.documents.transforms import Transforms
from components.shared.pictures.slice_files import read_slice
from components.shared.storage.registry import open_store
from tests.e2e import bad_input_cases as cases
from tests.e2e import bad_input_guide as guide
from tests.e2e.bad_input_cases import HANDLED, READ, REFUSED, Case
from tests.e2e.bad_input_run import answer_to

GUIDE = guide.GUIDE.read_text()


def without_byte_counts(line: str) -> str:
    """Another release of a library may pack a picture into some bytes more or less."""
    return re.sub(r"[0-9,]+ bytes", "some bytes", line)


ROWS = [without_byte_counts(line) for line in GUIDE.splitlines()]


def files_below(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def ids(table: list[Case]) -> list[str]:
    return [case.name for case in table]


@pytest.mark.parametrize("case", REFUSED, ids=ids(REFUSED))
def test_a_mistake_gets_the_sentence_of_the_guide(case: Case, tmp_path: Path) -> None:
    answer = answer_to(case, tmp_path)
    assert without_byte_counts(guide.row(case, answer)) in ROWS, "make bad-input writes the guide anew"
    assert answer.exit_code == (78 if case.group == "keys" else 65)
    (sentence,) = answer.errors
    assert sentence.endswith(".")
    assert len(sentence) < 600
    assert not list(tmp_path.rglob("info"))
    if answer.output.is_dir() and case.group not in ("changes", "source and output"):
        assert {Path(name).parts[0] for name in files_below(answer.output)} == {"process"}


def test_the_guide_has_no_other_rows_and_the_same_text() -> None:
    rows = [line for line in GUIDE.splitlines() if line.startswith("| ")]
    wanted = [case.what for case in (*REFUSED, *READ, *HANDLED)]
    assert [
        row.split(" | ")[0].removeprefix("| ") for row in rows if row.split(" | ")[0][2:] in wanted
    ] == wanted
    assert GUIDE.startswith(guide.HEAD)
    assert len(wanted) >= 100


@pytest.mark.parametrize("case", READ, ids=ids(READ))
def test_an_unusual_file_is_read_as_it_is(case: Case, tmp_path: Path) -> None:
    cases.write_stack(tmp_path)
    case.spoil(tmp_path)
    numbers = {"minz": cases.FIRST, "maxz": cases.LAST}
    config = RunConfig(
        source=str(tmp_path / "stack"), image=cases.NAME, output=str(tmp_path / "volume"), **numbers
    )
    plan = make_plan(config, 200)
    (entry,) = (entry for entry in plan.slices if entry.z == cases.BAD)
    picture = read_slice(open_store(config.source), entry, plan.pixel_type)
    error = np.abs(picture.astype(int) - cases.IMAGE)
    assert error.max() <= (3 if "JPEG" in case.what else 0)
    assert guide.accepted_row(case) in GUIDE.splitlines()


@pytest.mark.parametrize("case", HANDLED, ids=ids(HANDLED))
def test_an_odd_stack_is_handled_as_the_guide_says(case: Case, tmp_path: Path) -> None:
    cases.write_stack(tmp_path / "sound")
    before = files_below(tmp_path / "sound/stack")
    answer = answer_to(case, tmp_path)
    assert answer.exit_code == 0, answer.errors
    transforms = Transforms.model_validate_json((answer.output / "process/transforms.json").read_bytes())
    assert tuple(s.verdict for s in transforms.slices) == case.verdicts
    assert np.isfinite([s.matrix for s in transforms.slices]).all()
    assert guide.accepted_row(case) in GUIDE.splitlines()
    if "output" in case.what:
        after = files_below(tmp_path / "stack")
        assert {name: after[name] for name in before} == before
