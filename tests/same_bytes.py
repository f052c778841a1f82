"""Prints the checksums by which a change of structure is told from a change of results.

`python tests/same_bytes.py FOLDER > before.txt` makes three samples below FOLDER (8 bit with defects, 16 bit
with `keep_bits`, RGB), runs them with the command `fibstack` alone, and prints the SHA-256 of every file
that came out, then of what is generated in the repository. After the change the same command, in the same
FOLDER, prints the same list. Files that tell times are left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
FIBSTACK = Path(sys.executable).parent / "fibstack"
TELL_TIMES = ("run.json", "report/index.html", "cost.json")
"""Ends of the names of files that no two runs write alike: dates, durations, the host's name."""

DEFECTS = ("blank:7", "missing:12", "half:15", "defocus:18", "duplicate:21", "inverted:23")
WRITTEN_S = 1_700_000_000
"""Time of every slice: a plan holds it, since a folder has nothing else that tells another content."""
SMALL = ("--size", "400x360", "--slices", "26", "--workers", "2")


def sample(folder: Path, *options: str) -> Path:
    """A sample stack."""
    _fibstack("sample", str(folder), *SMALL, *options)
    return folder


def rgb(grey: Path, folder: Path) -> Path:
    """The slices of a grey stack as colours: its levels, their square root, and their inverse."""
    folder.mkdir(parents=True)
    for path in sorted(grey.glob("*.png")):
        level = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        root = np.round(np.sqrt(level / 255.0) * 255).astype(np.uint8)
        cv2.imwrite(str(folder / path.name), np.stack([level, root, 255 - level], axis=-1))
    return folder


def _fibstack(*arguments: str) -> None:
    done = subprocess.run([FIBSTACK, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"fibstack {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def _run(slices: Path, output: Path, *changes: str) -> None:
    settings = [word for change in changes for word in ("--set", change)]
    for path in slices.iterdir():
        os.utime(path, (WRITTEN_S, WRITTEN_S))
    last = max(int(path.stem.split(".")[1]) for path in slices.glob("img.*.png"))
    place = ("--source", str(slices), "--image", "img.%05d.png", "--minz", "0", "--maxz", str(last))
    _fibstack("run", *place, "--output", str(output), *settings)


def _print_checksums(folder: Path, root: Path) -> None:
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not name.endswith(TELL_TIMES):
            print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}")


def main(folder: Path) -> None:
    """Make the samples, run them, print the list."""
    shutil.rmtree(folder, ignore_errors=True)
    grey = sample(folder / "slices-8", *[word for defect in DEFECTS for word in ("--defect", defect)])
    deep = sample(folder / "slices-16", "--bits", "16")
    colours = rgb(sample(folder / "slices-grey", "--seed", "3"), folder / "slices-rgb")
    everything = ("raw_pyramid=true", "ome_zarr=true", "keep_tiles=true")
    _run(grey, folder / "out-8", "allow_gaps=true", "max_replaced=3", *everything)
    _run(deep, folder / "out-16", "keep_bits=true", *everything)
    _run(colours, folder / "out-rgb", *everything)
    _print_checksums(folder, folder)
    for generated in ("manifests", "docs"):
        for path in sorted((ROOT / generated).rglob("*")):
            if path.is_file() and path.suffix in (".yaml", ".json", ".md"):
                name = path.relative_to(ROOT)
                print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {name}")
    versions = {"python": sys.version.split()[0], "numpy": np.__version__, "opencv": cv2.__version__}
    print(json.dumps(versions), file=sys.stderr)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
