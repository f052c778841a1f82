"""The `plan` step as KFP sees it: its inputs are the keys of the configuration, and what settings fix."""

import inspect
from typing import Any

from kfp import dsl

from components.shared.documents.config import RunConfig, described, parameters
from components.shared.steps import MEMORY_OUTPUTS, STUB, STUB_DESCRIPTION, image_name

_FIXED: dict[str, tuple[type, str]] = {
    "fan": (int, "Most items in a loop."),
    "pods": (str, "JSON of each step's image and machine, to estimate the cost from."),
    STUB: (str, STUB_DESCRIPTION),
}
"""Type and description of the inputs that are no keys of the configuration."""
_OUTPUTS: dict[str, tuple[type, str]] = {
    "process_uri": (str, "Where the records of the run lie."),
    "chunks": (list, "Ranges of slices that are still to be matched, such as 0-15."),
    **{
        output: (str, f"Memory that the pods of {step} ask for, such as 448Mi.")
        for step, output in MEMORY_OUTPUTS.items()
    },
}
"""Type and description of what the program writes, each to a file of its own."""


def _signature() -> inspect.Signature:
    """Every input and output as a parameter without a default: no argument of a container may be absent."""
    types: dict[str, Any] = {parameter.name: parameter.annotation for parameter in parameters()}
    types |= {name: kind for name, (kind, _) in _FIXED.items()}
    types |= {name: dsl.OutputPath(kind) for name, (kind, _) in _OUTPUTS.items()}
    way = inspect.Parameter.POSITIONAL_OR_KEYWORD
    return inspect.Signature([inspect.Parameter(name, way, annotation=kind) for name, kind in types.items()])


def _container(*placeholders: str) -> dsl.ContainerSpec:
    value_of = dict(zip(_signature().parameters, placeholders, strict=True))
    inputs = {key: key for key in (*RunConfig.model_fields, *_FIXED)}
    flags = inputs | {name: f"{name}-out" for name in _OUTPUTS}
    words = [(f"--{flag.replace('_', '-')}", value_of[name]) for name, flag in flags.items()]
    return dsl.ContainerSpec(
        image=image_name("plan"),
        command=["python", "-m", "components.plan.main"],
        args=[word for flag_and_value in words for word in flag_and_value],
    )


# kfp takes the name of a component from the function, its inputs and outputs from the signature, and what it
# says of them from the docstring.
_container.__name__ = "plan"
_container.__signature__ = _signature()  # type: ignore[attr-defined]
_container.__doc__ = described(
    "Look at the input, refuse what cannot work, and cut the work into units.",
    {name: text for name, (_, text) in {**_FIXED, **_OUTPUTS}.items()},
)
plan: Any = dsl.container_component(_container)
