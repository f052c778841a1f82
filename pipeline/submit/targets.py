"""The service that runs a submitted run, found from the run's reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from components.shared.errors import ConfigError
from components.shared.storage.schemes import is_known
from pipeline.submit.runs import Log, RunState


class Target(Protocol):
    """The functions that the module of each target has."""

    def is_reference(self, text: str) -> bool:
        """Whether a text is the reference of a run of this target."""

    def is_taken_up(self, reference: str) -> bool:
        """Whether a run that was just submitted begins within some seconds."""

    def stop(self, reference: str, *, at_once: bool = False) -> None:
        """Ask the service to end a run.

        Args:
            reference: The run.
            at_once: Leave out the step that runs whatever happens, where the service knows the difference.
        """

    def state(self, reference: str) -> RunState:
        """The state of a run and of its tasks."""

    def logs(self, reference: str, step: str = "") -> Iterator[Log]:
        """The logs of a run's tasks, those of one step or all."""


def target_of(reference: str) -> Target | None:
    """The target that a run's reference names; None for an output, which is a folder or a bucket.

    Raises:
        ConfigError: the address is of no run.
    """
    if is_known(reference):
        return None
    # Imported here: an output can be looked at without the clients of the targets.
    from pipeline.submit import argo, kubeflow, vertex

    targets: tuple[Target, ...] = (kubeflow, argo, vertex)
    for target in targets:
        if target.is_reference(reference):
            return target
    raise ConfigError(
        f"a run must be named as 'fibstack submit' prints it: https://HOST/#/runs/details/ID, "
        f"argo://NAMESPACE/NAME or vertex://PROJECT/REGION/ID; got '{reference}'."
    )
