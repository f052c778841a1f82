"""Services that answer with something else, or without an end: a sentence, and no wait."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.builders import cli
from tests.hostile_server import HEAD, Behaviour, answer, dribble, flood, hostile, say

CONFIG = ["--source", "gs://em/raw", "--image", "img.%05d.png", "--minz", "3", "--maxz", "9"]
CONFIG += ["--output", "gs://em/out"]
Command = Callable[[str], list[str]]

STRANGE = {
    "html": b"<!doctype html><title>Log in</title>",
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "number": b"1e999",
    "no UTF-8": b'{"spec": "\xff"}',
    "digits": b'{"spec": ' + b"9" * 5000 + b"}",
    "nested": b"[" * 100_000,
    "fields of other kinds": b'{"run_id": [1], "run_details": [2], "experiments": 3, "spec": 4}',
    "other lists": b'{"run_id": "x", "run_details": {"task_details": [7]}, "status": {"nodes": []}}',
    "a date that is none": b'{"run_id": "x", "created_at": "yesterday", "spec": {"arguments": []}}',
    "a bad archive": b'{"status": {"compressedNodes": "AAAA"}}',
}
WITHOUT_END = {
    "silence": dribble(b"", b""),
    "headers": dribble(b"HTTP/1.1 200 OK\r\nX: "),
    "body": dribble(HEAD),
    "hung up": say(b""),
    "garbage": say(b"\xff\xfe\r\n\r\n"),
}
KFP: dict[str, Command] = {
    "submit": lambda server: ["submit", "--target", "kfp", "--host", f"http://{server}", *CONFIG],
    "status": lambda server: ["status", f"http://{server}/#/runs/details/run-1"],
    "logs": lambda server: ["logs", f"http://{server}/#/runs/details/run-1"],
}
ARGO: dict[str, Command] = {
    "submit": lambda _: ["submit", "--target", "argo", *CONFIG],
    "status": lambda _: ["status", "argo://em/x7"],
    "logs": lambda _: ["logs", "argo://em/x7"],
}
COMMANDS = {
    f"{name}-{verb}": commands[verb] for name, commands in (("kfp", KFP), ("argo", ARGO)) for verb in KFP
}
commands = pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())


@pytest.fixture(autouse=True)
def _no_garbage_is_collected() -> Iterator[None]:
    """Keep Python from collecting garbage while an answer is read.

    Where that falls into the last levels of a deep answer, finalisers of other tests' objects meet the limit
    of recursion, and pytest calls this test failed.
    """
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(autouse=True)
def _settings_of_this_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("kfp.Client._LOCAL_KFP_CONTEXT", str(tmp_path / "context.json"))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kube"))


def run(command: Command, server: str, folder: Path) -> tuple[int, str]:
    context = {"cluster": "c", "user": "u", "namespace": "em"}
    kubeconfig = {
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": f"http://{server}"}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "here", "context": context}],
    }
    (folder / "kube").write_text(yaml.safe_dump(kubeconfig))
    result = cli(*command(server))
    return result.exit_code, result.output


@commands
@pytest.mark.parametrize("body", STRANGE.values(), ids=STRANGE.keys())
def test_a_strange_answer_is_a_sentence(command: Command, body: bytes, tmp_path: Path) -> None:
    with hostile(answer(body)) as server:
        code, said = run(command, server, tmp_path)
        assert "Traceback" not in said
        # Some of it reads as a run or a workflow of which nothing is known yet.
        assert code in (0, 65, 75), said
        if code:
            (line,) = said.splitlines()
            assert server in line or "WorkflowTemplate" in line


@commands
@pytest.mark.parametrize("behave", WITHOUT_END.values(), ids=WITHOUT_END.keys())
def test_an_answer_without_an_end_is_given_up(
    command: Command, behave: Behaviour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("argo", "kubeflow"):
        monkeypatch.setattr(f"pipeline.submit.{module}._TIMEOUT", (0.3, 0.3))
    with hostile(behave) as server:
        started = time.monotonic()
        code, said = run(command, server, tmp_path)
        assert time.monotonic() - started < 8
    assert code == 75, said
    (line,) = said.splitlines()
    assert server in line


@commands
def test_an_endless_answer_is_read_to_a_limit(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("components.shared.web.ANSWER_BYTES", 1_000_000)
    with hostile(flood()) as server:
        code, said = run(command, server, tmp_path)
    assert code == 65, said
    assert "an answer of more than 1,000,000 bytes" in said
