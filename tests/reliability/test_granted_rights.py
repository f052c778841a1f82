"""The guide and the script that gives rights on GKE say what the tests of the rights enforce."""

import re
import stat
import subprocess
from pathlib import Path

import pytest

from components.shared.storage.run_buckets import part_uri
from tests.reliability.rights import PAGE, REFUSAL, RIGHTS, ROLES

ROOT = Path(__file__).parents[2]
STEPS = RIGHTS.keys() - {"viewer"}
BIND = "add-iam-policy-binding"
PARTS = ("process", "tmp", "neuroglancer", "chunk")
RECORDER = """#!/bin/sh
[ "$2" != describe ] || { echo 4711; exit; }
[ "$3" != describe ] || exit 1
printf '%s\\n' "$@" END >> "$CALLS"
"""


def given_rights(folder, *arguments):
    """The calls of gcloud, each as its words, when it makes the bindings and knows the project alone."""
    gcloud, calls = folder / "gcloud", folder / "calls"
    gcloud.write_text(RECORDER)
    gcloud.chmod(gcloud.stat().st_mode | stat.S_IXUSR)
    subprocess.run(
        [ROOT / "manifests/gke/grant-rights.sh", "my-project", "em", *arguments],
        env={"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(calls)},
        check=True,
    )
    return [call.split("\n") for call in calls.read_text().removesuffix("\nEND\n").split("\nEND\n")]


def holds(expression, name):
    """Whether a condition of IAM holds for the bucket or object of this name."""
    python = expression.replace("||", "or").replace("&&", "and").replace("sWith(", "swith(")
    return eval(python.replace("resource.name", "name"), {}, {"name": name})


def rights_on(calls, name, roles=ROLES):
    """What each step may do with a bucket or an object of a run, by the conditional bindings."""
    roles = {**roles, "fibstackRemover": ("delete",)}
    found = {step: set() for step in STEPS}
    for call in calls:
        if "--condition" in call:
            step = call[call.index("--member") + 1].rpartition("/fibstack-")[2]
            role = call[call.index("--role") + 1].rpartition("/")[2].removeprefix("storage.")
            if holds(call[call.index("--condition") + 1].partition(",expression=")[2], name):
                found[step].update(roles[role])
    return found


def names_in(source, part):
    """The bucket of a part, by which a listing is judged, and an object in it."""
    bucket, _, folder = part_uri(f"gs://{source}_*_run1", part).removeprefix("gs://").partition("/")
    name = f"projects/_/buckets/{bucket}"
    return name, f"{name}/objects/{folder}/a.json"


@pytest.mark.parametrize("part", PARTS)
def test_script_gives_the_rights_of_the_table(tmp_path: Path, part) -> None:
    calls = given_rights(tmp_path)
    wanted = {step: set(RIGHTS[step].get(part, ())) for step in STEPS}
    for name in names_in("em", part):
        assert rights_on(calls, name) == wanted


def test_script_lets_the_report_write_its_page_anew(tmp_path: Path) -> None:
    calls = given_rights(tmp_path)
    for page in PAGE:
        rights = rights_on(calls, f"projects/_/buckets/em_process/objects/run1/{page}")
        assert rights["report"] == {*RIGHTS["report"]["process"], *RIGHTS["report"]["page"]}
        assert all("delete" not in rights[step] for step in STEPS - {"report"})


def test_script_lets_the_plan_take_a_refusal_away(tmp_path: Path) -> None:
    rights = rights_on(given_rights(tmp_path), f"projects/_/buckets/em_process/objects/run1/{REFUSAL}")
    assert rights["plan"] == {*RIGHTS["plan"]["process"], *RIGHTS["plan"]["refusal"]}
    assert all("delete" not in rights[step] for step in STEPS - {"plan"})


def test_script_lets_those_read_the_slices_who_read_them(tmp_path: Path) -> None:
    calls = [call for call in given_rights(tmp_path) if call[:3] == ["storage", "buckets", BIND]]
    readers = {call[call.index("--member") + 1].rpartition("-")[2] for call in calls}
    assert readers == {step for step in STEPS if "source" in RIGHTS[step]}
    assert {call[3] for call in calls} == {"gs://em"}
    assert {call[call.index("--role") + 1] for call in calls} == {"roles/storage.objectViewer"}


@pytest.mark.parametrize("part", PARTS)
def test_who_writes_may_replace_where_that_is_asked_for(tmp_path: Path, part) -> None:
    calls = given_rights(tmp_path, "objectUser")
    user = ("get", "list", "create", "delete")
    for name in names_in("em", part):
        for step, rights in rights_on(calls, name, {**ROLES, "objectUser": user}).items():
            given = set(RIGHTS[step].get(part, ()))
            assert rights == (given.union(user) if "create" in given else given)


def test_script_gives_nothing_on_other_buckets(tmp_path: Path) -> None:
    calls = given_rights(tmp_path)
    for name in [
        name for source in ("em2", "my_em", "e") for part in PARTS for name in names_in(source, part)
    ]:
        assert not any(rights_on(calls, name).values())
    (role,) = [call for call in calls if call[:3] == ["iam", "roles", "create"]]
    assert role[role.index("--permissions") + 1] == "storage.objects.delete"


def test_conditions_keep_to_the_limits_of_iam(tmp_path: Path) -> None:
    conditions = [
        call[call.index("--condition") + 1] for call in given_rights(tmp_path) if "--condition" in call
    ]
    for condition in conditions:
        assert condition.count(",") == 1, "gcloud takes a comma for the next key"
        assert condition.count("||") + condition.count("&&") <= 12


def test_guide_has_the_table() -> None:
    text = (ROOT / "docs/reliability.md").read_text().partition("## Rights of the steps")[2]
    header, *rows = re.findall(r"^\| (.+) \|$", text, re.MULTILINE)
    assert (
        header == "step | slices | records (`process`) | refusal | its page | tiles (`tmp`) | "
        "volumes (`ng`, `chunk`)"
    )
    told = {}
    for row in rows:
        step, *cells = row.split(" | ")
        rights = [{r for role in re.findall(r"[\w.]+", cell) for r in ROLES[role]} for cell in cells]
        parts = dict(
            zip(
                ("source", "process", "refusal", "page", "tmp", "neuroglancer", "chunk"),
                [*rights, rights[-1]],
                strict=True,
            )
        )
        told[step.replace("who looks at the volume", "viewer")] = {p: r for p, r in parts.items() if r}
    assert told == {step: {p: set(r) for p, r in parts.items()} for step, parts in RIGHTS.items()}
