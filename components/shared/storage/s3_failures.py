"""Failures of S3 as sentences: what botocore and requests raise, by what a user can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

import requests
import urllib3
from botocore import exceptions as boto
from botocore.parsers import ResponseParserError
from google.api_core.exceptions import RetryError

from components.shared.errors import FibstackError, TransientError, UserError
from components.shared.storage.pace import UntrustedServerError, cause_of, first_line, reason_of_request
from components.shared.storage.store import ObjectMissingError
from components.shared.web import AnswerError, DeadlineError

_MAY_PASS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600)}) - {
    HTTPStatus.NOT_IMPLEMENTED
}
"""Statuses after which another try can help."""
_CODES_THAT_MAY_PASS = frozenset(
    {
        *("SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException"),
        *("RequestThrottled", "TooManyRequests", "RequestLimitExceeded", "BandwidthLimitExceeded"),
        *("RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted"),
        "ConditionalRequestConflict",
        # What arrived was not what was sent: the server noticed damage on the way.
        *("BadDigest", "XAmzContentChecksumMismatch", "XAmzContentSHA256Mismatch", "IncompleteBody"),
    }
)
_LOGIN_CODES = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "InvalidToken"),
        *("InvalidAccessKeyId", "InvalidClientTokenId", "UnrecognizedClientException"),
        *("SignatureDoesNotMatch", "InvalidSecurity", "NotSignedUp"),
    }
)
"""Codes of a login that is refused, under whatever status."""
_LOGIN_OPERATIONS = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "GetRoleCredentials", "CreateToken"}
)
"""Requests by which botocore logs in: what they are refused is no right in a bucket."""
_REGION_CODES = frozenset(
    {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
)
_NO_BUCKET = "NoSuchBucket"
_LOG_IN = (
    "Log in with 'aws sso login' or 'aws configure', or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; in "
    "a pod, mend its Secret or the role of its service account"
)
_NO_CREDENTIALS = (boto.NoCredentialsError, boto.NoAuthTokenError)
_BAD_LOGIN = (
    boto.PartialCredentialsError,
    boto.CredentialRetrievalError,
    boto.TokenRetrievalError,
    boto.UnauthorizedSSOTokenError,
    boto.SSOError,
    boto.ProfileNotFound,
    boto.InvalidConfigError,
    boto.ConfigParseError,
    boto.InfiniteLoopConfigError,
)


def may_pass(error: BaseException) -> bool:
    """Whether another try of a request may succeed, after what it raised."""
    cause = cause_of(error)
    if isinstance(cause, boto.ClientError):
        status, code, _ = _answered(cause)
        return code not in _LOGIN_CODES and (status in _MAY_PASS or code in _CODES_THAT_MAY_PASS)
    if isinstance(cause, UntrustedServerError | AnswerError | DeadlineError):
        return False
    return isinstance(
        cause,
        requests.RequestException
        | urllib3.exceptions.HTTPError
        | boto.HTTPClientError
        | ResponseParserError
        | boto.IncompleteReadError
        | boto.FlexibleChecksumError
        | OSError,
    )


def is_absent(error: boto.ClientError) -> bool:
    """Whether storage says that an object is not there; a HEAD has no words, so it may be the bucket."""
    status, code, _ = _answered(error)
    return status == HTTPStatus.NOT_FOUND and code != _NO_BUCKET


def has_code(error: boto.ClientError, code: str) -> bool:
    """Whether storage refuses a request with this code."""
    return _answered(error)[1] == code


def is_unknown_to_server(error: boto.ClientError) -> bool:
    """Whether a server does not know a request at all, as those that speak only a part of S3's protocol."""
    status, code, _ = _answered(error)
    unknown = (HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.METHOD_NOT_ALLOWED)
    return status in unknown or code in ("NotImplemented", "MethodNotAllowed")


@contextmanager
def failures(what: str, bucket: str, grant: str, *, is_anonymous: bool = False) -> Iterator[None]:
    """Turn exceptions of the libraries into errors with a sentence.

    Args:
        what: what fails, such as "cannot read s3://bucket/key".
        bucket: the bucket that it concerns.
        grant: what it takes, such as "s3:GetObject on the bucket 'b'".
        is_anonymous: no credentials were found, so that requests are not signed.

    Raises:
        UserError: another try cannot help.
        TransientError: another try may help; whatever is not known counts for that.
    """
    try:
        yield
    except (FibstackError, MemoryError):
        raise
    except Exception as error:  # what storage answers, the libraries take apart without a look at it
        tried = error.cause if isinstance(error, RetryError) and error.cause else error
        raise _failure(what, bucket, grant, cause_of(tried), is_anonymous) from error


def _failure(
    what: str, bucket: str, grant: str, cause: BaseException, is_anonymous: bool
) -> UserError | TransientError:
    if isinstance(cause, boto.ClientError):
        if _answered(cause)[1] == _NO_BUCKET:
            return ObjectMissingError(f"{what}: there is no bucket '{bucket}'. Check its name or create it.")
        lasting = None if may_pass(cause) else _refusal(cause, grant, is_anonymous)
        passing = f"{_reason(cause)}. Try again"
    elif isinstance(cause, boto.FlexibleChecksumError):
        return TransientError(f"{what}: it must arrive as it is stored; got other bytes. Try again.")
    elif isinstance(cause, AnswerError | ResponseParserError):
        return _other_server(what, first_line(str(cause)))
    else:
        lasting = _lasting_reason(cause)
        passing = f"{reason_of_request(cause)}. Check AWS_ENDPOINT_URL, and try again"
    return UserError(f"{what}: {lasting}.") if lasting else TransientError(f"{what}: {passing}.")


def _refusal(cause: boto.ClientError, grant: str, is_anonymous: bool) -> str:
    """Why storage refuses a request that another try cannot help, and what to do."""
    status, code, told = _answered(cause)
    if code in _REGION_CODES:
        region = cause.response.get("Error", {}).get("Region", "")
        remedy = f"AWS_REGION={region}" if region else "AWS_REGION to the region of the bucket"
        return f"the bucket lies in another region ({_reason(cause)}). Set {remedy}"
    if code == "RequestTimeTooSkewed":
        return f"this machine's clock is wrong ({_reason(cause)}). Set its time"
    is_login = cause.operation_name in _LOGIN_OPERATIONS
    if is_login or code in _LOGIN_CODES or status == HTTPStatus.UNAUTHORIZED:
        return f"the login is not accepted, or has expired ({first_line(told) or code}). {_LOG_IN}"
    if status != HTTPStatus.FORBIDDEN:
        is_unknown = is_unknown_to_server(cause)
        remedy = "Use the server's own tools" if is_unknown else "Check the bucket and the object's name"
        return f"{_reason(cause)}. {remedy}"
    if is_anonymous:
        return f"permission denied, and there are no credentials. {_LOG_IN}"
    # Who may not list is refused an object that is not there.
    absent = ", or there is no such object" if "GetObject" in grant else ""
    return f"permission denied{absent}. Grant {grant}"


def _lasting_reason(cause: BaseException) -> str | None:
    """Why a request was not even answered, and what to do; None where another try can help."""
    if isinstance(cause, UntrustedServerError):
        return (
            f"the server's certificate is not trusted ({cause}). Check this machine's date; where the server "
            "or a proxy of your network has a certificate of its own, name it in AWS_CA_BUNDLE"
        )
    if isinstance(cause, _NO_CREDENTIALS):
        return f"there are no credentials. {_LOG_IN}"
    if isinstance(cause, _BAD_LOGIN):
        return f"the login cannot be used ({first_line(str(cause))}). {_LOG_IN}"
    if isinstance(cause, boto.BotoCoreError) and not may_pass(cause):
        return f"{first_line(str(cause))}. Check the settings of AWS: the variables AWS_*, and ~/.aws"
    return None


def _other_server(what: str, got: str) -> TransientError:
    return TransientError(
        f"{what}: storage must answer as its interface says; got {got}. Try again; where it stays so, a "
        "proxy or a login page of the network answers in its place."
    )


def _answered(error: boto.ClientError) -> tuple[int, str, str]:
    """Status, code and words of an answer that is a failure."""
    told = error.response.get("Error", {})
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(told.get("Code", "")), str(told.get("Message", ""))


def _reason(error: boto.ClientError) -> str:
    """Why a request was refused, in words that stand inside a sentence."""
    status, code, message = _answered(error)
    known = status in HTTPStatus.__members__.values()
    phrase = f" {HTTPStatus(status).phrase}" if known else ""
    words = ": ".join(word for word in (code if not code.isdigit() else "", first_line(message)) if word)
    return f"storage answered {status}{phrase}" + (f" ({words})" if words else "")
