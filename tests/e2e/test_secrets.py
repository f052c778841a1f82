"""What grants access stays in the environment: no log, no argument and no record holds it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from components.shared.documents.config import RunConfig
from components.shared.storage.registry import open_store
from tests.e2e import bad_input_cases as cases
from tests.e2e.stack import FIBSTACK

TOKEN = "ya29.token-that-nobody-may-see"
KEY = "key-that-nobody-may-see"


def test_tokens_and_keys_are_in_no_file_of_a_run(gcs_emulator: str, bucket: str, tmp_path: Path) -> None:
    cases.write_stack(tmp_path)
    cases.file(tmp_path).write_bytes(b"<html>")  # which ends the run, soon after storage was asked
    source = open_store(f"gs://{bucket}/em")
    for path in (tmp_path / "stack").iterdir():
        source.write(path.name, path.read_bytes())
    key_file = tmp_path / "key.json"
    key_file.write_text(json.dumps({"type": "service_account", "private_key": KEY, "client_email": "a@b.c"}))
    secrets = {"GOOGLE_AUTH_TOKEN_FOR_TESTING": TOKEN, "CLOUDSDK_AUTH_ACCESS_TOKEN": TOKEN}
    command = [FIBSTACK, "run", "--source", source.uri, "--image", cases.NAME, "--minz", "1", "--maxz", "5"]
    command += ["--output", tmp_path / "volume", "--log-dir", tmp_path / "logs"]
    done = subprocess.run(
        list(map(str, command)),
        env=os.environ | secrets | {"GOOGLE_APPLICATION_CREDENTIALS": str(key_file)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 65, done.stderr.decode()
    assert "or copy this one again" in done.stderr.decode()
    files = [path for root in ("logs", "volume") for path in (tmp_path / root).rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"argv.json", "log.txt", "config.json", "pipeline.yaml"} <= names
    for written in (done.stdout, done.stderr, *(path.read_bytes() for path in files)):
        assert TOKEN.encode() not in written
        assert KEY.encode() not in written


def test_no_key_of_the_configuration_holds_a_secret() -> None:
    for name in RunConfig.model_fields:
        assert not re.search("token|password|secret|credential|private", name)
