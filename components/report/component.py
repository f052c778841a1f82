"""The `report` step as KFP sees it."""

from typing import Any

from kfp import dsl

from components.shared.container_images import image_name
from components.shared.documents.config import described


def _container(
    output: str,
    email: str,
    webhook: str,
    pods: str,
    status: dsl.PipelineTaskFinalStatus,
    page: dsl.Output[dsl.HTML],
    summary: dsl.Output[dsl.Markdown],
    metrics: dsl.Output[dsl.Metrics],  # noqa: ARG001 - it has no file, its figures go another way
) -> dsl.ContainerSpec:
    return dsl.ContainerSpec(
        image=image_name("report"),
        command=["python", "-m", "components.report.main"],
        args=[
            *("--output", output, "--email", email, "--webhook", webhook, "--pods", pods),
            *("--status", status),
            *("--page-out", page.path, "--markdown-out", summary.path),
            *("--executor-input", dsl.PIPELINE_TASK_EXECUTOR_INPUT_PLACEHOLDER),
        ],
    )


# kfp takes the name of a component from the function, and what it says of its inputs from the docstring.
_container.__name__ = "report"
_container.__doc__ = described(
    "Prove that the volume is complete, publish it, and say how the run went; also after a failure.",
    {
        "pods": "JSON of each step's image and machine.",
        "status": "How the other steps ended, filled in by the pipeline.",
        "page": "The report.",
        "summary": "The verdict, and where to find the rest.",
        "metrics": "Figures to compare runs by.",
    },
    keys=("output", "email", "webhook"),
)
report: Any = dsl.container_component(_container)
