"""Web requests that are patient, say clearly what went wrong, and keep secrets.

Tries again only where that can help: connection errors, 408, 425, 429 and 5xx, with exponential
back-off and jitter, at least as long as ``Retry-After`` asks (RFC 9110, section 10.2.3).
"""

from __future__ import annotations

import logging
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)

from evergreen.data.source_config import HttpSource
from evergreen.data.sources.environment import Environment, names_in
from evergreen.errors import InputError, UnreachableError

LONGEST_WAIT = 120.0  # seconds that a server may ask us to wait
LONGEST_BACKOFF = 30.0
SHOWN_CHARACTERS = 200
_RETRIED = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_TALKATIVE_LOGGERS = ("httpx", "httpcore")


class WebClient:
    """Asks one web server, with the headers of the source sent to that server alone."""

    def __init__(self, source: HttpSource, environment: Environment, backoff: float) -> None:
        url = _base_url(source, environment)
        self.base = url.copy_with(username=None, password=None)
        self._headers = {**_basic_auth(url, environment), **_headers(source, environment)}
        self._references = {
            name: [f"${{{variable}}}" for variable in names_in(value)]
            for name, value in source.headers.items()
        }
        self._environment = environment
        self._tries = source.retries + 1
        self._backoff = wait_exponential_jitter(
            multiplier=backoff, max=LONGEST_BACKOFF, jitter=backoff
        )
        self._timeout = source.timeout
        self._client = httpx.Client(
            timeout=source.timeout,
            follow_redirects=True,
            event_hooks={"request": [self._add_headers]},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._client.close()

    def get(self, url: httpx.URL, where: str, *, missing_ok: bool = False) -> httpx.Response | None:
        """Return the whole answer of the server, or None for a 404 where ``missing_ok``.

        Raises
        ------
        UnreachableError
            Every try failed, the server wants us to wait too long, or it refuses the credentials.
        InputError
            There is nothing at the address, or the server refuses the request.
        """
        attempts = Retrying(
            stop=stop_after_attempt(self._tries),
            wait=self._wait,
            retry=retry_if_exception_type(_TryAgainError),
            reraise=True,
        )
        try:
            with _quiet_loggers():
                response = attempts(self._once, url, where)
        except _TryAgainError as error:
            times = "once" if self._tries == 1 else f"{self._tries} times"
            raise UnreachableError(f"{where}: tried {times}, without success: {error}") from None
        if missing_ok and response.status_code == HTTPStatus.NOT_FOUND:
            return None
        self._require_success(response, where)
        return response

    def _once(self, url: httpx.URL, where: str) -> httpx.Response:
        try:
            response = self._client.get(url)
        except httpx.TimeoutException as error:
            reason = f"no answer within {self._timeout:g} s ({type(error).__name__})"
            raise _TryAgainError(reason) from None
        except (httpx.UnsupportedProtocol, httpx.TooManyRedirects, httpx.InvalidURL) as error:
            raise InputError(f"{where}: {self._environment.hide(str(error))}") from None
        except (httpx.TransportError, httpx.DecodingError) as error:
            reason = self._environment.hide(str(error)) or type(error).__name__
            raise _TryAgainError(reason) from None
        if response.status_code in _RETRIED or response.is_server_error:
            asked = _retry_after(response)
            if asked is not None and asked > LONGEST_WAIT:
                raise UnreachableError(
                    f"{where}: answers {_status(response)} and asks to come back in {asked:.0f} s"
                )
            raise _TryAgainError(f"answers {_status(response)}", asked)
        return response

    def _wait(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.after if isinstance(error, _TryAgainError) else None
        return max(self._backoff(state) if asked is None else 0.0, asked or 0.0)

    def _add_headers(self, request: httpx.Request) -> None:
        """Send the source's headers to its own server, never to one it redirects or links to."""
        if _same_server(self.base, request.url):
            request.headers.update(self._headers)
        else:
            for name in self._headers:
                request.headers.pop(name, None)

    def _require_success(self, response: httpx.Response, where: str) -> None:
        if response.is_success:
            return
        status = _status(response)
        if response.status_code in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
            raise UnreachableError(f"{where}: answers {status}; {self._credentials_hint()}")
        if response.status_code in {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}:
            raise InputError(f"{where}: answers {status}; correct data.source.url")
        said = " ".join(self._environment.hide(response.text).split())[:SHOWN_CHARACTERS]
        raise InputError(f"{where}: answers {status}{f': {said}' if said else ''}")

    def _credentials_hint(self) -> str:
        if not self._references:
            return (
                "it wants credentials: give them in data.source.headers, "
                "such as Authorization: Bearer ${TOKEN}"
            )
        names = [
            f"{name} (from {', '.join(variables)})" if variables else name
            for name, variables in self._references.items()
        ]
        return f"check the credentials in data.source.headers: {', '.join(names)}"


class _TryAgainError(Exception):
    """A failure that may pass, and after how many seconds the server says it will."""

    def __init__(self, reason: str, after: float | None = None) -> None:
        super().__init__(reason)
        self.after = after


def _base_url(source: HttpSource, environment: Environment) -> httpx.URL:
    """Return the resolved address with the source's parameters."""
    params = {
        name: environment.resolve(value, f"data.source.params.{name}")
        for name, value in source.params.items()
    }
    try:
        url = httpx.URL(environment.resolve_url(source.url, "data.source.url"))
    except httpx.InvalidURL as error:
        raise InputError(
            f"data.source.url is no web address: {environment.hide(str(error))}"
        ) from None
    return url.copy_merge_params(params) if params else url


def _basic_auth(url: httpx.URL, environment: Environment) -> Mapping[str, str]:
    """Return user and password of an address as a header (RFC 7617), kept from other servers."""
    if not url.userinfo:
        return {}
    token = b64encode(f"{url.username}:{url.password}".encode()).decode()
    environment.remember(token)
    return {"Authorization": f"Basic {token}"}


def _headers(source: HttpSource, environment: Environment) -> Mapping[str, str]:
    """Return the resolved headers; the libraries' own complaints would show their values."""
    resolved = {}
    for name, text in source.headers.items():
        key = f"data.source.headers.{name}"
        value = environment.resolve(text, key)
        environment.remember(value)
        if not (value.isascii() and value.isprintable()):
            raise InputError(
                f"{key} holds a line break or another character that a header may not have"
            )
        resolved[name] = value
    return resolved


def _same_server(base: httpx.URL, other: httpx.URL) -> bool:
    if base.host != other.host:
        return False
    ports = {"http": 80, "https": 443}
    ours, theirs = (base.port or ports[base.scheme]), (other.port or ports.get(other.scheme))
    upgraded = (base.scheme, ours, other.scheme, theirs) == ("http", 80, "https", 443)
    return upgraded or (base.scheme, ours) == (other.scheme, theirs)


def _status(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


def _retry_after(response: httpx.Response) -> float | None:
    """Return the seconds that ``Retry-After`` asks for, given as a number or a date."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Keep addresses and headers, which may hold secrets, out of the libraries' logs."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE_LOGGERS]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
