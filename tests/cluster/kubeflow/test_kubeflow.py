"""Runs of the sample on a real Kubeflow Pipelines: a local run's volume, and a word where one failed."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from components.shared.steps import STEPS
from pipeline.compiled.compile import KFP_PLAN_RETRIES
from tests.cluster.cluster import Object, counted, volume
from tests.cluster.kubeflow.installation import HOST, RUN_S, SETTINGS, Kubeflow

pytestmark = pytest.mark.timeout(4 * RUN_S)
KILL_THE_PROGRAM = """
import os, time
def is_the_program(number):
    try:
        words = open(f"/proc/{number}/cmdline", "rb").read().split(b"\\0")
    except OSError:
        return False
    return words[0].endswith(b"python") and words[1:2] == [b"-m"]
end = time.monotonic() + 30
while time.monotonic() < end:
    for number in filter(is_the_program, filter(str.isdigit, os.listdir("/proc"))):
        os.kill(int(number), 9)
        raise SystemExit
    time.sleep(0.01)
"""
"""Waits for the step's program and ends it, not Kubeflow's launcher above it, as a lack of memory would."""


def test_the_volume_is_that_of_a_local_run(
    kubeflow: Kubeflow, finished_run: str, local_volume: dict[str, str], tmp_path: Path
) -> None:
    assert finished_run
    assert volume(kubeflow.fetch(kubeflow.in_data("finished"), tmp_path / "volume")) == local_volume


def test_status_counts_the_tasks_of_each_step(kubeflow: Kubeflow, finished_run: str) -> None:
    shown = kubeflow.fibstack("status", finished_run)
    assert shown.returncode == 0, shown.stderr
    table = counted(shown.stdout)
    assert tuple(table) == tuple(STEPS)
    assert all(states.pop("done") and not any(states.values()) for states in table.values()), shown.stdout


def test_logs_are_there_or_said_how_to_read(kubeflow: Kubeflow, finished_run: str) -> None:
    shown = kubeflow.fibstack("logs", finished_run, "align")
    assert shown.returncode == 0, shown.stderr
    pods = [pod["metadata"]["name"] for pod in kubeflow.pods(finished_run, "align")]
    titles = re.findall(r"^==> align\(\d+\): (.*) <==$", shown.stdout, re.MULTILINE)
    assert sorted(titles) == sorted(pods)
    said = [shown.stdout]
    for command in re.findall(r"run: (kubectl logs .*)$", shown.stdout, re.MULTILINE):
        ended = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
        said.append(ended.stdout + ended.stderr)
    assert "slice" in "".join(said), said


def test_pods_are_as_the_settings_say(kubeflow: Kubeflow, finished_run: str) -> None:
    settings = kubeflow.settings
    for step in STEPS:
        wanted = settings.step(step)
        for pod in kubeflow.pods(finished_run, step):
            spec, main = pod["spec"], main_container(pod)
            assert main["image"] == settings.image(step)
            environment = {variable["name"]: variable for variable in main["env"]}
            for name, value in settings.environment.items():
                assert environment[name]["value"] == value
            for secret, variables in settings.secrets.items():
                for name, key in variables.items():
                    found = environment[name]["valueFrom"]["secretKeyRef"]
                    assert (found["name"], found["key"]) == (secret, key)
            assert wanted.labels.items() <= pod["metadata"]["labels"].items()
            assert wanted.nodes.items() <= spec.get("nodeSelector", {}).items()
            for taint in wanted.taints:
                asked = {"key": taint.key, "operator": taint.operator, "effect": taint.effect}
                asked |= {"value": taint.value} if taint.value else {}
                assert any(asked.items() <= one.items() for one in spec["tolerations"]), spec["tolerations"]
            assert main["resources"]["requests"].keys() == main["resources"]["limits"].keys()
            assert spec["activeDeadlineSeconds"] == wanted.timeout_s
            (mount,) = [m for m in main["volumeMounts"] if m["mountPath"] == kubeflow.volume.path]
            (claim,) = [v for v in spec["volumes"] if v["name"] == mount["name"]]
            assert claim["persistentVolumeClaim"]["claimName"] == kubeflow.volume.claim


def main_container(pod: Object) -> Object:
    (found,) = [one for one in pod["spec"]["containers"] if one["name"] == "main"]
    return dict(found)


def test_all_tries_fit_into_the_window_that_argo_gets(kubeflow: Kubeflow, finished_run: str) -> None:
    text = json.dumps(kubeflow.workflow(finished_run)["spec"])
    windows = {int(found) for found in re.findall(r'retry-backoff-max-duration", "value": "(\d+)"', text)}
    assert windows, text
    assert min(windows) > min(
        (min(step.retries, KFP_PLAN_RETRIES) + 1) * step.timeout_s
        for step in map(kubeflow.settings.step, STEPS)
    )


def test_the_console_has_the_artifacts_and_figures_of_the_report(
    kubeflow: Kubeflow, finished_run: str
) -> None:
    (pod,) = kubeflow.pods_in(finished_run, "report", "Succeeded")
    launcher_says = kubeflow.kubectl("logs", pod["metadata"]["name"], "-c", "main")
    for artifact in ("page", "summary", "metrics"):
        assert f"uploadOutputArtifacts call: {artifact}" in launcher_says
    assert '"median NCC after"' in launcher_says


@pytest.mark.parametrize("verb", ["create", "submit"])
def test_kfps_own_command_runs_the_compiled_pipeline(
    kubeflow: Kubeflow, local_volume: dict[str, str], tmp_path: Path, verb: str
) -> None:
    pipeline, output = tmp_path / "pipeline.yaml", kubeflow.in_data(f"by-{verb}")
    compiled = kubeflow.fibstack(
        "compile", "--target", "kfp", "--settings", str(SETTINGS), "--output", str(pipeline)
    )
    assert compiled.returncode == 0, compiled.stderr
    parameters = [f"{key}={value}" for key, value in kubeflow.given(output).items()]
    kfp = [str(Path(sys.executable).with_name("kfp")), "--endpoint", HOST, "--output", "json", "run", verb]
    named = ["-e", "fibstack-tests", "-r", f"by {verb}", "-f", str(pipeline)]
    made = subprocess.run(
        [*kfp, *named, *parameters, 'id="007"'], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    (run,) = re.findall(r"^Run details: (\S+)$", made.stdout, re.MULTILINE)  # and after it the run as JSON
    kubeflow.succeeds(run)
    assert volume(kubeflow.fetch(output, tmp_path / "volume")) == local_volume


def test_a_refused_input_is_said_where_a_user_looks(kubeflow: Kubeflow, tmp_path: Path) -> None:
    run = kubeflow.submit(tmp_path, output=kubeflow.in_data("wrong"), image="slice.%05d.png")
    assert kubeflow.phase_at_end(run) == "FAILED"
    shown = kubeflow.fibstack("status", run)
    assert "plan failed: the source must hold slices 'slice.%05d.png'" in shown.stdout, shown.stdout
    assert len(kubeflow.pods(run, "plan")) <= 1 + KFP_PLAN_RETRIES


# A program of tile ends before a command reaches its pod, so that it cannot be killed here.
@pytest.mark.parametrize(("step", "how"), [("align", "killed"), ("align", "deleted"), ("tile", "deleted")])
def test_a_run_that_lost_a_program_still_publishes_the_volume(
    kubeflow: Kubeflow, local_volume: dict[str, str], tmp_path: Path, step: str, how: str
) -> None:
    for turn in range(3):  # a program of the sample may end before it is met
        output = kubeflow.in_data(f"{step}-{how}-{turn}")
        run = kubeflow.submit(tmp_path, output=output)
        running = kubeflow.until(
            lambda run=run: kubeflow.pods_in(run, step, "Running"), f"a pod of {step} runs", RUN_S
        )
        pod, uid = running[0]["metadata"]["name"], running[0]["metadata"]["uid"]
        if how == "deleted":
            kubeflow.kubectl("delete", "pod", pod, "--grace-period", "0", "--force")
        else:
            kubeflow.tried("exec", pod, "-c", "main", "--", "python", "-c", KILL_THE_PROGRAM)
        state = kubeflow.phase_at_end(run)
        if uid in [one["metadata"]["uid"] for one in kubeflow.pods_in(run, step, "Succeeded")]:
            continue
        # Argo makes a pod anew, and counts no try, that is deleted before it has seen that it runs.
        is_tried_again = not kubeflow.lost_tries(run, step) or kubeflow.tries_again(run, how)
        assert state == ("SUCCEEDED" if is_tried_again else "FAILED")
        if state == "FAILED":  # as docs/submit.md says of installations that do not try everything again
            assert f"{step}(" in kubeflow.fibstack("status", run).stdout
            kubeflow.succeeds(kubeflow.submit(tmp_path, output=output))
        assert volume(kubeflow.fetch(output, tmp_path / "volume")) == local_volume
        return
    pytest.fail(f"no program of {step} was met while it ran")


def test_the_cluster_takes_the_pipeline_as_objects(kubeflow: Kubeflow, tmp_path: Path) -> None:
    if "pipelineversions.pipelines.kubeflow.org" not in kubeflow.kubectl("get", "crd", "-o", "name"):
        pytest.skip("needs an installation that keeps its pipelines in Kubernetes")
    made = kubeflow.fibstack("compile", "--target", "kfp", "--as", "manifest", "--settings", str(SETTINGS))
    assert made.returncode == 0, made.stderr
    taken = kubeflow.tried("apply", "--dry-run=server", "--validate=strict", "-f", "-", text=made.stdout)
    assert taken.returncode == 0, taken.stderr
    assert len(taken.stdout.splitlines()) == 2, os.linesep.join([taken.stdout, taken.stderr])
