"""What is done with memory that a block has freed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from components.pyramid import writing


@pytest.mark.parametrize(("free_bytes", "n_trims"), [(writing.LIMITS.kept_bytes, 0), (2**30, 1)])
def test_freed_memory_is_given_back_where_it_is_much(
    monkeypatch: pytest.MonkeyPatch, free_bytes: int, n_trims: int
) -> None:
    trimmed: list[int] = []

    def mallinfo2() -> SimpleNamespace:
        return SimpleNamespace(free_bytes=free_bytes)

    libc = SimpleNamespace(malloc_trim=trimmed.append, mallinfo2=mallinfo2)
    monkeypatch.setattr("components.pyramid.writing.ctypes.CDLL", lambda _name: libc)
    writing._give_freed_memory_back()
    assert len(trimmed) == n_trims


def test_a_c_library_that_does_not_tell_what_is_free_gives_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    libc = SimpleNamespace(malloc_trim=trimmed.append)
    monkeypatch.setattr("components.pyramid.writing.ctypes.CDLL", lambda _name: libc)
    writing._give_freed_memory_back()
    assert trimmed == [0]
