"""The paragraph on methods: true of its run, with sources that the steps are built on."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from components.report.gather import RunEvidence
from components.report.run_document import RunDocument
from components.report.run_status import parse_status
from components.report.words.methods import REFERENCES, methods_of
from components.report.words.summary import summarise
from components.shared.documents.align import AlignRecord
from components.shared.work.verification import Verification
from tests.components.report.finished_run import SIZE_XYZ, make_plan, make_transforms, pair_record

ROOT = Path(__file__).parents[4]


def paragraph(**settings: Any) -> str:
    run, evidence = finished(**settings)
    return " ".join(methods_of(run, evidence).sentences)


def finished(**settings: Any) -> tuple[RunDocument, RunEvidence]:
    plan = make_plan("out", **settings)
    transforms = make_transforms(plan, [np.eye(3)] * 20, SIZE_XYZ, replaced={7: 6})
    evidence = RunEvidence(plan, transforms=transforms)
    pairs = [pair_record(0, 1), pair_record(1, 2).model_copy(update={"fallback": "whole_frame"})]
    evidence.pairs.add(AlignRecord(slices=[], pairs=pairs))
    run = summarise(evidence, parse_status("Succeeded"), None, Verification((), ()))
    return run.model_copy(update={"complete": True}), evidence


def test_it_says_what_was_done_with_numbers_of_its_references_in_their_order() -> None:
    run, evidence = finished()
    methods = methods_of(run, evidence)
    text = " ".join(methods.sentences)
    assert text.startswith("20 slices (0 to 19) with voxels of 8 x 8 x 8 nm were aligned with fibstack ")
    assert "2 of 2 pairs were accepted" in text
    assert "1 pair without features enough were found" in text
    assert "1 slice are not shown as recorded but replaced." in text
    cited = [int(n) for group in re.findall(r"\[([\d, ]+)\]", text) for n in group.split(", ")]
    assert list(dict.fromkeys(cited)) == list(range(1, len(methods.references) + 1))
    assert methods.references[0].startswith("The fibstack developers, fibstack ")


def test_what_a_setting_switches_off_is_not_claimed() -> None:
    assert "SIFT" not in paragraph(skip_align=True)
    assert "B-spline" not in paragraph(skip_align=True)
    assert "CLAHE" in paragraph()
    assert "CLAHE" not in paragraph(clip_limit=0.0)
    assert "robust weights" in paragraph()
    assert "robust weights" not in paragraph(solver="compose")
    assert "Streaks" not in paragraph(streaks="filter")  # none were filtered
    assert "raw grey levels" not in paragraph(keep_bits=True)  # of slices of 8 bit
    assert "OME-Zarr" in paragraph(ome_zarr=True)
    assert "OME-Zarr" not in paragraph()


def test_a_run_that_is_not_complete_has_no_methods() -> None:
    run, evidence = finished()
    assert methods_of(run.model_copy(update={"complete": False}), evidence).sentences == ()


def test_the_sources_are_those_of_the_contracts_of_the_steps() -> None:
    contracts = (ROOT / "components").glob("*/contract.yaml")
    known = {source for path in contracts for source in yaml.safe_load(path.read_text()).get("sources", [])}
    own = {"fibstack", "ransac"}  # the program itself, and the kind of consensus that MAGSAC++ is one of
    assert {text for name, text in REFERENCES.items() if name not in own} <= known
