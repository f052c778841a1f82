"""A third kind of store, for what every store must do: one that fibstack does not have."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from tests.components.shared.storage.memory_store import new_root
from tests.conftest import LIVE


@pytest.fixture(params=["file", "gs", "memory", *(["live"] if LIVE else [])])
def store_uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URI of an empty root: in a folder, in a bucket, and in memory."""
    if request.param == "file":
        (tmp_path / "store").mkdir()
        return str(tmp_path / "store")
    if request.param == "memory":
        return new_root(f"test-{secrets.token_hex(6)}")
    if request.param == "live":
        return str(request.getfixturevalue("live_uri"))
    return f"gs://{request.getfixturevalue('bucket')}/some/run"
