"""The report as one self-contained page."""

from __future__ import annotations

import html
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import jinja2

from components.report.gather import RunEvidence
from components.report.page.cards import CardPictures
from components.report.page.curves import correlation_chart, steps_along_z_chart, tracks_chart
from components.report.page.facts import cost_facts, stack_facts, volume_facts
from components.report.page.figures import PHOTO_QUALITY, picture_uri, script_json
from components.report.page.sections import Section, SectionPair
from components.report.run_document import RunDocument
from components.report.slice_table import worst_first
from components.report.words.bad_slices import bad_slices, decision_commands, way_on
from components.report.words.glossary import WORDS
from components.report.words.methods import methods_of
from components.report.words.run_verdict import STOPPED, run_verdict
from components.report.words.thickness import invented_spread
from components.shared.documents.config import RunConfig
from components.shared.documents.config_flags import command_of
from components.shared.documents.slices import SliceRow
from components.shared.text import count, duration, size

ROWS_AT_FIRST = 200
"""Slices that the table shows, worst first, until more are asked for."""
MOST_REFUSED = 500
"""Most refused pairs that are listed."""
_CONTENTS_HERE = "contents of the page"
"""Stands in the page until its headings are known."""
MOST_NAMED = 6
"""Slices that stand out which the page names before it shows their cards."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table of slices."""

    title: str
    name: str
    """Attribute of the row that it shows."""
    digits: int | None = None
    """Digits after the point; None for whole numbers and text."""
    help: str = ""
    """Explanation that the page shows when the mouse rests on the title."""
    is_text: bool = False
    """The cells of the column hold words, which are aligned to the left."""


COLUMNS = (
    Column("z", "z", help="slice number of the file name"),
    Column("file", "file", is_text=True),
    Column("verdict", "verdict", is_text=True),
    Column("action", "action", help="what became of the slice", is_text=True),
    Column("dx px", "dx_px", 2, "shift along x"),
    Column("dy px", "dy_px", 2, "shift along y"),
    Column("rotation °", "rotation_deg", 3, "x towards y"),
    Column("scale ppm", "scale_ppm", 0, "deviation from 1, in millionths"),
    Column("shear ppm", "shear_ppm", 0, "deviation of the axes from a right angle, in millionths"),
    Column("step px", "step_px", 2, "movement against the slice before"),
    Column("step along z", "z_step", 2, "distance from the good slice before; 1 where slices are even"),
    Column("pairs", "n_edges", help="accepted pairs of this slice"),
    Column("sigma px", "sigma_px", 2, "1-sigma of the position against the middle of the stack"),
    Column("residual px", "residual_px", 3, "disagreement of these pairs with the solution"),
    Column("NCC before", "ncc_before", 3, "NCC with the next slice, as they lie"),
    Column("NCC after", "ncc_after", 3, "NCC with the next slice, aligned"),
    Column("evidence", "evidence", help="what speaks for the verdict", is_text=True),
    Column("override", "override", help="the decision of the overrides file", is_text=True),
)
"""The table's columns; the page finds `z`, `verdict` and `action` among them by name."""


@dataclass(frozen=True, slots=True)
class Card:
    """A slice that stands out: its pictures, what speaks for the verdict, and how to decide otherwise."""

    row: SliceRow
    pictures: CardPictures
    facts: Mapping[str, str]
    commands: str


def render(
    run: RunDocument,
    evidence: RunEvidence,
    sections: Sequence[SectionPair],
    cards: Sequence[CardPictures] = (),
    breaks: Sequence[CardPictures] = (),
) -> str:
    """HTML of the page, which loads nothing from elsewhere."""
    templates = environment()
    templates.filters["picture"] = lambda section: picture_uri(section.values, section.known)
    templates.filters["photo"] = lambda frame: picture_uri(frame.values, frame.known, PHOTO_QUALITY)
    templates.filters["aspect"] = _aspect
    templates.filters["extent"] = partial(_extent, evidence.plan.resolution_nm)
    templates.filters["place"] = partial(_place, evidence.plan.resolution_nm)
    templates.filters["slug"] = lambda word: word.lower().replace(" ", "-")
    files = {entry.z: entry.key for entry in evidence.plan.slices}
    rows = [_cells(row, files.get(row.z, "")) for row in worst_first(evidence.rows)]
    marked, shown = {card.z for card in cards}, _cards(cards, evidence)
    contents: list[tuple[str, str]] = []
    pieces = templates.get_template("page.html.j2").generate(
        contents=contents,
        contents_here=_CONTENTS_HERE,
        run=run,
        verdict=run_verdict(run, evidence),
        facts=stack_facts(evidence),
        outputs=volume_facts(run, evidence),
        cost=None if evidence.as_processes else evidence.cost,
        cost_facts=cost_facts(evidence.cost, run.outputs) if evidence.cost else {},
        evidence=evidence,
        config=run.config,
        settings={key: _setting(value) for key, value in run.config.model_dump(mode="json").items()},
        title=_title(run, evidence),
        when=_when(evidence),
        command=command_of(run.config),
        view_command=shlex.join(["fibstack", "view", run.config.output]),
        sections=sections,
        cards=shown,
        bad_cards=[card for card in shown if not card.row.is_ordinary],
        breaks=breaks,
        preview=evidence.preview,
        way_on=way_on(evidence),
        stopped=run.error == STOPPED,
        correlation=correlation_chart(evidence, marked),
        tracks=tracks_chart(evidence.rows, marked),
        steps_along_z=steps_along_z_chart(evidence.rows, invented_spread(run.motion), marked),
        methods=methods_of(run, evidence),
        words=WORDS,
        columns=COLUMNS,
        column_at={column.name: index for index, column in enumerate(COLUMNS)},
        with_card=marked,
        n_bad=len(bad_slices(evidence.rows)),
        most_named=MOST_NAMED,
        first_rows=rows[:ROWS_AT_FIRST],
        table_json=script_json(
            {"titles": [column.title for column in COLUMNS], "rows": rows, "shown": ROWS_AT_FIRST}
        )
        if rows
        else "",
        refused=evidence.pairs.refused[:MOST_REFUSED],
        count=count,
        volume_size=partial(size, smallest="MB"),
        step_time=partial(duration, precise=True),
    )
    # The headings are known when all is rendered; a second rendering would take the memory of the page anew.
    rendered = list(pieces)
    rendered[rendered.index(_CONTENTS_HERE)] = _list_of(contents)
    return "".join(rendered)


def _list_of(contents: Sequence[tuple[str, str]]) -> str:
    """The contents as elements of a list, from the name of each heading on the page and its text."""
    return "\n".join(f'<li><a href="#{name}">{html.escape(text)}</a></li>' for name, text in contents)


def _cards(pictures: Sequence[CardPictures], evidence: RunEvidence) -> list[Card]:
    rows = {row.z: row for row in evidence.rows}
    files = {entry.z: entry.key for entry in evidence.plan.slices}
    return [
        Card(
            row=rows[card.z],
            pictures=card,
            facts=dict(_card_facts(rows, files.get(card.z, ""), card)),
            commands=decision_commands(rows[card.z], evidence.plan.config),
        )
        for card in pictures
    ]


def _card_facts(rows: Mapping[int, SliceRow], file: str, pictures: CardPictures) -> Iterator[tuple[str, str]]:
    """Facts on a slice that stands out; those that are not known are left out."""
    row = rows[pictures.z]
    yield from ((name, text) for name, text in (("file", file), ("evidence", row.evidence)) if text)
    if row.override:
        yield "decided", row.override
    measures: tuple[tuple[str, Sequence[float | None]], ...] = (
        ("NCC, as recorded", _with_neighbours(rows, row.z, "ncc_before")),
        ("NCC, in the volume", _with_neighbours(rows, row.z, "ncc_after")),
        ("SSIM, in the volume", (pictures.ssim_previous, pictures.ssim_next)),
    )
    for name, values in measures:
        told = [
            f"{value:.2f} with {z}"
            for z, value in zip((row.z - 1, row.z + 1), values, strict=True)
            if value is not None and math.isfinite(value)
        ]
        if told:
            yield name, ", ".join(told)


def _with_neighbours(rows: Mapping[int, SliceRow], z: int, name: str) -> list[float | None]:
    """An NCC that each row has with the next, of a slice with the one before and the one after."""
    return [getattr(rows[at], name) if at in rows else None for at in (z - 1, z)]


def refused_page(text: str) -> str:
    """HTML of the page of a run that ended before any work was done; it loads nothing from elsewhere.

    Args:
        text: Sentences, a line each; the first is the headline.
    """
    headline, *sentences = text.splitlines()
    return environment().get_template("refused.html.j2").render(headline=headline, sentences=sentences)


def environment() -> jinja2.Environment:
    """The reader of the templates beside this module."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("components.report", "page"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_set(config: RunConfig) -> str:
    """The name of what a run is on: its id, or else the last part of its source."""
    return config.id or config.source.rstrip("/").rpartition("/")[2] or "fibstack"


def _title(run: RunDocument, evidence: RunEvidence) -> str:
    """The title of the page: what it is on, how the run ended, and when it began."""
    ended = "complete" if run.complete else "not complete"
    begun = evidence.begun
    return f"{data_set(run.config)}: {ended}{f', {begun:%Y-%m-%d}' if begun else ''} · fibstack"


def _when(evidence: RunEvidence) -> str:
    """When the run began, and how long its steps took; empty where nobody knows."""
    begun = evidence.begun
    if begun is None:
        return ""
    took = sum(max(0.0, time.wall_s) for time in evidence.times)
    return f"{begun:%Y-%m-%d %H:%M} UTC{f', {duration(took)}' if took else ''}"


def _aspect(section: Section) -> str:
    """Width over height of a section's picture; thin stacks are stretched along z, so that jumps show."""
    n_rows, n_samples = section.values.shape
    return f"{n_samples} / {max(n_rows, n_samples // 3)}"


def _extent(voxel_nm: tuple[float, float, float], section: Section, n_slices: int) -> str:
    """Width and depth of the tissue that a section shows, in micrometres."""
    side_nm = voxel_nm[0] if section.line.axis == "x" else voxel_nm[1]
    wide_um = section.line.length_px * side_nm / 1000
    deep_um = n_slices * voxel_nm[2] / 1000
    return f"{wide_um:.3g} µm wide, {deep_um:.3g} µm deep"


def _place(voxel_nm: tuple[float, float, float], pair: SectionPair, section: Section) -> str:
    """Where the pixels of a section lie, for the script that tells what is under the pointer."""
    line = section.line
    return json.dumps(
        {
            "axis": line.axis,
            "first": pair.first_z,
            "every": pair.every,
            "rows": len(section.values),
            "px": line.length_px,
            "nm": voxel_nm[0 if line.axis == "x" else 1],
        }
    )


def _setting(value: object) -> str:
    """The value of a setting as it is written in YAML, a dash where it is empty."""
    if value in ("", []):
        return "–"
    return value if isinstance(value, str) else json.dumps(value)


def _cells(row: SliceRow, file: str) -> list[str | int | float | None]:
    return [file if column.name == "file" else _cell(row, column) for column in COLUMNS]


def _cell(row: SliceRow, column: Column) -> str | int | float | None:
    if column.name == "action" and row.action not in ("", "keep"):
        return row.shown
    value: str | int | float | None = getattr(row, column.name)
    if isinstance(value, float):
        return round(value, column.digits) + 0.0 if math.isfinite(value) else None
    return value
