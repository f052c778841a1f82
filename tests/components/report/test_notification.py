"""Who is told when a run ends, by real mail and web servers on loopback, and what nobody is told."""

from __future__ import annotations

import http.server
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from components.report import telling
from components.report.main import main
from components.report.telling import check_destination, tell
from components.report.words.notice import Notice
from components.shared.documents.config import parse_config
from components.shared.documents.notification import (
    PRIVATE_WEBHOOKS_VARIABLE,
    VARIABLES,
    WEBHOOK_VARIABLE,
    mail_server,
)
from components.shared.errors import ConfigError
from tests.builders import invoke
from tests.components.report.finished_run import finished_run
from tests.components.report.loopback_mail import PASSWORD, USER, MailServer, write_certificate
from tests.hostile_server import HEAD, Behaviour, dribble, flood, hostile, say

PRIVATE = {PRIVATE_WEBHOOKS_VARIABLE: "1"}
"""The servers of these tests are on this machine."""
NOTICE = Notice("fibstack: run1 is complete", "The volume is complete.\nWärme: 3 µm", {"state": "complete"})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.INFO)


@contextmanager
def served(server: Any) -> Iterator[Any]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that keeps what it is sent."""

    bodies: ClassVar[list[dict[str, Any]]]
    status: ClassVar[int]

    def do_POST(self) -> None:
        self.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(self.status)
        if self.status == 302:
            self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hook() -> Iterator[str]:
    Hook.bodies, Hook.status = [], 200
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)) as server:
        yield f"http://127.0.0.1:{server.server_port}/services/T0/secret-token"


def smtp(server: MailServer, **more: str) -> dict[str, str]:
    given = {"HOST": "127.0.0.1", "PORT": str(server.port), "FROM": "em@lab.org", **more}
    return {f"FIBSTACK_SMTP_{name}": value for name, value in given.items()}


def test_a_mail_arrives(caplog: pytest.LogCaptureFixture) -> None:
    with served(MailServer()) as server:
        tell(NOTICE, "ada@lab.org", "", smtp(server, TLS="none"))
    ((sender, recipients, text),) = server.mails
    assert "em@lab.org" in sender
    assert ["ada@lab.org" in recipient for recipient in recipients] == [True]
    assert "Subject: fibstack: run1 is complete" in text
    assert "The volume is complete." in text
    assert "\nDate: " in text
    assert "@lab.org>" in text.partition("\nMessage-ID: ")[2].partition("\n")[0]
    assert caplog.messages == ["sent a mail to ada@lab.org"]


@pytest.mark.parametrize("encryption", ["starttls", "tls"])
def test_a_password_goes_encrypted(
    encryption: str, certificate: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with served(MailServer(certificate, tls_at_once=encryption == "tls", login=True)) as server:
        tell(NOTICE, "ada@lab.org", "", smtp(server, TLS=encryption, USER=USER, PASSWORD=PASSWORD))
    assert len(server.mails) == 1, caplog.messages
    assert server.said.index("STARTTLS") < 2 if encryption == "starttls" else "STARTTLS" not in server.said


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(
    certificate: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with served(MailServer(certificate, login=True)) as server:
        tell(NOTICE, "ada@lab.org", "", smtp(server, USER=USER, PASSWORD=PASSWORD))
    assert server.mails == []
    assert not any(line.startswith("AUTH") for line in server.said)
    assert "no trusted encrypted connection" in caplog.text


def test_a_server_without_encryption_gets_no_password(caplog: pytest.LogCaptureFixture) -> None:
    with served(MailServer(login=True)) as server:
        tell(NOTICE, "ada@lab.org", "", smtp(server, USER=USER, PASSWORD=PASSWORD))
    assert not any(line.startswith("AUTH") for line in server.said)
    assert "the server lacks encryption or login" in caplog.text


def test_a_refused_password_stays_secret(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The server repeats it in its answer."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with served(MailServer(certificate, login=True)) as server:
        tell(NOTICE, "ada@lab.org", "", smtp(server, USER=USER, PASSWORD="wrong horse"))
    assert "the server refused user or password. The run is not affected." in caplog.text
    assert "horse" not in caplog.text


def test_a_refused_address_is_a_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with served(MailServer()) as server:
        tell(NOTICE, "nobody@lab.org", "", smtp(server, TLS="none"))
    assert "no mail to nobody@lab.org: the server refused the address" in caplog.text


@pytest.mark.parametrize("email", ["a\nBcc: eve@evil.org", "someaddress", "ä@ö"])
def test_no_address_breaks_a_run(email: str) -> None:
    with served(MailServer()) as server:
        tell(NOTICE, email, "", smtp(server, TLS="none"))
    assert not any("eve@evil.org" in str(mail) for mail in server.mails)


def test_without_a_server_nothing_is_sent_and_the_log_says_so(caplog: pytest.LogCaptureFixture) -> None:
    tell(NOTICE, "ada@lab.org", "", {})
    assert caplog.messages == [
        "no mail to ada@lab.org: no mail server is set. Set FIBSTACK_SMTP_HOST and FIBSTACK_SMTP_FROM."
    ]
    caplog.clear()
    tell(NOTICE, "", "", {})
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"TLS": "ssl"}, "FIBSTACK_SMTP_TLS must be one of starttls, tls, none"),
        ({"PORT": "0"}, "FIBSTACK_SMTP_PORT must be a port"),
        ({"PORT": "smtp"}, "FIBSTACK_SMTP_PORT must be a port"),
        ({"FROM": ""}, "FIBSTACK_SMTP_FROM must name the sender"),
        ({"TLS": "none", "PASSWORD": "hush"}, "FIBSTACK_SMTP_TLS must not be none"),
    ],
    ids=str,
)
def test_bad_variables_are_refused_without_the_password(variables: dict[str, str], sentence: str) -> None:
    given = {"FIBSTACK_SMTP_HOST": "h", "FIBSTACK_SMTP_FROM": "a@b"}
    with pytest.raises(ConfigError, match=sentence) as caught:
        mail_server(given | {f"FIBSTACK_SMTP_{name}": value for name, value in variables.items()})
    assert "hush" not in str(caught.value)


def test_a_webhook_gets_text_and_figures(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    tell(NOTICE, "", hook, PRIVATE)
    assert Hook.bodies == [{"text": f"{NOTICE.subject}\n{NOTICE.text}", "state": "complete"}]
    assert caplog.messages == ["sent a message to the webhook at 127.0.0.1"]


def test_the_webhook_of_the_environment_is_told_too_and_only_once(hook: str) -> None:
    tell(NOTICE, "", "", {WEBHOOK_VARIABLE: f"{hook}\n", **PRIVATE})
    tell(NOTICE, "", hook, {WEBHOOK_VARIABLE: hook, **PRIVATE})
    assert len(Hook.bodies) == 2


@pytest.mark.parametrize("status", [302, 404, 500])
def test_a_webhook_that_refuses_is_a_sentence_without_its_secret(
    status: int, hook: str, caplog: pytest.LogCaptureFixture
) -> None:
    Hook.status = status
    tell(NOTICE, "", hook, PRIVATE)
    assert caplog.messages == [
        f"no message to the webhook at 127.0.0.1: the server answered HTTP {status}. The run is not affected."
    ]


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:1/secret", "https://", "http://[/secret", "file:///secret", "x" * 9999]
)
def test_no_webhook_breaks_a_run(address: str, caplog: pytest.LogCaptureFixture) -> None:
    tell(NOTICE, "", address, PRIVATE)
    assert "no message to the webhook" in caplog.text
    assert "secret" not in caplog.text


def test_a_server_that_says_nothing_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "TIMEOUT_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        host, _, port = address.partition(":")
        given = {
            "FIBSTACK_SMTP_HOST": host,
            "FIBSTACK_SMTP_PORT": port,
            "FIBSTACK_SMTP_FROM": "a@b",
            **PRIVATE,
        }
        tell(NOTICE, "ada@lab.org", f"http://{address}/", given)
    assert "no mail to ada@lab.org: the server hung up or did not answer" in caplog.text
    assert "127.0.0.1: the server did not answer" in caplog.text


MAIL_WITHOUT_END = {
    "greeting": dribble(),
    "greeting, line by line": dribble(b"", b"220-hello\r\n"),
    "greeting without an end": flood(b"", b"220-" + b"x" * 4000 + b"\r\n"),
    "one line without an end": flood(b"", b"x" * 65536),
    "after the greeting": dribble(b"220 hello\r\n", b"2"),
    "garbage": flood(b"", b"\xff\x00\r\n"),
    "codes": flood(b"220 hello\r\n", b"999999999999\r\n"),
}


@pytest.mark.parametrize("encryption", ["none", "starttls", "tls"])
@pytest.mark.parametrize("behave", MAIL_WITHOUT_END.values(), ids=MAIL_WITHOUT_END.keys())
def test_a_mail_server_that_never_ends_ends_no_run(
    behave: Behaviour, encryption: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "TELL_WITHIN_S", 0.4)
    with hostile(behave) as server:
        host, _, port = server.partition(":")
        names = {"HOST": host, "PORT": port, "FROM": "em@lab.org", "TLS": encryption}
        started = time.monotonic()
        tell(NOTICE, "ada@lab.org", "", {f"FIBSTACK_SMTP_{name}": value for name, value in names.items()})
        assert time.monotonic() - started < 2
    (sentence,) = caplog.messages
    assert sentence.startswith("no mail to ada@lab.org: ")
    assert sentence.endswith("The run is not affected.")


def test_all_are_told_within_a_minute_together(
    hook: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Who answers is told, whoever else does not."""
    assert telling.TELL_WITHIN_S <= 60
    monkeypatch.setattr(telling, "TELL_WITHIN_S", 0.6)
    with hostile(dribble()) as mail, hostile(dribble(b"HTTP/1.1 200 OK\r\nX: ")) as web:
        host, _, port = mail.partition(":")
        names = {"HOST": host, "PORT": port, "FROM": "em@lab.org", "TLS": "none"}
        environment = {f"FIBSTACK_SMTP_{name}": value for name, value in names.items()}
        started = time.monotonic()
        tell(NOTICE, "ada@lab.org", f"http://{web}/", {**environment, WEBHOOK_VARIABLE: hook, **PRIVATE})
        assert time.monotonic() - started < 2
    late = "the server was not done within 0.6 s. The run is not affected."
    assert caplog.messages == [
        f"no mail to ada@lab.org: {late}",
        f"no message to the webhook at 127.0.0.1: {late}",
        "sent a message to the webhook at 127.0.0.1",
    ]
    assert len(Hook.bodies) == 1


@pytest.mark.parametrize(
    ("behave", "sentence"),
    [
        (dribble(b"HTTP/1.1 200 OK\r\nX: "), "the server did not answer within"),
        (say(b""), "the server cannot be reached or refused (ConnectionError)"),
        (say(b"\xff\xfe"), "the server cannot be reached or refused (ConnectionError)"),
    ],
    ids=["headers", "nothing", "garbage"],
)
def test_a_webhook_without_an_answer_is_a_sentence(
    behave: Behaviour, sentence: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(telling, "TIMEOUT_S", 0.4)
    with hostile(behave) as server:
        tell(NOTICE, "", f"http://{server}/hush", PRIVATE)
    assert sentence in caplog.text
    assert "hush" not in caplog.text


@pytest.mark.parametrize("behave", [dribble(HEAD), flood()], ids=["dribbles", "floods"])
def test_a_webhook_has_the_message_when_it_says_so(
    behave: Behaviour, caplog: pytest.LogCaptureFixture
) -> None:
    """The body of its answer is nobody's business."""
    with hostile(behave) as server:
        tell(NOTICE, "", f"http://{server}/", PRIVATE)
    assert caplog.messages == ["sent a message to the webhook at 127.0.0.1"]


@pytest.mark.parametrize("error", [RuntimeError, AssertionError, RecursionError, MemoryError])
def test_whatever_a_library_raises_no_run_fails(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error("hush")

    monkeypatch.setattr(telling, "ask", fail)
    monkeypatch.setattr(telling, "_connect", fail)
    tell(
        NOTICE,
        "ada@lab.org",
        "http://127.0.0.1:1/",
        {"FIBSTACK_SMTP_HOST": "h", "FIBSTACK_SMTP_FROM": "a@b", **PRIVATE},
    )
    assert len(caplog.messages) == 2
    assert "hush" not in caplog.text


@pytest.mark.parametrize(
    "address",
    [
        "https://hooks.slack.com/services/T0/B0/hush",
        "https://discord.com/api/webhooks/1/hush",
        "https://ci.lab.org/hooks/hush",
        "https://discordapp.com/api/webhooks/1/hush",
        "https://host?token=hush",
        "https://host/#hush",
        "https://me:hush@host/",
        "ftp://host/hush",
        "host/hush",
        "https://host/\nhush",
        "https://host:port/hush",
    ],
)
def test_a_configuration_holds_no_secret_address(address: str) -> None:
    given = {"source": "s", "image": "%d.png", "minz": 0, "maxz": 1, "output": "o"}
    with pytest.raises(ConfigError, match="'webhook': must ") as caught:
        parse_config({**given, "webhook": address})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("address", ["https://ci.lab.org", "https://ci.lab.org:8443/", "http://127.0.0.1:80"])
def test_a_configuration_takes_the_host_of_a_webhook(address: str) -> None:
    given = {"source": "s", "image": "%d.png", "minz": 0, "maxz": 1, "output": "o"}
    assert parse_config({**given, "webhook": address}).webhook == address
    with pytest.raises(ConfigError, match="'webhook': must begin with https://; got one that may"):
        parse_config({**given, "webhook": "http://ci.lab.org:8080"})


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("http://169.254.169.254/latest/hush", "its host is in a private network"),
        ("https://10.0.0.7/hush", "its host is in a private network"),
        ("https://192.168.1.1:8443/hush", "its host is in a private network"),
        ("https://localhost/hush", "its host is in a private network"),
        ("https://[fe80::1]/hush", "its host is in a private network"),
        ("https://[::ffff:10.0.0.7]/hush", "its host is in a private network"),
        ("https://2130706433/hush", "its host is in a private network"),
        ("http://93.184.216.34/hush", "a webhook must begin with https://"),
    ],
)
def test_a_webhook_inside_is_not_told_unless_that_is_meant(
    address: str, sentence: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    posted: list[str] = []
    monkeypatch.setattr(telling, "ask", lambda _, address, **__: posted.append(address))
    tell(NOTICE, "", "", {WEBHOOK_VARIABLE: address})
    assert posted == []
    assert sentence in caplog.text
    assert "hush" not in caplog.text


def test_a_name_that_leads_inside_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    place = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 443))
    monkeypatch.setattr(telling.socket, "getaddrinfo", lambda *_, **__: [place])
    with pytest.raises(ConfigError, match="private network"):
        check_destination("https://innocent.lab.org/em", may_be_private=False)
    check_destination("https://innocent.lab.org/em", may_be_private=True)
    check_destination("http://innocent.lab.org/em", may_be_private=True)


def test_a_finished_run_tells_its_verdict_figures_and_link(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, _, _ = finished_run(tmp_path, id="run1")
    monkeypatch.setenv(PRIVATE_WEBHOOKS_VARIABLE, "1")
    with served(MailServer()) as server:
        for name, value in smtp(server, TLS="none").items():
            monkeypatch.setenv(name, value)
        words = ["--output", plan.config.output, "--status", "Succeeded"]
        result = invoke(main, *words, "--email", "ada@lab.org", "--webhook", hook)
    assert result.exit_code == 0, result.output
    ((_, _, mail),) = server.mails
    assert "Subject: fibstack: run1 is complete" in mail
    (body,) = Hook.bodies
    assert body["text"].startswith("fibstack: run1 is complete\n")
    assert f"Report: {plan.config.output}/process/report/index.html" in body["text"]
    assert f"fibstack view {plan.config.output}" in body["text"]
    assert (body["state"], body["n_slices"], body["n_replaced"]) == ("complete", 20, 1)
    assert body["median_ncc_after"] > 0.8


def test_a_run_whose_input_was_refused_is_told_too(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PRIVATE_WEBHOOKS_VARIABLE, "1")
    status = '{"state": "FAILED", "error": {"code": 9, "message": "plan: slice 7 must be there."}}'
    words = ["--output", str(tmp_path), "--status", status, "--webhook", hook]
    assert invoke(main, *words).exit_code == 0
    (body,) = Hook.bodies
    assert body["text"].startswith(
        f"fibstack: {tmp_path} failed\nThe run failed before any work was done: plan:"
    )
    assert body["state"] == "failed"
    assert "slice 7 must be there" in body["text"]


def test_a_webhook_that_is_down_fails_no_run(tmp_path: Path) -> None:
    words = ["--output", str(tmp_path), "--status", "Failed", "--webhook", "http://127.0.0.1:1/"]
    assert invoke(main, *words).exit_code == 0


@pytest.mark.parametrize("is_up", [True, False])
def test_a_stub_tells_that_it_is_a_test_and_fails_where_nobody_can_be_told(
    hook: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_up: bool
) -> None:
    if is_up:
        monkeypatch.setenv(PRIVATE_WEBHOOKS_VARIABLE, "1")
    page, lines = tmp_path / "page.html", tmp_path / "lines.md"
    words = ["--output", str(tmp_path / "out"), "--status", "Failed", "--webhook", hook, "--stub", "1f00"]
    result = invoke(main, *words, "--page-out", str(page), "--markdown-out", str(lines))
    assert "This is a test" in page.read_text()
    assert "This is a test" in lines.read_text()
    assert not list((tmp_path / "out").rglob("*"))
    if is_up:
        assert result.exit_code == 0, result.output
        (body,) = Hook.bodies
        assert body["state"] == "test"
        assert body["text"].startswith(f"fibstack: {tmp_path / 'out'}, a test\nThis is a test:")
    else:
        assert result.exit_code == 65
        assert "error: the end of a run must reach who is to be told; got no message to" in result.output
        assert f"Set {PRIVATE_WEBHOOKS_VARIABLE}=1" in result.output
