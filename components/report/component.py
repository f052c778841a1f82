"""The `report` step as KFP sees it: the keys of the configuration tell it whose run it is."""

import inspect
from typing import Any

from kfp import dsl

from components.shared.documents.config import RunConfig, described, parameters
from components.shared.steps import STUB, STUB_DESCRIPTION, image_name

_OTHERS: dict[str, tuple[Any, str]] = {
    "pods": (str, "JSON of each step's image and machine."),
    STUB: (str, STUB_DESCRIPTION),
    "status": (dsl.PipelineTaskFinalStatus, "How the other steps ended, filled in by the pipeline."),
    "page": (dsl.Output[dsl.HTML], "The report."),
    "summary": (dsl.Output[dsl.Markdown], "The verdict, and where to find the rest."),
    "metrics": (dsl.Output[dsl.Metrics], "Figures to compare runs by."),
}
"""Type and description of the inputs and outputs that are no keys of the configuration."""

UNIT_COUNTS = ("python", "-m", "components.report.unit_counts")
"""Command of the same image that prints, given an output, the units of work that each step has done."""


def _signature() -> inspect.Signature:
    """Every input and output as a parameter without a default: no argument of a container may be absent."""
    types: dict[str, Any] = {parameter.name: parameter.annotation for parameter in parameters()}
    types |= {name: kind for name, (kind, _) in _OTHERS.items()}
    way = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, way, annotation=kind) for name, kind in types.items()])


def _container(*placeholders: Any) -> dsl.ContainerSpec:  # noqa: ANN401 - text, and artifacts of kfp
    value_of = dict(zip(_signature().parameters, placeholders, strict=True))
    flags = {key: value_of[key] for key in (*RunConfig.model_fields, "pods", STUB, "status")}
    flags |= {"page-out": value_of["page"].path, "markdown-out": value_of["summary"].path}
    # The metrics have no file: their figures go another way.
    flags |= {"executor-input": dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER}
    return dsl.ContainerSpec(
        image=image_name("report"),
        command=["python", "-m", "components.report.main"],
        args=[word for flag, value in flags.items() for word in (f"--{flag.replace('_', '-')}", value)],
    )


# kfp takes the name of a component from the function, its inputs and outputs from the signature, and what it
# says of them from the docstring.
_container.__name__ = "report"
_container.__signature__ = _signature()  # type: ignore[attr-defined]
_container.__doc__ = described(
    "Prove that the volume is complete, publish it, and say how the run went; also after a failure.",
    {name: text for name, (_, text) in _OTHERS.items()},
)
report: Any = dsl.container_component(_container)
