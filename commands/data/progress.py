"""Progress bars of the data commands on a terminal; elsewhere their line at the end is enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def counted(noun: str, n: int) -> Iterator[Callable[[], None]]:
    """Show a bar of `n` things; the function that is yielded is called after each of them."""
    with _bar(TextColumn(noun), MofNCompleteColumn()) as progress:
        task = progress.add_task("", total=n)
        yield lambda: progress.advance(task)


@contextmanager
def measured(n_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of bytes; the function that is yielded is called with the bytes of each thing done."""
    with _bar(DownloadColumn(), TransferSpeedColumn()) as progress:
        task = progress.add_task("", total=n_bytes)
        yield lambda n: progress.advance(task, n)


def _bar(*columns: ProgressColumn) -> Progress:
    console = Console(stderr=True)
    # Nothing is drawn where nobody looks.
    return Progress(
        BarColumn(), *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )
