"""Headers that keep browsers from doing more with an answer than they should."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

Header = tuple[bytes, bytes]

_COMMON: Final[tuple[Header, ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
API_HEADERS: Final[tuple[Header, ...]] = (
    *_COMMON,
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
# Pages load their own files alone. Swagger UI sets styles from scripts and draws from data: URLs.
PAGE_HEADERS: Final[tuple[Header, ...]] = (
    *_COMMON,
    (b"cache-control", b"no-cache"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        b"img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; "
        b"form-action 'self'; frame-ancestors 'none'",
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
)


class PageHeaders:
    """Adds the headers of pages to whatever no operation has answered: pages, files, 404s."""

    def __init__(self, app: ASGIApp, handled: str) -> None:
        self._app, self._handled = app, handled

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def finish(message: Message) -> None:
            if message["type"] == "http.response.start" and self._handled not in scope:
                present = {name.lower() for name, _ in message.get("headers", ())}
                added = [pair for pair in PAGE_HEADERS if pair[0] not in present]
                message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        await self._app(scope, receive, finish)


def presented_key(headers: dict[bytes, bytes]) -> str | None:
    """Return the API key that a request presents, as a bearer token or as X-API-Key."""
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() == b"bearer":
            return token.strip().decode("latin-1")
    given = headers.get(b"x-api-key")
    return None if given is None else given.decode("latin-1")


def unauthenticated(detail: str) -> Problem:
    """Return the problem of a request without a key that holds."""
    return Problem(
        "unauthenticated", detail, headers=[(b"www-authenticate", b'Bearer realm="evergreen"')]
    )


def scheme() -> dict[str, Any]:
    """Return OpenAPI's description of the keys."""
    return {
        "bearer": {"type": "http", "scheme": "bearer"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    }
