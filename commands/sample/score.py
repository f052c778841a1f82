"""`fibstack score`: compare an alignment of a sample with the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from commands.sample.truth import Truth
from components.shared.command import StepCommand
from components.shared.documents.read_document import AnyDocument, read_document
from components.shared.documents.transforms import TRANSFORMS_KEY, Transforms
from components.shared.errors import UserError
from components.shared.storage.registry import open_store
from components.shared.storage.run_buckets import part_uri
from components.shared.storage.store import join_uri

if TYPE_CHECKING:
    from commands.sample.accuracy import Accuracy


@click.command(cls=StepCommand, epilog="\b\nExample:\n  fibstack score stack-aligned stack/truth.json")
@click.argument("output")
@click.argument("truth_uri", metavar="TRUTH_JSON")
def main(output: str, truth_uri: str) -> None:
    """Compare the alignment of a run with the truth of its sample.

    OUTPUT is what `fibstack run --output` wrote to; TRUTH_JSON is the truth.json of `fibstack sample`.
    Slices that the run did not find good are left out and counted.
    """
    # Imported here: the help needs none of it.
    import numpy as np

    from commands.sample.accuracy import compare

    transforms = _read(join_uri(part_uri(output, "process"), TRANSFORMS_KEY), Transforms)
    truth = _read(truth_uri, Truth)
    recovered = {s.z: np.array(s.matrix) for s in transforms.slices if s.verdict == "good"}
    true = {s.z: np.array(s.matrix) for s in truth.slices if s.defect != "missing"}
    if len(recovered.keys() & true.keys()) < 2:
        raise UserError(
            f"the run and the truth must share two good slices or more; got {len(recovered)} good slices in "
            f"{output} and {len(true)} slices in {truth_uri}. Give the truth of the stack that was aligned."
        )
    accuracy = compare(recovered, true, truth.width_px, truth.height_px)
    click.echo(summary(accuracy, n_slices=len(truth.slices)))


def summary(accuracy: Accuracy, n_slices: int) -> str:
    """Two lines for a reader."""
    return (
        f"neighbour error: mean {accuracy.mean_px:.3f} px, p95 {accuracy.p95_px:.3f} px, "
        f"max {accuracy.max_px:.3f} px after slice {accuracy.worst_z}\n"
        f"drift: {accuracy.drift_px:.2f} px at slice {accuracy.drift_z}; "
        f"{accuracy.n_slices} of {n_slices} slices compared, {n_slices - accuracy.n_slices} left out"
    )


def _read(uri: str, kind: type[AnyDocument]) -> AnyDocument:
    folder, _, name = uri.rpartition("/")
    return read_document(open_store(folder or "."), name, kind)


if __name__ == "__main__":
    main()
