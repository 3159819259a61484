"""HTTP for the server: uvicorn's, with a short way for requests that can be answered at once.

Most requests to a model come over connections that stay open, each with the head of the one before
and its body in the same packet. For these, what uvicorn does per request (parsing, a scope, a task,
an event, two messages, a timer) takes longer than the model. So a head that uvicorn's parser has
read once is remembered, byte by byte; a request with the same head is answered in place, by one
write. All others, and all that is unusual about one, go uvicorn's way.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from evergreen.serving.api.operation import JSON, Call, Operation, Reply, headers_of
from evergreen.serving.security import API_HEADERS

if TYPE_CHECKING:
    from starlette.types import Scope

HEADS: Final = 256  # that are remembered; one client of many machines sends a handful
HEAD_BYTES: Final = 4096
LEAVING: Final = 1.0  # seconds that a busy connection gets to hear that the server ends
_END: Final = b"\r\n\r\n"
# Whoever sends these needs uvicorn's care, or sends another head with every request.
_UNUSUAL: Final = frozenset(
    {b"expect", b"transfer-encoding", b"upgrade", b"x-request-id", b"traceparent"}
)


class Head:
    """The head of a request that was seen before: what it asks for, and its body's length."""

    __slots__ = ("headers", "length", "operation")

    def __init__(self, operation: Operation, headers: dict[bytes, bytes], length: int) -> None:
        self.operation, self.headers, self.length = operation, headers, length


class ServerProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._inside = False  # a request that the parser has begun to read and not ended
        self._messages = 0  # that the parser has read
        self._answered = 0.0  # when an answer went out, or the connection was made
        self._leaving = False  # the next answer is the connection's last
        self._brief: Scope = {"type": "http", "client": None}
        self._find = getattr(self.app, "at_once", None)
        # All connections of a process share them.
        self._heads: dict[bytes, Head] = vars(self.server_state).setdefault("heads", {})

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        super().connection_made(transport)
        self._answered = time.perf_counter()
        self._brief["client"] = self.client

    def data_received(self, data: bytes) -> None:
        """Take what came in: answer it, or leave it to uvicorn."""
        if self._inside or not (self.cycle is None or self.cycle.response_complete):
            super().data_received(data)
            return
        end = data.find(_END)
        head = self._heads.get(data[:end])
        if head is None or len(data) != end + 4 + head.length or self.flow.write_paused:
            self._read(data, end)
            return
        call = Call(self._brief, time.perf_counter(), head.headers)
        call.body = data[end + 4 :]
        reply = head.operation.answer_at_once(call)
        if reply is None:
            super().data_received(data)
            return
        self.transport.write(_written(reply, call))
        self.server_state.total_requests += 1
        self._answered = call.started
        if self.timeout_keep_alive_task is None:
            self._watch(self.timeout_keep_alive)

    def _read(self, data: bytes, end: int) -> None:
        """Let uvicorn read what came in, and remember the head where that was one request."""
        before = self._messages
        super().data_received(data)
        whole = self._messages == before + 1 and not self._inside
        if whole and 0 < end <= HEAD_BYTES and self._find is not None and data[:5] == b"POST ":
            head = self._head(len(data) - end - 4)
            if head is not None:
                if len(self._heads) >= HEADS:
                    self._heads.clear()
                self._heads[data[:end]] = head

    def _head(self, length: int) -> Head | None:
        """Return what is to be remembered of the request that was read last."""
        scope, headers = self.scope, dict(self.headers)
        if len(headers) != len(self.headers) or not _UNUSUAL.isdisjoint(headers):
            return None
        stays = headers.get(b"connection", b"keep-alive").lower() == b"keep-alive"
        if not stays or headers.get(b"content-length") != b"%d" % length:
            return None
        if scope["http_version"] != "1.1":
            return None
        operation = self._find(scope["method"], scope["path"]) if self._find else None
        return None if operation is None else Head(operation, headers, length)

    def shutdown(self) -> None:
        """End, as the server does: after one more answer that says so, where one may be asked for.

        A client that is about to send its next request cannot know that the server closes the
        connection at that moment. Busy clients are told with their next answer instead; one that
        was quiet for `LEAVING` seconds loses its connection at once.
        """
        answering = self.cycle is not None and not self.cycle.response_complete
        quiet = not self._inside and time.perf_counter() - self._answered > LEAVING
        if self._leaving or answering or quiet:
            super().shutdown()
            return
        self._leaving, self._heads, self._find = True, {}, None  # no short way any more
        self.loop.call_later(LEAVING, self.shutdown)

    def on_headers_complete(self) -> None:
        """Begin to answer; the last time where the server ends."""
        super().on_headers_complete()
        if self._leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Note when the answer went out."""
        self._answered = time.perf_counter()
        super().on_response_complete()

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        self._inside = True
        super().on_message_begin()

    def on_message_complete(self) -> None:
        """Note that it ends."""
        self._inside = False
        self._messages += 1
        super().on_message_complete()

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that was quiet for too long. The short way sets no timer anew."""
        self.timeout_keep_alive_task = None
        left = self._answered + self.timeout_keep_alive - time.perf_counter()
        if left > 0:
            self._watch(left)
        else:
            super().timeout_keep_alive_handler()

    def _watch(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(
            seconds, self.timeout_keep_alive_handler
        )


def _written(reply: Reply, call: Call) -> bytes:
    """Return an answer as it goes over the line."""
    body = reply.body
    length = b"content-length: %d\r\n\r\n" % len(body)
    if reply.status == 200 and reply.media_type is JSON:
        identity = call.client_id or call.request_id.encode("ascii")
        more = b"".join([b"%b: %b\r\n" % header for header in reply.headers])
        return b"%b%b\r\n%b%b%b" % (_FINE, identity, more, length, body)
    lines = [b"%b: %b\r\n" % header for header in headers_of(reply, call)]
    return b"".join([STATUS_LINE[reply.status], *lines, length, body])


_FINE: Final = b"".join(
    [
        STATUS_LINE[200],
        *(b"%b: %b\r\n" % header for header in ((b"content-type", JSON), *API_HEADERS)),
        b"x-request-id: ",
    ]
)
