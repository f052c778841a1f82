"""Sentences on slices that flicker and on streaks."""

from pathlib import Path

import numpy as np

from components.report.gather import RunEvidence
from components.report.words.flicker_and_streaks import flicker_sentence, streak_sentence
from components.shared.documents.slices import known_row
from components.shared.documents.transforms import GreyLine
from tests.builders import with_slice
from tests.components.report.finished_run import make_plan, make_transforms


def evidence_of(output: Path) -> RunEvidence:
    plan = make_plan(output, 4)
    transforms = make_transforms(plan, [np.eye(3)] * 4, (40, 40, 4))
    return RunEvidence(plan, transforms=transforms.model_copy(update={"intensity_range": (0.0, 255.0)}))


def test_flicker_is_told_in_grey_levels(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    assert flicker_sentence(evidence) == ""
    assert evidence.transforms is not None
    for z, gain in ((1, 1.2), (2, 0.9)):
        evidence.transforms = with_slice(evidence.transforms, z, grey_line=GreyLine(gain=gain, offset=0))
    assert flicker_sentence(evidence) == (
        "2 of 4 slices flicker and are shown in the grey levels of those around: mid grey changes by 19 raw "
        "levels (median), 26 at most."
    )


def test_streaks_that_nobody_sees_are_not_told(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    evidence.rows = [known_row(z=z, streak_gain=0.2, streak_damage=0.1) for z in range(4)]
    assert streak_sentence(evidence) == ""
    assert evidence.transforms is not None
    unfiltered, evidence.transforms = (
        evidence.transforms,
        with_slice(evidence.transforms, 1, filtered_streaks="y"),
    )
    assert streak_sentence(evidence).endswith("filtered in 1.")
    evidence.transforms = unfiltered.model_copy(update={"intensity_range": (100.0, 110.0)})
    assert streak_sentence(evidence).startswith("Streaks of 0.2 raw grey levels RMS (median) in 4 of 4")


def test_streaks_are_told_with_what_a_filter_damages_and_the_command(tmp_path: Path) -> None:
    evidence = evidence_of(tmp_path)
    evidence.rows = [known_row(z=z, streak_gain=1.0, streak_damage=1.0) for z in range(3)] + [known_row(z=3)]
    assert streak_sentence(evidence) == ""
    evidence.rows[1] = known_row(z=1, streak_gain=6.0, streak_damage=2.0)
    assert streak_sentence(evidence) == (
        "Streaks of 6.0 raw grey levels RMS (median) in 1 of 3 slices, where a filter takes 2.0 of tissue "
        f"with them: left as they are; fibstack resolve {tmp_path} --set streaks=filter filters them."
    )
    assert evidence.transforms is not None
    evidence.transforms = with_slice(evidence.transforms, 1, filtered_streaks="y")
    assert streak_sentence(evidence).endswith("of tissue with them: filtered in 1.")
