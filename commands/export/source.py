"""The source of an export: a finished output, and its lossless volume, which must be whole."""

from __future__ import annotations

import shlex
from dataclasses import replace

from components.shared.errors import TransientError, UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import run_buckets_of
from components.shared.storage.store import Store
from components.shared.volume.precomputed import INFO_KEY
from components.shared.volume.volume import VolumeOutput
from components.shared.work.completeness import check_blocks, check_overwritten
from components.shared.work.export import EXPORT_KEY, ShownPart
from components.shared.work.records import input_hash
from components.shared.work.verification import Written, check_listing, read_written_in
from components.shared.work.versions import blocks_as_written


def whole_uri(output: str) -> str:
    """An output as records name it: a folder from the root of the file system."""
    return output if run_buckets_of(output) else open_store(output).uri


def read_source(output: str) -> Written:
    """The finished volume that is exported.

    Raises:
        UserError: it is not finished, or files of its lossless volume are missing.
    """
    written = read_written_in(output)
    written = replace(written, blocks=blocks_as_written(written))
    if written.plan.config.output_level > 0:
        raise UserError(
            f"a volume to export must have level 0; got output_level {written.plan.config.output_level} in "
            f"{output}. Run it with output_level 0."
        )
    return written


def lossless_output(written: Written, output: str) -> VolumeOutput:
    """The lossless volume of an output.

    Raises:
        UserError: it is not finished, or not whole.
    """
    chunk_uri = written.plan.locations.chunk_uri
    found = next((o for o in written.volume.outputs if o.uri == chunk_uri), None)
    if found is None or open_store(chunk_uri).stat(INFO_KEY) is None:
        raise UserError(
            f"an export must have a finished lossless volume to read; got none in {chunk_uri}. "
            f"Finish the run, or export from the output that {output} was made from."
        )
    problems = (
        check_blocks(written.blocks)
        + check_overwritten(written.blocks)
        + check_listing(written.volume, found, written.blocks)
    )
    if problems:
        raise UserError(
            f"the lossless volume must be whole; {problems[0].sentence}. "
            f"Run '{shlex.join(['fibstack', 'verify', output])}'."
        )
    return found


def source_hash(written: Written) -> str:
    """Hash of all that the blocks of a source depend on."""
    return input_hash(*(block.expected_hash for block in written.blocks))


def check_unchanged(part: ShownPart, process: Store | None = None) -> None:
    """Refuse what was read while another command wrote the source anew: it may show parts of two volumes.

    Args:
        part: What is exported.
        process: Documents of the export. That of what it shows goes, so that no later call takes the files
            for those of a stopped export.

    Raises:
        TransientError: the source is another now, or is being written.
    """
    written = read_source(part.source)
    if source_hash(written) == part.source_hash and not check_blocks(written.blocks):
        return
    if process is not None:
        process.delete(EXPORT_KEY)
    raise TransientError(
        f"a volume must stay as it is while it is exported; {part.source} was written anew meanwhile. When "
        f"that has ended, give the command again with another NEW_OUTPUT."
    )
