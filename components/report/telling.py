"""Sends the notice of a run's end by mail and to a webhook; what fails is logged and fails nothing."""

from __future__ import annotations

import logging
import smtplib
import socket
import ssl
import time
from collections.abc import Mapping
from concurrent.futures import Future
from email.message import EmailMessage
from email.utils import localtime, make_msgid
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

from components.report.words.notice import Notice
from components.shared.documents.notification import (
    PRIVATE_WEBHOOKS_VARIABLE,
    WEBHOOK_VARIABLE,
    MailServer,
    mail_server,
)
from components.shared.errors import ConfigError
from components.shared.web import (
    EncryptedMailConnection,
    MailConnection,
    ask,
    result_within,
    start,
)

TIMEOUT_S = 20
"""Longest that a webhook may take, and longest silence of a mail server."""
TELL_WITHIN_S = 60
"""Longest that a run waits until all are told."""
logger = logging.getLogger(__name__)


def tell(notice: Notice, email: str, webhook: str, environment: Mapping[str, str]) -> list[str]:
    """Tell who asked to be told, all at once and within `TELL_WITHIN_S`.

    Never raises; says in the log what was sent, and what was not and why.

    Args:
        notice: What to say.
        email: Address to write to; empty for none.
        webhook: Address to post to, besides the one that the environment may name; empty for none.
        environment: Holds the variables of `components.shared.documents.notification`.

    Returns:
        What was not sent, each with the reason.
    """
    until = time.monotonic() + TELL_WITHIN_S
    told: list[tuple[str, Future[None]]] = []
    if email:
        told.append((f"mail to {email}", start(partial(_send_mail, notice, email, environment))))
    for address in dict.fromkeys((webhook, environment.get(WEBHOOK_VARIABLE, "").strip())):
        if address:
            what = f"message to the webhook at {_host(address)}"
            told.append((what, start(partial(_post, notice, address, environment))))
    failures = [(what, _failure(sending, until)) for what, sending in told]
    for what, failure in failures:
        if failure:
            logger.warning("no %s: %s", what, failure)
        else:
            logger.info("sent a %s", what)
    return [f"no {what}: {failure}" for what, failure in failures if failure]


def _failure(sending: Future[None], until: float) -> str:
    """Why a message was not sent, as a sentence; empty where it was."""
    try:
        result_within(sending, until - time.monotonic())
    except ConfigError as error:
        return str(error)
    except Exception as error:
        # An error's own text may hold what the server was sent, so a password or a secret address.
        late = f"the server was not done within {TELL_WITHIN_S} s"
        return f"{_reason(error) if sending.done() else late}. The run is not affected."
    return ""


def _send_mail(notice: Notice, email: str, environment: Mapping[str, str]) -> None:
    server = mail_server(environment)
    if server is None:
        raise ConfigError("no mail server is set. Set FIBSTACK_SMTP_HOST and FIBSTACK_SMTP_FROM.")
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = server.sender, email, notice.subject
    # Mail without these is taken for spam.
    message["Date"], message["Message-ID"] = localtime(), make_msgid(domain=server.sender.rpartition("@")[2])
    message.set_content(notice.text)
    connection = _connect(server)
    try:
        if server.password:
            connection.login(server.user, server.password)
        connection.send_message(message)
        connection.putcmd("QUIT")  # its goodbye is not waited for: it has the mail
    finally:
        connection.close()


def _connect(server: MailServer) -> MailConnection:
    """A connection to a mail server, encrypted as it is to be."""
    context = ssl.create_default_context()
    if server.encryption == "tls":
        return EncryptedMailConnection(server.host, server.port, timeout=TIMEOUT_S, context=context)
    connection = MailConnection(server.host, server.port, timeout=TIMEOUT_S)
    if server.encryption == "starttls":
        try:
            connection.starttls(context=context)
        except BaseException:
            connection.close()
            raise
    return connection


def _post(notice: Notice, address: str, environment: Mapping[str, str]) -> None:
    check_destination(address, may_be_private=environment.get(PRIVATE_WEBHOOKS_VARIABLE, "").strip() == "1")
    body = {"text": f"{notice.subject}\n{notice.text}", **notice.figures}
    # A redirection would make a GET of it, without the message.
    answer = ask("POST", address, json=body, deadline_s=TIMEOUT_S, most_bytes=0, allow_redirects=False)
    if answer.status >= 300:
        raise _RefusedError(answer.status)


def check_destination(address: str, *, may_be_private: bool) -> None:
    """Refuse a webhook that is not on the web, such as a cloud's metadata server, and one without encryption.

    Raises:
        ConfigError: the host has a link-local, private or loopback address, or the address is not https.
    """
    parts = urlsplit(address)
    try:
        # Without a port: its name would have to be in /etc/services, which small images lack.
        found = socket.getaddrinfo(parts.hostname, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # no such name here; a proxy may know it
        found = []
    places = [ip_address(str(place[0]).partition("%")[0]) for *_, place in found]
    is_private = any(not (getattr(place, "ipv4_mapped", None) or place).is_global for place in places)
    if is_private and not may_be_private:
        raise ConfigError(
            f"its host is in a private network. Set {PRIVATE_WEBHOOKS_VARIABLE}=1 if this is meant."
        )
    if parts.scheme == "http" and not is_private:
        raise ConfigError("a webhook must begin with https://. Change its address.")


class _RefusedError(OSError):
    """A server answered that it did not take the message."""


def _host(address: str) -> str:
    """The part of a webhook's address that is no secret."""
    try:
        return urlsplit(address).hostname or "an address without a host"
    except ValueError:
        return "an address that cannot be read"


def _reason(error: Exception) -> str:
    """Why nothing was sent, without what was sent."""
    if isinstance(error, _RefusedError):
        return f"the server answered HTTP {error.args[0]}"
    import requests  # here, since most runs tell nobody

    reasons: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
        ((smtplib.SMTPAuthenticationError,), "the server refused user or password"),
        ((smtplib.SMTPRecipientsRefused,), "the server refused the address"),
        ((smtplib.SMTPNotSupportedError,), "the server lacks encryption or login; see FIBSTACK_SMTP_TLS"),
        (
            (ssl.SSLError, requests.exceptions.SSLError),
            "no trusted encrypted connection; see FIBSTACK_SMTP_TLS",
        ),
        ((smtplib.SMTPServerDisconnected,), "the server hung up or did not answer"),
        ((ConnectionRefusedError,), "nothing listens at this address"),
        ((TimeoutError, requests.exceptions.Timeout), f"the server did not answer within {TIMEOUT_S} s"),
    )
    for kinds, reason in reasons:
        if isinstance(error, kinds):
            return reason
    code = f" {error.smtp_code}" if isinstance(error, smtplib.SMTPResponseException) else ""
    return f"the server cannot be reached or refused ({type(error).__name__}{code})"
