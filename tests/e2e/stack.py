"""A stack of slices, and the installed command run on it as a user would."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from commands.sample.accuracy import Accuracy, compare
from commands.sample.truth import Truth
from components.shared.documents.transforms import Transforms
from tests.e2e.steps import run_steps

FIBSTACK = Path(sys.executable).with_name("fibstack")


def fibstack(*args: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the installed command; its output is shown when a test fails."""
    done = subprocess.run([FIBSTACK, *map(str, args)], capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, sep="\n")
    if check:
        assert done.returncode == 0, (
            f"fibstack {args} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
        )
    return done


def said(accuracy: Accuracy) -> str:
    """The figures of an alignment in one line."""
    return (
        f"neighbour error mean {accuracy.mean_px:.3f}, p95 {accuracy.p95_px:.3f}, "
        f"max {accuracy.max_px:.3f} px; drift {accuracy.drift_px:.2f} px; {accuracy.n_slices} slices"
    )


@dataclass(frozen=True)
class Stack:
    """A folder of slices with its truth, and what a run made of it."""

    source: Path
    output: Path
    minz: int
    maxz: int

    @property
    def truth(self) -> Path:
        return self.source / "truth.json"

    def run(self, *args: object, output: Path | None = None, check: bool = True):
        return fibstack(
            "run",
            *("--source", self.source, "--image", "img.%05d.png", "--minz", self.minz, "--maxz", self.maxz),
            *("--output", output or self.output),
            *args,
            check=check,
        )

    def run_here(self, **config: object) -> None:
        """Run the programs of the steps in this process, where the command line is not the point."""
        image = {"image": "img.%05d.png", "minz": self.minz, "maxz": self.maxz}
        run_steps(self.source, self.output, **image, **config)

    def accuracy(self) -> Accuracy:
        """The alignment against the truth, every slice of it."""
        transforms = Transforms.model_validate_json((self.output / "process/transforms.json").read_bytes())
        truth = Truth.model_validate_json(self.truth.read_bytes())
        recovered = {s.z: np.array(s.matrix) for s in transforms.slices}
        true = {s.z: np.array(s.matrix) for s in truth.slices}
        return compare(recovered, true, truth.width_px, truth.height_px)

    def document(self, name: str) -> dict:
        return json.loads((self.output / "process" / name).read_text())
