"""Failures of Google Cloud Storage as sentences: what the libraries raise, by what a user can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import requests
from google.api_core import exceptions as api
from google.auth import exceptions as auth
from google.cloud.storage.exceptions import InvalidResponse

from components.shared.errors import FibstackError, TransientError, UserError
from components.shared.storage.pace import UntrustedServerError, cause_of, first_line, reason_of_request
from components.shared.storage.store import ObjectMissingError
from components.shared.web import AnswerError, json_object

_MAY_PASS = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.FORBIDDEN})
"""Statuses from 400 to 499 after which another try can help; 403 where its reason is one of `_TOO_MUCH`."""
_TOO_MUCH = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded", "backendError"})
"""Reasons of a 403 that means the same as 429."""
_BAD_ANSWER = (AnswerError, requests.exceptions.InvalidJSONError, requests.TooManyRedirects)
_WRAPPERS = (auth.TransportError, auth.RefreshError)
"""Exceptions whose first argument may be the failure itself: a login fails, too, since nobody answers."""
_DENIED = "forbidden"
"""Reason of a 403 for want of a right."""


@contextmanager
def failures(what: str, bucket: str, grant: str) -> Iterator[None]:
    """Turn exceptions of the libraries into errors with a sentence.

    Args:
        what: what fails, such as "cannot read gs://bucket/key".
        bucket: the bucket that it concerns.
        grant: what it takes, such as "storage.objects.get on the bucket 'b'".

    Raises:
        UserError: another try cannot help.
        TransientError: another try may help; whatever is not known counts for that.
    """
    try:
        yield
    except (FibstackError, MemoryError):
        raise
    except api.NotFound as error:
        raise ObjectMissingError(
            f"{what}: there is no bucket '{bucket}'. Check its name or create it."
        ) from error
    except Exception as error:  # what storage answers, the libraries take apart without a look at it
        raise _failure(what, grant, error) from error


def _failure(what: str, grant: str, error: Exception) -> UserError | TransientError:
    cause = _cause(error)
    return _refused(what, grant, cause) or _failed(what, cause)


def _refused(what: str, grant: str, cause: BaseException) -> UserError | None:
    """The error for a failure that another try cannot help; None where one can."""
    status = _status(cause)
    if isinstance(cause, UntrustedServerError):
        return UserError(
            f"{what}: the server's certificate is not trusted ({cause}). Check this machine's date; where a "
            "proxy of your network signs it, name its certificate in REQUESTS_CA_BUNDLE and "
            "TENSORSTORE_CA_BUNDLE."
        )
    is_login = isinstance(cause, auth.GoogleAuthError) and not _login_may_pass(cause)
    if is_login or status == HTTPStatus.UNAUTHORIZED:
        told = first_line(str(cause)) if is_login else _reason(cause)
        return UserError(
            f"{what}: the login is not accepted, or has expired ({told}). Log in with "
            "'gcloud auth application-default login', or mend the pod's service account."
        )
    if status == HTTPStatus.FORBIDDEN and _reasons(cause).isdisjoint(_TOO_MUCH):
        told = "" if _reasons(cause) <= {_DENIED} else f" ({first_line(_message(cause))})"
        return UserError(f"{what}: permission denied{told}. Grant {grant}.")
    if isinstance(cause, api.ClientError) and status not in _MAY_PASS:
        return UserError(f"{what}: {_reason(cause)}. Check the bucket and the object's name.")
    return None


def _failed(what: str, cause: BaseException) -> TransientError:
    """The error for a failure that may pass."""
    status = _status(cause) or 0
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST or isinstance(cause, _BAD_ANSWER):
        is_answer = isinstance(cause, _BAD_ANSWER) and not isinstance(cause, requests.TooManyRedirects)
        got = first_line(str(cause)) if is_answer else "redirections to elsewhere"
        return TransientError(
            f"{what}: storage must answer as its interface says; got {got}. Try again; where it stays so, a "
            "proxy or a login page of the network answers in its place."
        )
    return TransientError(f"{what}: {_reason(cause)}. Try again.")


def _login_may_pass(cause: auth.GoogleAuthError) -> bool:
    """Whether a login failed since nobody could be asked, and not since it was refused."""
    return isinstance(cause, auth.TransportError) or cause.retryable is True


def _cause(error: BaseException) -> BaseException:
    """The failure of the last try, without what the libraries wrap around it."""
    inner: Any = None
    if isinstance(error, api.RetryError):
        inner = error.cause
    elif isinstance(error, _WRAPPERS) and error.args:
        inner = error.args[0]
    found = cause_of(inner if isinstance(inner, Exception) else error)
    return found if found is error else _cause(found)


def _status(error: BaseException) -> int | None:
    """The status of an answer that is a failure."""
    if isinstance(error, InvalidResponse):
        return int(error.response.status_code)
    return int(error.code) if isinstance(error, api.GoogleAPICallError) and error.code else None


def _told(error: BaseException) -> dict[str, Any]:
    """The words of storage on a failure, from the body of its answer."""
    response = getattr(error, "response", None)
    try:
        told = json_object(response.content)["error"] if response is not None else {}
    except (AnswerError, KeyError):
        return {}
    return told if isinstance(told, dict) else {}


def _reasons(error: BaseException) -> set[str]:
    """The words by which storage tells apart failures of one status."""
    errors = _told(error).get("errors")
    found = errors if isinstance(errors, list) else []
    return {str(one.get("reason")) for one in found if isinstance(one, dict)}


def _message(error: BaseException) -> str:
    return str(_told(error).get("message") or "")


def _reason(error: BaseException) -> str:
    """Why a request failed, in words that stand inside a sentence."""
    status = _status(error)
    if status is not None:
        known = status in HTTPStatus.__members__.values()
        phrase = f" {HTTPStatus(status).phrase}" if known else ""
        message = _message(error)
        return f"storage answered {status}{phrase}" + (f" ({first_line(message)})" if message else "")
    return reason_of_request(error)
