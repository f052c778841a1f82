"""What is compiled: the golden manifest, the parameters, the settings."""

import json
import re
import types
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.compiler import Compiler
from kfp.compiler.compiler_utils import KubernetesManifestOptions

from components.shared.documents.config import RunConfig
from components.shared.steps import STEPS, STUB
from pipeline.align_stack import align_stack
from pipeline.compiled.compile import (
    KFP_PLAN_RETRIES,
    MANIFESTS,
    VERTEX_WINDOW_S,
    compile_ir,
    compile_kfp,
    compile_kfp_objects,
    compile_target,
    compile_vertex,
)
from pipeline.compiled.ir import read_pipeline, step_names, step_of
from pipeline.settings import Settings, StepSettings

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ir() -> dict:
    return next(yaml.safe_load_all(compile_kfp(Settings())))


@pytest.mark.parametrize("target", ["kfp", "vertex"])  # argo: test_argo.py
def test_golden_manifest(target: str) -> None:
    assert compile_target(target, Settings()) == (ROOT / MANIFESTS[target]).read_text(), (
        "run 'make manifests' and look at the diff"
    )


def test_version_of_kfp_is_blank(ir: Any) -> None:
    assert ir["sdkVersion"] == ""


def test_parameters_are_the_fields_of_the_configuration(ir: Any) -> None:
    parameters = ir["root"]["inputDefinitions"]["parameters"]
    assert parameters.keys() == RunConfig.model_fields.keys() | {STUB}
    for name, field in RunConfig.model_fields.items():
        if field.is_required():
            assert "defaultValue" not in parameters[name]
        else:
            default = list(field.default) if isinstance(field.default, tuple) else field.default
            assert parameters[name]["defaultValue"] == default, name


def test_parameter_types_are_those_of_the_configuration(ir: Any) -> None:
    kfp_types = {str: "STRING", bool: "BOOLEAN", int: "NUMBER_INTEGER", float: "NUMBER_DOUBLE", tuple: "LIST"}
    for name, field in RunConfig.model_fields.items():
        kind = field.annotation
        origin = typing.get_origin(kind)
        if origin is typing.Literal:
            kind = str
        elif origin is not None and not isinstance(kind, types.UnionType):
            kind = typing.get_args(kind)[0] if origin is typing.Annotated else origin
        declared = ir["root"]["inputDefinitions"]["parameters"][name]["parameterType"]
        assert declared == kfp_types[kind], name


def test_plan_documents_each_key_as_the_configuration_does(ir: Any) -> None:
    described = ir["components"]["comp-plan"]["inputDefinitions"]["parameters"]
    assert described.keys() - {"fan", "pods", STUB} == RunConfig.model_fields.keys()
    for name in RunConfig.model_fields.keys() - {"resolution"}:  # where a pipeline takes no single number
        assert described[name]["description"] == RunConfig.model_fields[name].description


def test_plan_and_report_are_told_of_the_pods() -> None:
    settings = Settings(tag="1.2", digests={"tile": f"sha256:{'0a' * 32}"})
    root = next(yaml.safe_load_all(compile_kfp(settings)))
    tasks = {**root["root"]["dag"]["tasks"], **root["components"]["comp-exit-handler-1"]["dag"]["tasks"]}
    for step in ("plan", "report"):
        told = tasks[step]["inputs"]["parameters"]["pods"]["runtimeValue"]["constant"]
        assert {name: pod["image"] for name, pod in json.loads(told).items()} == {
            name: settings.image(name) for name in STEPS
        }


def test_steps_in_order() -> None:
    assert step_names(read_pipeline(compile_kfp(Settings()))) == [
        *("plan", "align", "compose", "tile", "pyramid", "pyramid-2", "pyramid-3", "report")
    ]


def test_pyramid_passes_have_their_levels(ir: Any) -> None:
    levels = {}
    for component in ir["components"].values():
        for name, task in component.get("dag", {}).get("tasks", {}).items():
            if name.startswith("pyramid"):
                levels[name] = task["inputs"]["parameters"]["level"]["runtimeValue"]["constant"]
    assert levels == {"pyramid": 0, "pyramid-2": 5, "pyramid-3": 10}


def test_pods_ask_for_the_memory_that_plan_gives_out() -> None:
    """Where `plan` may have failed, and on Vertex AI, they ask for what the settings say."""
    settings = Settings(tile={"memory": "7G", "memory_limit": "9G"})
    asked = {}
    for target in (compile_kfp, compile_vertex):
        (ir, *_) = yaml.safe_load_all(target(settings))
        asked[target] = {
            step: ir["deploymentSpec"]["executors"][f"exec-{step}"]["container"]["resources"]
            for step in STEPS
        }
    for step in ("align", "compose", "tile", "pyramid"):
        given_out = f"{{{{$.inputs.parameters['pipelinechannel--plan-{step}_memory']}}}}"
        assert asked[compile_kfp][step]["resourceMemoryRequest"] == given_out
        assert "memoryRequest" not in asked[compile_kfp][step]
    for step in ("plan", "report"):
        assert asked[compile_kfp][step] == asked[compile_vertex][step]
    for step in STEPS:
        assert asked[compile_vertex][step]["resourceMemoryRequest"] == settings.step(step).memory
        assert asked[compile_kfp][step]["resourceMemoryLimit"] == settings.step(step).most_memory


def test_settings_reach_the_compiled_pipeline() -> None:
    settings = Settings(
        registry="gcr.io/em",
        tag="9",
        fan=17,
        tile=StepSettings(
            cpu="2", memory="7G", memory_limit="9G", parallelism=5, timeout_s=77, spot=True,
            labels={"team": "em"}, retries=6, backoff_s=3, backoff_max_s=60,
        ),
    )  # fmt: skip
    ir, platform = yaml.safe_load_all(compile_kfp(settings))
    executors = ir["deploymentSpec"]["executors"]
    assert {e["container"]["image"].rpartition("/")[2] for e in executors.values()} == {
        f"{s}:9" for s in STEPS
    }
    assert executors["exec-tile"]["container"]["image"] == "gcr.io/em/tile:9"
    assert executors["exec-tile"]["container"]["resources"]["resourceMemoryLimit"] == "9G"
    assert executors["exec-tile"]["container"]["resources"]["resourceCpuRequest"] == "2"
    text = yaml.safe_dump(ir)
    assert text.count("parallelismLimit: 5\n") == 1
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert pods["exec-tile"]["activeDeadlineSeconds"] == "77"
    assert pods["exec-tile"]["podMetadata"]["labels"] == {
        "app.kubernetes.io/name": "fibstack",
        "app.kubernetes.io/component": "tile",
        "team": "em",
    }
    assert pods["exec-tile"]["nodeSelector"]["labels"] == {"cloud.google.com/gke-spot": "true"}
    assert pods["exec-tile"]["tolerations"][0]["key"] == "cloud.google.com/gke-spot"
    assert "tolerations" not in pods["exec-align"]
    assert {pod["securityContext"]["runAsNonRoot"] for pod in pods.values()} == {True}
    dags = [c["dag"]["tasks"] for c in ir["components"].values() if "dag" in c]
    tile = next(tasks["tile"] for tasks in dags if "tile" in tasks)
    assert tile["retryPolicy"] == {
        "maxRetryCount": 6,
        "backoffDuration": "26s",  # as long together as 3, 6, 12, 24, 48 and 60 s
        "backoffFactor": 1.0,
        "backoffMaxDuration": f"{7 * 77 + 6 * 26}s",
    }
    plan = next(tasks["plan"] for tasks in dags if "plan" in tasks)
    assert plan["inputs"]["parameters"]["fan"]["runtimeValue"]["constant"] == 17


def tasks_of_steps(ir: Any) -> dict[str, Any]:
    """The tasks that run programs, by name."""
    dags = [ir["root"]["dag"], *(c["dag"] for c in ir["components"].values() if "dag" in c)]
    return {name: task for dag in dags for name, task in dag["tasks"].items() if step_of(name)}


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        Settings(align={"retries": 8}, tile={"retries": 20, "backoff_s": 3600, "backoff_max_s": 3600}),
        Settings(**{step: {"retries": 0, "timeout_s": 60, "backoff_s": 0} for step in STEPS}),
        Settings(**{step: {"retries": 20, "timeout_s": 7 * 86400} for step in STEPS}),
    ],
)
def test_kfp_has_time_for_all_tries(settings: Settings) -> None:
    ir, platform = yaml.safe_load_all(compile_kfp(settings))
    tasks = tasks_of_steps(ir)
    assert {step_of(name) for name in tasks} == set(STEPS)
    for name, task in tasks.items():
        policy, machine = task["retryPolicy"], settings.step(step_of(name))
        retries = policy.get("maxRetryCount", 0)
        assert retries == min(machine.retries, KFP_PLAN_RETRIES if name == "plan" else machine.retries)
        label = ir["components"][task["componentRef"]["name"]]["executorLabel"]
        pod = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label]
        factor = policy["backoffFactor"]
        assert factor == int(factor) > 0  # Argo, which KFP hands it to, reads whole numbers alone
        pauses = [float(policy["backoffDuration"][:-1]) * factor**retry for retry in range(retries)]
        assert max(pauses, default=0) <= machine.backoff_max_s
        window_s = float(policy["backoffMaxDuration"][:-1])
        assert window_s >= (retries + 1) * int(pod["activeDeadlineSeconds"]) + sum(pauses)


def test_vertex_tries_again_as_long_as_it_can(ir: Any) -> None:
    tasks = tasks_of_steps(yaml.safe_load(compile_vertex(Settings())))
    assert {task["retryPolicy"]["backoffMaxDuration"] for task in tasks.values()} == {f"{VERTEX_WINDOW_S}s"}
    short = tasks_of_steps(yaml.safe_load(compile_vertex(Settings(tile={"timeout_s": 60, "retries": 1}))))
    assert short["tile"]["retryPolicy"]["backoffMaxDuration"] == f"{2 * 60 + 10}s"


def test_plan_is_tried_again_where_exit_codes_are_known() -> None:
    """KFP alone cannot tell bad input from a failure that may pass."""
    settings = Settings(plan={"retries": 5})
    for compile_, retries in ((compile_ir, 5), (compile_vertex, 5), (compile_kfp, 1)):
        ir = next(yaml.safe_load_all(compile_(settings)))
        assert tasks_of_steps(ir)["plan"]["retryPolicy"]["maxRetryCount"] == retries


@pytest.mark.parametrize(("fan", "items"), [(200, 64), (17, 17)])
def test_kfp_gets_no_more_items_than_run_at_a_time(fan: int, items: int) -> None:
    plan = tasks_of_steps(next(yaml.safe_load_all(compile_kfp(Settings(fan=fan)))))["plan"]
    assert plan["inputs"]["parameters"]["fan"]["runtimeValue"]["constant"] == items


def test_objects_of_kubernetes_hold_what_a_run_gets(tmp_path: Path) -> None:
    pipeline, version = yaml.safe_load_all(compile_kfp_objects(Settings()))
    assert [version["spec"][key] for key in ("pipelineSpec", "platformSpec")] == list(
        yaml.safe_load_all(compile_kfp(Settings()))
    )
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"] == "align-stack"
    # kfp's own compiler writes the same fields of the same kinds.
    options = KubernetesManifestOptions(include_pipeline_manifest=True)
    Compiler().compile(
        align_stack(Settings()), str(tmp_path / "k.yaml"),
        kubernetes_manifest_format=True, kubernetes_manifest_options=options,
    )  # fmt: skip
    for ours, theirs in zip(
        (pipeline, version), yaml.safe_load_all((tmp_path / "k.yaml").read_text()), strict=True
    ):
        assert (ours["apiVersion"], ours["kind"]) == (theirs["apiVersion"], theirs["kind"])
        assert ours.keys() == theirs.keys()
        assert ours["spec"].keys() == theirs["spec"].keys()


def test_a_version_of_other_settings_is_another_object() -> None:
    def name(settings: Settings) -> str:
        _, version = yaml.safe_load_all(compile_kfp_objects(settings))
        found: str = version["metadata"]["name"]
        return found

    assert name(Settings()) == name(Settings())
    assert name(Settings()) != name(Settings(tile={"memory": "5G"}))
    assert re.fullmatch("align-stack-[0-9a-f]{10}", name(Settings(tag="V_1")))


CLUSTER = Settings(
    volume={"claim": "em-data", "path": "/data"},
    environment={"HTTPS_PROXY": "http://proxy:3128"},
    secrets={"store": {"USER": "user", "WORD": "word"}, "other": {"WORD_2": "word"}},
    queue="em",
    tile={"tolerations": [{"key": "dedicated", "value": "em"}, {"key": "gpu", "effect": "NoExecute"}]},
)


def test_kfp_is_told_of_the_cluster() -> None:
    ir, platform = yaml.safe_load_all(compile_kfp(CLUSTER))
    for executor in ir["deploymentSpec"]["executors"].values():
        assert executor["container"]["env"] == [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    pods = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, pod in pods.items():
        (mount,) = pod["pvcMount"]
        assert mount["mountPath"] == "/data"
        assert mount["pvcNameParameter"] == {"runtimeValue": {"constant": "em-data"}}
        held = {
            (each["envVar"], secret["secretNameParameter"]["runtimeValue"]["constant"], each["secretKey"])
            for secret in pod["secretAsEnv"]
            if not secret["optional"]
            for each in secret["keyToEnv"]
        }
        assert held == {("USER", "store", "user"), ("WORD", "store", "word"), ("WORD_2", "other", "word")}
        assert pod["podMetadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "em"
        assert ("tolerations" in pod) == (name == "exec-tile")
    assert pods["exec-tile"]["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "em", "effect": "NoSchedule"},
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute"},
    ]


def test_vertex_and_this_machine_are_told_of_no_cluster() -> None:
    (ir,) = yaml.safe_load_all(compile_vertex(CLUSTER))
    for executor in ir["deploymentSpec"]["executors"].values():
        assert executor["container"]["env"] == [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    assert step_names(read_pipeline(compile_ir(CLUSTER)))  # environment variables would be refused


def test_vertex_gets_one_document_and_short_loops() -> None:
    (ir,) = yaml.safe_load_all(compile_vertex(Settings(fan=200)))
    plan = ir["components"]["comp-exit-handler-1"]["dag"]["tasks"]["plan"]
    assert plan["inputs"]["parameters"]["fan"]["runtimeValue"]["constant"] == 100
    for executor in ir["deploymentSpec"]["executors"].values():  # Vertex AI chooses the machine by these
        assert {"cpuLimit", "memoryLimit"} <= executor["container"]["resources"].keys()


def test_vertex_takes_it() -> None:
    aiplatform = pytest.importorskip("google.cloud.aiplatform", reason="needs the extra 'vertex'")
    credentials = pytest.importorskip("google.auth.credentials")
    job = aiplatform.PipelineJob(
        display_name="volume",
        template_path=str(ROOT / MANIFESTS["vertex"]),
        pipeline_root="gs://bucket/root",
        parameter_values={
            "source": "gs://b/raw",
            "image": "%d.png",
            "minz": 0,
            "maxz": 9,
            "output": "gs://b/v",
        },
        enable_caching=False,
        project="project",
        location="europe-west4",
        credentials=credentials.AnonymousCredentials(),
    )
    parameters = job._gca_resource.runtime_config.parameter_values
    assert parameters["maxz"] == 9
