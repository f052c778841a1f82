"""The plan step called through its command line, on a small stack in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from click.testing import Result

from components.plan.main import main
from components.shared.documents.plan import Plan
from tests.builders import invoke

FIRST, LAST = 8, 25


def write_slice(path: Path, width: int = 40, height: int = 30, dtype: str = "uint8") -> None:
    image = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, (height, width)).astype(dtype)
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def run(source: object, /, **changes: Any) -> Result:
    folder = Path(str(source)).parent
    flags = {
        "source": source,
        "image": "img.%05d.png",
        "minz": FIRST,
        "maxz": LAST,
        "output": folder / "out",
        "process_uri_out": folder / "parameters" / "process_uri",
        "chunks_out": folder / "parameters" / "chunks",
    }
    return invoke(main, **{**flags, **changes})


def plan_of(folder: Path) -> Plan:
    return Plan.model_validate_json((folder / "out/process/plan.json").read_bytes())


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refusal(result: Result, exit_code: int) -> str:
    errors = [line for line in result.output.splitlines() if line.startswith("error: ")]
    assert (result.exit_code, len(errors)) == (exit_code, 1), result.output
    return errors[0]


def left_by_refusal(folder: Path) -> dict[str, bytes]:
    """The file that a refused run leaves in its output."""
    return {"process/refused.json": (folder / "out/process/refused.json").read_bytes()}


def nothing_but_a_refusal(folder: Path) -> bool:
    """Whether nothing lies in the output but why it was refused."""
    return set(files_below(folder / "out")) <= {"process/refused.json"}
