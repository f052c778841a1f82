"""`fibstack verify`: read a finished volume again, independently of the code that wrote it."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import click
import google_crc32c
from rich.console import Console
from rich.table import Table

from commands.verify.rereading import LevelCheck, Rereading
from commands.verify.wrong_results import concerning
from components.shared.command import StepCommand
from components.shared.cores import available_cores
from components.shared.documents.plan import PLAN_KEY
from components.shared.documents.transforms import TRANSFORMS_KEY
from components.shared.errors import UserError
from components.shared.storage.parallel import in_parallel
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store, join_uri
from components.shared.text import PIPED_WIDTH, product
from components.shared.volume.layout import metadata_files, scale_at
from components.shared.volume.volume import VolumeOutput
from components.shared.work.completeness import shards_of
from components.shared.work.left import slabs_to_do
from components.shared.work.records import Output
from components.shared.work.run import Run
from components.shared.work.verification import Written, read_written, verify

PIECE_BYTES = 8 * 2**20
"""Bytes of a file that are read at a time."""


@click.command(cls=StepCommand)
@click.argument("output")
@click.option(
    "--sample",
    "n_sampled",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    help="Chunks of each level that are decoded and compared.",
)
@click.option("--full", is_flag=True, help="Decode and compare every chunk.")
def main(output: str, n_sampled: int, full: bool) -> None:
    """Read the finished volume in OUTPUT again, through tensorstore.

    Every file must be there with the size and the checksum of its record. Then chunks are decoded and
    compared: lossless ones with the level below or the tiles, which they must equal, and JPEG with the
    lossless volume. Of a coarse JPEG chunk a part is compared, so that little has to be read.

    Exit code: 0 nothing is wrong, 65 something is; one sentence for each fault.
    """
    written = _read_finished(output)
    problems = list(damaged_files(written))
    n_threads = available_cores()
    if not problems:
        rereading = Rereading(written.volume, _tmp_uri(written))
        with ThreadPoolExecutor(n_threads) as pool:
            checks = list(rereading.check(None if full else n_sampled, pool))
        _print_table(checks, written)
        problems = [problem for check in checks for problem in check.problems]
    for sentence in concerning(written):
        click.echo(f"note: {sentence}", err=True)
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    if problems:
        raise UserError(
            f"the volume must be as its records say; got {len(problems)} faults in {output}. "
            f"Remove the files that are named and give the command that wrote them again: only they are "
            f"made anew."
        )
    click.echo("Every file is there and whole.")


def _read_finished(output: str) -> Written:
    """The volume that a run or an export has written.

    Raises:
        UserError: there are none, or they are of a volume in another place.
    """
    process = open_store(part_uri(output, "process"))
    missing = next((key for key in (PLAN_KEY, TRANSFORMS_KEY) if process.stat(key) is None), None)
    if missing is not None:
        raise UserError(
            f"verify must be given the output of a finished run; got no process/{missing} in {output}. "
            f"Check the path, or let the run end."
        )
    written = read_written(process)
    if open_store(written.plan.locations.process_uri).uri != process.uri:
        raise UserError(
            f"a volume must be verified where it was written, since its records name the place; got "
            f"{output}, written as {written.plan.config.output}. Move it back."
        )
    return written


def _tmp_uri(written: Written) -> str | None:
    """The URI of the aligned tiles; None unless all of them are kept."""
    process = open_store(written.plan.locations.process_uri)
    blocks = list(range(written.volume.passes[0].n_blocks))
    if slabs_to_do(Run.of(process, written.plan, written.transforms), blocks):
        return None
    return written.plan.locations.tmp_uri


def damaged_files(written: Written) -> Iterator[str]:
    """A sentence for each fault of the records, the files and the metadata."""
    problems = verify(written.volume, written.blocks).problems
    if problems:
        yield from (f"{problem.sentence}." for problem in problems)
    else:
        recorded = {
            (output.uri, output.key): output
            for block in written.blocks
            if block.record
            for output in block.record.outputs
        }
        yield from _changed_files(recorded.values())
    for output in written.volume.outputs:
        yield from _other_metadata(written, output)


def _changed_files(outputs: Iterable[Output]) -> Iterator[str]:
    """A sentence for each file whose content is not what was written. Buckets keep checksums themselves."""
    stores = {output.uri: open_store(output.uri) for output in outputs}

    def found(output: Output) -> str:
        store = stores[output.uri]
        stat = store.stat(output.key)
        return stat.crc32c if stat and stat.crc32c else checksum_of(store, output.key, output.size_bytes)

    checksums = in_parallel(found, outputs, available_cores())
    for output, crc32c in zip(outputs, checksums, strict=True):
        if crc32c != output.crc32c:
            yield (
                f"a file must have the checksum of its record, {output.crc32c}; got {crc32c} in "
                f"{join_uri(output.uri, output.key)}."
            )


def checksum_of(store: Store, key: str, size_bytes: int) -> str:
    """The crc32c of an object, read piece by piece, as eight hex digits."""
    crc = 0
    for start in range(0, size_bytes, PIECE_BYTES):
        crc = google_crc32c.extend(crc, store.read_range(key, start, min(start + PIECE_BYTES, size_bytes)))
    return f"{crc:08x}"


def _other_metadata(written: Written, output: VolumeOutput) -> Iterator[str]:
    """A sentence for each published file of metadata that is missing, or of another volume."""
    store = open_store(output.uri)
    for key, content in metadata_files(written.volume, output).items():
        if store.stat(key) is None:
            yield f"the volume must be published; there is no {join_uri(output.uri, key)}."
        elif store.read(key) != content:
            yield f"the metadata must be those of the volume; got others in {join_uri(output.uri, key)}."


def _print_table(checks: list[LevelCheck], written: Written) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in (
        "volume",
        "level",
        "voxels",
        "encoding",
        "files",
        "bytes",
        "chunks read",
        "compared with",
        "",
    ):
        table.add_column(
            name, justify="left" if name in ("volume", "encoding", "compared with", "") else "right"
        )
    root = written.plan.config.output.rstrip("/") + "/"
    for check in checks:
        prefix = scale_at(written.volume, check.output, check.level).shards_prefix
        files = [
            file
            for name, file in shards_of(written.blocks, open_store(check.output.uri).uri).items()
            if name.startswith(prefix)
        ]
        table.add_row(
            check.output.uri.removeprefix(root),
            str(check.level),
            product(written.volume.size_at_level(check.level)),
            check.output.encoding,
            f"{len(files):,}",
            f"{sum(file.size_bytes for file in files):,}",
            f"{check.n_read:,} of {check.n_chunks:,}",
            check.compared_with or "nothing",
            check.result,
        )
    console.print(table)


if __name__ == "__main__":
    main()
