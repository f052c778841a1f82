"""Who may read the objects of a bucket: everybody, or those who have rights of their own."""

from __future__ import annotations

from typing import Any

from components.shared.storage import gcs
from components.shared.storage.gcs_failures import failures

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
