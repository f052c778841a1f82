"""A folder for others: copies of a volume and of its report, a viewer that needs no network, a web server.

The files of a volume are copied, never linked: a link is the same file under another name. A change in one
place would be a change in both, and a new name counts as a change where times vouch (`work.records`).
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

import jinja2

from commands.share import notices
from commands.view.link import STATE_KEY
from commands.view.published import find_volumes, read_transforms
from commands.view.viewer import first_view
from components.report.run_document import PAGE_KEY, RUN_KEY, RunDocument
from components.shared.documents.read_document import read_document
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store, checksum
from components.shared.text import product, size
from components.shared.volume.layout import is_metadata, metadata_files
from components.shared.volume.slice_numbers import SliceNumbers
from components.shared.work.completeness import shards_of
from components.shared.work.verification import Written, check_listing

VIEWER = "v/neuroglancer"
"""Folder of the viewer. Its program looks for /v/ and a name in its own address."""
_TOLD_FROM_BYTES = 10**9
"""Size of the copies from which it is told how far they are: less is copied in seconds."""
_JPEG_LEVELS = "Its grey levels are those of JPEG at 8 bit: right for looking, not for measuring."
_MOST_NOTES = 1000
"""Notes in each layer of the viewer, at most: the state stands in the address, which browsers cut at 2 MB."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A file to copy."""

    source: Store
    key: str
    target: str
    """Key in the folder."""
    size_bytes: int
    crc32c: str | None = None
    """Checksum that its record names; None where none does."""


def copies_of(output: str, written: Written, *, with_lossless: bool) -> list[Copy]:
    """The files of a finished volume and its report, with their places in the folder.

    Raises:
        UserError: the volume is not finished, or not as its records say.
    """
    shown, *others = find_volumes(output)
    copies = []
    for published in [shown, *(others if with_lossless else [])]:
        found = next(o for o in written.volume.outputs if open_store(o.uri).uri == published.store.uri)
        problems = check_listing(written.volume, found, written.blocks)
        if problems:
            raise UserError(
                f"a volume to share must be whole; {problems[0].sentence}. Run 'fibstack verify {output}'."
            )
        for key, shard in shards_of(written.blocks, published.store.uri).items():
            target = f"volume/{published.name}/{key}"
            copies.append(Copy(published.store, key, target, shard.size_bytes, shard.crc32c))
        for key in metadata_files(written.volume, found):
            stat = published.store.stat(key)
            if stat is not None:  # volumes of older versions have no provenance
                target = f"volume/{published.name}/{key}"
                copies.append(Copy(published.store, key, target, stat.size_bytes))
    process = open_store(part_uri(output, "process"))
    report = PAGE_KEY.rpartition("/")[0]
    copies += [Copy(process, stat.key, stat.key, stat.size_bytes) for stat in process.list(f"{report}/")]
    return copies


def check_target(folder: Path, output: str, n_bytes: int) -> None:
    """Refuse a folder that holds something else, lies in the output, or has no room.

    Args:
        folder: Where the copies go.
        output: What they are copies of.
        n_bytes: Size of the copies.

    Raises:
        UserError: it does.
    """
    store = open_store(str(folder))
    if folder.exists() and store.stat(STATE_KEY) is None and any(folder.iterdir()):
        raise UserError(
            f"--to must name a new folder, or one that 'fibstack share' has written; got {folder}, which "
            f"holds something else. Choose another."
        )
    place = open_store(output).uri if "*" not in output else output
    if store.uri == place or store.uri.startswith(f"{place}/"):
        raise UserError(
            f"--to must lie beside the output, whose files are its own; got {folder} in {output}. "
            f"Choose another."
        )
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(nearest).free
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    if n_bytes > free + held:
        raise UserError(
            f"the disk must have room for the copies, {size(n_bytes)}; got {size(free)} in {nearest}. "
            f"Make room, or give --to a folder on another disk."
        )


def write_folder(
    folder: Path,
    output: str,
    written: Written,
    copies: Sequence[Copy],
    say: Callable[[str], object],
) -> None:
    """Write the folder: the state first, which marks it as one of ours, and the page that leads in last.

    Args:
        folder: Where it is to be.
        output: What it is to show.
        written: The volume of that output.
        copies: Files of it to copy.
        say: Told how far it is, in a line now and then.
    """
    store = open_store(str(folder))
    volumes = [v for v in find_volumes(output) if any(c.source.uri == v.store.uri for c in copies)]
    state, n_left_out = first_view(
        output, {volume.name: f"./volume/{volume.name}" for volume in volumes}, volumes, _MOST_NOTES
    )
    store.write(STATE_KEY, json.dumps(state.to_json(), indent=1).encode() + b"\n")
    if n_left_out:
        say(f"{n_left_out:,} slices that stand out are not marked in the viewer; the report lists all.")
    _remove_others(store, {copy.target for copy in copies})
    _copy(store, copies, say)
    viewer_files = _write_viewer(store, title := _title(written, output))
    page = _page_of(folder, output, written, copies, viewer_files, title, [volume.name for volume in volumes])
    for name, target in (("README.txt", "README.txt"), ("index.html", "index.html")):
        store.write(target, _render(name, page))


def _remove_others(store: Store, targets: set[str]) -> None:
    """Remove what another volume has left, and metadata, so that no viewer finds a mixture of two."""
    for prefix in ("volume/", "report/"):
        for stat in list(store.list(prefix)):
            if stat.key not in targets or is_metadata(stat.key):
                store.delete(stat.key)


def _copy(store: Store, copies: Sequence[Copy], say: Callable[[str], object]) -> None:
    """Copy files that are not there yet; metadata last, by which viewers find a volume."""
    in_order = sorted(copies, key=lambda copy: is_metadata(copy.target))
    total = sum(copy.size_bytes for copy in copies)
    done = told = 0
    for copy in in_order:
        if not _is_there(store, copy):
            store.write(copy.target, copy.source.read(copy.key, copy.crc32c))
        done += copy.size_bytes
        if done - told > total / 10 and total > _TOLD_FROM_BYTES:
            told = done
            say(f"{size(done)} of {size(total)}")


def _is_there(store: Store, copy: Copy) -> bool:
    """Whether the folder has the file, by its bytes."""
    stat = store.stat(copy.target)
    if stat is None or stat.size_bytes != copy.size_bytes or copy.crc32c is None:
        return False
    return checksum(store.read(copy.target)) == copy.crc32c


def _write_viewer(store: Store, title: str) -> list[str]:
    """Write neuroglancer, as its package for Python holds it, without its source maps; returns the names."""
    client = open_store(str(resources.files("neuroglancer") / "static/client"))
    names = [stat.key for stat in client.list() if not stat.key.endswith((".map", ".html"))]
    for name in names:
        store.write(f"{VIEWER}/{name}", client.read(name))
    store.write(f"{VIEWER}/LICENSE", _licence())
    found = {**notices.values_of(client), "neuroglancer": metadata.version("neuroglancer")}
    store.write(f"{VIEWER}/NOTICES.txt", _render("NOTICES.txt", found))
    original = client.read("index.html").decode()
    scripts, styles = (
        re.findall(r'<script[^>]* src="([^"]+)"', original),
        re.findall(r'<link href="([^"]+)"', original),
    )
    page = {"title": title, "scripts": scripts, "styles": styles}
    store.write(f"{VIEWER}/index.html", _render("viewer.html", page))
    store.write("start.js", _render("start.js", {}))
    store.write("serve.py", open_store(str(Path(__file__).parent)).read("serve.py"))
    return [*names, "LICENSE", "NOTICES.txt", "index.html"]


def _licence() -> bytes:
    """The text of neuroglancer's licence, as its package holds it."""
    files = metadata.files("neuroglancer") or []
    return next(file.read_binary() for file in files if file.name == "LICENSE")


def _title(written: Written, output: str) -> str:
    return written.plan.config.id or Path(output.rstrip("/")).name


def _page_of(
    folder: Path,
    output: str,
    written: Written,
    copies: Sequence[Copy],
    viewer_files: Sequence[str],
    title: str,
    volumes: Sequence[str],
) -> dict[str, Any]:
    """The values that the pages of the folder are rendered with."""
    process = open_store(part_uri(output, "process"))
    run = read_document(process, RUN_KEY, RunDocument) if process.stat(RUN_KEY) is not None else None
    slices = written.transforms.slices
    shown = find_volumes(output)[0].info["scales"][0]
    numbers = SliceNumbers.of(read_transforms(output), shown)
    kinds = {"jpeg": "JPEG, to look at", "raw": "every level, lossless", "chunk": "full resolution, lossless"}
    facts = [
        f"slices {slices[0].z} to {slices[-1].z}",
        f"{product(shown['size'])} voxels of {product(shown['resolution'])} nm",
    ]
    return {
        "title": title,
        "viewer": VIEWER,
        "has_report": any(copy.target == PAGE_KEY for copy in copies),
        "facts": [*(run.summary[:1] if run else ()), *facts],
        "exact": volumes[-1],
        "volumes": "; ".join(f"{name}: {kinds[name]}" for name in volumes),
        "numbering": numbers.sentence,
        "grey_levels": written.plan.lossless_grey_levels if len(volumes) > 1 else _JPEG_LEVELS,
        "n_files": len(copies) + len(viewer_files) + 5,
        "size": size(sum(copy.size_bytes for copy in copies)),
        "folder": folder.absolute(),
        "neuroglancer": metadata.version("neuroglancer"),
    }


def _render(name: str, values: dict[str, Any]) -> bytes:
    """A file from its template."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("commands.share", "page"),
        autoescape=name.endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"{name}.j2").render(values).encode()
