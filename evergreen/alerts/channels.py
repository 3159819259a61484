"""How an alert reaches each kind of target. Secrets are looked up at the moment of sending."""

from __future__ import annotations

import json
import os
import smtplib
import ssl
import sys
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Final

import httpx

from evergreen.alerts.outbox import Letter
from evergreen.alerts.settings import (
    ConsoleTarget,
    EmailTarget,
    FileTarget,
    SlackTarget,
    Target,
    WebhookTarget,
)
from evergreen.data.sources.environment import Environment
from evergreen.errors import InputError
from evergreen.paths import Home

Channel = Callable[[Letter], None]
_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
_BUSY: Final = frozenset({408, 425, 429})  # of the 4xx, those that a later try may mend
_SERVER_FAULT: Final = 500


class DeliveryError(Exception):
    """A target did not take an alert; ``temporary`` where another try may help."""

    def __init__(self, reason: str, *, temporary: bool) -> None:
        super().__init__(reason)
        self.temporary = temporary


def channel(target: Target, environment: Environment) -> Channel:
    """Return what brings a letter to ``target``; it raises `DeliveryError` where it cannot.

    ``environment`` resolves references, and remembers which values must not show.
    """

    def bring(letter: Letter) -> None:
        try:
            _deliver(letter, target, environment)
        except InputError as error:
            raise DeliveryError(str(error), temporary=False) from None

    return bring


def message_text(letter: Letter) -> str:
    """Return an alert as plain text, its headline first."""
    alert = letter.alert
    lines = [alert.headline, ""]
    if alert.text:
        lines += [alert.text, ""]
    lines += [f"{name}: {value}" for name, value in alert.facts.items()]
    if letter.repeats:
        lines.append(f"kept back since the last one like it: {letter.repeats}")
    lines.append(f"{letter.time:%Y-%m-%d %H:%M:%S} UTC, {alert.kind}")
    return "\n".join(lines)


def message_json(letter: Letter) -> str:
    """Return an alert as one line of JSON; ``id`` is the same at every try."""
    content = {"id": letter.event, "time": letter.time.isoformat(timespec="milliseconds")}
    told = letter.alert.model_dump(mode="json") | {"repeats": letter.repeats}
    return json.dumps(content | told, ensure_ascii=False)


def _deliver(letter: Letter, target: Target, environment: Environment) -> None:
    match target:
        case ConsoleTarget():
            print(message_text(letter), file=sys.stderr, flush=True)
        case FileTarget():
            _append(letter, target)
        case WebhookTarget():
            _post_webhook(letter, target, environment)
        case SlackTarget():
            _post_slack(letter, target, environment)
        case EmailTarget():
            _mail(letter, target, environment)


def _append(letter: Letter, target: FileTarget) -> None:
    path = Path(target.path) if target.path else Home.locate().logs / "alerts.jsonl"
    line = (message_json(letter) + "\n").encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # One write to the end, so that lines of several processes never mix.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            written = os.write(descriptor, line)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise DeliveryError(f"{path}: {error.strerror}", temporary=False) from error
    if written != len(line):
        raise DeliveryError(f"{path}: the disk is full", temporary=False)


def _post_webhook(letter: Letter, target: WebhookTarget, environment: Environment) -> None:
    headers = {
        name: environment.resolve(value, f"alerts.targets.{letter.target}.headers.{name}")
        for name, value in target.headers.items()
    }
    headers |= {"Content-Type": "application/json", "Idempotency-Key": letter.event}
    url = environment.resolve_url(target.url, f"alerts.targets.{letter.target}.url")
    _post(url, message_json(letter), headers, target.timeout)


def _post_slack(letter: Letter, target: SlackTarget, environment: Environment) -> None:
    # https://docs.slack.dev/messaging/formatting-message-text/#escaping
    text = message_text(letter)
    for sign, written in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, written)
    url = environment.resolve(target.url, f"alerts.targets.{letter.target}.url")
    headers = {"Content-Type": "application/json"}
    _post(url, json.dumps({"text": text}), headers, target.timeout)


def _post(url: str, body: str, headers: dict[str, str], timeout: float) -> None:
    try:
        answer = httpx.post(url, content=body.encode(), headers=headers, timeout=timeout)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError) as error:
        raise DeliveryError(f"its address is unusable: {error}", temporary=False) from error
    except httpx.HTTPError as error:
        # Not the address itself: it may be a secret.
        raise DeliveryError(str(error) or type(error).__name__, temporary=True) from error
    if not answer.is_success:
        again = answer.status_code >= _SERVER_FAULT or answer.status_code in _BUSY
        raise DeliveryError(f"it answered with status {answer.status_code}", temporary=again)


def _mail(letter: Letter, target: EmailTarget, environment: Environment) -> None:
    key = f"alerts.targets.{letter.target}"
    host = environment.resolve(target.host, f"{key}.host")
    credentials = None
    if target.username is not None and target.password is not None:
        credentials = (
            environment.resolve(target.username, f"{key}.username"),
            environment.resolve(target.password, f"{key}.password"),
        )
    port = target.port or _PORTS[target.security]
    try:
        with _connect(host, port, target) as server:
            if credentials is not None:
                server.login(*credentials)
            server.send_message(_mail_message(letter, target))
    except smtplib.SMTPResponseException as error:
        code, said = error.smtp_code, error.smtp_error
        words = said.decode(errors="replace") if isinstance(said, bytes) else said
        reason = f"{host}:{port} answered {code} {words}"
        # RFC 5321, section 4.2.1: 4yz is transient, 5yz permanent.
        raise DeliveryError(reason, temporary=code < _SERVER_FAULT) from error
    except ssl.SSLCertVerificationError as error:
        reason = f"{host}:{port} shows a certificate that does not hold: {error.verify_message}"
        raise DeliveryError(reason, temporary=False) from error
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPNotSupportedError) as error:
        raise DeliveryError(f"{host}:{port} refused: {error}", temporary=False) from error
    except (smtplib.SMTPException, OSError) as error:
        reason = f"{host}:{port}: {str(error) or type(error).__name__}"
        raise DeliveryError(reason, temporary=True) from error


def _connect(host: str, port: int, target: EmailTarget) -> smtplib.SMTP:
    if target.security == "tls":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, port, timeout=target.timeout, context=context)
    server = smtplib.SMTP(host, port, timeout=target.timeout)
    if target.security == "starttls":
        try:
            server.starttls(context=ssl.create_default_context())
        except BaseException:
            server.close()
            raise
    return server


def _mail_message(letter: Letter, target: EmailTarget) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = letter.alert.headline
    message["From"] = target.sender
    message["To"] = ", ".join(target.to)
    message["Date"] = letter.time
    message["Message-ID"] = f"<{letter.event}.{letter.target}@evergreen>"
    message.set_content(message_text(letter))
    return message
