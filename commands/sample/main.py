"""`fibstack sample`: write a made-up FIB-SEM stack and the truth about it."""

from __future__ import annotations

import multiprocessing
import os
import shlex
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import get_args

import click

from commands.sample.truth import Defect, Truth
from components.shared.command import StepCommand
from components.shared.documents.plan import PixelType
from components.shared.errors import ConfigError
from components.shared.storage.registry import open_store
from components.shared.storage.store import Store

IMAGE_PATTERN = "img.%05d.png"
TRUTH_KEY = "truth.json"
CONFIG_KEY = "run.yaml"
SIDE_PX = range(64, 16_385)
LAST_Z = 99_999
"""The greatest number that the name pattern holds."""
KINDS = [kind for kind in get_args(Defect) if kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """Arguments of a worker process that makes one slice."""

    uri: str
    truth: Truth
    index: int
    pixel_type: PixelType


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack sample stack --slices 20")
@click.argument("folder", metavar="DIR")
@click.option(
    "--size", default="640x600", show_default=True, metavar="WIDTHxHEIGHT", help="Size of a slice in px."
)
@click.option("--slices", "n_slices", default=48, show_default=True, help="Number of slices.")
@click.option("--first", default=0, show_default=True, help="Number of the first slice.")
@click.option(
    "--seed", default=0, show_default=True, help="Another seed gives other tissue and another walk."
)
@click.option("--bits", type=click.Choice(["8", "16"]), default="8", show_default=True, help="Bits a pixel.")
@click.option(
    "--defect",
    "defects",
    multiple=True,
    metavar="KIND:Z",
    help=f"Spoil slice Z; may be repeated. KIND is one of {', '.join(KINDS)}.",
)
@click.option(
    "--workers", default=os.cpu_count() or 1, show_default="one a core", help="Number of processes."
)
def main(
    folder: str,
    size: str,
    n_slices: int,
    first: int,
    seed: int,
    bits: str,
    defects: tuple[str, ...],
    workers: int,
) -> None:
    """Write a stack of made-up FIB-SEM slices into DIR, misaligned in a known way.

    The tissue has neurites, membranes, mitochondria and vesicles at 8 nm; the slices have the noise, the
    streaks and the drift of a microscope. DIR/truth.json tells where each slice really lies; `fibstack score`
    compares an alignment with it.
    """
    from commands.sample.walk import make_truth  # here, since the help needs no NumPy

    size_xy = _parse_size(size)
    z_range = _z_range(first, n_slices)
    _require("--seed", seed, 0 <= seed < 2**31, "lie between 0 and 2147483647")
    _require("--workers", workers, 1 <= workers <= 256, "lie between 1 and 256")
    truth = make_truth(seed, size_xy, z_range, _parse_defects(defects, z_range))
    store = open_store(folder)
    _refuse_other_slices(store, z_range, truth)
    jobs = [
        _Job(uri=folder, truth=truth, index=index, pixel_type="uint8" if bits == "8" else "uint16")
        for index in range(n_slices)
    ]
    n_written = sum(_write_all(jobs, workers))
    store.write(TRUTH_KEY, truth.to_json())
    store.write(CONFIG_KEY, _run_config(store.uri, z_range, gaps=n_written < n_slices))
    click.echo(
        f"wrote {n_written} slices of {size_xy[0]} x {size_xy[1]} px, {bits} bit, and {TRUTH_KEY} "
        f"to {folder}; align them with: {shlex.join(['fibstack', 'run', f'{folder}/{CONFIG_KEY}'])}"
    )


def _write_all(jobs: list[_Job], workers: int) -> list[bool]:
    if workers == 1:
        return [_write_slice(job) for job in jobs]
    # A fresh interpreter each: a fork would inherit the thread pools of the numeric libraries half-alive.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max_workers=min(workers, len(jobs)), mp_context=context) as executor:
        return list(executor.map(_write_slice, jobs))


def _write_slice(job: _Job) -> bool:
    """Write one slice; False where its defect is to be missing."""
    import cv2

    from commands.sample.slices import slice_picture

    picture = slice_picture(job.truth, job.index, job.pixel_type)
    if picture is None:
        return False
    encoded = cv2.imencode(".png", picture)[1]
    open_store(job.uri).write(IMAGE_PATTERN % job.truth.slices[job.index].z, encoded.tobytes())
    return True


def _run_config(source_uri: str, z_range: range, *, gaps: bool) -> bytes:
    """The configuration that aligns the sample."""
    import yaml

    config: dict[str, object] = {
        "source": source_uri,
        "image": IMAGE_PATTERN,
        "minz": z_range[0],
        "maxz": z_range[-1],
        "output": f"{source_uri}_aligned",
    }
    return yaml.safe_dump(config | ({"allow_gaps": True} if gaps else {}), sort_keys=False).encode()


def _refuse_other_slices(store: Store, z_range: range, truth: Truth) -> None:
    """Slices of another sample would mix with this one."""
    mine = {IMAGE_PATTERN % z for z in z_range} - {
        IMAGE_PATTERN % s.z for s in truth.slices if s.defect == "missing"
    }
    others = [stat.key for stat in store.list("img.") if stat.key not in mine]
    if others:
        raise ConfigError(
            f"the folder must hold no other slices; got {len(others)}, such as '{others[0]}', "
            f"in {store.uri}. Choose another folder or delete them."
        )


def _parse_size(size: str) -> tuple[int, int]:
    width, _, height = size.lower().partition("x")
    sides = [int(side) if side.isascii() and side.isdigit() else 0 for side in (width, height)]
    rule = f"be WIDTHxHEIGHT, each between {SIDE_PX.start} and {SIDE_PX.stop - 1} px"
    _require("--size", size, all(side in SIDE_PX for side in sides), rule)
    return sides[0], sides[1]


def _z_range(first: int, n_slices: int) -> range:
    _require("--first", first, 0 <= first <= LAST_Z, f"lie between 0 and {LAST_Z}")
    _require(
        "--slices", n_slices, 1 <= n_slices <= LAST_Z + 1 - first, f"be 1 or more and end by slice {LAST_Z}"
    )
    return range(first, first + n_slices)


def _parse_defects(texts: tuple[str, ...], z_range: range) -> dict[int, Defect]:
    defects: dict[int, Defect] = {}
    for text in texts:
        kind, _, number = text.partition(":")
        known = kind in KINDS and number.isascii() and number.isdigit()
        _require("--defect", text, known, f"be KIND:Z with a kind of {', '.join(KINDS)}")
        z = int(number)
        _require("--defect", text, z in z_range, f"name a slice from {z_range[0]} to {z_range[-1]}")
        _require("--defect", text, z not in defects, "be the only one of its slice")
        _require("--defect", text, kind != "duplicate" or z > z_range[0], "have a slice before it to repeat")
        defects[z] = kind  # type: ignore[assignment]  # one of KINDS
    return defects


def _require(option: str, value: object, holds: bool, rule: str) -> None:
    if not holds:
        raise ConfigError(f"{option} must {rule}; got {value!r}. Change {option}.")


if __name__ == "__main__":
    main()
