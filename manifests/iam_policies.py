"""Policies of IAM: what each step may do in the buckets of all runs on one bucket of slices.

`python -m manifests.iam_policies FOLDER` writes one for each step, from what its contract reads and writes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from components.shared.steps import STEPS

SOURCE = "SOURCE_BUCKET"
"""Stands for the name of the bucket of the slices."""
_COMPONENTS = Path(__file__).parents[1] / "components"
_BUCKETS = {
    "source": SOURCE,
    "process": f"{SOURCE}-process",
    "tmp": f"{SOURCE}-tmp-*",
    "neuroglancer": f"{SOURCE}-ng-*",
    "ome-zarr": f"{SOURCE}-ng-*",
    "chunk": f"{SOURCE}-chunk-*",
}
"""Names of the buckets of runs, by what lies there (`components.shared.storage.run_buckets`)."""
_REMOVED = {
    "plan": {"process": "*/refused.json"},
    "report": {"process": "*/superseded.json", "tmp": "*"},
}
"""Objects that a step must be able to remove; what else its contract names it leaves where it may not."""


def policy_of(step: str) -> dict[str, Any]:
    """The policy of a step, with `SOURCE` for the bucket of the slices.

    Example:
        >>> [statement["Action"] for statement in policy_of("align")["Statement"]]
        ['s3:ListBucket', 's3:GetObject', 's3:PutObject']
    """
    contract = yaml.safe_load((_COMPONENTS / step / "contract.yaml").read_text())
    return {"Version": "2012-10-17", "Statement": list(_statements(step, contract))}


def _statements(step: str, contract: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    # Who may not list is told 403 of an object that is not there, in place of 404.
    seen = [*contract["reads"], *contract["writes"]]
    yield _allowed("s3:ListBucket", seen, "")
    yield _allowed("s3:GetObject", seen, "/*")
    yield _allowed("s3:PutObject", contract["writes"], "/*")
    if step in _REMOVED:
        removed = [f"{_arn(root)}/{key}" for root, key in _REMOVED[step].items()]
        yield {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": removed}


def _allowed(action: str, roots: Iterator[str] | list[str], suffix: str) -> dict[str, Any]:
    resources = sorted({f"{_arn(root)}{suffix}" for root in roots})
    return {"Effect": "Allow", "Action": action, "Resource": resources}


def _arn(root: str) -> str:
    return f"arn:aws:s3:::{_BUCKETS[root]}"


def main(folder: Path) -> None:
    """Write the policies.

    Args:
        folder: Where to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for step in STEPS:
        (folder / f"{step}.json").write_text(json.dumps(policy_of(step), indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
