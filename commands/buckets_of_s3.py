"""Makes and removes a bucket of a run on S3, as `buckets` says which; a tag says whose it is."""

from __future__ import annotations

import logging
from functools import partial
from http import HTTPStatus

from botocore.exceptions import ClientError

from components.shared.errors import UserError
from components.shared.storage.parallel import in_parallel
from components.shared.storage.s3 import client
from components.shared.storage.s3_failures import failures, has_code, is_absent, is_unknown_to_server

_HOME = "us-east-1"
"""Region of AWS that must not be named when a bucket is made."""
log = logging.getLogger(__name__)


def region_of(name: str) -> str:
    """The region in which a bucket lies; empty where its server does not tell."""
    with failures(f"cannot look at s3://{name}", name, f"s3:ListBucket on the bucket '{name}'"):
        try:
            found = client().ask("head_bucket", Bucket=name)
        except ClientError as error:
            if is_absent(error):
                raise UserError(
                    f"cannot look at s3://{name}: there is no bucket '{name}'. Check its name or create it."
                ) from None
            raise
    return str(found.get("BucketRegion", ""))


def create(name: str, tag: tuple[str, str], region: str, expiry_days: int | None) -> bool:
    """Make a bucket with a tag; False where it is there already, with that tag.

    A bucket that is empty and has no tags at all is taken: making it was cut off before.

    Args:
        name: Name of the bucket.
        tag: Key and value.
        region: Where it is to lie; empty for where the server has it.
        expiry_days: Days after which objects in it expire; None for never.

    Raises:
        UserError: a bucket is there and has not the tag, or a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    key, value = tag
    grant = "s3:CreateBucket, s3:PutBucketTagging and s3:PutLifecycleConfiguration"
    with failures(f"cannot make s3://{name}", name, grant):
        try:
            is_there = _is_there(name)
        except ClientError as error:
            if not has_code(error, str(HTTPStatus.FORBIDDEN.value)):  # a HEAD has no words
                raise
            raise UserError(
                f"a bucket of the run must be yours; got s3://{name}, which is there and which you may not "
                f"look at: all who use AWS share the names. Choose another with --set id=NAME, or "
                f"grant s3:ListBucket on it."
            ) from error
        found = _tags(name) if is_there else {}
        if found.get(key) == value:
            return False
        if is_there and (found or next(client().listed(name, ""), None) is not None):
            raise UserError(
                f"a bucket of the run must carry the tag {key}={value}; got s3://{name}, which is there "
                "without it. Choose another with --set id=NAME, or give the bucket that tag if it is yours."
            )
        if not is_there:
            place = {"LocationConstraint": region} if region not in ("", _HOME) else {}
            try:
                client().ask(
                    "create_bucket", Bucket=name, **({"CreateBucketConfiguration": place} if place else {})
                )
            except ClientError as error:
                if not has_code(error, "BucketAlreadyOwnedByYou"):  # another try, after an answer was lost
                    raise
        if expiry_days is not None:
            _expire(name, expiry_days)
        client().ask("put_bucket_tagging", Bucket=name, Tagging={"TagSet": [{"Key": key, "Value": value}]})
    return True


def remove(name: str, tag: tuple[str, str]) -> bool:
    """Remove a bucket with what is left in it; whether there was one. Without the tag it is left alone.

    Raises:
        UserError: a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    key, value = tag
    with failures(f"cannot remove s3://{name}", name, "s3:DeleteObject and s3:DeleteBucket"):
        if not _is_there(name):
            return False
        if _tags(name).get(key) != value:
            log.warning("s3://%s is left alone: it has no tag %s=%s", name, key, value)
            return False
        delete = partial(client().ask, "delete_object", Bucket=name)
        in_parallel(lambda item: delete(Key=item["Key"]), client().listed(name, ""))
        try:
            client().ask("delete_bucket", Bucket=name)
        except ClientError as error:
            if not has_code(error, "NoSuchBucket"):  # another try, after an answer was lost
                raise
    return True


def tags_of(name: str) -> dict[str, str] | None:
    """The tags of a bucket; None where there is no such bucket.

    Raises:
        UserError: a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    with failures(f"cannot look at s3://{name}", name, f"s3:ListBucket and s3:GetBucketTagging on '{name}'"):
        return _tags(name) if _is_there(name) else None


def remove_empty(name: str) -> None:
    """Remove a bucket that holds nothing; one that is gone is fine.

    Raises:
        UserError: a right is missing, or something lies in it.
        TransientError: storage fails in a way that may pass.
    """
    with failures(f"cannot remove s3://{name}", name, f"s3:DeleteBucket on the bucket '{name}'"):
        if _is_there(name):
            client().ask("delete_bucket", Bucket=name)


def _is_there(name: str) -> bool:
    try:
        client().ask("head_bucket", Bucket=name)
    except ClientError as error:
        if is_absent(error):
            return False
        raise
    return True


def _tags(name: str) -> dict[str, str]:
    try:
        found = client().ask("get_bucket_tagging", Bucket=name)
    except ClientError as error:
        if is_absent(error):
            return {}
        raise
    return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}


def _expire(name: str, days: int) -> None:
    """Let objects expire, where the server can; else say that nothing does."""
    rule = {
        "ID": "fibstack",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "Expiration": {"Days": days},
    }
    try:
        client().ask(
            "put_bucket_lifecycle_configuration", Bucket=name, LifecycleConfiguration={"Rules": [rule]}
        )
    except ClientError as error:
        if not is_unknown_to_server(error):
            raise
        log.warning("s3://%s keeps what is left in it: its server has no rules for expiry", name)
