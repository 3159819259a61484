"""What takes alerts in the tests: a web server and a mail server on this machine, which count."""

from __future__ import annotations

import datetime
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    content: dict


@dataclass
class Webhook:
    """Every request that came, and the status that each was answered with."""

    url: str
    posts: list[Post] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    @property
    def taken(self) -> list[Post]:
        """What was answered with success."""
        return [p for p, s in zip(self.posts, self.statuses, strict=True) if s < 300]


def telling(receiver: Webhook) -> tuple[str, ...]:
    """Return the words of a command line that send every alert to a webhook."""
    target = "{type: webhook, url: '" + receiver.url + "', minimum: info}"
    return ("--set", f"alerts.targets={{ops: {target}}}", "--set", "alerts.attempts=1")


@contextmanager
def webhook(answer: Callable[[int], int] = lambda _: 200) -> Iterator[Webhook]:
    """Take POSTs until the block ends; ``answer`` gives the status of the n-th (from 0)."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            with lock:
                status = answer(len(receiver.posts))
                receiver.posts.append(Post(self.path, headers, json.loads(body)))
                receiver.statuses.append(status)
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Webhook(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailServer:
    port: int = 0
    messages: list[EmailMessage] = field(default_factory=list)
    logins: list[tuple[str, str]] = field(default_factory=list)
    encrypted: list[bool] = field(default_factory=list)
    refuse: str | None = None  # the answer to every message

    async def handle_DATA(self, server, session, envelope) -> str:  # noqa: N802  (aiosmtpd)
        """Keep a message, with how it came."""
        if self.refuse is not None:
            return self.refuse
        self.messages.append(message_from_bytes(envelope.content, policy=default))
        self.encrypted.append(session.ssl is not None)
        return "250 taken"


@contextmanager
def mail_server(
    *, certificate: Path | None = None, login: tuple[str, str] | None = None
) -> Iterator[MailServer]:
    """Take mail until the block ends: with STARTTLS and a login, where those are given."""
    receiver = MailServer()

    def authenticate(server, session, envelope, mechanism, data) -> AuthResult:
        given = (data.login.decode(), data.password.decode())
        receiver.logins.append(given)
        return AuthResult(success=given == login, handled=False)

    options = {}
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        options |= {"tls_context": context, "require_starttls": True}
    if login is not None:
        options |= {"authenticator": authenticate, "auth_required": True}
    controller = FreePort(receiver, hostname="127.0.0.1", **options)
    controller.start()
    receiver.port = controller.server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        controller.stop()


class FreePort(Controller):
    """A server on whatever port is free."""

    def __init__(self, handler, **options) -> None:
        super().__init__(handler, port=0, **options)

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def make_certificate(file: Path) -> Path:
    """Write key and certificate of 127.0.0.1, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    written = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(written + certificate.public_bytes(serialization.Encoding.PEM))
    return file
