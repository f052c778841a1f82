"""`fibstack share`: let everybody look at a volume in its bucket, and take that back."""

from __future__ import annotations

import shlex
from typing import Any

import click

from components.shared.command import StepCommand
from components.shared.errors import UserError
from components.shared.storage import gcs
from components.shared.storage.gcs_failures import failures
from components.shared.storage.run_buckets import part_uri, run_buckets_of
from components.shared.storage.schemes import bucket_of

EVERYBODY = "allUsers"
ROLE = "roles/storage.legacyObjectReader"
"""Role that may read an object of a known name, and may not list names."""
CORS = {
    "origin": ["*"],
    "method": ["GET", "HEAD"],
    "responseHeader": ["Content-Type", "Content-Length", "Content-Range", "Range", "ETag"],
    "maxAgeSeconds": 3600,
}
"""Rule that lets pages of any origin read, with ranges: a sharded volume is read in parts."""


@click.command(cls=StepCommand)
@click.argument("output")
@click.option("--undo", is_flag=True, help="Make the bucket private again.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def main(output: str, undo: bool, yes: bool) -> None:
    """Let everybody in the world look at the volume in OUTPUT, 'gs://SOURCE_*_ID', without logging in.

    Only the bucket of the volumes to browse, SOURCE_ng_ID, becomes public: never those of the slices, of the
    chunks, of the records and of the tiles. Objects can be read by their names, and not listed.
    """
    bucket = viewing_bucket(output)
    if undo:
        click.echo(
            f"This makes gs://{bucket} private: nobody without rights of their own can read it, links stop "
            f"working, and pages of other origins are refused."
        )
    else:
        click.echo(
            f"This makes gs://{bucket} public: everybody in the world can read each object in it "
            f"(allUsers get roles/storage.legacyObjectReader), and pages of any origin may do so (CORS).\n"
            f"You pay for what they read. Nothing else becomes public. "
            f"Take it back with: {shlex.join(['fibstack', 'share', '--undo', output])}"
        )
    if not yes and not click.confirm("Go on?"):
        click.echo("Nothing was changed.")
        return
    if undo:
        make_private(bucket)
        click.echo(f"gs://{bucket} is private. What others have copied or cached stays with them.")
        return
    make_public(bucket)
    click.echo(f"gs://{bucket} is public. The link: {shlex.join(['fibstack', 'link', output])}")


def viewing_bucket(output: str) -> str:
    """The bucket that holds the volumes to browse and nothing else.

    Raises:
        UserError: the output has no such bucket.

    Example:
        >>> viewing_bucket("gs://em_*_run1")
        'em_ng_run1'
    """
    if run_buckets_of(output) is None:
        raise UserError(
            f"share must be given an output with a bucket of its own for the volume, 'gs://SOURCE_*_ID'; got "
            f"{output}. There, the records, the tiles and maybe the slices lie in the same bucket and would "
            f"become public too. Copy the neuroglancer folder to a bucket of its own, or run with 'id' and "
            f"without 'output'."
        )
    return bucket_of(part_uri(output, "neuroglancer"))


def make_public(name: str) -> None:
    """Let everybody read the objects of a bucket, from pages of any origin.

    Raises:
        UserError: there is no such bucket, or a right is missing, or the organisation forbids it.
        TransientError: storage fails in a way that may pass.
    """
    with failures(f"cannot make gs://{name} public", name, _grant(name)):
        bucket = _bucket(name)
        bucket.iam_configuration.public_access_prevention = "inherited"
        bucket.cors = [CORS]
        bucket.patch(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
        policy = _policy(bucket)
        if not any(_is_ours(binding) for binding in policy.bindings):
            policy.bindings.append({"role": ROLE, "members": {EVERYBODY}})
            bucket.set_iam_policy(policy, timeout=gcs.TIMEOUT_S)


def make_private(name: str) -> None:
    """Take everybody's access away, whatever role gave it, and forbid that it comes back by mistake.

    Raises:
        UserError: there is no such bucket, or a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    with failures(f"cannot make gs://{name} private", name, _grant(name)):
        bucket = _bucket(name)
        policy = _policy(bucket)
        for binding in policy.bindings:
            binding["members"] = set(binding["members"]) - {EVERYBODY, "allAuthenticatedUsers"}
        policy.bindings = [binding for binding in policy.bindings if binding["members"]]
        bucket.set_iam_policy(policy, timeout=gcs.TIMEOUT_S)
        bucket.iam_configuration.public_access_prevention = "enforced"
        bucket.cors = []
        bucket.patch(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)


def _bucket(name: str) -> Any:  # noqa: ANN401 - untyped library
    return gcs.client_of().get_bucket(name, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)


def _policy(bucket: Any) -> Any:  # noqa: ANN401 - untyped library
    return bucket.get_iam_policy(requested_policy_version=3, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)


def _is_ours(binding: dict[str, Any]) -> bool:
    return binding["role"] == ROLE and EVERYBODY in binding["members"] and not binding.get("condition")


def _grant(name: str) -> str:
    return (
        f"storage.buckets.get, storage.buckets.update, storage.buckets.getIamPolicy and "
        f"storage.buckets.setIamPolicy on the bucket '{name}'"
    )


if __name__ == "__main__":
    main()
