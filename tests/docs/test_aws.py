"""The guide to AWS names commands and options that exist; `tests/structure` looks at those of fibstack."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest
from botocore import xform_name

from pipeline.settings import read_settings

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/aws.md").read_text()
SCRIPT = (ROOT / "manifests/aws/grant-rights.sh").read_text()
GLOBAL_OPTIONS = {"--query", "--output", "--region"}
"""Options that each command of aws has."""
HIGH_LEVEL = {("s3", "sync"), ("ecr", "get-login-password")}
"""Commands of aws that are no operation of a service."""


def code_of(text: str) -> str:
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")


def commands(text: str, program: str) -> Iterator[list[str]]:
    """The words of each call of a program."""
    for call in re.findall(rf"(?:^|\$\(|\s){program} ([^\n|;)]*)", re.sub(r" #.*", "", text)):
        yield re.sub(r"[>&].*", "", call).split()


@pytest.mark.parametrize("text", [code_of(GUIDE), SCRIPT.replace("\\\n", " ")], ids=["guide", "script"])
def test_commands_of_aws_exist_with_their_options(text: str) -> None:
    session = botocore.session.get_session()
    wrong, n_found = [], 0
    for service, command, *words in commands(text, "aws"):
        n_found += 1
        if (service, command) in HIGH_LEVEL:
            continue
        model = session.get_service_model("s3" if service == "s3api" else service)
        operations = {xform_name(name, "-"): name for name in model.operation_names}
        options = {word.partition("=")[0] for word in words if word.startswith("--")} - GLOBAL_OPTIONS
        shape = model.operation_model(operations[command]).input_shape if command in operations else None
        known = {f"--{xform_name(name, '-')}" for name in shape.members} if shape else set()
        if command not in operations or not options <= known:
            wrong.append(f"aws {service} {command} {' '.join(sorted(options - known))}")
    assert wrong == []
    assert n_found >= 5


def test_what_is_applied_and_made_exists() -> None:
    text = code_of(GUIDE)
    for folder in re.findall(r"kubectl apply -k (\S+)", text):
        assert (ROOT / folder / "kustomization.yaml").is_file(), folder
    for file in re.findall(r"-f (manifests/\S+)|^(manifests/\S+)", text, re.MULTILINE):
        assert (ROOT / "".join(file)).is_file(), file
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    made = re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
    assert made
    assert set(made) <= targets


def test_the_secret_has_the_keys_that_the_settings_name() -> None:
    settings = read_settings(ROOT / "manifests/aws/own-server/settings.toml")
    ((name, variables),) = settings.secrets.items()
    assert f"kubectl create secret generic {name} -n fibstack" in code_of(GUIDE)
    assert set(re.findall(r"--from-literal ([a-z-]+)=", GUIDE)) == set(variables.values())
