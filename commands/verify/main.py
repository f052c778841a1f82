"""`fibstack verify`: read a finished volume again, independently of the code that wrote it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from commands.verify.files import Damage, OutputFiles
from commands.verify.mending import mending_command
from commands.verify.wrong_results import concerning
from components.shared.command import StepCommand
from components.shared.cores import available_cores
from components.shared.documents.plan import PLAN_KEY, Plan
from components.shared.documents.read_document import read_document
from components.shared.documents.sealed import SealedDocument
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import Store, join_uri
from components.shared.text import count
from components.shared.work.completeness import shards_of
from components.shared.work.export import EXPORT_KEY, Export
from components.shared.work.left import slabs_to_do
from components.shared.work.run import Run
from components.shared.work.verification import Written, open_shards, read_written_in

if TYPE_CHECKING:
    from commands.verify.rereading import LevelCheck


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack verify aligned")
@click.argument("output")
@click.option(
    "--sample",
    "n_sampled",
    type=click.IntRange(min=0),
    default=16,
    show_default=True,
    help="Chunks of each level that are decoded and compared.",
)
@click.option("--full", is_flag=True, help="Decode and compare every voxel of every level.")
def main(output: str, n_sampled: int, full: bool) -> None:
    """Read the finished volume in OUTPUT again, through tensorstore.

    First each file is read and compared with what vouches for it: documents, records and the report with
    their own checksums; evidence, thumbnails, shards, exact levels and tiles with the size and checksum in
    the record of their unit; metadata with the volume. A table says how many files and bytes of each kind.

    Where all are whole, chunks are decoded and compared: lossless ones with the level below or the tiles,
    which they must equal, and JPEG with the lossless volume. Of a coarse JPEG chunk a part is compared, so
    that little has to be read; with --full the whole, with the level below where no lossless one is near.

    An output that was copied or moved is looked at where it lies.

    An export is an output of its own, with an OUTPUT to verify; a notebook holds no data.

    Exit code: 0 nothing is wrong, 65 something is; one sentence for each fault, and what mends it.
    """
    from commands.verify import table  # here, since the help needs no rich

    written = _read_finished(output)
    files = OutputFiles(written)
    looked = files.look()
    table.print_files(looked)
    damages = [damage for kind in looked for damage in kind.damages]
    if not damages:
        checks = _reread(written, None if full else n_sampled)
        table.print_levels(checks, written)
        damages = [damage for check in checks for damage in check.damages] or _unopened(written)
    for sentence in (*concerning(written), *files.notes):
        click.echo(f"note: {sentence}", err=True)
    for damage in damages:
        click.echo(f"error: {damage.sentence}", err=True)
    if damages:
        process = open_store(written.plan.locations.process_uri)
        remove = sorted({uri for damage in damages for uri in damage.remove})
        raise UserError(
            f"the volume must be as its records say; got {count(len(damages), 'fault')} in {output}. "
            f"Remove the files that are named and give the command that wrote them again: only they are "
            f"made anew. To mend it: {mending_command(process, output, remove)}"
        )
    click.echo("Every file is there and whole.")


def _read_finished(output: str) -> Written:
    """The volume that a run or an export has written.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    process = open_store(part_uri(output, "process"))
    missing = next((key for key in (PLAN_KEY, TRANSFORMS_KEY) if process.stat(key) is None), None)
    if missing is not None and process.stat(EXPORT_KEY) is not None:
        raise UserError(
            f"verify must be given a volume; got pictures that 'fibstack export' has written, in {output}. "
            f"The same export again looks at them, and writes anew what is not whole."
        )
    if missing is not None:
        raise UserError(
            f"verify must be given the output of a finished run; got no process/{missing} in {output}. "
            f"Check the path, or let the run end."
        )
    for key, kind in ((EXPORT_KEY, Export), (PLAN_KEY, Plan), (TRANSFORMS_KEY, Transforms)):
        if process.stat(key) is not None:
            _check_readable(process, key, kind, output)
    return read_written_in(output)


def _check_readable(process: Store, key: str, kind: type[SealedDocument], output: str) -> None:
    """Refuse a document, without which nothing can be verified, with the command that mends it.

    Raises:
        UserError: it is damaged, or of another version.
    """
    try:
        read_document(process, key, kind)
    except UserError as error:
        mending = mending_command(process, output, [join_uri(process.uri, key)])
        raise UserError(f"the documents of a volume must be whole; {error} To mend it: {mending}") from None


def _reread(written: Written, n_sampled: int | None) -> list[LevelCheck]:
    """Decode and compare chunks of every level; all of them where `n_sampled` is None."""
    from commands.verify.rereading import Rereading  # here, since the help needs no tensorstore

    with ThreadPoolExecutor(available_cores()) as pool:
        rereading = Rereading(written.volume, written.transforms.slices[0].z, _tmp_uri(written))
        return list(rereading.check(n_sampled, pool))


def _tmp_uri(written: Written) -> str | None:
    """The URI of the aligned tiles; None unless all of them are kept."""
    process = open_store(written.plan.locations.process_uri)
    blocks = list(range(written.volume.passes[0].n_blocks))
    if slabs_to_do(Run.of(process, written.plan, written.transforms), blocks):
        return None
    return written.plan.locations.tmp_uri


def _unopened(written: Written) -> list[Damage]:
    """Shards of which the chunk in the middle cannot be read."""
    faults = []
    for output in written.volume.outputs:
        shards = shards_of(written.blocks, open_store(output.uri).uri)
        faults += open_shards(written.volume, output, shards)
    return [Damage(f"{fault.sentence}.") for fault in faults]


if __name__ == "__main__":
    main()
