"""SECURITY.md names code and tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("commands", "components", "pipeline", "tests")


def test_every_file_of_the_policy_exists() -> None:
    names = re.findall(r"`([\w/-]+(?:\.py|\.md|/))`", (ROOT / "SECURITY.md").read_text())
    assert len(names) > 15
    files = {str(path.relative_to(ROOT)) for room in ROOMS for path in (ROOT / room).rglob("*.py")}
    missing = [
        name
        for name in names
        if not (ROOT / name).exists() and not any(file.endswith(f"/{name}") for file in files)
    ]
    assert missing == ["build/sbom/"], "what make sbom writes is not there before"
