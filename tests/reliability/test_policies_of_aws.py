"""The policies of IAM give each step the rights of the table, and with them alone a run passes on S3."""

import fnmatch
import json
import secrets
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from moto.core.authorization import enable_iam_authentication

from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.s3 import client
from components.shared.storage.schemes import bucket_of
from manifests.iam_policies import SOURCE, main, policy_of
from tests.reliability import tiny_stack
from tests.reliability.conftest import PARTS, Place
from tests.reliability.programs import RECORDS_OF_UNITS, STEPS, Driver, call_of_unit, start
from tests.reliability.rights import PAGE, REFUSAL, RIGHTS
from tests.s3_server import KIND

POLICIES = Path(__file__).parents[2] / "manifests/aws/policies"
RUN = "one"
ACTIONS = {
    "get": "s3:GetObject",
    "list": "s3:ListBucket",
    "create": "s3:PutObject",
    "delete": "s3:DeleteObject",
}


def allows(policy: dict[str, Any], action: str, resource: str) -> bool:
    """Whether a policy of allowing statements allows an action, by the rules of IAM for wildcards."""
    return any(
        statement["Action"] == action and any(fnmatch.fnmatchcase(resource, r) for r in statement["Resource"])
        for statement in policy["Statement"]
    )


def written_policy(step: str, source: str) -> dict[str, Any]:
    text = (POLICIES / f"{step}.json").read_text()
    policy: dict[str, Any] = json.loads(text.replace(SOURCE, source))
    return policy


def rights_on(step: str, bucket: str, key: str, source: str = "em") -> set[str]:
    policy = written_policy(step, source)
    arn = f"arn:aws:s3:::{bucket}"
    return {
        right
        for right, action in ACTIONS.items()
        if allows(policy, action, arn if right == "list" else f"{arn}/{key}")
    }


def test_the_policies_are_up_to_date(tmp_path: Path) -> None:
    main(tmp_path)
    made = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in POLICIES.iterdir()} == made, "run 'make manifests'"


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("part", ["source", *PARTS])
def test_a_policy_gives_the_rights_of_the_table(step: str, part: str) -> None:
    uri = "s3://em" if part == "source" else part_uri("s3://em-*-run1", part)
    key = f"{uri.partition('//')[2].partition('/')[2]}/a.json".lstrip("/")
    assert rights_on(step, bucket_of(uri), key) == set(RIGHTS[step].get(part, ()))


@pytest.mark.parametrize("step", STEPS)
def test_what_is_written_anew_is_removed_by_nobody(step: str) -> None:
    """On S3, who may write may replace: the right to delete is needed for what is removed alone."""
    for key in (*PAGE, REFUSAL):
        removes = {"report": "superseded.json", "plan": REFUSAL}.get(step) == key
        assert ("delete" in rights_on(step, "em-process", f"run1/{key}")) == removes


@pytest.mark.parametrize("step", STEPS)
def test_a_policy_gives_nothing_on_other_buckets(step: str) -> None:
    for source in ("em2", "my-em", "e"):
        for uri in (f"s3://{source}", *(part_uri(f"s3://{source}-*-run1", part) for part in PARTS)):
            assert rights_on(step, bucket_of(uri), "run1/a.json") == set()


def test_a_policy_fits_a_role() -> None:
    """All policies that are written into a role may have 10,240 characters, without white space."""
    for step in STEPS:
        assert len(json.dumps(policy_of(step), separators=(",", ":"))) < 10_240 / 4


@pytest.fixture(scope="module")
def logins(s3_server: str) -> dict[str, dict[str, str]]:
    """The credentials of a user of IAM for each step, without any rights yet."""
    if KIND == "versitygw":
        pytest.skip("versitygw has no IAM of Amazon's kind")
    iam = botocore.session.get_session().create_client("iam", region_name="us-east-1", endpoint_url=s3_server)
    found = {}
    for step in STEPS:
        name = f"{step}-{secrets.token_hex(3)}"
        iam.create_user(UserName=name)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        found[step] = {
            "name": name,
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
    return found


@contextmanager
def enforced(logins: dict[str, dict[str, str]], source: str, rights_of: dict[str, str]) -> Iterator[None]:
    """While this lasts, each step may do what a policy allows: its own, or that of another one.

    Args:
        logins: The users, whose policies are made.
        source: The bucket of the slices.
        rights_of: The step whose policy each step has.
    """
    iam = botocore.session.get_session().create_client("iam", region_name="us-east-1")
    for step, login in logins.items():
        policy = json.dumps(written_policy(rights_of[step], source))
        iam.put_user_policy(UserName=login["name"], PolicyName="fibstack", PolicyDocument=policy)
    with enable_iam_authentication() if KIND == "moto" else nullcontext():
        yield


@pytest.fixture(scope="module")
def run(logins: dict[str, dict[str, str]], tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A run in buckets of its own, of steps that have their policies alone; and a second one."""
    source = f"em{secrets.token_hex(4)}"
    output = f"s3://{source}-*-{RUN}"
    for uri in (f"s3://{source}", *(part_uri(output, part) for part in PARTS)):
        client().ask("create_bucket", Bucket=bucket_of(uri))
    place = Place(f"s3://{source}", output, {})
    place.write_slices()
    states = []
    for turn in ("first", "second"):
        driver = Driver(tmp_path_factory.mktemp(turn), lambda step: login_of(logins, step))
        with enforced(logins, source, {step: step for step in STEPS}):
            driver.run(place.output, source=place.source, **tiny_stack.CONFIG)
        assert not driver.failed, driver.log
        states.append(place.state())
    assert states[0] == states[1]
    return place


def login_of(logins: dict[str, dict[str, str]], step: str) -> dict[str, str]:
    return {name: value for name, value in logins[step].items() if name.startswith("AWS_")}


def test_every_step_passes_with_its_own_policy(run: Place, figure: Callable[..., None]) -> None:
    assert any(uri.endswith("/jpeg/info") for uri in run.state())
    figure("policies of IAM, each step as itself: a run on S3", "passes")


@pytest.mark.parametrize(("step", "who"), [("align", "compose"), ("tile", "align"), ("plan", "pyramid")])
def test_a_step_as_another_is_refused(
    run: Place, logins: dict[str, dict[str, str]], tmp_path: Path, step: str, who: str
) -> None:
    process = open_store(part_uri(run.output, "process"))
    record = RECORDS_OF_UNITS.get(step, "")
    sealed = process.read(record) if record else b""
    if record:
        process.delete(record)  # so that there is something to do
    before = run.state()
    call = call_of_unit(step, run.source, run.output, process.uri, tmp_path, **tiny_stack.CONFIG)
    with enforced(logins, bucket_of(run.source), {**{other: other for other in STEPS}, step: who}):
        program = start(call, login_of(logins, step), tmp_path / "log.txt")
        program.join()
    said = (tmp_path / "log.txt").read_text()
    assert program.exitcode == 65, said
    assert "permission denied" in said
    changed = {uri for uri, value in run.state().items() if before.get(uri) != value}
    assert changed <= {f"{process.uri}/{REFUSAL}"}  # whoever may write records says there why it is refused
    if record:
        process.write(record, sealed)


CALLED = """#!/bin/sh
printf '%s\\n' "$@" END >> "$CALLS"
case "$2" in
get-caller-identity) echo 123456789012 ;;
get-role) [ "$KNOWN" ] ;;
list-pod-identity-associations) [ "$KNOWN" ] && echo 1 || echo 0 ;;
esac
"""


def calls_of_script(folder: Path, *, known: str) -> list[list[str]]:
    """The calls of aws that the script makes, each as its words; `known` is not empty where roles exist."""
    folder.mkdir(exist_ok=True)
    program, calls = folder / "aws", folder / "calls"
    program.write_text(CALLED)
    program.chmod(0o755)
    calls.write_text("")
    subprocess.run(
        [POLICIES.parent / "grant-rights.sh", "em", "fibstack"],
        env={"PATH": f"{folder}:/usr/bin:/bin", "CALLS": str(calls), "KNOWN": known},
        check=True,
    )
    return [call.strip("\n").split("\n") for call in calls.read_text().removesuffix("END\n").split("\nEND\n")]


@pytest.mark.parametrize("known", ["", "yes"])
def test_the_script_gives_each_account_the_policy_of_its_step(tmp_path: Path, known: str) -> None:
    calls = calls_of_script(tmp_path, known=known)
    given = {}
    for call in calls:
        if call[:2] == ["iam", "put-role-policy"]:
            role = call[call.index("--role-name") + 1]
            document = "\n".join(call[call.index("--policy-document") + 1 :])
            given[role] = json.loads(document)
    assert given == {f"fibstack-{step}": written_policy(step, "em") for step in STEPS}
    made = [call for call in calls if call[:2] == ["iam", "create-role"]]
    assert len(made) == (0 if known else len(STEPS))
    bound = {
        call[call.index("--service-account") + 1]: call[call.index("--role-arn") + 1]
        for call in calls
        if call[:2] == ["eks", "create-pod-identity-association"]
    }
    steps = () if known else STEPS
    assert bound == {f"fibstack-{s}": f"arn:aws:iam::123456789012:role/fibstack-{s}" for s in steps}
