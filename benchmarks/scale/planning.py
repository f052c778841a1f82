"""Runs the program `plan` on a stack, in a process of its own, from a folder and from a bucket."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale.emulator import running_emulator
from benchmarks.scale.stacks import IMAGE, Stack, write_headers
from components.plan.storage_requests import Requests
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.storage.registry import open_store
from pipeline.here.processes import Ended, Processes
from pipeline.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What a call of `plan` took, and what it made."""

    store: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    requests: Requests | None
    """What a bucket would bill; None of a folder."""
    plan: Plan


def plan_in_folder(stack: Stack, scratch: Path) -> Planned:
    """Plan a stack of files of full size, which are holes after their headers."""
    write_headers(scratch / "raw", stack, stack.file_bytes)
    ended = _run(stack, str(scratch / "raw"), str(scratch / "out"), scratch)
    return _planned("file://", ended, None, str(scratch / "out"))


def plan_in_bucket(stack: Stack, scratch: Path) -> Planned:
    """Plan a stack in a bucket in memory, whose objects are as small as planning lets them be."""
    buckets = scratch / "buckets"
    write_headers(buckets / "stack/raw", stack, stack.least_bytes)
    with running_emulator(scratch, buckets) as emulator:
        ended = _run(stack, "gs://stack/raw", "gs://stack/out", scratch)
        asked = emulator.requests()
        return _planned("gs://", ended, asked, "gs://stack/out")


def _run(stack: Stack, source: str, output: str, scratch: Path) -> Ended:
    argv = [sys.executable, "-m", "components.plan.main", "--source", source, "--output", output]
    argv += ["--image", IMAGE, "--minz", "0", "--maxz", str(stack.n_slices - 1)]
    argv += ["--pods", Settings().pods]
    argv += ["--process-uri-out", str(scratch / "process_uri"), "--chunks-out", str(scratch / "chunks")]
    log = scratch / "plan.log"
    ended = Processes().run(argv, Path.cwd(), log)
    if ended.exit_code:
        raise RuntimeError(f"plan ended with {ended.exit_code}:\n{log.read_text()}")
    return ended


def _planned(store: str, ended: Ended, requests: Requests | None, output: str) -> Planned:
    return Planned(
        store=store,
        wall_s=ended.wall_s,
        cpu_s=ended.cpu_s,
        peak_bytes=ended.peak_bytes,
        requests=requests,
        plan=read_document(open_store(f"{output}/process"), PLAN_KEY, Plan),
    )
