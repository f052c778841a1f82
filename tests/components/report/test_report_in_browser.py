"""The report as somebody sees it: in a browser, light and dark, on paper, and of the longest stack."""

import csv
import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from components.report.gather import RunEvidence
from components.report.main import main
from components.report.page.cards import SIDE_PX, CardPictures, Frame
from components.report.page.page import COLUMNS, ROWS_AT_FIRST, render
from components.report.page.sections import MAX_ROWS, Line, Section, SectionPair
from components.report.run_status import parse_status
from components.report.words.bad_slices import MOST_CARDS
from components.report.words.summary import summarise
from components.shared.documents.slices import known_row
from components.shared.work.verification import Verification
from tests.builders import invoke
from tests.components.report.finished_run import finished_run, make_plan, make_transforms, preview_of
from tests.web_page import CHROMIUM, NO_CHROMIUM, WebPage, web_page

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)
N_SLICES = 13_696
MOST_BYTES = 15_000_000
"""Of the page, so that it opens at once and can be sent by mail."""


@pytest.fixture(scope="module")
def report_of_a_run(tmp_path_factory: pytest.TempPathFactory) -> str:
    plan, _, process = finished_run(tmp_path_factory.mktemp("seen"))
    process.write("preview.json", preview_of().to_json())
    done = invoke(main, "--output", plan.config.output, "--status", "Succeeded")
    assert done.exit_code == 0, done.output
    return f"file://{plan.config.output}/process/report/index.html"


@pytest.fixture(scope="module")
def seen(report_of_a_run: str) -> Iterator[WebPage]:
    with web_page(report_of_a_run) as page:
        yield page


def pair_of(title: str, n_slices: int, section: Section) -> SectionPair:
    return SectionPair(title=title, n_slices=n_slices, first_z=0, every=1, before=section, after=section)


def shown_z(page: WebPage) -> list[int]:
    rows = "[...document.querySelectorAll('#slices tbody tr')]"
    return page.evaluate(f"{rows}.map(row => Number(row.cells[0].textContent))")


def find(page: WebPage, text: str) -> list[int]:
    box = "document.getElementById('find')"
    page.evaluate(f"{box}.value = {text!r}, {box}.dispatchEvent(new Event('input'))")
    return shown_z(page)


@needs_browser
def test_the_page_loads_nothing_and_complains_of_nothing(seen: WebPage, report_of_a_run: str) -> None:
    assert seen.requests == [report_of_a_run]
    assert seen.complaints == []
    broken = "[...document.images].filter(image => !image.naturalWidth).length"
    assert seen.evaluate(broken) == 0
    assert seen.evaluate("document.images.length") == 4 + 4


@needs_browser
def test_the_verdict_comes_first(seen: WebPage) -> None:
    headline = seen.evaluate("document.querySelector('h1').textContent")
    assert headline == "The stack is aligned and the volume is complete. 1 slice of 20 stands out."
    assert seen.evaluate("document.querySelector('h1').getBoundingClientRect().top") < 100


@needs_browser
def test_it_is_dark_for_those_who_prefer_that(seen: WebPage) -> None:
    def brightness(part: str, style: str) -> int:
        color = seen.evaluate(f"getComputedStyle(document.querySelector('{part}')).{style}")
        return sum(map(int, color.removeprefix("rgb(").rstrip(")").split(", ")))

    seen.prefer("light")
    assert brightness("body", "backgroundColor") > 700 > 200 > brightness("svg text", "fill")
    seen.prefer("dark")
    assert brightness("body", "backgroundColor") < 120 < 600 < brightness("svg text", "fill")
    seen.prefer("light")


@needs_browser
def test_the_table_is_sorted_and_searched(seen: WebPage) -> None:
    seen.evaluate("document.querySelector('#slices th button').click()")
    assert shown_z(seen) == list(range(20))
    seen.evaluate("document.querySelector('#slices th button').click()")
    assert shown_z(seen) == list(range(19, -1, -1))
    assert find(seen, "5-8") == [8, 7, 6, 5]
    assert find(seen, "12") == [12]
    assert find(seen, "img.00012") == [12]
    assert find(seen, "replaced by") == [7]
    assert find(seen, "nothing like it") == []
    seen.evaluate("notable.click()")
    assert find(seen, "") == [7]
    seen.evaluate("notable.click()")
    assert len(find(seen, "")) == 20


@needs_browser
def test_a_chart_tells_its_values_under_the_pointer_and_by_keys(seen: WebPage) -> None:
    reading = "document.querySelector('#correlation .reading').textContent"
    plot = "document.querySelector('#correlation .plot')"
    press = f"{plot}.dispatchEvent(new KeyboardEvent('keydown', {{key: 'ArrowRight'}}))"
    seen.evaluate(press)
    assert seen.evaluate(reading).startswith("slice 0: NCC with next, before 0.9; NCC with next, after 0.9")
    seen.evaluate(press)
    assert seen.evaluate(reading).startswith("slice 1: ")
    right_end = f"{plot}.querySelector('svg').getBoundingClientRect().right"
    seen.evaluate(
        f"{plot}.dispatchEvent(new PointerEvent('pointermove', {{clientX: {right_end}, bubbles: true}}))"
    )
    assert seen.evaluate(reading).startswith("slice 19: ")


@needs_browser
def test_a_section_tells_the_slice_and_the_place_under_the_pointer_and_by_keys(seen: WebPage) -> None:
    cut = "document.querySelectorAll('figure.cut')[1]"
    look, reading = f"{cut}.querySelector('.look')", f"{cut}.querySelector('.reading').textContent"
    label = "XZ section, aligned: arrow keys read slice and place"
    assert seen.evaluate(f"{look}.getAttribute('aria-label')") == label
    place = json.loads(seen.evaluate(f"{look}.dataset.place"))

    def press(key: str) -> str:
        seen.evaluate(f"{look}.dispatchEvent(new KeyboardEvent('keydown', {{key: '{key}'}}))")
        said: str = seen.evaluate(reading)
        return said

    assert press("ArrowDown") == "slice 0: x 0 px, 0.00 µm"
    assert press("ArrowDown").startswith("slice 1: x 0 px")
    assert not press("ArrowRight").startswith("slice 1: x 0 px")
    seen.evaluate(
        f"(box => {look}.dispatchEvent(new PointerEvent('pointermove', {{clientX: box.right - 0.01,"
        f" clientY: box.bottom - 0.01, bubbles: true}})))({look}.getBoundingClientRect())"
    )
    last_um = (place["px"] - 1) * place["nm"] / 1000
    assert seen.evaluate(reading) == f"slice 19: x {place['px'] - 1} px, {last_um:#.3g} µm"
    assert press("ArrowDown").startswith("slice 19: ")


@needs_browser
def test_the_first_words_say_what_the_grey_levels_are_and_lead_to_the_ncc(seen: WebPage) -> None:
    said = "[...document.querySelector('h1').nextElementSibling.children].map(item => item.textContent)"
    assert any(item.startswith("Grey levels of the lossless volume are ") for item in seen.evaluate(said))
    link = "document.querySelector('h1 + ul a.term')"
    assert seen.evaluate(f"{link}.textContent + {link}.getAttribute('href')") == "NCC#word-ncc"


def saved(page: WebPage, label: str) -> str:
    """The text of the file that a button of the page saves."""
    return page.evaluate(
        f"""new Promise(told => {{
            const make = URL.createObjectURL;
            URL.createObjectURL = blob => {{ blob.text().then(told); return "data:,"; }};
            document.querySelector('button[aria-label="{label}"]').click();
            URL.createObjectURL = make;
        }})"""
    )


@needs_browser
def test_tables_and_charts_are_downloaded(seen: WebPage) -> None:
    rows = list(csv.DictReader(saved(seen, "Download the table slices as CSV").splitlines()))
    assert sorted(int(row["z"]) for row in rows) == list(range(20))
    assert list(rows[0]) == [column.title for column in COLUMNS]
    chart = saved(seen, "Download the values of NCC of neighbouring slices as CSV").splitlines()
    assert chart[0].startswith('slice,"NCC with next, before"')
    assert len(chart) == 21
    svg = ET.fromstring(saved(seen, "Download the chart NCC of neighbouring slices as SVG"))
    assert svg.tag.endswith("svg")
    assert "var(" not in ET.tostring(svg, encoding="unicode")  # colours of its own, since it stands alone


@needs_browser
def test_a_card_leads_to_its_row_and_back(seen: WebPage) -> None:
    find(seen, "12")
    seen.evaluate("document.querySelector('#slice-7 a.to-row').click()")
    assert shown_z(seen) == [7]
    assert seen.evaluate("location.hash") == "#row-7"
    assert seen.evaluate("document.querySelector('#row-7 a').getAttribute('href')") == "#slice-7"
    seen.evaluate("location.hash = ''")
    find(seen, "")


@needs_browser
def test_it_fits_a_telephone(seen: WebPage) -> None:
    telephone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    seen.ask("Emulation.setDeviceMetricsOverride", **telephone)
    assert seen.evaluate("document.documentElement.scrollWidth") == 390
    seen.ask("Emulation.clearDeviceMetricsOverride")


@needs_browser
def test_keys_reach_every_box_that_scrolls(seen: WebPage) -> None:
    boxes = """[...document.querySelectorAll('body *')].filter(box =>
        ['auto', 'scroll'].includes(getComputedStyle(box).overflowX)
        && box.tabIndex < 0 && box.tagName !== 'NAV'  // which is links alone
    ).map(box => box.outerHTML.slice(0, 80))"""
    assert seen.evaluate(boxes) == []


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(seen: WebPage, scheme: str) -> None:
    axe = pytest.importorskip(
        "axe_core_python", reason="axe-core is not installed: pip install axe-core-python"
    )
    seen.prefer(scheme)
    seen.evaluate((Path(axe.__path__[0]) / "axe.min.js").read_text())
    violations = "axe.run().then(found => found.violations.map(v => `${v.id}: ${v.nodes[0].html}`))"
    assert seen.evaluate(violations) == []
    seen.prefer("light")


@needs_browser
def test_it_prints(seen: WebPage, tmp_path: Path) -> None:
    seen.print_to(tmp_path / "report.pdf")
    pdf = (tmp_path / "report.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert 2 <= pdf.count(b"/Type /Page\n") <= 12


def long_page() -> str:
    """The longest stack's page, with everything on it; its pictures are noise, which takes most bytes."""
    random = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return random.integers(0, 256, shape, dtype=np.uint8)

    rows = [
        known_row(
            z=z, verdict="good" if z % 9 else "defocused", action="keep", n_edges=8,
            evidence="" if z % 9 else "sharpness 7 sigma below the slices around, 41% of theirs",
            sigma_px=0.1, step_sigma_px=0.03, residual_px=0.2, step_px=1.5, scale_ppm=3.0,
            **dict(zip(("dx_px", "dy_px", "rotation_deg", "ncc_after"), random.normal(size=4), strict=True)),
        )
        for z in range(N_SLICES)
    ]  # fmt: skip
    plan = make_plan("out", N_SLICES)
    line = Line(axis="x", across_px=0, length_px=5120, scale=0.1)
    section = Section(line, noise(MAX_ROWS, 512), np.ones((MAX_ROWS, 512), bool))
    sections = [pair_of(f"section {n}", N_SLICES, section) for n in range(4)]
    frame = Frame(9, "", noise(SIDE_PX, SIDE_PX), np.ones((SIDE_PX, SIDE_PX), bool))
    cards = [CardPictures(z, (frame, frame, frame), frame, 0.3, 0.4) for z in range(0, 9 * MOST_CARDS, 9)]
    transforms = make_transforms(plan, [np.eye(3)] * N_SLICES, (5120, 5120, N_SLICES))
    evidence = RunEvidence(plan, rows=rows, transforms=transforms)
    run = summarise(evidence, parse_status("Failed"), None, Verification((), ()))
    return render(run, evidence, sections, cards)


@pytest.fixture(scope="module")
def long_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "index.html"
    path.write_text(long_page())
    return path


def test_the_page_of_a_small_stack_with_many_bad_slices_is_small(tmp_path: Path) -> None:
    """41 slices of which every second stands out, each with pictures that are hardly compressed."""
    random = np.random.default_rng(0)
    z_bad = range(0, 41, 2)
    rows = [
        known_row(z=z, verdict="blank" if z in z_bad else "good", action="keep", dx_px=1.0, n_edges=8)
        for z in range(41)
    ]
    plan = make_plan("out", 41)
    soft = cv2.GaussianBlur(random.integers(0, 256, (SIDE_PX, SIDE_PX), np.uint8), (0, 0), 2) * 3
    frame = Frame(9, "", soft, np.ones((SIDE_PX, SIDE_PX), bool))
    cards = [CardPictures(z, (frame, frame, frame), frame, 0.3, 0.4) for z in z_bad]
    line = Line(axis="x", across_px=0, length_px=5120, scale=0.1)
    section = Section(line, random.integers(0, 256, (41, 512), np.uint8), np.ones((41, 512), bool))
    transforms = make_transforms(plan, [np.eye(3)] * 41, (5120, 5120, 41))
    evidence = RunEvidence(plan, rows=rows, transforms=transforms)
    run = summarise(evidence, parse_status("Failed"), None, Verification((), ()))
    page = render(run, evidence, [pair_of(f"section {n}", 41, section) for n in range(2)], cards)
    assert 300_000 < len(page.encode()) < 1_500_000


def test_the_page_of_the_longest_stack_is_bounded(long_report: Path) -> None:
    assert 3_000_000 < long_report.stat().st_size < MOST_BYTES


@needs_browser
def test_the_page_of_the_longest_stack_can_be_used(long_report: Path) -> None:
    with web_page(f"file://{long_report}") as page:
        assert page.complaints == []
        assert len(shown_z(page)) == ROWS_AT_FIRST
        started = page.evaluate("performance.now()")
        assert sorted(find(page, "9000-9009")) == list(range(9000, 9010))
        page.evaluate("document.querySelectorAll('#slices th button')[4].click()")
        assert page.evaluate("performance.now()") - started < 3000
