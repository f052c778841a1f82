"""Does the same to many things at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

_Item = TypeVar("_Item")


def for_each(
    items: Iterable[_Item], work: Callable[[_Item], object], n_threads: int, done: Callable[[_Item], object]
) -> None:
    """Call `work` for each item, and `done`, in this thread, when that has ended.

    The first error stops what has not begun and is raised when what has begun is over.

    Example:
        >>> for_each(["a"], str.upper, n_threads=2, done=print)
        a
    """
    with ThreadPoolExecutor(n_threads) as threads:
        results = {threads.submit(work, item): item for item in items}
        try:
            for result in as_completed(results):
                result.result()
                done(results[result])
        except BaseException:
            threads.shutdown(cancel_futures=True)
            raise
