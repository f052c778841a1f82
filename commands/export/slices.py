"""Writes a file for each slice of an export, below a folder or a bucket, so that other programs read them.

The files lie in NEW_OUTPUT itself; `process/` has the document that says what they show, and a sealed record
for each layer. A file is whole where it has its name; a layer whose record vouches for its files is not
written again.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from commands.dry_run import Changes
from commands.export.formats.pictures import SliceFormat
from commands.export.pictures import Pictures
from commands.export.processes import in_processes
from commands.export.source import check_unchanged
from components.shared.errors import ConfigError, TransientError, UserError
from components.shared.grid import Span
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri, run_buckets_of
from components.shared.storage.store import Store, join_uri
from components.shared.work.export import EXPORT_KEY
from components.shared.work.left import not_done
from components.shared.work.records import Output, Record, commit, input_hash, record_key, write_output

_STEP = "slices"
"""Folder of the records of layers."""
_FORMAT_VERSION = "1"
"""Rises where the same pictures become other files."""
_FEWEST_DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceFiles:
    """The files of the pictures of an export."""

    pictures: Pictures
    new_output: str
    format: SliceFormat

    @property
    def place(self) -> str:
        return self.target.uri

    @property
    def target(self) -> Store:
        return open_store(self.new_output)

    @property
    def process(self) -> Store:
        return open_store(part_uri(self.new_output, "process"))

    def key(self, index: int) -> str:
        """Name of the file of a picture: the number of its slice, of as many digits as the last one's."""
        numbers = self.pictures.about.slice_numbers
        digits = max(_FEWEST_DIGITS, len(str(numbers[-1])))
        return f"{numbers[index]:0{digits}d}{self.format.suffix}"

    def layer_hash(self, layer: Span) -> str:
        return input_hash(_FORMAT_VERSION, self.pictures.about.identity, str(layer))

    def left(self) -> list[Span]:
        """The layers without a valid record."""
        return not_done(self.process, _STEP, self.pictures.layers(), self.layer_hash)

    def check(self) -> None:
        """Refuse a place that holds something else, among which a program would find slices that are none.

        Raises:
            ConfigError: it is none where files go.
            UserError: something else lies there.
        """
        if run_buckets_of(self.new_output):
            raise ConfigError(
                f"slices must go to one folder or bucket; got {self.new_output}, which stands for several. "
                f"Choose another NEW_OUTPUT."
            )
        known = set(map(self.key, range(len(self.pictures.about.slice_numbers))))
        document = self.process.read(EXPORT_KEY) if self.process.stat(EXPORT_KEY) else None
        is_ours = document == self.pictures.document.to_json()
        for found in self.target.list():
            is_hidden = found.key.rpartition("/")[2].startswith(".")
            if not is_hidden and not (is_ours and (found.key in known or found.key.startswith("process/"))):
                raise UserError(
                    f"an export must go where nothing is, or where the same export was stopped; got "
                    f"{self.new_output}, which holds {found.key}. Choose another NEW_OUTPUT, or remove it."
                )

    def changes(self) -> Changes:
        """The files that are written."""
        left = self.left()
        keys = [self.key(index) for layer in left for index in layer]
        there = {join_uri(self.target.uri, found.key) for found in self.target.list()}
        in_process = [EXPORT_KEY, *(record_key(_STEP, str(layer)) for layer in left)]
        written = [join_uri(self.target.uri, key) for key in keys]
        written += [join_uri(self.process.uri, key) for key in in_process]
        return Changes.of(written, (), there)

    def write(self, jobs: int) -> None:
        """Write every layer that is not done.

        Raises:
            TransientError: a file is not there afterwards as it was written, or the source has changed.
        """
        self.process.write(EXPORT_KEY, self.pictures.document.to_json())
        for _ in in_processes(partial(_write_layer, self), self.left(), self.pictures.processes(jobs)):
            pass
        check_unchanged(self.pictures.document, self.process)
        damaged = self.left()
        if damaged:
            raise TransientError(
                f"the files must be there as they were written; {self.key(damaged[0].first)} in "
                f"{self.target.uri} is not. Give the same command again."
            )


def _write_layer(files: SliceFiles, layer: Span, n_threads: int) -> None:
    pictures, target = files.pictures, files.target
    planes = pictures.read(layer, n_threads)

    def write(index: int) -> Output:
        data = files.format.encode(planes[index - layer.first], pictures.about)
        return write_output(target, files.key(index), data)

    with ThreadPoolExecutor(n_threads) as pool:
        outputs = tuple(pool.map(write, layer))
    record = Record(step=_STEP, unit=str(layer), input_hash=files.layer_hash(layer), outputs=outputs)
    commit(files.process, record)
