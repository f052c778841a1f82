"""A user's mistake gets one sentence, the right exit code, and nothing written but why."""

from pathlib import Path

import pytest

from tests.builders import cli
from tests.e2e.stack import Stack


@pytest.fixture
def arguments(small_sample: Stack, tmp_path: Path):
    return {
        "source": small_sample.source,
        "image": "img.%05d.png",
        "minz": 8,
        "maxz": 25,
        "output": tmp_path / "volume",
    }


CASES = {
    "no such folder": ({"source": "no-such-folder"}, 65, "no-such-folder"),
    "no match": ({"image": "slice%04d.tif"}, 65, "slice%04d.tif"),
    "a slice is missing": ({"maxz": 30}, 65, "26"),
    "a pattern that leaves the folder": ({"image": "../img.%05d.png"}, 78, "image"),
    "a pattern without a number": ({"image": "img.png"}, 78, "%05d"),
    "minz above maxz": ({"minz": 26}, 78, "minz"),
    "a negative number": ({"minz": -1}, 78, "minz"),
    "NaN": ({"clip_limit": "nan"}, 78, "clip_limit"),
    "an unknown key": ({"clip_limti": 0.1}, 78, "clip_limit"),
}


@pytest.mark.parametrize("case", CASES)
def test_mistakes_get_a_sentence(arguments, tmp_path: Path, case) -> None:
    change, code, word = CASES[case]
    values = arguments | change
    flags = [
        part
        for key, value in values.items()
        for part in (
            (f"--{key}", value)
            if key in ("source", "image", "minz", "maxz", "output")
            else ("--set", f"{key}={value if value != 'nan' else '.nan'}")
        )
    ]
    done = cli("run", *flags, "--log-dir", tmp_path / "logs")
    said = done.output
    assert done.exit_code == code
    assert word in said
    assert "Traceback" not in said
    assert sum(line.startswith("error:") for line in said.splitlines()) == 1
    left = {path.name for path in (tmp_path / "volume").rglob("*") if path.is_file()}
    # What is no configuration is refused before a step runs.
    assert left == ({"refused.json", "index.html"} if code == 65 else set())
