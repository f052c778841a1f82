"""The command that mends what `fibstack verify` has found."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from components.report.run_document import RUN_KEY, RunDocument
from components.shared.documents.config_flags import command_of
from components.shared.documents.locations import found_at
from components.shared.documents.plan import PLAN_KEY
from components.shared.documents.read_document import read_document
from components.shared.documents.transforms import TRANSFORMS_KEY
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.schemes import scheme_of
from components.shared.storage.store import Store, join_uri
from components.shared.work.export import EXPORT_KEY, Export
from components.shared.work.records import record_keys
from components.shared.work.verification import read_written

_NAMED = 100
"""Most files that one `rm` names, since the system bounds the words of a program."""


def mending_command(process: Store, output: str, remove: Sequence[str]) -> str:
    """The shell's command that removes damaged files and makes them anew, and nothing else.

    Args:
        process: Store of the documents of the volume.
        output: The output, as it was given.
        remove: URIs of the files to remove.
    """
    uris = {key: join_uri(process.uri, key) for key in (EXPORT_KEY, PLAN_KEY)}
    if process.stat(EXPORT_KEY) is not None:
        if uris[EXPORT_KEY] in remove:  # without it, whatever else is there counts as another volume
            files = sorted({*remove, *_documents_of_export(process)})
            return f"{joined(files)}, and give the command of the export again"
        again = _command_of_export(process, output)
        return (
            joined(remove, again) if again else f"{joined(remove)}, and give the command of the export again"
        )
    if uris[PLAN_KEY] in remove:
        again = _command_of_run(process)
        return joined(remove, again) if again else f"{joined(remove)}, and give the command of the run again"
    return joined(remove, shlex.join(["fibstack", "resolve", output]))


def _documents_of_export(process: Store) -> list[str]:
    """URIs of the documents and records by which an output counts as an export; a user's files are not."""
    documents = [key for key in (EXPORT_KEY, PLAN_KEY, TRANSFORMS_KEY) if process.stat(key) is not None]
    return [join_uri(process.uri, key) for key in (*documents, *record_keys(process, "pyramid"))]


def _command_of_run(process: Store) -> str:
    """The command that repeats a run whose plan is damaged; empty where its report does not tell."""
    try:
        return command_of(found_at(read_document(process, RUN_KEY, RunDocument).config, process.uri))
    except UserError:
        return ""


def _command_of_export(process: Store, output: str) -> str:
    """The command that made an export; empty where its source does not tell."""
    try:
        return export_command(read_document(process, EXPORT_KEY, Export), output)
    except UserError:
        return ""


def joined(remove: Sequence[str], again: str = "") -> str:
    """A command line that removes files and then gives a command.

    Example:
        >>> joined(["/a b", "/c"], "fibstack resolve /out"), joined([], "fibstack resolve /out")
        ("rm '/a b' /c && fibstack resolve /out", 'fibstack resolve /out')
        >>> joined(["gs://em/a", "gs://em/b"]), joined(["s3://em/a", "s3://em/b"])
        ('gcloud storage rm gs://em/a gs://em/b', 'aws s3 rm s3://em/a && aws s3 rm s3://em/b')
    """
    cloud = scheme_of(remove[0]).cloud if remove else ""
    program = {"": ["rm"], "google": ["gcloud", "storage", "rm"], "aws": ["aws", "s3", "rm"]}[cloud]
    n_at_a_time = 1 if cloud == "aws" else _NAMED
    commands = [
        shlex.join([*program, *remove[start : start + n_at_a_time]])
        for start in range(0, len(remove), n_at_a_time)
    ]
    return " && ".join([*commands, *([again] if again else [])])


def export_command(export: Export, output: str) -> str:
    """The command that made an export.

    Args:
        export: Its document.
        output: Where it lies.

    Raises:
        UserError: the documents of its source cannot be read.
    """
    words = ["fibstack", "export", export.source, output]
    if export.contrast is not None and all(level.is_integer() for level in export.contrast):
        words += ["--contrast", "{:.0f}-{:.0f}".format(*export.contrast)]
    source = read_written(open_store(part_uri(export.source, "process")))
    sides = zip(source.transforms.shown_xyz, export.crop_xyz, strict=True)
    crop = ",".join(f"{first + start}:{first + stop}" for first, (start, stop) in sides)
    words += ["--jpeg-quality", str(export.jpeg_quality), "--crop", crop]
    if export.left_out:
        words += ["--without-slices", ",".join(str(slice_.z) for slice_ in export.left_out)]
    return shlex.join([*words, *(["--lossless"] if export.lossless else [])])
