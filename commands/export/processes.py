"""Work on the parts of an export, in processes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

from components.shared.cores import available_cores

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def in_processes(
    work: Callable[[_Part, int], _Result], parts: Sequence[_Part], n_processes: int
) -> Iterator[_Result]:
    """The results of all parts, in their order; each process has its share of the cores.

    Args:
        work: Does a part with a number of threads; a function of a module, so that processes can be given it.
        parts: The parts.
        n_processes: Most processes at a time; one is this process itself.
    """
    n_processes = max(1, min(n_processes, len(parts)))
    n_threads = [max(1, available_cores() // n_processes)] * len(parts)
    if n_processes == 1:
        yield from map(work, parts, n_threads)
        return
    # A fork would take over the threads' locks of tensorstore.
    with ProcessPoolExecutor(n_processes, get_context("spawn")) as pool:
        yield from pool.map(work, parts, n_threads)
