"""Writes all slices of an export into one file, so that other programs read them.

The file gets its name when it is whole; before, it has a hidden one, and a stopped export begins anew. Layers
are written in any order, each to its own place, so the bytes do not depend on processes.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import BinaryIO

from commands.dry_run import Changes
from commands.export.formats.pictures import GreyLevels, StackFormat
from commands.export.pictures import Pictures
from commands.export.processes import in_processes
from commands.export.source import check_unchanged
from components.shared.errors import ConfigError, TransientError, UserError, failure_of_files
from components.shared.grid import Span
from components.shared.storage.folder import TEMPORARY_PREFIX
from components.shared.storage.schemes import folder_of
from components.shared.text import size


@dataclass(frozen=True, slots=True, kw_only=True)
class StackFile:
    """The file of all pictures of an export."""

    pictures: Pictures
    new_output: str
    format: StackFormat

    @property
    def place(self) -> str:
        return str(self.path)

    @property
    def path(self) -> Path:
        path = folder_of(self.new_output)
        if path is None:
            raise ConfigError(
                f"one file of all slices must go to a folder of this machine; got {self.new_output}. Export "
                f"it here and copy it, or write a file for each slice: --tiff or --png, and a folder's name."
            )
        return path.expanduser().absolute()

    @property
    def temporary(self) -> Path:
        return self.path.with_name(f"{TEMPORARY_PREFIX}{self.path.name}")

    def check(self) -> None:
        """Refuse a place where a file is, colours that the format has not, and a disk without room.

        Raises:
            ConfigError: the format cannot hold the pictures, or a bucket is to hold it.
            UserError: a file is there, or in place of the folder, or there is no room.
        """
        about, path = self.pictures.about, self.path
        if about.is_colour and not self.format.takes_colours:
            raise ConfigError(
                f"--{self.pictures.document.kind} must be given grey pictures; got {about.n_channels} "
                f"channels. Choose one, such as --channel 0."
            )
        if path.exists() or path.is_symlink():
            raise UserError(
                f"an export must go where nothing is; got {path}, which is there. Remove it, or choose "
                f"another NEW_OUTPUT."
            )
        nearest = next(parent for parent in path.parents if parent.exists())
        if not nearest.is_dir():
            raise UserError(
                f"an export must go into a folder; got {path}, where {nearest} is a file. Choose another "
                f"NEW_OUTPUT."
            )
        n_bytes, free = about.size_xyz[2] * about.picture_bytes, shutil.disk_usage(nearest).free
        free += (
            self.temporary.stat().st_size if self.temporary.is_file() else 0
        )  # of an export that was ended
        if n_bytes > free:
            raise UserError(
                f"the disk must have room for {path}, {size(n_bytes)}; got {size(free)}. Make room, or "
                f"choose another disk, a part by --crop, or smaller pictures by --bin."
            )

    def changes(self) -> Changes:
        """The file that is written."""
        return Changes.of([str(self.path)], (), ())

    def write(self, jobs: int) -> None:
        """Write the file.

        Raises:
            UserError: it cannot be written here.
            TransientError: another process writes it, the disk is full, or the source has changed.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._temporary_file() as file:
                first_byte = self.format.begin(file, self.pictures.about)
                file.flush()
                work = partial(_write_layer, self, first_byte)
                levels = in_processes(work, self.pictures.layers(), self.pictures.processes(jobs))
                self.format.finish(file, self.pictures.about, reduce(add, levels))
                file.flush()
                os.fsync(file.fileno())
                check_unchanged(self.pictures.document)
                self.temporary.replace(self.path)
        except OSError as error:
            what = f"cannot write {self.path}"
            raise failure_of_files(what, error) or TransientError(
                f"{what}: {error.strerror or error}. Check the disk and try again."
            ) from error

    @contextlib.contextmanager
    def _temporary_file(self) -> Iterator[BinaryIO]:
        """The file under its hidden name, empty, for this process alone; removed where something fails."""
        self.temporary.touch()
        with self.temporary.open("r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TransientError(
                    f"one export at a time must write {self.path}; got another that does. Wait for it."
                ) from None
            except OSError:  # a file system without locks
                pass
            try:
                self.check()  # again: another export may just have ended
                file.truncate(0)
                yield file
            except BaseException:
                self.temporary.unlink(missing_ok=True)
                raise


def _write_layer(stack: StackFile, first_byte: int, layer: Span, n_threads: int) -> GreyLevels:
    """Write the pictures of a layer to their places; returns their grey levels."""
    pictures = stack.pictures.read(layer, n_threads)
    picture_bytes = stack.pictures.about.picture_bytes
    with stack.temporary.open("r+b") as file:
        file.seek(first_byte + layer.first * picture_bytes)
        for picture in pictures:
            file.write(stack.format.stored(picture))
        file.flush()
        os.fsync(file.fileno())
    return reduce(add, map(GreyLevels.of, pictures))
