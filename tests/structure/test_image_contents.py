"""Each step image holds what its program imports, and nothing else."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest

from components.shared.steps import STEPS

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BELONGS_TO = {
    "google": "google-cloud-storage",
    "requests": "google-cloud-storage",
    "urllib3": "google-cloud-storage",
}
"""Namespaces and what a library brings along."""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=\[]", requirement)[0] for requirement in requirements}


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("components", include_external_packages=True)


@pytest.mark.parametrize("step", STEPS)
def test_extra_of_a_step_is_what_it_imports(graph, step) -> None:
    modules = graph.find_upstream_modules(f"components.{step}.main")
    roots = {module.partition(".")[0] for module in modules} - {
        "components",
        "_typeshed",
        *sys.stdlib_module_names,
    }
    distributions = packages_distributions()
    imported = {BELONGS_TO.get(root) or distributions[root][0].lower() for root in roots}
    extras = PROJECT["optional-dependencies"]
    assert imported - names(PROJECT["dependencies"]) == names(extras["base"]) | names(extras[step])


@pytest.mark.parametrize("step", STEPS)
def test_dockerfile_copies_the_code_that_a_step_imports(graph, step) -> None:
    modules = graph.find_upstream_modules(f"components.{step}.main")
    folders = {module.split(".")[1] for module in modules if module.startswith("components.")}
    copied = re.findall(r"COPY components/(\w+) ", (ROOT / f"images/{step}/Dockerfile").read_text())
    assert set(copied) == folders | {step}


@pytest.mark.parametrize("name", ["base", *STEPS])
def test_locks_are_pinned_by_hash_and_hold_no_kfp(name) -> None:
    lock = (ROOT / f"requirements/images/{name}.txt").read_text()
    pinned = re.findall(r"^([a-z0-9-]+)==(.+?) ?(?:;.*)?\\$", lock, re.MULTILINE)
    assert len(pinned) == len(re.findall(r"^[a-z]", lock, re.MULTILINE)) > 10
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert "kfp" not in dict(pinned)
    assert set(pinned) <= set(
        re.findall(
            r"^([a-z0-9-]+)==(.+?) ?(?:;.*)?\\$",
            (ROOT / "requirements/dev.txt").read_text(),
            re.MULTILINE,
        )
    ), "what is tested is what the images hold; run make lock"


def test_what_compiles_for_an_image_is_what_compiles_for_the_tests() -> None:
    def pins(name: str) -> set[str]:
        lock = (ROOT / f"requirements/{name}.txt").read_text()
        return set(re.findall(r"^[a-z0-9-]+==.+?(?= ?\\$)", lock, re.MULTILINE))

    assert {pin.partition("==")[0] for pin in pins("build")} == {"setuptools", "ziglang"}
    assert pins("build") <= pins("dev") & pins("run"), "run make lock"


def test_steps_add_to_the_base() -> None:
    def lines(name: str) -> set[str]:
        text = (ROOT / f"requirements/images/{name}.txt").read_text()
        return {line for line in text.splitlines() if re.match(r"[a-z]", line)}

    for step in STEPS:
        assert lines("base") < lines(step), "or a step image would hold a library twice"


@pytest.mark.parametrize(
    ("remote", "source"),
    [
        ("https://git.lab.org/em/fibstack.git", "https://git.lab.org/em/fibstack"),
        ("https://me:secret@git.lab.org/em/fibstack", "https://git.lab.org/em/fibstack"),
        ("git@git.lab.org:em/fibstack.git", "https://git.lab.org/em/fibstack"),
        ("ssh://git@git.lab.org/em/fibstack", "https://git.lab.org/em/fibstack"),
        ("ssh://git@git.lab.org:2222/em/fibstack", None),
        ("/srv/git/fibstack", None),
        ("../fibstack", None),
        ("", None),
    ],
)
def test_label_of_the_source_is_a_web_address_without_secrets_or_none(remote, source) -> None:
    config = {"COUNT": "1", "KEY_0": "remote.origin.url", "VALUE_0": remote}
    environment = {**os.environ, **{f"GIT_CONFIG_{key}": value for key, value in config.items()}}
    for name in ("SOURCE_URL", "MAKEFLAGS"):
        environment.pop(name, None)
    done = subprocess.run(
        ["make", "--dry-run", "images"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    labels = re.findall(r"--label org\.opencontainers\.image\.source=(\S*)", done.stdout)
    assert labels == ([source] if source else [])


@pytest.mark.parametrize("step", STEPS)
def test_code_is_compiled_when_all_of_it_is_there(step) -> None:
    """Pods may write nothing: what is not compiled in the image is compiled at each start."""
    text = (ROOT / f"images/{step}/Dockerfile").read_text()
    compiled = text.index("RUN python -m compileall -q --invalidation-mode unchecked-hash /app/components")
    assert text.rindex("\nCOPY ") < compiled < text.rindex("\nUSER 10001:10001")
