"""The template of one program's pods, of the program in the IR and of its machine in the settings."""

from __future__ import annotations

import json

from hera.workflows import models as argo

from components.shared.documents import notification
from components.shared.errors import FINAL_EXIT_CODES
from pipeline.compiled.ir import PLACEHOLDER, Container, Retry
from pipeline.settings import SPOT_LABEL, StepSettings, pod_labels

UNIT_LABEL = "fibstack/unit"
OUTPUTS = "/tmp/outputs"  # noqa: S108 - in the pod's own volume
"""Folder of the output files; the only folder that a program may write to is /tmp."""

_MEMORY_FACTORS = {"1": 2, "2": 3}
"""Memory of a retry after the program ran out of it, by the number of the retry; 4 for later ones."""


def pod_template(
    name: str, step: str, container: Container, machine: StepSettings, retry: Retry, unit: str = ""
) -> argo.Template:
    """A template whose pods run a program.

    Args:
        name: Name of the template, which Argo makes part of the pods' names.
        step: What the label `app.kubernetes.io/component` says.
        container: The program.
        machine: Where and on what it runs.
        retry: How often it is tried again.
        unit: Input that says which unit of work a pod does, for its label; empty for none.
    """
    used = _used_inputs(container)
    outputs = [
        argo.Parameter(name=output, value_from=argo.ValueFrom(path=f"{OUTPUTS}/{output}"))
        for output in container.outputs
    ]
    return argo.Template(
        name=name,
        inputs=argo.Inputs(parameters=[argo.Parameter(name=key) for key in used]) if used else None,
        outputs=argo.Outputs(parameters=outputs) if outputs else None,
        metadata=_metadata(step, machine, unit),
        container=argo.Container(
            image=container.image,
            image_pull_policy="IfNotPresent",
            command=[_word(word) for word in container.argv],
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
            volume_mounts=[argo.VolumeMount(name="tmp", mount_path="/tmp")],  # noqa: S108
        ),
        retry_strategy=_retry(retry),
        pod_spec_patch=_patch(machine, retry),
        active_deadline_seconds=argo.IntOrString(machine.timeout_s),
        service_account_name=machine.service_account or None,
        node_selector=machine.nodes or None,
        tolerations=[_SPOT] if machine.spot else None,
    )


_NOTIFICATION = argo.EnvFromSource(secret_ref=argo.SecretEnvSource(name=notification.SECRET, optional=True))
_SPOT = argo.Toleration(key=SPOT_LABEL, operator="Equal", value="true", effect="NoSchedule")


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


def _metadata(step: str, machine: StepSettings, unit: str) -> argo.Metadata:
    labels = {**pod_labels(step, machine), "app.kubernetes.io/instance": "{{workflow.name}}"}
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


def _patch(machine: StepSettings, retry: Retry) -> str:
    """The patch of Argo's pods: its own containers give up their rights, and the memory of retries grows."""
    own = {"securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    containers: list[dict[str, object]] = [{"name": "wait", **own}]
    if retry.count:
        containers.append({"name": "main", "resources": _more_memory(machine)})
    return json.dumps({"initContainers": [{"name": "init", **own}], "containers": containers})


def _more_memory(machine: StepSettings) -> dict[str, dict[str, str]]:
    """Resources that grow in a retry where the try before it ran out of memory."""

    def by_retry(memory: str) -> str:
        known = "".join(
            f"retries == '{retry}' ? '{_times(memory, factor)}' : "
            for retry, factor in _MEMORY_FACTORS.items()
        )
        grown = f"{known}'{_times(memory, 4)}'"
        return f"{{{{=lastRetry.message contains 'OOMKilled' ? ({grown}) : '{memory}'}}}}"

    return {
        "requests": {"memory": by_retry(machine.memory)},
        "limits": {"memory": by_retry(machine.most_memory)},
    }


def _times(quantity: str, factor: int) -> str:
    """A multiple of a quantity of memory.

    Example:
        >>> _times("4G", 2), _times("1.5Gi", 3)
        ('8G', '4.5Gi')
    """
    number = quantity.rstrip("KMGTi")
    return f"{float(number) * factor:g}{quantity.removeprefix(number)}"
