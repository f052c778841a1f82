"""Which web pages may read from a bucket."""

from __future__ import annotations

from collections.abc import Sequence

from commands.view.public_access import CORS
from components.shared.storage import gcs
from components.shared.storage.run_buckets import part_uri, run_buckets_of


def set_cors(uri: str, origins: Sequence[str]) -> str:
    """Let pages of some origins read from a bucket, and no others; returns the bucket's name.

    Args:
        uri: The bucket, or the output of a run, whose bucket of volumes to browse is meant.
        origins: Such as https://neuroglancer-demo.appspot.com; `*` is any, and none is none.

    Raises:
        UserError: there is no such bucket, or a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    name, _ = gcs.bucket_and_prefix(part_uri(uri, "neuroglancer") if run_buckets_of(uri) else uri)
    with gcs.failures(f"cannot change gs://{name}", name, f"storage.buckets.update on the bucket '{name}'"):
        bucket = gcs.client_of().bucket(name)
        bucket.cors = [{**CORS, "origin": list(origins)}] if origins else []
        bucket.patch(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    return name
