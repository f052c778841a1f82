"""Settings for telling people that a run has ended: servers and secrets, from the environment alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from components.shared.errors import ConfigError

WEBHOOK_VARIABLE = "FIBSTACK_WEBHOOK_URL"
PRIVATE_WEBHOOKS_VARIABLE = "FIBSTACK_ALLOW_PRIVATE_WEBHOOKS"
"""1 lets a webhook be in a private network or on this machine, over http too."""
_SMTP = "FIBSTACK_SMTP_"
VARIABLES = (
    *(_SMTP + name for name in ("HOST", "PORT", "USER", "PASSWORD", "FROM", "TLS")),
    WEBHOOK_VARIABLE,
    PRIVATE_WEBHOOKS_VARIABLE,
)
"""Names of all variables of notification; of the steps, `report` alone is given them."""
SECRET = "fibstack-notification"  # noqa: S105 - its name
"""Kubernetes secret that holds the values for a pod, under the names of the variables."""

Encryption = Literal["starttls", "tls", "none"]
_PORTS: Mapping[Encryption, int] = {"starttls": 587, "tls": 465, "none": 25}


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Mail server, and the account and sender that it is used with."""

    host: str
    port: int
    sender: str
    encryption: Encryption
    user: str = ""
    password: str = field(default="", repr=False)


def mail_server(environment: Mapping[str, str]) -> MailServer | None:
    """The mail server that the environment names; None where it names none.

    Raises:
        ConfigError: a variable is missing or holds a refused value; the sentence shows no password.

    Example:
        >>> mail_server({"FIBSTACK_SMTP_HOST": "mail.lab.org", "FIBSTACK_SMTP_FROM": "em@lab.org"})
        MailServer(host='mail.lab.org', port=587, sender='em@lab.org', encryption='starttls', user='')
    """
    host, port, user, password, sender, tls = (environment.get(name, "").strip() for name in VARIABLES[:6])
    if not host:
        return None
    if tls and tls not in _PORTS:
        rule = f"be one of {', '.join(get_args(Encryption))}"
        raise ConfigError(f"FIBSTACK_SMTP_TLS must {rule}; got {tls!r}. Change it.")
    encryption = cast("Encryption", tls or "starttls")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"FIBSTACK_SMTP_PORT must be a port from 1 to 65535; got {port!r}. Change it.")
    if password and encryption == "none":
        raise ConfigError(
            "FIBSTACK_SMTP_TLS must not be none where there is a password, which anyone could read on its "
            "way. Set it to starttls or tls."
        )
    if not (sender or "@" in user):
        raise ConfigError("FIBSTACK_SMTP_FROM must name the sender of the mail; it is not set. Set it.")
    return MailServer(
        host=host,
        port=int(port) if port else _PORTS[encryption],
        sender=sender or user,
        encryption=encryption,
        user=user,
        password=password,
    )
