"""What `make run` and `make view` ask of `fibstack`, and what they say when something is left out."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*words):
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("given", [[], ["MINZ=0"], ["MAXZ=9"]])
def test_numbers_of_the_slices_must_be_given(given) -> None:
    # The environment counts as installed, so that nothing is made.
    result = make("run", "SOURCE=/data/raw", *given, "-o", ".venv/run.stamp")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == (
        "error: MINZ and MAXZ must be given, the numbers of the first and the last slice. "
        "Use make run SOURCE=DIR IMAGE='img.%05d.png' MINZ=0 MAXZ=59"
    )


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ([], "run/volume"),
        (["SOURCE=/data/raw/"], "run/raw"),
        (["SOURCE=/my data/Gehirn ü"], "run/Gehirn_ü"),
        (["SOURCE=/data/raw", "OUTPUT=/my results"], "/my results"),
    ],
)
def test_view_shows_what_run_writes(given, output) -> None:
    view = make("view", "--dry-run", *given, "-o", ".venv/run.stamp")
    run = make("run", "--dry-run", "MINZ=0", "MAXZ=9", *given, "-o", ".venv/run.stamp")
    assert view.stdout.splitlines()[-1] == f".venv/bin/fibstack view '{output}'"
    assert f"--output '{output}'" in run.stdout
