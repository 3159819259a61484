"""One endpoint of the API, as a plain ASGI application.

Everything that all endpoints share happens here, once and cheaply: request id, API key, rate
limit, size limit, problem details, security headers and metrics. What an endpoint does is a
function from a `Call` to a `Reply`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from evergreen.errors import EvergreenError, RefusedError, UnreachableError
from evergreen.serving import problems
from evergreen.serving.problems import Problem
from evergreen.serving.security import API_HEADERS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from evergreen.serving.api.metrics import Metrics
    from evergreen.serving.api.rate_limit import RateLimiter
    from evergreen.serving.keys import Key, KeyRing

Header = tuple[bytes, bytes]
JSON: Final = b"application/json"
BODY_TIMEOUT: Final = 30.0  # seconds between two parts of a body
HANDLED: Final = "evergreen.handled"  # in a scope: this module sees to headers and metrics

logger = logging.getLogger(__name__)
_SEE_LOG: Final = "The server's log says what happened, by request id."
_SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_PREFIX = secrets.token_hex(6)
_numbers = itertools.count(1)


class Reply:
    """A finished answer; ``chunks`` replaces ``body`` where it comes in parts."""

    __slots__ = ("body", "chunks", "headers", "media_type", "status")

    def __init__(
        self,
        body: bytes = b"",
        status: int = 200,
        media_type: bytes = JSON,
        headers: Iterable[Header] = (),
        chunks: AsyncIterator[bytes] | None = None,
    ) -> None:
        self.body, self.status, self.media_type = body, status, media_type
        self.headers, self.chunks = headers, chunks


class Call:
    """A request on its way through an endpoint."""

    __slots__ = ("body", "client_id", "headers", "key_id", "request_id", "scope", "started")

    def __init__(
        self, scope: Scope, started: float, headers: dict[bytes, bytes] | None = None
    ) -> None:
        self.scope = scope
        self.started = started
        self.headers = dict[bytes, bytes](scope["headers"]) if headers is None else headers
        self.body = b""
        self.key_id: str | None = None
        # The id that predictions are logged under must be unique: a client's own is its beginning.
        unique = f"{_PREFIX}{next(_numbers):08x}"
        given = self.headers.get(b"x-request-id")
        self.client_id: bytes | None = None
        if given is not None and _SANE_ID.fullmatch(given):
            self.client_id = given
            unique = f"{given.decode('ascii')}.{unique}"
        self.request_id = unique

    @property
    def content_type(self) -> str:
        """The media type of the body, in lower case, without parameters."""
        raw = self.headers.get(b"content-type", b"").decode("latin-1")
        return raw.split(";", 1)[0].strip().lower()

    def require_json(self) -> None:
        """Refuse other content types: browsers send those to foreign sites without asking."""
        if self.headers.get(b"content-type") == JSON:
            return
        found = self.content_type
        if found != "application/json" and not found.endswith("+json"):
            raise Problem(
                "unsupported-media-type",
                f"Send application/json; this is {found[:100] or 'without a content type'}.",
            )

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the request's head."""
        return (time.perf_counter() - self.started) * 1000


Handler = Callable[[Call], Awaitable[Reply]]
# Answers a request that needs not be waited for; None, before anything was done, for the others.
AtOnce = Callable[[Call], Reply | None]


@dataclass(frozen=True)
class Gateway:
    """What all operations of an application share."""

    metrics: Metrics
    auth: KeyRing | None
    limiter: RateLimiter | None


@dataclass(frozen=True)
class Documented:
    """What the documentation says of an operation; schemas are OpenAPI's."""

    summary: str
    description: str = ""
    tag: str = "predict"
    request: dict[str, Any] = field(default_factory=dict)  # by media type
    response: dict[str, Any] = field(default_factory=dict)
    parameters: tuple[dict[str, Any], ...] = ()
    problems: tuple[int, ...] = ()
    status: str = "200"


class Operation:
    """One method on one path."""

    def __init__(
        self,
        gateway: Gateway,
        method: str,
        path: str,
        handler: Handler,
        docs: Documented,
        *,
        needs: str | None = "predict",
        limit: int | None = None,
        at_once: AtOnce | None = None,
    ) -> None:
        self.method, self.path, self.docs, self.needs = method, path, docs, needs
        self._gateway, self._handler, self._limit = gateway, handler, limit
        # A rate limit is taken from once, by whoever answers in the end.
        self._at_once = at_once if gateway.limiter is None else None
        metrics = gateway.metrics
        self._observe, self._counted = metrics.route(path).observe, metrics.counted
        self._enter, self._leave = metrics.in_flight.inc, metrics.in_flight.dec

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        call = Call(scope, time.perf_counter())
        scope[HANDLED] = True
        self._enter()
        status = 499  # nginx' number for a client that went away
        try:
            reply = await self._reply(call, receive)
            if reply is not None:
                status = reply.status
                await _send(reply, call, send)
        finally:
            self._leave()
            self._observe(status, time.perf_counter() - call.started)
            self._counted()

    @property
    def answers_at_once(self) -> bool:
        """Whether `answer_at_once` may have an answer."""
        return self._at_once is not None

    def answer_at_once(self, call: Call) -> Reply | None:
        """Answer a request whose body is in ``call``, without waiting for anything.

        None is for requests that `__call__` must answer: nothing was done about them.
        """
        assert self._at_once is not None and self._limit is not None  # noqa: S101
        if len(call.body) > self._limit:
            return None
        try:
            self._admit(call)
            reply = self._at_once(call)
            if reply is None:
                return None
        except Exception as error:
            reply = self._excused(error, call)
        self._observe(reply.status, time.perf_counter() - call.started)
        self._counted()
        return reply

    async def _reply(self, call: Call, receive: Receive) -> Reply | None:
        try:
            self._admit(call)
            if self._limit is not None:
                body = await read_body(call, receive, self._limit)
                if body is None:
                    return None
                call.body = body
            return await self._handler(call)
        except Exception as error:
            return self._excused(error, call)

    def _excused(self, error: Exception, call: Call) -> Reply:
        """Return the problem that a client is told of an error."""
        if isinstance(error, Problem):
            problem = error
        elif isinstance(error, EvergreenError):
            problem = _as_problem(error)
        else:
            logger.error("request %s to %s failed", call.request_id, self.path, exc_info=error)
            problem = Problem("internal", _SEE_LOG)
        return problem_reply(problem, call.request_id, self.path)

    def _admit(self, call: Call) -> None:
        if self.needs is None:
            return
        key: Key | None = None
        auth = self._gateway.auth
        if auth is not None:
            key = auth.admit(call.headers, self.needs)
            call.key_id = key.id
        limiter = self._gateway.limiter
        if limiter is not None:
            client = call.scope.get("client")
            who = key.id if key is not None else (client[0] if client else "")
            if wait := limiter.take(who):
                seconds = str(int(wait) + 1).encode()
                raise Problem(
                    "rate-limited",
                    f"The rate limit is reached; try again in {int(wait) + 1} s.",
                    headers=[(b"retry-after", seconds)],
                )


def _as_problem(error: EvergreenError) -> Problem:
    if isinstance(error, UnreachableError):
        logger.warning("%s", error)
        return Problem("not-ready", str(error), headers=[(b"retry-after", b"1")])
    if isinstance(error, RefusedError):
        return Problem("not-explainable", str(error))
    logger.error("%s", error)
    return Problem("internal", _SEE_LOG)


async def read_body(call: Call, receive: Receive, limit: int) -> bytes | None:
    """Return the whole body; None where the client went away.

    Raises
    ------
    Problem
        If it is larger than ``limit`` bytes, or stops arriving.
    """
    declared = call.headers.get(b"content-length", b"0")
    if len(declared) > 18 or (declared.isdigit() and int(declared) > limit):
        raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        if len(body) > limit:
            raise _too_large(limit)
        return body
    return await _read_on(body, receive, limit)


async def _read_on(body: bytes, receive: Receive, limit: int) -> bytes | None:
    parts, size, more = [body], len(body), True
    while more:
        if size > limit:
            raise _too_large(limit)
        try:
            message = await asyncio.wait_for(receive(), BODY_TIMEOUT)
        except TimeoutError:
            raise Problem(
                "request-timeout", f"Nothing came for {BODY_TIMEOUT:g} s.", headers=[_CLOSE]
            ) from None
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        more = message.get("more_body", False)
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


_CLOSE: Final = (b"connection", b"close")  # what is left of the body is not read


def _too_large(limit: int) -> Problem:
    return Problem("body-too-large", f"The body may have {limit} bytes.", headers=[_CLOSE])


def problem_reply(problem: Problem, request_id: str | None = None, path: str = "") -> Reply:
    """Return a problem as an answer, for the protocol that is spoken on a path."""
    return Reply(
        problem.body(request_id, path), problem.status, problems.MEDIA_TYPE, problem.headers
    )


def headers_of(reply: Reply, call: Call) -> list[Header]:
    """Return the headers of an answer, without its length."""
    return [
        (b"content-type", reply.media_type),
        (b"x-request-id", call.client_id or call.request_id.encode("ascii")),
        *API_HEADERS,
        *reply.headers,
    ]


async def _send(reply: Reply, call: Call, send: Send) -> None:
    headers = headers_of(reply, call)
    if reply.chunks is None:
        headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
        return
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    async for chunk in reply.chunks:
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
