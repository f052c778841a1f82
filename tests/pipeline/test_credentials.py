"""Credentials of an S3 store, which a Secret of the cluster holds, arrive in the pods of every step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.shared.steps import STEPS
from pipeline.compiled.compile import compile_argo, compile_kfp
from pipeline.settings import Settings, read_settings

SETTINGS = """
environment = { AWS_REGION = "us-east-1" }

[secrets.fibstack-s3]
AWS_ACCESS_KEY_ID = "access-key"
AWS_SECRET_ACCESS_KEY = "secret-key"
AWS_ENDPOINT_URL = "endpoint"
"""
GOLDEN_ARGO = [
    {"name": "AWS_REGION", "value": "us-east-1"},
    {
        "name": "AWS_ACCESS_KEY_ID",
        "valueFrom": {"secretKeyRef": {"name": "fibstack-s3", "key": "access-key"}},
    },
    {
        "name": "AWS_SECRET_ACCESS_KEY",
        "valueFrom": {"secretKeyRef": {"name": "fibstack-s3", "key": "secret-key"}},
    },
    {"name": "AWS_ENDPOINT_URL", "valueFrom": {"secretKeyRef": {"name": "fibstack-s3", "key": "endpoint"}}},
]
GOLDEN_KFP = [
    {
        "keyToEnv": [{"envVar": variable, "secretKey": key}],
        "optional": False,
        "secretName": "fibstack-s3",
        "secretNameParameter": {"runtimeValue": {"constant": "fibstack-s3"}},
    }
    for variable, key in (
        ("AWS_ACCESS_KEY_ID", "access-key"),
        ("AWS_SECRET_ACCESS_KEY", "secret-key"),
        ("AWS_ENDPOINT_URL", "endpoint"),
    )
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    return read_settings(file)


def test_of_every_step_on_argo(settings: Settings) -> None:
    _, template = yaml.safe_load_all(compile_argo(settings))
    pods: dict[str, Any] = {
        t["name"]: t["container"] for t in template["spec"]["templates"] if "container" in t
    }
    assert pods.keys() == STEPS.keys()
    assert [pod["env"] for pod in pods.values()] == [GOLDEN_ARGO] * len(STEPS)


def test_of_every_step_on_kubeflow(settings: Settings) -> None:
    ir, platform = yaml.safe_load_all(compile_kfp(settings))
    programs = ir["deploymentSpec"]["executors"]
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {name.split("-")[1] for name in programs} == STEPS.keys()
    assert pods.keys() == programs.keys()
    for name in programs:
        assert programs[name]["container"]["env"] == [{"name": "AWS_REGION", "value": "us-east-1"}]
        held = [each for each in pods[name]["secretAsEnv"] if each["secretName"] != "fibstack-notification"]
        assert held == GOLDEN_KFP
