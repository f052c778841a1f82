"""A further kind of store, for what every store must do: one that fibstack does not have."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.components.shared.storage.memory_store import new_root
from tests.conftest import STORES, empty_root


@pytest.fixture(params=[*STORES, "memory"])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty root in each kind of store, and in memory."""
    if request.param == "memory":
        return new_root(f"test-{secrets.token_hex(6)}")
    return empty_root(request.param, request, tmp_path)
