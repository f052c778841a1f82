"""Figures, table and sentences of the report."""

import html
import json
import math
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan.overrides import parse_overrides
from components.plan.work import expected_volume
from components.report.gather import RunEvidence
from components.report.page import page
from components.report.page.cards import CardMaker
from components.report.page.curves import shown_sigma, tracks_chart
from components.report.page.facts import stack_facts
from components.report.page.figures import (
    MOST_POINTS,
    Curve,
    Panel,
    chart_of,
    curves_svg,
    envelope,
    picture_uri,
)
from components.report.page.page import COLUMNS, ROWS_AT_FIRST, Column, data_set, render
from components.report.page.timings import step_times
from components.report.pair_tally import PairTally
from components.report.run_status import parse_status
from components.report.slice_table import worst_first
from components.report.words.bad_slices import (
    bad_slices_sentence,
    decision_commands,
    decision_line,
    slices_on_cards,
)
from components.report.words.run_verdict import RunVerdict, run_verdict
from components.report.words.summary import summarise
from components.shared.documents.align import AlignRecord
from components.shared.documents.config import RunConfig, parse_config
from components.shared.documents.config_flags import command_of
from components.shared.documents.plan import Plan
from components.shared.documents.slices import SliceRow, known_row
from components.shared.work.completeness import OutputSummary
from components.shared.work.verification import Verification
from tests.components.report.finished_run import make_plan, pair_record, slice_statistics


def page_of(rows: list[SliceRow], plan: Plan | None = None) -> str:
    evidence = RunEvidence(plan or make_plan("out"), rows=rows)
    run = summarise(evidence, parse_status("Failed"), None, Verification((), ()))
    cards = CardMaker(evidence.plan, None, slices_on_cards(evidence)).cards()
    return render(run, evidence, [], list(cards))


@pytest.mark.parametrize(
    ("text", "state", "error"),
    [
        ("Succeeded", "succeeded", ""),
        ("Failed", "failed", ""),
        ("Error", "failed", ""),
        ('"Succeeded"', "succeeded", ""),
        ('{"state":"SUCCEEDED","pipelineJobResourceName":"x"}', "succeeded", ""),
        ('{"state":"FAILED","error":{"code":9,"message":"broken"}}', "failed", "broken"),
        ('{"state":"PIPELINE_STATE_FAILED","error":"broken"}', "failed", "broken"),
        ('{"state":"CANCELLED","error":null}', "failed", ""),
        ('{"state":null}', "unknown", ""),
        ("{{workflow.status}}", "unknown", ""),
        ("", "unknown", ""),
        ("[1]", "unknown", ""),
    ],
)
def test_status(text: str, state: str, error: str) -> None:
    status = parse_status(text)
    assert (status.state, status.error) == (state, error)


@given(n=st.integers(1, 20_000), seed=st.integers(0, 9), spike=st.integers(0, 19_999))
def test_the_envelope_keeps_outliers_and_order(n: int, seed: int, spike: int) -> None:
    values = np.random.default_rng(seed).normal(size=n)
    values[spike % n] = 99
    values[(spike * 7) % n] = -99
    x, y = envelope(np.arange(n, dtype=float), values)
    assert len(x) <= MOST_POINTS
    assert (np.diff(x) > 0).all()
    assert y.min() == -99
    assert y.max() == (99 if spike % n != (spike * 7) % n else values.max())


def test_a_gap_of_unknown_values_stays_a_gap() -> None:
    values = np.ones(10_000)
    values[4000:5000] = math.nan
    x, y = envelope(np.arange(10_000.0), values)
    assert np.isnan(y[(x > 4020) & (x < 4980)]).all()
    assert np.isfinite(y[(x < 3990) | (x > 5010)]).all()


def test_a_figure_takes_its_colours_from_the_page() -> None:
    values = np.arange(5.0)
    svg = curves_svg(range(5), [Panel("shift, px", [Curve("x", values), Curve("y", -values)])])
    root = ET.fromstring(svg)
    assert root.tag.endswith("svg")
    assert "var(--series-1)" in svg
    assert "var(--series-2)" in svg
    assert not re.search(r"#0[1-4]0[1-4]0[1-4]", svg)
    texts = {element.text.strip() for element in root.iter() if element.tag.endswith("text")}
    assert {"slice number z", "shift, px", "x", "y"} <= texts
    assert svg == curves_svg(range(5), [Panel("shift, px", [Curve("x", values), Curve("y", -values)])])


def test_a_chart_has_a_title_its_values_and_links_to_cards(drawn: None) -> None:
    values = np.array([1.0, math.nan, 3.14159])
    chart = chart_of("shifts", "Shifts <x>", [7, 8, 9], [Panel("shift, px", [Curve("x", values)])], {8, 99})
    root = ET.fromstring(chart.svg)
    title = next(element for element in root.iter() if element.tag.endswith("title"))
    assert title.text == "Shifts <x>"
    assert root.get("aria-labelledby") == title.get("id")
    links = [element for element in root.iter() if element.tag.endswith("}a")]
    assert [(link.get("href"), link.get("aria-label")) for link in links] == [("#slice-8", "slice 8")]
    ids = {element.get("id") for element in root.iter()} - {None}
    assert all(name.startswith("shifts-") for name in ids)
    assert set(re.findall(r"url\(#([^)]*)\)", chart.svg)) <= ids
    data = json.loads(chart.json)
    assert data["z"] == [7, 8, 9]
    assert data["columns"] == [{"name": "shift, px", "values": [1.0, None, 3.142]}]
    assert "<" not in chart.json


def test_a_section_is_transparent_where_nothing_is_known() -> None:
    import base64

    import cv2

    values = np.arange(12, dtype=np.uint8).reshape(3, 4)
    known = values % 2 == 0
    data = base64.b64decode(picture_uri(values, known).removeprefix("data:image/webp;base64,"))
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(picture[..., 0][known], values[known])
    np.testing.assert_array_equal(picture[..., 3], np.where(known, 255, 0))


def test_a_long_table_starts_with_the_worst_slices_and_holds_all() -> None:
    rows = [known_row(z=z, verdict="good", action="keep", ncc_after=0.9, n_edges=8) for z in range(13_696)]
    rows[9000] = known_row(z=9000, verdict="missing", action="replace", replaced_from=8999)
    rows[5] = known_row(z=5, verdict="good", action="keep", ncc_after=0.1)
    text = page_of(rows)
    table = text[text.index('id="slices"') :]
    body = table[table.index("<tbody>") : table.index("</tbody>")]
    assert body.count("<tr") == ROWS_AT_FIRST
    assert [int(z) for z in re.findall(r'<tr id="row-(\d+)"[^>]*>\s*<td>', body)][:2] == [9000, 5]
    data = json.loads(re.search(r'id="slice-data">(.*?)</script>', text).group(1))
    assert sorted(row[0] for row in data["rows"]) == list(range(13_696))
    assert len(text) < 3_000_000


def notable_z(text: str) -> list[int]:
    """The z of the rows that the table of slices marks."""
    table = text[text.index('id="slices"') :]
    body = table[: table.index("</table>")]
    return sorted(map(int, re.findall(r'<tr id="row-(\d+)" class="notable">', body)))


@pytest.mark.parametrize("at", [0, 2, 4])
def test_a_further_column_changes_neither_what_is_marked_nor_how_a_cell_lies(
    at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = page_of(BAD_ROWS)
    further = Column("edge weight", "edge_weight", 2)
    monkeypatch.setattr(page, "COLUMNS", (*COLUMNS[:at], further, *COLUMNS[at:]))
    after = page_of(BAD_ROWS)
    assert "edge weight" in after
    assert notable_z(after) == notable_z(before) == [1, 2, 3, 4, 5, 7]
    assert after.count('<td class="text">') == before.count('<td class="text">')
    names = json.loads(re.search(r"const at = (.*);", after).group(1))
    data = json.loads(re.search(r'id="slice-data">(.*?)</script>', after).group(1))
    assert {row[names["z"]]: row[names["verdict"]] for row in data["rows"]} == {
        r.z: r.verdict for r in BAD_ROWS
    }


def test_what_users_write_cannot_become_markup() -> None:
    plan = make_plan("out", 1, id="run-1")
    config = plan.config.model_copy(update={"email": "<script>alert(1)</script>"})  # none that is accepted
    named = plan.slices[0].model_copy(update={"key": "</script><b>x.png"})
    rows = [known_row(z=0, verdict="<i>", action="keep")]
    text = page_of(rows, plan.model_copy(update={"slices": (named,), "config": config}))
    assert "&lt;b&gt;x.png" in text
    assert "<b>x.png" not in text
    assert "<i>" not in text
    assert "<script>alert" not in text


def test_the_worst_slices_come_first() -> None:
    rows = [
        known_row(z=0, verdict="good", action="keep"),
        known_row(z=1, verdict="good", action="keep", ncc_after=0.9, residual_px=1),
        known_row(z=2, verdict="good", action="keep", ncc_after=0.9, residual_px=7),
        known_row(z=3, verdict="good", action="keep", ncc_after=0.2),
        known_row(z=4, verdict="isolated", action="keep", ncc_after=0.95),
    ]
    assert [row.z for row in worst_first(rows)] == [4, 3, 2, 1, 0]


def test_pairs_are_counted() -> None:
    tally = PairTally()
    pairs = [
        pair_record(0, 1),
        pair_record(0, 2, accepted=False, reason="few_inliers"),
        pair_record(1, 2, accepted=False, reason="no_overlap"),
        pair_record(1, 3, accepted=False, reason="no_overlap"),
    ]
    tally.add(AlignRecord(slices=[slice_statistics(0)], pairs=pairs))
    assert (tally.n_accepted, tally.n_refused) == (1, 3)
    assert list(tally.reasons.items()) == [("no_overlap", 2), ("few_inliers", 1)]


def test_the_command_repeats_the_configuration() -> None:
    import shlex

    import yaml

    config = RunConfig(
        source="my stack", image="img.%05d.png", minz=3, maxz=9, output="out", id="a b".replace(" ", "-"),
        resolution=(4, 4, 40), clip_limit=0.0, raw_pyramid=True, solver="compose",
    )  # fmt: skip
    words = shlex.split(command_of(config))
    values = dict(zip((w.removeprefix("--") for w in words[2:12:2]), words[3:12:2], strict=True))
    for change in words[13::2]:
        key, _, value = change.partition("=")
        values[key] = yaml.safe_load(value)
    assert parse_config(values) == config


def test_the_sentences_say_what_was_done() -> None:
    rows = [
        known_row(z=0, verdict="good", action="keep"),
        known_row(
            z=1,
            verdict="missing",
            action="replace",
            replaced_from=0,
            ncc_before=0.5,
            ncc_after=0.875,
            step_px=2,
        ),
    ]
    evidence = RunEvidence(make_plan("out", 2, missing=(1,)), rows=rows)
    output = OutputSummary(
        uri="out/jpeg", encoding="jpeg", n_shards=1, n_black_shards=0, size_bytes=2_500_000
    )
    run = summarise(evidence, parse_status("Succeeded"), None, Verification((), (output,)))
    assert run.summary[0] == "The run ended before the slices were aligned; there is no volume."
    assert run.summary[1] == "1 slice from z 0 to 1, 1 missing."
    assert "0.875 after alignment, 0.500 before (medians); the largest step is 2.0 px" in run.summary[2]


def test_the_voxel_and_what_was_found_of_the_input_are_said() -> None:
    plan = make_plan("out", 2).model_copy(update={"findings": ("the size of a pixel changes: twice",)})
    evidence = RunEvidence(plan, rows=[])
    run = summarise(evidence, parse_status("Succeeded"), None, Verification((), ()))
    assert "The size of a pixel changes: twice." in run.summary
    volume = expected_volume(plan)
    run = summarise(evidence, parse_status("Succeeded"), volume, Verification((), ()))
    assert (
        "voxels of 8 x 8 x 8 nm (assumed, since no file tells it: --set resolution=NM) in" in run.summary[1]
    )
    assert "voxel" not in stack_facts(evidence)  # said once


BAD_ROWS = [
    known_row(z=0, verdict="good", action="keep"),
    known_row(z=1, verdict="blank", action="replace", replaced_from=0, evidence="no <content>"),
    known_row(z=2, verdict="blank", action="blend", replaced_from=0, blended_with=3),
    known_row(z=3, verdict="step", action="keep"),
    known_row(z=4, verdict="inverted", action="invert"),
    known_row(z=5, verdict="missing", action="replace", replaced_from=6),
    known_row(z=6, verdict="good", action="keep"),
    known_row(z=7, verdict="good", action="replace", replaced_from=6, override="{z: 7, skip: true}"),
]


def test_one_sentence_says_how_many_slices_stand_out_and_what_was_done() -> None:
    assert bad_slices_sentence(BAD_ROWS[:1]) == ""
    assert bad_slices_sentence(BAD_ROWS[:2]) == (
        "1 of 2 slices stands out: 1 blank; 1 replaced by a neighbour (1 by 0)."
    )
    assert bad_slices_sentence(BAD_ROWS) == (
        "6 of 8 slices stand out: 2 blank, 1 step, 1 inverted, 1 missing, 1 good by decision; "
        "3 replaced by a neighbour (1 by 0, 5 by 6, 7 by 6); 1 replaced by a blend (2); 1 turned round (4); "
        "1 kept (3)."
    )


def test_the_lines_of_decisions_are_overrides_that_change_each_slice() -> None:
    text = "\n".join(decision_line(row) for row in BAD_ROWS if not row.is_ordinary)
    decided = {o.z: next(iter(o.decisions)) for o in parse_overrides(text.encode(), "page")}
    assert decided == {1: "keep", 2: "keep", 3: "skip", 4: "keep", 5: "replace"}
    assert "{z: 7, skip: true}  # without this line" in text


def cards_of(text: str) -> dict[int, str]:
    """The cards of a page by their z."""
    found = re.findall(r'<article class="card" id="slice-(\d+)">(.*?)</article>', text, re.DOTALL)
    return {int(z): html.unescape(card) for z, card in found}


def test_each_slice_that_stands_out_has_a_card_with_evidence_and_the_commands_that_undo_it() -> None:
    cards = cards_of(page_of(BAD_ROWS))
    assert list(cards) == [1, 2, 3, 4, 5, 7]
    assert "no <content>" in cards[1]
    assert "replaced by the mean of 0 and 3" in cards[2]
    assert (
        "echo '- {z: 1, keep: true}  # blank, replaced by 0' >> decisions.yaml\n"
        "fibstack resolve out --overrides decisions.yaml" in cards[1]
    )
    assert cards_of(page_of(BAD_ROWS[:1])) == {}


def test_the_commands_of_a_card_name_the_file_that_decides_already() -> None:
    config = make_plan("out", 8).config.model_copy(update={"overrides": "my decisions.yaml"})
    undone = decision_commands(BAD_ROWS[1], config)
    assert undone.endswith(">> 'my decisions.yaml'\nfibstack resolve out --overrides 'my decisions.yaml'")
    taken_back = decision_commands(BAD_ROWS[7], config)
    assert taken_back.startswith("# take the line {z: 7, skip: true} out of my decisions.yaml, then:\n")


def test_the_table_and_the_cards_lead_to_each_other() -> None:
    text = page_of(BAD_ROWS)
    assert '<a href="#slice-4">4</a></td>' in text
    assert 'href="#row-4"' in cards_of(text)[4]
    assert '<a href="#slice-6">' not in text  # a good slice has no card


def test_the_contents_name_every_part_of_the_page() -> None:
    text = page_of(BAD_ROWS)
    contents = text[text.index("<nav") : text.index("</nav>")]
    linked = re.findall(r'<a href="#([^"]+)">', contents)
    assert linked == re.findall(r'<h2 id="([^"]+)">', text)
    assert {"stand-out", "slices-table", "words"} <= set(linked)
    anchors = set(re.findall(r'\bid="([^"]+)"', text))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= anchors


def test_the_title_has_data_set_outcome_and_date() -> None:
    evidence = RunEvidence(make_plan("out", id="liver-3"), begun=datetime(2026, 3, 1, 8, 5, tzinfo=UTC))
    evidence.times = step_times(0, {"align": [30], "tile": [95]}, 10**9)
    run = summarise(evidence, parse_status("Failed"), None, Verification((), ()))
    text = render(run, evidence, [])
    assert "<title>liver-3: not complete, 2026-03-01 · fibstack</title>" in text
    assert "2026-03-01 08:05 UTC, 1 min 35 s" in text
    unnamed = make_plan("out").config.model_copy(update={"source": "/data/kidney 7/"})
    assert data_set(unnamed) == "kidney 7"


def test_only_a_slice_that_is_shown_has_a_band(drawn: None) -> None:
    def row(z: int, action: str = "keep", n_edges: int = 8) -> SliceRow:
        return known_row(
            z=z, verdict="good", action=action, n_edges=n_edges, sigma_px=0.1 * z, step_sigma_px=1
        )

    rows = [row(0), row(1), row(2, "replace"), row(3), row(4), row(5, n_edges=0)]
    assert np.flatnonzero(np.isfinite(shown_sigma(rows, "sigma_px"))).tolist() == [0, 1, 3, 4]
    assert np.flatnonzero(np.isfinite(shown_sigma(rows, "step_sigma_px"))).tolist() == [1, 4]
    chart = tracks_chart(rows)
    assert chart is not None
    assert "sigma, px" in chart.svg


def verdict(rows: list[SliceRow], **changes: Any) -> RunVerdict:
    evidence = RunEvidence(make_plan("out", len(rows), **changes), rows=rows)
    run = summarise(evidence, parse_status("Succeeded"), None, Verification((), ()))
    return run_verdict(run.model_copy(update={"complete": True}), evidence)


def test_the_verdict_is_for_people_who_know_em() -> None:
    assert verdict(BAD_ROWS[:1]).headline == "The stack is aligned and the volume is complete."
    found = verdict(BAD_ROWS)
    assert found.headline == "The stack is aligned and the volume is complete. 6 slices of 8 stand out."
    assert found.tone == "good"
    assert found.stand_out.startswith("Slices that stand out: 1 (blank, replaced by 0), 2 (blank, ")
    assert not any("stand out" in sentence for sentence in found.sentences)  # said once
    skipped = verdict(BAD_ROWS[:1], skip_align=True)
    assert (skipped.tone, "switched off" in skipped.headline) == ("doubtful", True)


def test_what_an_earlier_run_did_counts_as_no_time() -> None:
    times = step_times(100, {"align": [50, 60], "compose": [104], "tile": [90, 114], "pyramid": []}, 10**9)
    assert [(t.step, t.n_earlier, t.wall_s) for t in times] == [
        ("align", 2, 0),
        ("compose", 0, 4),
        ("tile", 1, 10),
    ]
    assert [t.gb_per_hour for t in times] == [None, 900, 180]
