"""The pipeline lowered to Argo: what stands in the manifest, and that it does what the compiled IR does."""

import json
import re
import shutil
import subprocess
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hera.workflows import models as argo
from kfp import dsl

from components.report.run_status import parse_status
from components.shared.errors import ConfigError, failure_of_machine
from components.shared.steps import STEPS
from pipeline.argo.lowering import lower
from pipeline.compiled.compile import MANIFESTS, compile_argo, compile_ir
from pipeline.compiled.ir import Container, read_pipeline, to_text
from pipeline.here.local import run_pipeline
from pipeline.settings import Settings, StepSettings
from tests.pipeline.argo.argo_interpreter import Workflow, evaluate
from tests.pipeline.argo.argo_lint import problems
from tests.pipeline.here.test_local import guarded, loop, nested
from tests.pipeline.toys import Memory, compiled, note, run, say, uncached

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def manifest() -> str:
    return compile_argo(Settings())


@pytest.fixture(scope="module")
def template(manifest) -> dict:
    (found,) = [o for o in yaml.safe_load_all(manifest) if o["kind"] == "WorkflowTemplate"]
    return found


@pytest.fixture(scope="module")
def pods(template) -> dict[str, dict]:
    return {t["name"]: t for t in template["spec"]["templates"] if "container" in t}


def test_golden_manifest(manifest: str) -> None:
    assert manifest == (ROOT / MANIFESTS["argo"]).read_text(), "run 'make manifests' and look at the diff"


def test_argos_models_read_and_write_it_back(template: Any) -> None:
    model = argo.WorkflowTemplate.model_validate(template)
    assert json.loads(model.model_dump_json(exclude_none=True, by_alias=True)) == template


@pytest.mark.skipif(
    shutil.which("argo") is None, reason="needs Argo's command line, which is no Python package"
)
def test_argo_lints_it() -> None:
    subprocess.run(["argo", "lint", "--offline", ROOT / MANIFESTS["argo"]], check=True)


def test_one_template_for_each_step(pods: Any) -> None:
    assert pods.keys() == set(STEPS)


def test_pods_meet_the_restricted_standard(template: Any, pods: Any) -> None:
    """Argo's own containers too, which have more rights and run as root unless they are told."""
    assert template["spec"]["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for pod in pods.values():
        patch = json.loads(re.sub("{{=.*?}}", "1G", pod["podSpecPatch"]))
        patched = {c["name"]: c for c in [*patch["initContainers"], *patch["containers"]]}
        assert [c["name"] for c in patch["initContainers"]] == ["init"]
        assert patched.keys() == {"init", "wait", "main"}
        contexts = [patched[name]["securityContext"] for name in ("init", "wait")]
        for context in [*contexts, pod["container"]["securityContext"]]:
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
        assert pod["container"]["securityContext"]["readOnlyRootFilesystem"] is True


def test_pods_without_retries_give_up_their_rights_too() -> None:
    _, template = yaml.safe_load_all(compile_argo(Settings(tile=StepSettings(retries=0))))
    (tile,) = [t for t in template["spec"]["templates"] if t["name"] == "tile"]
    wait, main = json.loads(tile["podSpecPatch"])["containers"]
    assert wait["name"] == "wait"
    assert main == {"name": "main", "resources": {"requests": {"memory": "{{inputs.parameters.memory}}"}}}


def test_labels_say_the_step_the_run_and_the_unit(pods: Any) -> None:
    labels = pods["tile"]["metadata"]["labels"]
    assert labels == {
        "app.kubernetes.io/name": "fibstack",
        "app.kubernetes.io/component": "tile",
        "app.kubernetes.io/instance": "{{workflow.name}}",
        "fibstack/unit": "{{inputs.parameters.slabs}}",
    }
    assert "fibstack/unit" not in pods["compose"]["metadata"]["labels"]


def test_pods_that_are_lost_come_again_and_those_that_ended_can_be_looked_at(
    template: Any, pods: Any
) -> None:
    spec = template["spec"]
    assert spec["onExit"] == "on-exit"
    assert spec["podGC"] == {"strategy": "OnPodSuccess", "deleteDelayDuration": "3600s"}
    assert spec["ttlStrategy"] == {"secondsAfterSuccess": 7 * 86400, "secondsAfterFailure": 30 * 86400}
    for name, pod in pods.items():
        retry = pod["retryStrategy"]
        assert retry["retryPolicy"] == "Always"
        assert retry["backoff"] == {"duration": "10s", "factor": "2", "cap": "300s"}
        for code, again in (("-1", True), ("137", True), ("75", True), ("65", False), ("78", False)):
            assert evaluate(retry["expression"], {"lastRetry.exitCode": code}) is again
        limited = "synchronization" in pod
        assert limited == (name in {"align", "tile", "pyramid"})


def test_no_pod_is_handed_the_list_that_it_is_an_item_of(template: Any) -> None:
    tasks = {
        task["name"]: task
        for t in template["spec"]["templates"]
        for task in t.get("dag", {"tasks": []})["tasks"]
    }
    for name in ("align", "tile", "pyramid", "pyramid-2", "pyramid-3"):
        values = {p["value"] for p in tasks[name]["arguments"]["parameters"]}
        assert "{{item}}" in values
        assert tasks[name]["withParam"] not in values


def test_parameters_are_documented_and_only_required_ones_lack_a_value(template: Any) -> None:
    parameters = template["spec"]["arguments"]["parameters"]
    assert all(parameter["description"] for parameter in parameters)
    assert {p["name"] for p in parameters if "value" not in p} == {
        "source",
        "image",
        "minz",
        "maxz",
        "output",
    }


def test_settings_reach_the_pods() -> None:
    tile = StepSettings(
        cpu="2", memory="6G", memory_limit="8G", retries=5, timeout_s=99, parallelism=7, spot=True,
        node_selector={"zone": "a"}, labels={"team": "em"}, service_account="tiler",
    )  # fmt: skip
    settings = Settings(tile=tile, service_account="all", digests={"tile": "sha256:" + "a" * 64})
    limits, template = yaml.safe_load_all(compile_argo(settings))
    (pod,) = [t for t in template["spec"]["templates"] if t["name"] == "tile"]
    assert limits["data"]["tile"] == "7"
    assert template["spec"]["serviceAccountName"] == "all"
    assert pod["serviceAccountName"] == "tiler"
    assert pod["activeDeadlineSeconds"] == 99
    assert pod["retryStrategy"]["limit"] == "5"
    assert pod["container"]["image"].endswith("@sha256:" + "a" * 64)
    assert pod["container"]["resources"]["requests"] == {"cpu": "2", "memory": "6G"}
    assert pod["container"]["resources"]["limits"] == {"cpu": "2", "memory": "8G"}
    assert pod["nodeSelector"] == {"zone": "a", "cloud.google.com/gke-spot": "true"}
    assert pod["tolerations"][0]["key"] == "cloud.google.com/gke-spot"
    assert pod["metadata"]["labels"]["team"] == "em"


def test_settings_of_the_cluster_reach_the_pods() -> None:
    settings = Settings(
        volume={"claim": "em-data", "path": "/data"},
        environment={"HTTPS_PROXY": "http://proxy:3128"},
        secrets={"store": {"WORD": "word"}},
        queue="em",
        user_namespaces=True,
        tile={
            "tolerations": [{"key": "dedicated", "value": "em"}, {"key": "gpu", "effect": "NoExecute"}],
            "priority_class": "batch",
            "pending_timeout_s": 3600,
            "spot": True,
        },
    )
    objects = list(yaml.safe_load_all(compile_argo(settings)))
    assert problems(objects) == []
    spec = objects[1]["spec"]
    assert spec["securityContext"]["fsGroup"] == 10001
    assert spec["volumes"] == [
        {"name": "tmp", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "em-data"}},
    ]
    pods = {t["name"]: t for t in spec["templates"] if "container" in t}
    for name, pod in pods.items():
        assert pod["container"]["volumeMounts"][1:] == [{"name": "data", "mountPath": "/data"}]
        assert pod["container"]["env"] == [
            {"name": "HTTPS_PROXY", "value": "http://proxy:3128"},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "store", "key": "word"}}},
        ]
        assert pod["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "em"
        assert json.loads(re.sub("{{=.*?}}", "1G", pod["podSpecPatch"]))["hostUsers"] is False
        for key in ("tolerations", "priorityClassName", "pendingTimeout"):
            assert (key in pod) == (name == "tile")
    assert pods["tile"]["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "em", "effect": "NoSchedule"},
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute"},
        {"key": "cloud.google.com/gke-spot", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    ]
    assert pods["tile"]["priorityClassName"] == "batch"
    assert pods["tile"]["pendingTimeout"] == "3600s"


def test_nothing_of_a_cluster_is_said_unasked(manifest: str) -> None:
    for word in ("fsGroup", "hostUsers", "persistentVolumeClaim", "pendingTimeout", "priorityClassName"):
        assert word not in manifest


ODD = StepSettings(
    cpu="500m", memory="1536Mi", cpu_limit="1.25", memory_limit="2T", retries=0, backoff_s=0, backoff_max_s=0,
    timeout_s=60, parallelism=1, spot=True, node_selector={"lab.org/Zone_1": "a.B_c-1", "empty": ""},
    labels={"lab.org/unit": "", "app.kubernetes.io/name": "other"}, service_account="a.b-c",
)  # fmt: skip


@pytest.mark.parametrize(
    "settings",
    [
        Settings(**dict.fromkeys(STEPS, ODD), fan=1, service_account="all"),
        Settings(**dict.fromkeys(STEPS, ODD.model_copy(update={"retries": 20, "backoff_max_s": 3600}))),
        Settings(
            registry="host:5000/a b'c\"d", tag="_.-", digests=dict.fromkeys(STEPS, "sha256:" + "0" * 64)
        ),
    ],
    ids=["odd", "retries", "images"],
)
def test_no_settings_break_the_manifest(settings: Settings) -> None:
    """Compiling checks the IR alone: whatever settings may hold, what is lowered from sound IR is sound."""
    assert problems(list(yaml.safe_load_all(compile_argo(settings)))) == []


def test_an_image_that_argo_would_fill_in_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a fixed image"):
        compile_argo(Settings(registry="{{workflow.name}}"))


@pytest.mark.parametrize(
    ("message", "retries", "memory"),
    [("", "1", "4G"), ("OOMKilled (exit code 137)", "1", "8G"), ("OOMKilled (exit code 137)", "2", "12G"),
     ("OOMKilled (exit code 137)", "5", "16G"), ("Error (exit code 75)", "2", "4G"),
     (f"main: Error (exit code 75): {failure_of_machine(MemoryError())}", "1", "8G"),
     (f"main: Error (exit code 75): {failure_of_machine(BrokenProcessPool())}", "2", "12G"),
     ("main: Error (exit code 75): the disk is full. Make free space and try again.", "1", "4G")],
)  # fmt: skip
def test_memory_grows_only_when_it_ran_out(pods: Any, message: str, retries: Any, memory: Any) -> None:
    found = re.findall(r"{{=(.*?)}}", pods["tile"]["podSpecPatch"])
    values = {"lastRetry.message": message, "retries": retries, "inputs.parameters.memory": "320Mi"}
    assert [evaluate(expression, values) for expression in found] == [memory, memory]


def test_only_the_first_try_asks_for_what_plan_gives_out(pods: Any) -> None:
    """So an estimate that is too low costs a try at most."""
    for step, memory in {"align": "4G", "compose": "4G", "tile": "4G", "pyramid": "2G"}.items():
        asked, limit = re.findall(r"{{=(.*?)}}", pods[step]["podSpecPatch"])
        known = {"lastRetry.message": "", "inputs.parameters.memory": "320Mi"}
        assert [evaluate(asked, known | {"retries": n}) for n in ("0", "1")] == ["320Mi", memory]
        assert evaluate(limit, known | {"retries": "0"}) == memory
    for step in ("plan", "report"):
        assert "inputs.parameters.memory" not in pods[step]["podSpecPatch"]


# The differential test: the same pipelines, once as IR, once as the lowered workflow.


def lowered(pipeline, tmp_path: Path, **parameters) -> tuple[str, Workflow]:
    workflow = Workflow(lower(compiled(pipeline), Settings()), tmp_path / "pods")
    return workflow.run(**{key: to_text(value) for key, value in parameters.items()}), workflow


def files(folder: Path) -> dict[str, str]:
    """The texts that `note` wrote anywhere below a folder, the final status as one word."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file():
            text = path.read_text().rpartition("|")[0].rpartition("|")[0]
            name = str(path.relative_to(folder))
            found[name] = parse_status(text).state if name == "status" else text
    return found


@dsl.pipeline(name="tricky")
def tricky(folder: str, text: str, numbers: list, flag: bool = True) -> None:
    said = uncached(say(text=text))
    uncached(note(folder=folder, name="said", text=said.outputs["out"], seconds=0.0))
    uncached(note(folder=folder, name="joined", text=f"{numbers}+{flag}+{text}", seconds=0.0))


CASES = {
    "loop": (loop, {"n": 3, "greeting": 'a "b" \\'}),
    "empty": (loop, {"n": 0}),
    "nested": (nested, {"n": 2}),
    "tricky": (tricky, {"text": 'a "b" \\ {x}\nü', "numbers": [1.0, 2.5, "c"]}),
    "retried": (guarded, {"code": 75, "times": 2, "n": 2}),
    "exhausted": (guarded, {"code": 75, "times": 9}),
    "final": (guarded, {"code": 65, "times": 9}),
}


@pytest.mark.parametrize("case", CASES)
def test_workflow_does_what_the_ir_does(case: str, tmp_path: Path) -> None:
    pipeline, parameters = CASES[case]
    (tmp_path / "ir").mkdir()
    (tmp_path / "argo").mkdir()
    failure, _ = run(pipeline, tmp_path, folder=str(tmp_path / "ir"), **parameters)
    assert problems(lower(compiled(pipeline), Settings())) == []
    status, _ = lowered(pipeline, tmp_path, folder=str(tmp_path / "argo"), **parameters)
    assert (status == "Succeeded") == (failure is None)
    assert files(tmp_path / "argo") == files(tmp_path / "ir") != {}


RECORD = """
import hashlib, json, pathlib, sys
folder, *argv = sys.argv[1:]
out = {"--process-uri-out": "/p", "--top-blocks-out": "[]"}
out |= {f"--{step}-memory-out": f"{len(step)}Mi" for step in ("align", "compose", "tile", "pyramid")}
for n, word in enumerate(argv):
    if word.endswith("-out"):
        pathlib.Path(argv[n + 1]).write_text(out.get(word, '["0-3","4-4"]'))
        argv[n + 1] = pathlib.Path(argv[n + 1]).name
    if word == "--status":
        argv[n + 1] = "SUCCEEDED" if "ucceeded" in argv[n + 1] or "SUCCEEDED" in argv[n + 1] else argv[n + 1]
text = json.dumps(argv)
with open(pathlib.Path(folder, hashlib.sha256(text.encode()).hexdigest()), "x") as file:
    file.write(text)
"""


def recording(folder: Path):
    """The real pipeline, whose programs only write down their arguments."""
    pipeline = read_pipeline(compile_ir(Settings()))
    folder.mkdir()
    return replace(
        pipeline,
        components={
            name: replace(c, argv=("python", "-c", RECORD, str(folder), *c.argv))
            if isinstance(c, Container)
            else c
            for name, c in pipeline.components.items()
        },
    )


def test_real_pipeline_gets_the_same_arguments(tmp_path: Path) -> None:
    given = {
        "source": "/in",
        "image": "i mg.%05d.png",
        "minz": 0,
        "maxz": 9,
        "output": "/out",
        "clip_limit": 0.03,
    }
    ir = recording(tmp_path / "ir")
    assert run_pipeline(ir, given, tmp_path / "logs", 2, Memory()) is None
    workflow = Workflow(lower(recording(tmp_path / "argo"), Settings()), tmp_path / "pods")
    assert workflow.run(**{key: to_text(value) for key, value in given.items()}) == "Succeeded"
    argvs = [{p.name: p.read_text() for p in (tmp_path / side).iterdir()} for side in ("ir", "argo")]
    assert argvs[0] == argvs[1]
    assert len(argvs[0]) == 3 + 2 + 2 + 2 * 2  # plan, compose, report; align, tile, two passes of pyramid
    asked = {(pod.template, pod.asked_memory) for pod in workflow.pods}
    assert asked == {
        ("plan", "1G"), ("align", "5Mi"), ("compose", "7Mi"), ("tile", "4Mi"), ("pyramid", "7Mi"),
        ("report", "4G"),
    }  # fmt: skip
    units = {pod.labels.get("fibstack/unit") for pod in workflow.pods}
    assert units == {None, "0-3", "4-4"}


def test_more_memory_after_running_out_of_it(tmp_path: Path) -> None:
    objects = lower(compiled(guarded), Settings())
    workflow = Workflow(objects, tmp_path / "pods", message_of=lambda code: f"OOMKilled (exit code {code})")
    assert workflow.run(folder=str(tmp_path / "out"), code="137", times="2") == "Succeeded"
    assert [pod.memory for pod in workflow.pods if pod.template == "fail"] == ["2G", "4G", "6G"]


def test_refuses_what_argo_would_read_otherwise() -> None:
    @dsl.pipeline(name="braces")
    def braces() -> None:
        uncached(say(text="{{workflow.name}}"))

    with pytest.raises(ConfigError, match=r"'\{\{' in a text"):
        lower(compiled(braces), Settings())
