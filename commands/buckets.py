"""Makes the buckets of a run, and clears its temporary one away.

This takes rights that no step has, so it is done by the command that starts a run, as the user who calls it.
The clients of Google and of S3 are imported where they are used: most runs name an output of their own.
"""

from __future__ import annotations

import logging
from typing import Any

import click

from components.shared.documents.config import RunConfig
from components.shared.documents.locations import locations_of
from components.shared.errors import FibstackError, UserError
from components.shared.storage.run_buckets import run_buckets_of
from components.shared.storage.schemes import bucket_of, scheme_of

RUN_LABEL = "fibstack-run"
"""Label of a bucket, a tag on S3, that names its run, or `_SHARED` where all runs on a source share it."""
TMP_DAYS = 14
"""Days after which objects of the temporary bucket expire, if nobody deletes them before."""
_SHARED = "any"
log = logging.getLogger(__name__)


def make_buckets(config: RunConfig) -> None:
    """Make the buckets that an output names and that are not there; an output below one URI names none."""
    if run_buckets_of(config.output):
        for name in create_buckets(config):
            click.echo(f"Made the bucket {scheme_of(config.output).name}://{name}", err=True)


def clear_away(config: RunConfig) -> None:
    """Remove the temporary bucket of a run that has ended well, unless its tiles are to be kept."""
    if run_buckets_of(config.output) and not config.keep_tiles:
        try:
            remove_temporary_bucket(config)
        except FibstackError as error:  # the volume is complete all the same, and what is left expires
            click.echo(f"warning: {error}", err=True)


def create_buckets(config: RunConfig) -> list[str]:
    """Make the buckets that a run's output names and that are not there; returns the names of the new ones.

    They lie where the source lies, since reading across regions costs more than computing. They are private:
    access is uniform, and nothing in them can be made public by mistake.

    Raises:
        UserError: a bucket is there and not this run's, or a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    named = run_buckets_of(config.output)
    if named is None:
        return []
    if scheme_of(config.output).cloud == "aws":
        return _create_in_s3(config, *named)
    from components.shared.storage import gcs
    from components.shared.storage.gcs_failures import failures

    source, run_id = named
    client = gcs.client_of(config.project or None)
    grant = f"storage.buckets.get on the bucket '{source}'"
    with failures(f"cannot look at gs://{source}", source, grant):
        location = client.get_bucket(source, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY).location
    return [
        name
        for name, label in _labels(config, run_id).items()
        if _create(client, name, label, location, is_temporary=name == _temporary(config))
    ]


def remove_temporary_bucket(config: RunConfig) -> bool:
    """Remove the temporary bucket of a run with what is left in it; whether there was one.

    A bucket without the run's label is left alone.

    Raises:
        UserError: a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    named = run_buckets_of(config.output)
    if named is None:
        return False
    name = _temporary(config)
    if scheme_of(config.output).cloud == "aws":
        from commands import buckets_of_s3

        return buckets_of_s3.remove(name, (RUN_LABEL, named[1]))
    from components.shared.storage import gcs
    from components.shared.storage.gcs_failures import failures

    grant = f"storage.buckets.delete and storage.objects.delete on the bucket '{name}'"
    with failures(f"cannot remove gs://{name}", name, grant):
        client = gcs.client_of(config.project or None)
        bucket = client.lookup_bucket(name, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
        if bucket is None:
            return False
        if bucket.labels.get(RUN_LABEL) != named[1]:
            log.warning("gs://%s is left alone: it has no label %s=%s", name, RUN_LABEL, named[1])
            return False
        for blob in bucket.list_blobs(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY):
            blob.delete(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
        bucket.delete(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    return True


def _create_in_s3(config: RunConfig, source: str, run_id: str) -> list[str]:
    from commands import buckets_of_s3

    region = buckets_of_s3.region_of(source)
    return [
        name
        for name, tag in _labels(config, run_id).items()
        if buckets_of_s3.create(
            name, (RUN_LABEL, tag), region, TMP_DAYS if name == _temporary(config) else None
        )
    ]


def _labels(config: RunConfig, run_id: str) -> dict[str, str]:
    """The buckets of a run, each with its label."""
    locations = locations_of(config)
    return {
        bucket_of(locations.neuroglancer_uri): run_id,
        bucket_of(locations.chunk_uri): run_id,
        bucket_of(locations.tmp_uri): run_id,
        bucket_of(locations.process_uri): _SHARED,
    }


def _temporary(config: RunConfig) -> str:
    return bucket_of(locations_of(config).tmp_uri)


def _create(client: Any, name: str, label: str, location: str, *, is_temporary: bool) -> bool:  # noqa: ANN401
    """Make a bucket; False where it is there already, with its label."""
    from google.api_core.exceptions import Conflict

    from components.shared.storage import gcs
    from components.shared.storage.gcs_failures import failures

    bucket = client.bucket(name)
    bucket.labels = {RUN_LABEL: label}
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    if is_temporary:
        bucket.add_lifecycle_delete_rule(age=TMP_DAYS)
        # By default deleted objects are kept, and paid for, for a week.
        bucket.soft_delete_policy.retention_duration_seconds = 0
    with failures(f"cannot make gs://{name}", name, "storage.buckets.create in the project"):
        try:
            client.create_bucket(bucket, location=location, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
        except Conflict:
            _check_own(client, name, label)
            return False
    return True


def _check_own(client: Any, name: str, label: str) -> None:  # noqa: ANN401 - untyped library
    """Refuse a bucket of somebody else, or of another run."""
    from google.api_core.exceptions import Forbidden

    from components.shared.storage import gcs

    try:
        labels = client.get_bucket(name, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY).labels
    except Forbidden:  # names of buckets are shared by all the world
        labels = {}
    if labels.get(RUN_LABEL) != label:
        raise UserError(
            f"a bucket of the run must carry the label {RUN_LABEL}={label}; got gs://{name}, which is there "
            f"without it. Choose another with --set id=NAME, or give the bucket that label if it is yours."
        )
