"""`fibstack run --dry-run` in a bucket, by the proxy's log: it changes nothing, and the run what it lists."""

import os
import subprocess
import sys
from pathlib import Path

from tests.reliability import tiny_stack
from tests.reliability.conftest import Proxy, new_bucket

CHANGES = {"create", "part", "delete", "compose", "copy"}


def fibstack(proxy: Proxy, folder: Path, *words: object) -> str:
    done = subprocess.run(
        [Path(sys.executable).with_name("fibstack"), *map(str, words)],
        env=os.environ | proxy.environment() | {"XDG_STATE_HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def changed(proxy: Proxy, operation: str) -> set[str]:
    """Keys of the objects that requests have written, or removed, since the rules were set."""
    return {e["key"] for e in proxy.log() if e["operation"] == operation and e["status"] < 300}


def test_a_dry_run_asks_for_no_change_and_lists_those_of_the_run(proxy: Proxy, tmp_path: Path) -> None:
    bucket = new_bucket()
    tiny_stack.write_slices(f"gs://{bucket}/source")
    given = {"source": f"gs://{bucket}/source", "output": f"gs://{bucket}/output", "image": "img.%05d.png"}
    words = [word for key, value in given.items() for word in (f"--{key}", value)]
    words += ["--minz", "0", "--maxz", "5"]
    for more in ([], ["--set", "jpeg_quality=60"]):
        proxy.set_rules()
        lines = fibstack(proxy, tmp_path, "run", *words, *more, "--dry-run").splitlines()
        assert [entry for entry in proxy.log() if entry["operation"] in CHANGES] == []
        listed: dict[str, set[str]] = {"write": set(), "replace": set(), "remove": set()}
        for verb, uri in (line.split() for line in lines if "gs://" in line):
            listed[verb].add(uri.removeprefix(f"gs://{bucket}/"))

        proxy.set_rules()
        fibstack(proxy, tmp_path, "run", *words, *more, "--jobs", "2")
        assert changed(proxy, "create") == listed["write"] | listed["replace"]
        assert changed(proxy, "delete") == listed["remove"]
