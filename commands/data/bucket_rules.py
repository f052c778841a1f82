"""Rules of a bucket: which web pages may read from it, when its objects move to a colder storage class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from commands.share.access import CORS
from components.shared.documents.cost import ColderClass
from components.shared.storage import gcs
from components.shared.storage.gcs_failures import failures
from components.shared.storage.run_buckets import part_uri, run_buckets_of
from components.shared.storage.schemes import bucket_of, scheme_of

MINIMUM_DAYS: dict[str, dict[ColderClass, int]] = {
    "google": {"coldline": 90, "nearline": 30, "archive": 365},
    "aws": {"glacier_ir": 90, "standard_ia": 30},
}
"""Storage classes whose objects can be read at once, by cloud, the default first; and for how many days an
object of theirs is billed at least.

Source: Google Cloud documentation, "Storage classes"; Amazon S3 User Guide, "Storage classes".
"""


def archive(uri: str, storage_class: ColderClass, after_days: int) -> bool:
    """Add a lifecycle rule for the objects below a URI; whether there was none like it.

    Other rules of the bucket stay. Storage applies rules within about a day, also to what is written later.

    Raises:
        ConfigError: S3 moves only older objects to that class.
        UserError: there is no such bucket, a right is missing, or a server does not know the class.
        TransientError: storage fails in a way that may pass.
    """
    if scheme_of(uri).cloud == "aws":
        from commands.data import bucket_rules_of_s3

        return bucket_rules_of_s3.archive(uri, storage_class, after_days)
    name, prefix = gcs.bucket_and_prefix(uri)
    rule = rule_of(prefix, storage_class, after_days)
    grant = f"storage.buckets.get and storage.buckets.update on the bucket '{name}'"
    with failures(f"cannot change the lifecycle of gs://{name}", name, grant):
        bucket = gcs.client_of().get_bucket(name, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
        rules = [dict(known) for known in bucket.lifecycle_rules]
        if rule in rules:
            return False
        bucket.lifecycle_rules = [*rules, rule]
        # Only what was read may be changed, so that a rule that somebody adds meanwhile is not lost.
        bucket.patch(if_metageneration_match=bucket.metageneration, timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    return True


def rule_of(prefix: str, storage_class: str, after_days: int) -> dict[str, Any]:
    """The rule as the storage API knows it.

    Example:
        >>> rule_of("run/", "coldline", 30)["condition"]
        {'age': 30, 'matchesPrefix': ['run/']}
    """
    condition: dict[str, Any] = {"age": after_days}
    if prefix:
        condition["matchesPrefix"] = [prefix]
    return {
        "action": {"type": "SetStorageClass", "storageClass": storage_class.upper()},
        "condition": condition,
    }


def set_cors(uri: str, origins: Sequence[str]) -> str:
    """Let pages of some origins read from a bucket, and no others; returns the bucket's name.

    Args:
        uri: The bucket, or the output of a run, whose bucket of volumes to browse is meant.
        origins: Such as https://neuroglancer-demo.appspot.com; `*` is any, and none is none.

    Raises:
        UserError: there is no such bucket, or a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    place = part_uri(uri, "neuroglancer") if run_buckets_of(uri) else uri
    if scheme_of(place).cloud == "aws":
        from commands.share import access_of_s3

        access_of_s3.set_cors(bucket_of(place), origins)
        return bucket_of(place)
    name, _ = gcs.bucket_and_prefix(place)
    with failures(f"cannot change gs://{name}", name, f"storage.buckets.update on the bucket '{name}'"):
        bucket = gcs.client_of().bucket(name)
        bucket.cors = [{**CORS, "origin": list(origins)}] if origins else []
        bucket.patch(timeout=gcs.TIMEOUT_S, retry=gcs.RETRY)
    return name
