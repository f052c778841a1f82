"""A run that is told to end again and again: out in time, nothing half-written, nothing lost."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.e2e.stack import FIBSTACK, Stack

MOST_S = 10
"""A spot machine is taken away 15 s after it is told."""
FIRST_S, MORE_S = 4.0, 3.0
"""The first attempt is stopped so soon, each further one so much later."""
OPTIONS = ("--set", "skip_align=true", "--set", "keep_tiles=true", "--jobs", "2")


def digests(output: Path) -> dict[str, str]:
    return {
        str(path.relative_to(output)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*"))
        if path.is_file() and path.name not in ("run.json", "index.html")
    }


def test_a_run_that_is_told_to_end_again_and_again_loses_nothing(
    small_sample: Stack, run_folder: Path, figure: Any
) -> None:
    output = run_folder / "sigterm"
    small_sample.run(*OPTIONS, output=output)
    whole = digests(output)
    output.rename(run_folder / "sigterm-whole")
    took: list[float] = []
    while attempt(small_sample, output, FIRST_S + MORE_S * len(took), took) != 0:
        left = list(output.rglob(".fibstack-tmp-*"))
        assert not left, "a writer that was told to end clears up"
        assert len(took) < 40
    assert digests(output) == whole
    assert max(took) < MOST_S
    figure(
        f"a run told to end {len(took)} times: all processes gone in {max(took):.1f} s at most; same bytes"
    )


def attempt(stack: Stack, output: Path, seconds: float, took: list[float]) -> int:
    """Run for some seconds, then tell the run to end; its exit code."""
    flags = ["--source", stack.source, "--image", "img.%05d.png", "--minz", stack.minz, "--maxz", stack.maxz]
    run = subprocess.Popen(
        [FIBSTACK, "run", *map(str, flags), "--output", str(output), *OPTIONS],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return run.wait(seconds)
    except subprocess.TimeoutExpired:
        told = time.monotonic()
        run.send_signal(signal.SIGTERM)
        exit_code = run.wait(30)
        took.append(time.monotonic() - told)
        # The second is that of a program that has not come to its first line yet.
        assert exit_code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        return exit_code
