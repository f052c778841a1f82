"""How much is tested: apart from conftest, which a test's own processes would look for elsewhere."""

import os

import pytest

from tests.s3_server import REAL

FULL = os.environ.get("RELIABILITY") == "full"
"""Set by `make reliability`: every seed, and the tests that wait for minutes."""
SEEDS = range(1, 11) if FULL else range(1, 4)


def in_buckets(*schemes: str) -> pytest.MarkDecorator:
    """A test with buckets of some kinds, whose proxy and clean run the tests of each kind share."""
    return pytest.mark.parametrize("scheme", schemes, indirect=True, scope="session")


IN_BUCKETS = in_buckets("gs", "s3")
IN_BUCKETS_OF_GS_FIRST = in_buckets("gs", *(["s3"] if FULL or REAL else []))
"""Of s3:// in `make reliability` and on a real server alone; `test_bucket_faults.py` tries all its calls."""


def in_buckets_with_seeds(n: int) -> pytest.MarkDecorator:
    """A test with buckets of each kind and some seeds: of s3://, in the usual run of the tests, the first.

    Args:
        n: Seeds of the usual run.
    """
    usual = [("gs", seed) for seed in range(1, n + 1)] + [("s3", 1)]
    every = [(scheme, seed) for scheme in ("gs", "s3") for seed in SEEDS]
    return pytest.mark.parametrize(
        ("scheme", "seed"), every if FULL else usual, indirect=["scheme"], scope="session"
    )
