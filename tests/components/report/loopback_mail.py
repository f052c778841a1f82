"""A mail server on loopback: real SMTP, with encryption and login, that keeps what it is sent."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import ipaddress
import socketserver
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, PASSWORD = "em@lab.org", "correct horse"


class MailServer(socketserver.ThreadingTCPServer):
    """Takes mail for anybody but nobody@lab.org; `mails` holds (sender, recipients, text)."""

    def __init__(
        self, certificate: Path | None = None, *, tls_at_once: bool = False, login: bool = False
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.port = self.server_address[1]
        self.context: ssl.SSLContext | None = None
        if certificate:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(certificate)
        self.tls_at_once, self.needs_login = tls_at_once, login
        self.mails: list[tuple[str, list[str], str]] = []
        self.said: list[str] = []


class _Session(socketserver.StreamRequestHandler):
    server: MailServer

    def setup(self) -> None:
        if self.server.tls_at_once:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
        super().setup()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            super().finish()
        self.request.close()

    def handle(self) -> None:
        try:
            self.talk()
        except OSError:  # the client gave up
            return

    def answer(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")

    def talk(self) -> None:
        self.answer("220 loopback")
        encrypted, welcome, sender, recipients = self.server.tls_at_once, False, "", []
        while line := self.rfile.readline().decode().rstrip("\r\n"):
            self.server.said.append(line)
            verb = line.split(" ")[0].upper()
            if verb == "EHLO":
                can_encrypt = self.server.context and not encrypted
                extensions = ["loopback", *(["STARTTLS"] if can_encrypt else [])]
                extensions += ["AUTH PLAIN"] if self.server.needs_login else []
                for extension in extensions[:-1]:
                    self.answer(f"250-{extension}")
                self.answer(f"250 {extensions[-1]}")
            elif verb == "STARTTLS":
                self.answer("220 go on")
                self.request = self.server.context.wrap_socket(self.request, server_side=True)
                self.rfile, self.wfile = self.request.makefile("rb"), self.request.makefile("wb", 0)
                encrypted = True
            elif verb == "AUTH":
                _, user, password = base64.b64decode(line.split(" ")[2]).decode().split("\0")
                welcome = encrypted and (user, password) == (USER, PASSWORD)
                self.answer("235 welcome" if welcome else f"535 no login as {user} with {password}")
            elif verb == "MAIL":
                sender = line
                self.answer("530 log in first" if self.server.needs_login and not welcome else "250 ok")
            elif verb == "RCPT":
                recipients.append(line)
                self.answer("550 nobody" if "nobody@lab.org" in line else "250 ok")
            elif verb == "DATA":
                self.answer("354 end with a dot")
                lines = iter(lambda: self.rfile.readline().decode().rstrip("\r\n"), ".")
                self.server.mails.append((sender, recipients, "\n".join(lines)))
                self.answer("250 taken")
            elif verb == "QUIT":
                self.answer("221 bye")
                return
            else:
                self.answer("250 ok")


def write_certificate(folder: Path) -> Path:
    """A certificate of 127.0.0.1 that vouches for itself, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "server.pem"
    path.write_bytes(private + certificate.public_bytes(pem))
    return path
