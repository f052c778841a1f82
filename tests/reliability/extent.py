"""How much is tested: apart from conftest, which a test's own processes would look for elsewhere."""

import os

FULL = os.environ.get("RELIABILITY") == "full"
"""Set by `make reliability`: every seed, and the tests that wait for minutes."""
SEEDS = range(1, 11) if FULL else range(1, 4)
