"""Every command refuses a folder that tensorstore would take for another one, and makes nothing there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builders import cli

STACK = ("--image", "img.%05d.png", "--minz", "0", "--maxz", "7")
COMMANDS = [
    f"{command} --source {source} --output {output}"
    for command in ("run", "design", "submit --target argo")
    for source, output in (("in", "BAD"), ("BAD", "out"))
] + [
    *(f"{command} BAD" for command in ("verify", "status", "resolve", "notebook", "view", "clio", "sample")),
    *("export BAD other", "score BAD truth.json"),
    *("data split stack.tif BAD", "data split BAD/stack.tif other"),
    *("data renumber BAD other", "data renumber other BAD", "data upload BAD gs://bucket-x"),
    *("data delete BAD", "data costs BAD"),
]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_with_a_backslash_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    words = [word.replace("BAD", "a\\b/out") for word in command.split()]
    result = cli(*words, *(STACK if "--source" in words else ()))
    assert result.exit_code in (65, 78), result.output
    assert "no backslash and no control character" in result.output
    assert [path.name for path in tmp_path.rglob("*")] == ["other"]
