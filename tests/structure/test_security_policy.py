"""SECURITY.md names code and tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_file_of_the_policy_exists():
    names = re.findall(r"`([\w/-]+(?:\.py|\.md|/))`", (ROOT / "SECURITY.md").read_text())
    assert len(names) > 15
    for name in names:
        if name != "build/sbom/":
            found = list(ROOT.glob(name)) or [
                p for p in ROOT.glob("*/**/*.py") if str(p).endswith(f"/{name}")
            ]
            assert found, name
