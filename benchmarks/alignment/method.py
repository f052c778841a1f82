"""One method on one stack, in a process of its own, whose time and memory are its own too."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from pydantic import BaseModel

from benchmarks.alignment.cases import IMAGE_PATTERN
from benchmarks.alignment.peers import PEERS, Register
from components.shared.documents.thickness import THICKNESS_KEY, Thickness
from components.shared.documents.transforms import TRANSFORMS_KEY, Matrix3, RowShifts, Transforms, WarpField

ROOT = Path(__file__).parents[2]
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
FIBSTACK = "fibstack"
METHODS = (FIBSTACK, *PEERS)


class PointGrid(BaseModel):
    """Where points on a regular grid over a slice lie in the volume; between them it is interpolated."""

    first_xy_px: tuple[float, float]
    """The first point, in the slice."""
    step_xy_px: tuple[float, float]
    n_xy: tuple[int, int]
    volume_xy_px: list[tuple[float, float]]
    """The points in the volume, row by row."""


class Found(BaseModel):
    """Answer of a method to a stack."""

    matrices: dict[int, Matrix3]
    """volume_from_slice by z."""
    grey_lines: dict[int, tuple[float, float]] = {}
    """Gain and offset that a slice's grey levels get, by z; no entry leaves them."""
    rows: dict[int, RowShifts] = {}
    """Shifts of rows by z, of the slices whose rows are moved back."""
    warps: dict[int, WarpField] = {}
    """Smooth displacements by z, of the slices that are straightened."""
    grids: dict[int, PointGrid] = {}
    """Where points of a slice lie in the volume, by z, of a method that gives no matrices."""
    verdicts: dict[int, str] = {}
    """Of the slices that it does not find good."""
    n_pairs: int
    """Pairs of slices that it has registered."""
    refused: list[tuple[int, int]] = []
    """Those for which it has found no transform."""
    unplaced: list[int] = []
    """Slices that got no place of their own, and lie where the last one does."""
    z_steps: dict[int, float] = {}
    """Distance along z of a slice from the one before, in mean slices, where it is told."""
    cpu_s: float
    peak_mb: float
    stopped: str = ""
    """Why it gave up on the stack."""


def ask(method: str, stack: Path, answer: Path) -> None:
    """Let a method align the slices of a folder in a process and a thread of its own, and write its answer.

    Where it fails, the answer says why. What it prints is beside the answer, with the suffix `.log`.
    """
    command = [sys.executable, "-m", "benchmarks.alignment.method", method, str(stack), str(answer)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=False
    )
    answer.with_suffix(".log").write_text(done.stderr)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        answer.write_text(
            Found(matrices={}, n_pairs=0, cpu_s=0, peak_mb=0, stopped=last).model_dump_json(indent=1)
        )


@click.command()
@click.argument("name", type=click.Choice(METHODS))
@click.argument("stack", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
def main(name: str, stack: Path, out: Path) -> None:
    """Align the slices of the folder STACK and write what is found to OUT."""
    cv2.setNumThreads(1)
    paths = {int(path.stem.split(".")[-1]): path for path in sorted(stack.glob("img.*.png"))}
    started = time.process_time()
    found = _fibstack(stack, paths) if name == FIBSTACK else _chain(PEERS[name], paths)
    found.cpu_s = time.process_time() - started
    found.peak_mb = _peak_mb()
    out.write_text(found.model_dump_json(indent=1))


def _chain(register: Register, paths: dict[int, Path]) -> Found:
    """The product of the steps from slice to slice; a slice that does not match stays where the last lies."""
    matrix, matrices, unplaced = np.eye(3), {}, []
    before = None
    for z, path in paths.items():
        picture: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if before is not None:
            step = register(before, picture)
            unplaced += [z] if step is None else []
            matrix = matrix if step is None else matrix @ np.linalg.inv(step)
        before = picture
        matrices[z] = matrix.tolist()
    return Found(matrices=matrices, n_pairs=len(paths) - 1, unplaced=unplaced, cpu_s=0, peak_mb=0)


def _fibstack(stack: Path, paths: dict[int, Path]) -> Found:
    """The real programs plan, align and compose, one after another in this process."""
    from components.align.main import main as align
    from components.compose.main import main as compose
    from components.plan.main import main as plan
    from components.shared.documents.align import AlignRecord

    with tempfile.TemporaryDirectory() as scratch:
        process, out = Path(scratch, "run", "process"), Path(scratch, "parameters")
        flags = ["--source", str(stack), "--image", IMAGE_PATTERN, "--output", str(Path(scratch, "run"))]
        flags += ["--minz", str(min(paths)), "--maxz", str(max(paths))]
        # A planted gap is meant, and what the check on thumbnails would refuse is to be measured too.
        flags += ["--allow-gaps", "true", "--force", "true"]
        flags += ["--process-uri-out", str(out / "uri"), "--chunks-out", str(out / "chunks")]
        stopped = _run(plan, flags)
        chunks = [] if stopped else _items(out / "chunks")
        for chunk in chunks:
            stopped = stopped or _run(align, ["--process-uri", str(process), "--chunk", chunk])
        stopped = stopped or _run(compose, ["--process-uri", str(process), *_compose_outputs(compose, out)])
        if stopped:
            return Found(matrices={}, n_pairs=0, cpu_s=0, peak_mb=0, stopped=stopped)
        transforms = Transforms.model_validate_json((process / TRANSFORMS_KEY).read_bytes())
        records = [
            AlignRecord.model_validate_json((process / "align" / f"{chunk}.json").read_bytes())
            for chunk in chunks
        ]
        thickness = Thickness.model_validate_json((process / THICKNESS_KEY).read_bytes())
    pairs = [pair for record in records for pair in record.pairs]
    return Found(
        matrices={s.z: s.matrix for s in transforms.slices},
        grey_lines={
            s.z: (s.grey_line.gain, s.grey_line.offset) for s in transforms.slices if s.grey_line is not None
        },
        rows={s.z: s.rows for s in transforms.slices if s.rows is not None},
        warps={s.z: s.warp for s in transforms.slices if s.warp is not None},
        verdicts={s.z: s.verdict for s in transforms.slices if s.verdict != "good"},
        n_pairs=len(pairs),
        z_steps={
            s.z: step for s in transforms.slices if (step := thickness.of(thickness.steps, s.z)) is not None
        },
        refused=[(pair.z, pair.neighbour_z) for pair in pairs if not pair.accepted],
        cpu_s=0,
        peak_mb=0,
    )


def _run(program: click.Command, flags: list[str]) -> str:
    """Run a program; why it stopped, or nothing."""
    try:
        program.main(flags, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return f"{program.name} ended with exit code {stop.exit_code}"
    return ""


def _compose_outputs(compose: click.Command, out: Path) -> list[str]:
    """A file for each output parameter of the program."""
    flags = [option.opts[0] for option in compose.params if option.opts[0].endswith("-out")]
    return [part for flag in flags for part in (flag, str(out / flag.strip("-")))]


def _items(path: Path) -> list[str]:
    import json

    return [str(item) for item in json.loads(path.read_text())]


def _peak_mb() -> float:
    """Greatest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1024**2 if sys.platform == "darwin" else 1024
    )


if __name__ == "__main__":
    main()
