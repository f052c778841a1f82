"""A folder whose name has an apostrophe and a blank, from its slices to the viewer and an export."""

from __future__ import annotations

import json
import shlex
import shutil
import urllib.request
from pathlib import Path

from commands.view.main import serve
from tests.e2e.stack import Stack, fibstack


def test_a_folder_with_an_apostrophe_goes_the_whole_way(small_sample: Stack, tmp_path: Path) -> None:
    raw = tmp_path / "Ada's cells"
    raw.mkdir()
    for file in sorted(small_sample.source.glob("img.*.png"))[:6]:
        shutil.copy(file, raw)
    (raw / "notes.txt").write_text("of the day")
    output = tmp_path / "Ada's cells-aligned"

    designed = fibstack("design", raw)
    command = shlex.split(designed.stdout.splitlines()[-1])
    assert command[command.index("--output") + 1] == str(output)
    ran = fibstack(*command[1:])
    assert "Left out" not in ran.stderr, "all is given"
    look = shlex.split(ran.stdout.splitlines()[-1].removeprefix("Look at it: "))
    assert look[-2:] == ["view", str(output)]
    again = fibstack("run", raw)
    assert f"Results go to {output}" in again.stderr, "the folder tells the same run"

    viewer = serve(str(output))
    url = viewer.state.to_json()["layers"][0]["source"][0]["url"].removeprefix("precomputed://")
    with urllib.request.urlopen(f"{url}/info", timeout=10) as answer:
        assert json.load(answer)["type"] == "image"

    exported = tmp_path / "it's darker"
    fibstack("export", output, exported, "--contrast", "10-240")
    assert (exported / "neuroglancer/jpeg/info").is_file()
    fibstack("verify", exported)
