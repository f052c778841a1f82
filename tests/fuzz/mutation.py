"""Damage to sound inputs, the same for a seed: bits, lengths, numbers, pieces of other inputs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Integers at the ends of their types, which lengths, counts and offsets overflow at."""
MOST_BYTES = 1 << 16
"""Longest input that damage makes."""


def damaged(inputs: Sequence[bytes], tokens: Sequence[bytes], rng: random.Random) -> bytes:
    """One of some sound inputs with one to six kinds of damage.

    Args:
        inputs: Sound inputs.
        tokens: Words of the format, which mean more than random bytes.
        rng: Decides everything.
    """
    data = bytearray(rng.choice(inputs))
    for _ in range(rng.randint(1, 6)):
        if not data:
            break
        rng.choice(_DAMAGE)(data, inputs, tokens, rng)
    return bytes(data[:MOST_BYTES])


def _flip_a_bit(data: bytearray, _: Sequence[bytes], __: Sequence[bytes], rng: random.Random) -> None:
    data[_place(data, rng)] ^= 1 << rng.randrange(8)


def _set_a_byte(data: bytearray, _: Sequence[bytes], __: Sequence[bytes], rng: random.Random) -> None:
    data[_place(data, rng)] = rng.randrange(256)


def _set_a_number(data: bytearray, _: Sequence[bytes], __: Sequence[bytes], rng: random.Random) -> None:
    n_bytes, number = rng.choice((1, 2, 4, 8)), rng.choice(NUMBERS)
    start = _place(data, rng)
    written = (number & (1 << 8 * n_bytes) - 1).to_bytes(n_bytes, rng.choice(("little", "big")))
    data[start : start + n_bytes] = written[: len(data) - start]


def _cut(data: bytearray, _: Sequence[bytes], __: Sequence[bytes], rng: random.Random) -> None:
    del data[_place(data, rng) :]


def _remove(data: bytearray, _: Sequence[bytes], __: Sequence[bytes], rng: random.Random) -> None:
    start = _place(data, rng)
    del data[start : start + rng.randint(1, 64)]


def _repeat(data: bytearray, _: Sequence[bytes], __: Sequence[bytes], rng: random.Random) -> None:
    start = _place(data, rng)
    data[start:start] = data[start : start + rng.randint(1, 64)] * rng.choice((1, 1, 2, 50))


def _insert_a_token(data: bytearray, _: Sequence[bytes], tokens: Sequence[bytes], rng: random.Random) -> None:
    start = _place(data, rng)
    length = rng.choice((0, 1, 4, 16))  # of what it takes the place of
    data[start : start + length] = rng.choice(tokens) * rng.choice((1, 1, 1, 3, 200))


def _splice(data: bytearray, inputs: Sequence[bytes], _: Sequence[bytes], rng: random.Random) -> None:
    other = rng.choice(inputs)
    data[_place(data, rng) :] = other[rng.randrange(len(other) + 1) :]


def _place(data: bytearray, rng: random.Random) -> int:
    """A place in the data; half of them near its start, where formats keep their headers."""
    end = min(len(data), 64) if rng.random() < 0.5 else len(data)
    return rng.randrange(end) if end else 0


_DAMAGE: tuple[Callable[[bytearray, Sequence[bytes], Sequence[bytes], random.Random], None], ...] = (
    _flip_a_bit,
    _flip_a_bit,
    _set_a_byte,
    _set_a_number,
    _set_a_number,
    _cut,
    _remove,
    _repeat,
    _insert_a_token,
    _insert_a_token,
    _splice,
)
