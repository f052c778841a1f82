"""Compiles the pipeline to what is submitted; `manifests/` holds the results."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import yaml
from kfp.compiler import Compiler
from kfp.dsl.base_component import BaseComponent

from pipeline.align_stack import align_stack
from pipeline.lint import problems
from pipeline.settings import Settings

KFP_MANIFEST = Path("manifests/align-stack.kfp.yaml")


def compile_kfp(settings: Settings) -> str:
    """The pipeline as KFP's IR in YAML, the same bytes for the same settings."""
    return compile_pipeline(align_stack(settings))


def compile_pipeline(pipeline: BaseComponent) -> str:
    """Any pipeline as linted IR without the version of kfp that compiled it.

    Raises:
        ValueError: the compiled pipeline breaks a rule of `pipeline.lint`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "pipeline.yaml")
        Compiler().compile(pipeline, str(path))
        text = path.read_text()
    text = re.sub(r"^sdkVersion: .*$", "sdkVersion: ''", text, flags=re.MULTILINE)
    found = problems(next(yaml.safe_load_all(text)))
    if found:
        raise ValueError("the compiled pipeline is broken:\n" + "\n".join(found))
    return text
