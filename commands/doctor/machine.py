"""Checks of this machine: libraries, memory, the Docker engine, folders and free space."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from commands.doctor.findings import Finding, Use
from components.shared.cores import available_cores
from components.shared.documents.config import RunConfig
from components.shared.errors import ConfigError, install_command
from components.shared.steps import STEPS
from components.shared.storage.schemes import folder_of
from components.shared.text import GIB
from pipeline.here.containers import engine_cores, require_images
from pipeline.settings import Settings, quantity

_MODULES = (
    "cv2",
    "google.cloud.storage",
    "jinja2",
    "matplotlib",
    "scipy",
    "simplejpeg",
    "skimage",
    "tensorstore",
    "tifffile",
)
_TIMES_SOURCE = 3
"""Free bytes for each byte of the slices: tiles, a lossless volume, and one to browse."""


def check_machine(settings: Settings) -> Iterator[Finding]:
    """Check Python, libraries, cores and memory, as `fibstack run` needs them."""
    yield Finding("ok", f"Python {platform.python_version()} on {platform.system()} {platform.machine()}")
    missing = [module for module in _MODULES if not _is_installed(module)]
    if missing:
        yield Finding(
            "wrong",
            f"libraries of the steps are missing: {', '.join(missing)}",
            install_command("step"),
        )
    else:
        yield Finding("ok", "the libraries of the steps are installed")
    if not _is_installed("neuroglancer"):
        yield Finding("note", "'fibstack view' is not installed", install_command("view"))
    yield from _check_memory(settings)


def check_engine(settings: Settings) -> Iterator[Finding]:
    """Check the Docker engine and the images, as `fibstack run --runner docker` needs them."""
    try:
        yield Finding("ok", f"a Docker engine answers, with {engine_cores()} cores")
        require_images(settings.image(step) for step in STEPS)
    except ConfigError as error:
        yield Finding("wrong", str(error))
    else:
        yield Finding("ok", f"the images {settings.image('plan')} and its like are on this machine")


def check_folder(location: str, use: Use) -> Iterator[Finding]:
    """Check a folder that slices are read from, or that results are written to."""
    folder = folder_of(location)
    if folder is None:
        return
    if use != "write" and not folder.is_dir():
        yield Finding("wrong", f"there is no folder {folder}", f"ls {folder.parent}")
        return
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    may = os.access(existing, os.W_OK | os.X_OK if use == "write" else os.R_OK | os.X_OK)
    verb = "write to" if use == "write" else "read"
    if not existing.is_dir() or not may:
        yield Finding("wrong", f"you may not {verb} {existing}", f"ls -ld {existing}")
    else:
        yield Finding("ok", f"you may {verb} {folder}")


def check_disk(config: RunConfig, source_bytes: int) -> Iterator[Finding]:
    """Compare the free space where the results go with what the slices need."""
    output = folder_of(config.output)
    if output is None:
        return
    existing = next(path for path in (output, *output.parents) if path.is_dir())
    free, needed = shutil.disk_usage(existing).free, _TIMES_SOURCE * source_bytes
    sizes = f"{free / GIB:,.1f} GiB free in {existing}, about {needed / GIB:,.1f} GiB needed"
    if free < needed:
        yield Finding("wrong", sizes, "free some, or choose another output: --output FOLDER")
    else:
        yield Finding("ok", sizes)


def _check_memory(settings: Settings) -> Iterator[Finding]:
    cores, memory = available_cores(), memory_bytes()
    largest = max(float(quantity(settings.step(step).memory)) for step in STEPS)
    fit = int(memory // largest)
    sizes = f"{cores} cores, {memory / GIB:.1f} GiB of memory"
    if not fit:
        yield Finding(
            "wrong", f"{sizes}; a task of slices of 10,000 x 10,000 px takes up to {largest / GIB:.1f} GiB",
            "use a machine with more memory; small slices take less",
        )  # fmt: skip
    elif fit < cores:
        yield Finding("note", f"{sizes}: large slices fit {fit} at a time", f"fibstack run ... --jobs {fit}")
    else:
        yield Finding("ok", sizes)


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or less in a container."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            return min(machine, int(Path("/sys/fs/cgroup", name).read_text()))
        except (OSError, ValueError):  # none there, or 'max'
            continue
    return machine


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False
