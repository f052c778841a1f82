"""The benchmark of tall stacks runs `compose` on made-up records, and tells of each part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.scale.composing import PARTS, as_markdown, composed
from components.shared.documents.preview import PREVIEW_KEY, Preview
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.storage.registry import open_store

N = 200


def test_compose_finds_what_was_planted_and_every_part_is_timed(tmp_path: Path) -> None:
    found = composed(N, tmp_path, rounds=1)
    assert set(found.parts_s) == {"start", *PARTS, "list of the work left"}
    assert min(found.parts_s.values()) > 0
    assert 0.5 < found.cpu_s < 60
    process = open_store(str(tmp_path / "out/process"))
    transforms = read_document(process, TRANSFORMS_KEY, Transforms)
    verdicts = sorted(s.verdict for s in transforms.slices if s.verdict != "good")
    assert verdicts == ["blank", "defocused"]
    preview = read_document(process, PREVIEW_KEY, Preview)
    assert preview.median_after is not None
    assert preview.median_after > 0.85
    assert preview.median_before is not None
    assert preview.median_after > preview.median_before + 0.02
    table = as_markdown([found, replace(found, n_slices=2 * N)])
    assert table[0] == "| CPU s | 200 slices | 400 slices | growth |"
    assert table[2].startswith("| start | ")
    assert table[2].endswith(" | 0.00 |")
