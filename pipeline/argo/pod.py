"""The template of one program's pods, of the program in the IR and of its machine in the settings."""

from __future__ import annotations

import json

from hera.workflows import models as argo
from pydantic import Field

from components.shared.documents import notification
from components.shared.errors import FINAL_EXIT_CODES, MORE_MEMORY
from components.shared.steps import STEPS
from pipeline.compiled.ir import PLACEHOLDER, Container, Retry
from pipeline.settings import Settings, StepSettings, pod_labels

UNIT_LABEL = "fibstack/unit"
DATA_VOLUME = "data"
"""Name, in the workflow, of the volume of the cluster that every pod sees."""
MEMORY_INPUT = "memory"
"""Input of a template that says how much memory its pods ask for."""
OUTPUTS = "/tmp/outputs"  # noqa: S108 - in the pod's own volume
"""Folder of the output files; the only folder that a program may write to is /tmp."""

_MEMORY_FACTORS = {"1": 2, "2": 3}
"""Memory of a retry after the program ran out of it, by the number of the retry; 4 for later ones."""
_RAN_OUT = ("OOMKilled", MORE_MEMORY.partition(" (")[0])
"""Words in the message of a try that ran out of memory: Kubernetes' own of a killed container, and those
of a program that was refused memory or lost a process of its own."""


class PodTemplate(argo.Template):
    """A template whose pods run a program, with what Argo 4.1 knows and hera's models do not."""

    pending_timeout: str | None = Field(None, alias="pendingTimeout")


def pod_template(
    name: str, step: str, container: Container, settings: Settings, retry: Retry, unit: str = ""
) -> PodTemplate:
    """A template whose pods run a program.

    Args:
        name: Name of the template, which Argo makes part of the pods' names.
        step: What the label `app.kubernetes.io/component` says.
        container: The program.
        settings: Where and on what it runs: the table of its step, and what holds for every step.
        retry: How often it is tried again.
        unit: Input that says which unit of work a pod does, for its label; empty for none.
    """
    machine = settings.step(step) if step in STEPS else StepSettings()
    used = _used_inputs(container) + ([MEMORY_INPUT] if container.memory_input else [])
    first_memory = f"inputs.parameters.{MEMORY_INPUT}" if container.memory_input else ""
    outputs = [
        argo.Parameter(name=output, value_from=argo.ValueFrom(path=f"{OUTPUTS}/{output}"))
        for output in container.outputs
    ]
    return PodTemplate(
        name=name,
        inputs=argo.Inputs(parameters=[argo.Parameter(name=key) for key in used]) if used else None,
        outputs=argo.Outputs(parameters=outputs) if outputs else None,
        metadata=_metadata(step, settings, machine, unit),
        container=argo.Container(
            image=container.image,
            image_pull_policy="IfNotPresent",
            command=[_word(word) for word in container.argv],
            env=_environment(settings) or None,
            env_from=[_NOTIFICATION] if step == "report" else None,
            resources=argo.ResourceRequirements(
                requests={"cpu": machine.cpu, "memory": machine.memory},
                limits={"cpu": machine.most_cpu, "memory": machine.most_memory},
            ),
            security_context=argo.SecurityContext(
                allow_privilege_escalation=False,
                read_only_root_filesystem=True,
                capabilities=argo.Capabilities(drop=["ALL"]),
            ),
            volume_mounts=[
                argo.VolumeMount(name="tmp", mount_path="/tmp"),  # noqa: S108
                *(argo.VolumeMount(name=DATA_VOLUME, mount_path=path) for path in settings.mounts),
            ],
        ),
        retry_strategy=_retry(retry),
        pod_spec_patch=_patch(machine, retry, first_memory, user_namespaces=settings.user_namespaces),
        active_deadline_seconds=argo.IntOrString(machine.timeout_s),
        service_account_name=machine.service_account or None,
        node_selector=machine.nodes or None,
        tolerations=[
            argo.Toleration(key=t.key, operator=t.operator, value=t.value or None, effect=t.effect)
            for t in machine.taints
        ]
        or None,
        priority_class_name=machine.priority_class or None,
        pending_timeout=f"{machine.pending_timeout_s}s" if machine.pending_timeout_s else None,
    )


_NOTIFICATION = argo.EnvFromSource(secret_ref=argo.SecretEnvSource(name=notification.SECRET, optional=True))


def _environment(settings: Settings) -> list[argo.EnvVar]:
    """The environment variables of a pod, those whose values a Secret holds last."""
    plain = [argo.EnvVar(name=name, value=value) for name, value in settings.environment.items()]
    secret = [
        argo.EnvVar(
            name=name,
            value_from=argo.EnvVarSource(secret_key_ref=argo.SecretKeySelector(name=holder, key=key)),
        )
        for holder, variables in settings.secrets.items()
        for name, key in variables.items()
    ]
    return plain + secret


def _used_inputs(container: Container) -> list[str]:
    """The inputs that the program's arguments name, each once; the IR declares more than are used."""
    found = [match["name"] for word in container.argv for match in PLACEHOLDER.finditer(word)]
    return [name for name in dict.fromkeys(found) if name in container.inputs]


def _word(word: str) -> str:
    """An argument with Argo's placeholders in place of the IR's."""
    return PLACEHOLDER.sub(
        lambda found: (
            f"{OUTPUTS}/{found['name']}" if found["file"] else f"{{{{inputs.parameters.{found['name']}}}}}"
        ),
        word,
    )


def _metadata(step: str, settings: Settings, machine: StepSettings, unit: str) -> argo.Metadata:
    labels = {**pod_labels(step, machine, settings.queue), "app.kubernetes.io/instance": "{{workflow.name}}"}
    if unit:
        labels[UNIT_LABEL] = f"{{{{inputs.parameters.{unit}}}}}"
    return argo.Metadata(
        labels=labels, annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}
    )


def _retry(retry: Retry) -> argo.RetryStrategy | None:
    """Try again whatever happened, a deleted pod too, unless the program says that it is no use."""
    if not retry.count:
        return None
    final = ", ".join(f"'{code}'" for code in sorted(FINAL_EXIT_CODES))
    return argo.RetryStrategy(
        limit=argo.IntOrString(str(retry.count)),
        retry_policy="Always",
        expression=f"lastRetry.exitCode not in [{final}]",
        backoff=argo.Backoff(
            duration=f"{retry.pause_s:g}s",
            factor=argo.IntOrString(f"{retry.factor:g}"),
            cap=f"{retry.longest_s:g}s",
        ),
    )


def _patch(machine: StepSettings, retry: Retry, first_memory: str, *, user_namespaces: bool) -> str:
    """The patch of Argo's pods: its own containers give up their rights, and memory is what a try is to have.

    Args:
        machine: The settings of the step.
        retry: How often it is tried again.
        first_memory: Variable of Argo with the memory that the first try asks for; empty for the settings'.
        user_namespaces: Give each pod users of its own.
    """
    own = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    containers: list[dict[str, object]] = [{"name": "wait", **own}]
    if retry.count:
        containers.append({"name": "main", "resources": _memory_of_tries(machine, first_memory)})
    elif first_memory:
        asked = {"requests": {"memory": f"{{{{{first_memory}}}}}"}}
        containers.append({"name": "main", "resources": asked})
    users = {"hostUsers": False} if user_namespaces else {}  # Argo has no field for it
    return json.dumps({**users, "initContainers": [{"name": "init", **own}], "containers": containers})


def _memory_of_tries(machine: StepSettings, first: str) -> dict[str, dict[str, str]]:
    """Resources that grow in a retry where the try before it ran out of memory.

    A retry asks for at least what the settings say: an estimate that is too low costs a try and no run.
    """

    def by_retry(memory: str, first: str = "") -> str:
        known = "".join(
            f"retries == '{retry}' ? '{_times(memory, factor)}' : "
            for retry, factor in _MEMORY_FACTORS.items()
        )
        grown = f"{known}'{_times(memory, 4)}'"
        ran_out = " or ".join(f"lastRetry.message contains '{words}'" for words in _RAN_OUT)
        usual = f"retries == '0' ? {first} : '{memory}'" if first else f"'{memory}'"
        return f"{{{{={ran_out} ? ({grown}) : {usual}}}}}"

    return {
        "requests": {"memory": by_retry(machine.memory, first)},
        "limits": {"memory": by_retry(machine.most_memory)},
    }


def _times(quantity: str, factor: int) -> str:
    """A multiple of a quantity of memory.

    Example:
        >>> _times("4G", 2), _times("16777216Ki", 3)
        ('8G', '50331648Ki')
    """
    number = quantity.rstrip("KMGTi")
    return f"{int(number) * factor}{quantity.removeprefix(number)}"
