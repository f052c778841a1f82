"""When objects of a bucket of S3 move to a colder storage class, by a rule of the bucket's lifecycle."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from components.shared.errors import ConfigError, UserError
from components.shared.storage.s3 import bucket_and_prefix, client
from components.shared.storage.s3_failures import failures, has_code, is_absent, is_unknown_to_server

_LEAST_DAYS = {"standard_ia": 30}
"""Age in days that S3 asks of an object before it may go to a storage class.

Source: Amazon S3 User Guide, "Transitioning objects using Amazon S3 Lifecycle".
"""


def archive(uri: str, storage_class: str, after_days: int) -> bool:
    """Add a lifecycle rule for the objects below a URI; whether there was none like it.

    Other rules of the bucket stay, except one that somebody adds in the very moment between the reading and
    the writing: S3 takes all rules at once, and knows no condition for that.

    Raises:
        ConfigError: S3 moves only older objects to that class.
        UserError: there is no such bucket, a right is missing, or the server does not know the class.
        TransientError: storage fails in a way that may pass.
    """
    name, prefix = bucket_and_prefix(uri)
    least = _LEAST_DAYS.get(storage_class, 0)
    if after_days < least:
        raise ConfigError(
            f"--after must be at least {least} with --class {storage_class}; got {after_days}. "
            f"Give --after {least}, or --class glacier_ir."
        )
    rule = {
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Transitions": [{"Days": after_days, "StorageClass": storage_class.upper()}],
    }
    grant = f"s3:GetLifecycleConfiguration and s3:PutLifecycleConfiguration on the bucket '{name}'"
    with failures(f"cannot change the lifecycle of s3://{name}", name, grant):
        try:
            earlier = _lifecycle(name)
            if _holds(earlier, rule):
                return False
            _write(name, {**earlier, "Rules": [*earlier["Rules"], rule]})
            # Amazon may show the earlier rules for minutes; other servers may drop what they do not know.
            if client().is_of_amazon or _holds(_lifecycle(name), rule):
                return True
            _write(name, earlier)
        except ClientError as error:
            if not is_unknown_to_server(error) and not has_code(error, "InvalidStorageClass"):
                raise
    raise UserError(
        f"the server of s3://{name} must know the storage class {storage_class.upper()}; got "
        f"{client().endpoint}, which does not take a rule that moves objects to it. Nothing was changed: let "
        "them lie as they are, or use the server's own tools."
    )


def _lifecycle(name: str) -> dict[str, Any]:
    """The rules of a bucket, and from which size on they move objects where the server says it."""
    try:
        found = client().ask("get_bucket_lifecycle_configuration", Bucket=name)
    except ClientError as error:
        if is_absent(error):
            return {"Rules": []}
        raise
    least_size = "TransitionDefaultMinimumObjectSize"
    kept = {least_size: found[least_size]} if least_size in found else {}
    return {"Rules": [_with_filter(rule) for rule in found.get("Rules", [])], **kept}


def _with_filter(rule: dict[str, Any]) -> dict[str, Any]:
    """A rule with its prefix in a filter, the newer form: S3 refuses rules of both forms in one bucket."""
    if "Prefix" not in rule:
        return rule
    others = {key: value for key, value in rule.items() if key != "Prefix"}
    return {**others, "Filter": {"Prefix": rule["Prefix"]}}


def _holds(lifecycle: dict[str, Any], rule: dict[str, Any]) -> bool:
    """Whether a rule is among those of a bucket, under whatever name."""
    return any({**known, "ID": ""} == {**rule, "ID": ""} for known in lifecycle["Rules"])


def _write(name: str, lifecycle: dict[str, Any]) -> None:
    if not lifecycle["Rules"]:
        client().ask("delete_bucket_lifecycle", Bucket=name)
        return
    others = {key: value for key, value in lifecycle.items() if key != "Rules"}
    rules = {"Rules": lifecycle["Rules"]}
    client().ask("put_bucket_lifecycle_configuration", Bucket=name, LifecycleConfiguration=rules, **others)
