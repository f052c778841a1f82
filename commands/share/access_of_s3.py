"""Who may read the objects of a bucket of S3, and the address at which everybody does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from botocore.exceptions import ClientError

from commands.doctor.findings import VIEWER
from components.shared.errors import UserError
from components.shared.storage.run_buckets import run_buckets_of
from components.shared.storage.s3 import bucket_and_prefix, client
from components.shared.storage.s3_failures import failures, is_absent, is_unknown_to_server
from components.shared.web import ask, reason_of

_SID = "FibstackShare"
_ANY_ORIGIN = "*"
_GUARDS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
"""Settings that forbid a bucket of AWS to be public, whatever its policy says."""
_DEADLINE_S = 20


def make_public(name: str) -> None:
    """Let everybody read the objects of a bucket, from pages of any origin.

    Raises:
        UserError: there is no such bucket, or a right is missing, or the account forbids it.
        TransientError: storage fails in a way that may pass.
    """
    grant = f"{_grant(name)}, and let no Block Public Access of the account forbid it"
    with failures(f"cannot make s3://{name} public", name, grant):
        _guard(name, is_guarded=False)
        _ask_if_known("put_bucket_cors", name, CORSConfiguration={"CORSRules": [cors_rule([_ANY_ORIGIN])]})
        ours = {
            "Sid": _SID,
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{name}/*",
        }
        others = [statement for statement in _statements(name) if statement.get("Sid") != _SID]
        _write_policy(name, [*others, ours])


def make_private(name: str) -> None:
    """Take everybody's access away, and forbid that it comes back by mistake.

    Raises:
        UserError: there is no such bucket, or a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    with failures(f"cannot make s3://{name} private", name, _grant(name)):
        kept = [
            statement
            for statement in _statements(name)
            if statement.get("Effect") != "Allow" or not _names_everybody(statement.get("Principal"))
        ]
        _write_policy(name, kept)
        _guard(name, is_guarded=True)
        _ask_if_known("delete_bucket_cors", name)


def set_cors(name: str, origins: Sequence[str]) -> None:
    """Let pages of some origins read from a bucket, and no others.

    Raises:
        UserError: there is no such bucket, or a right is missing.
        TransientError: storage fails in a way that may pass.
    """
    with failures(f"cannot change s3://{name}", name, f"s3:PutBucketCORS on the bucket '{name}'"):
        if origins:
            rules = {"CORSRules": [cors_rule(origins)]}
            client().ask("put_bucket_cors", Bucket=name, CORSConfiguration=rules)
        else:
            client().ask("delete_bucket_cors", Bucket=name)


def cors_rule(origins: Iterable[str]) -> dict[str, Any]:
    """The rule that lets pages read with ranges, as a sharded volume is read.

    Args:
        origins: Origins of the pages.
    """
    return {
        "AllowedOrigins": list(origins),
        "AllowedMethods": ["GET", "HEAD"],
        "AllowedHeaders": ["*"],
        "ExposeHeaders": ["Content-Type", "Content-Length", "Content-Range", "ETag"],
        "MaxAgeSeconds": 3600,
    }


def public_address(output: str, uri: str) -> str:
    """The https:// address at which everybody reads a volume.

    Args:
        output: The output that the volume is of.
        uri: The volume.

    Raises:
        UserError: not everybody may read it, or no page of neuroglancer.
    """
    bucket, prefix = bucket_and_prefix(uri)
    info = client().address(bucket, f"{prefix}info", _DEADLINE_S).partition("?")[0]
    is_safe = info.startswith("https://")
    got = _obstacle(info) if is_safe else "an http:// address, from which no page of neuroglancer may read"
    if not got:
        return info.removesuffix("/info")
    share = f"let everybody look at it: {shlex.join(['fibstack', 'share', output])}"
    raise UserError(
        f"a link must lead to a volume that everybody may read, since neuroglancer has no login there, and a "
        f"signed address opens one object of many; got {got}, for {info}. "
        f"Look at it with: {shlex.join(['fibstack', 'view', output])}"
        + (f"; or {share}" if run_buckets_of(output) and is_safe else "")
    )


def _obstacle(address: str) -> str:
    """The reason why a page cannot read an object; empty for none."""
    try:
        answer = ask(
            "GET",
            address,
            deadline_s=_DEADLINE_S,
            most_bytes=0,
            headers={"Origin": VIEWER},
            verify=client().ca_bundle or True,
        )
    except Exception as error:
        # Also what a library raises about an address or an answer that no standard allows.
        return reason_of(error)
    if answer.status != HTTPStatus.OK:
        return f"HTTP {answer.status}"
    is_let = "Access-Control-Allow-Origin" in answer.headers
    return "" if is_let else "no leave for pages of other origins (CORS)"


def _statements(name: str) -> list[dict[str, Any]]:
    """The statements of a bucket's policy."""
    try:
        found = json.loads(client().ask("get_bucket_policy", Bucket=name)["Policy"])
    except ClientError as error:
        if is_absent(error):
            return []
        raise
    statements = found["Statement"]
    return statements if isinstance(statements, list) else [statements]


def _names_everybody(principal: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether everybody is meant by the principal of a policy's statement, also beside others."""
    named = principal.get("AWS") if isinstance(principal, dict) else principal
    return "*" in (named if isinstance(named, list) else [named])


def _write_policy(name: str, statements: list[dict[str, Any]]) -> None:
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        client().ask("put_bucket_policy", Bucket=name, Policy=policy)
    else:
        client().ask("delete_bucket_policy", Bucket=name)


def _guard(name: str, *, is_guarded: bool) -> None:
    guards = dict.fromkeys(_GUARDS, is_guarded)
    _ask_if_known("put_public_access_block", name, PublicAccessBlockConfiguration=guards)


def _ask_if_known(operation: str, name: str, **given: Any) -> None:  # noqa: ANN401 - as botocore takes them
    """Make a request that not every server knows: those of others have neither guards nor rules of CORS."""
    try:
        client().ask(operation, Bucket=name, **given)
    except ClientError as error:
        if not is_unknown_to_server(error):
            raise


def _grant(name: str) -> str:
    return (
        f"s3:GetBucketPolicy, s3:PutBucketPolicy, s3:DeleteBucketPolicy, s3:PutBucketPublicAccessBlock and "
        f"s3:PutBucketCORS on the bucket '{name}'"
    )
