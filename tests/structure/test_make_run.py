"""What `make run` and `make view` ask of `fibstack`, and what they say when something is left out."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*words):
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ([], []),
        (["MINZ=3", "MAXZ=9"], ["--minz", "3", "--maxz", "9"]),
        (["IMAGE=it's %d.png", "ARGS=--set force=1"], ["--image", "it's %d.png", "--set", "force=1"]),
    ],
)
@pytest.mark.parametrize("target", ["run", "design"])
def test_what_is_not_given_the_folder_tells(target, given, flags) -> None:
    # The environment counts as installed, so that nothing is made.
    said = make(target, "--dry-run", "SOURCE=/data/it's raw", *given, "-o", ".venv/run.stamp").stdout
    words = shlex.split(said.splitlines()[-1])
    jobs = [words[words.index("--jobs") : words.index("--jobs") + 2]] if target == "run" else [[]]
    assert words == [
        *[".venv/bin/fibstack", target, "--source", "/data/it's raw", "--output", "run/it's_raw", *jobs[0]],
        *flags,
    ]


def test_design_must_be_given_a_folder() -> None:
    result = make("design", "-o", ".venv/run.stamp")
    assert result.returncode == 2
    assert result.stderr.splitlines()[0] == "error: SOURCE must be given. Use make design SOURCE=DIR"


@pytest.mark.parametrize(
    ("given", "output"),
    [
        ([], "run/volume"),
        (["SOURCE=/data/raw/"], "run/raw"),
        (["SOURCE=/my data/Gehirn ü"], "run/Gehirn_ü"),
        (["SOURCE=/data/it's"], "run/it's"),
        (["SOURCE=/data/raw", "OUTPUT=/my results"], "/my results"),
    ],
)
def test_view_shows_what_run_writes(given, output) -> None:
    view = make("view", "--dry-run", *given, "-o", ".venv/run.stamp")
    run = make("run", "--dry-run", "MINZ=0", "MAXZ=9", *given, "-o", ".venv/run.stamp")
    assert shlex.split(view.stdout.splitlines()[-1]) == [".venv/bin/fibstack", "view", output]
    assert " ".join(["--output", output]) in " ".join(shlex.split(run.stdout))
