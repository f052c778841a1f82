"""Parts read like the bytes that they make together."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from components.shared.storage.pace import JoinedParts


@given(
    st.lists(st.binary(max_size=9)),
    st.lists(st.tuples(st.integers(0, 2), st.integers(-9, 30), st.integers(0, 9))),
)
def test_reads_and_seeks_as_a_file_of_the_joined_bytes(
    parts: list[bytes], moves: list[tuple[int, int, int]]
) -> None:
    file, joined = JoinedParts(parts), io.BytesIO(b"".join(parts))
    for whence, offset, n_bytes in moves:
        base = [0, joined.tell(), len(joined.getvalue())][whence]
        position = max(0, base + offset)
        assert file.seek(position - base, whence) == joined.seek(position)
        assert file.read(n_bytes) == joined.read(n_bytes)
        assert file.tell() == joined.tell()
    assert len(file) == len(joined.getvalue())


def test_nothing_is_copied_that_is_not_asked_for() -> None:
    part = memoryview(bytearray(b"abc"))
    file = JoinedParts([part])
    part[1:2] = b"x"
    assert file.read() == b"axc"
