"""NATS JetStream: what a stream holds, and its messages one after the other."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy
from nats.js.errors import NotFoundError, ServiceUnavailableError
from nats.js.manager import JetStreamManager

from evergreen.data.source_config import NatsSource
from evergreen.data.sources.environment import Environment, mask_url
from evergreen.errors import InputError, UnreachableError

KEY: Final = "data.source.url"
FETCH_BYTES: Final = 16_000_000  # of messages that are asked for at once, about
FETCH_MOST: Final = 1_000
TRIES: Final = 3  # to be sent what the server says that it has
_LOOK_SECONDS: Final = 0.25
_CLOSE_SECONDS: Final = 2.0
_API: Final = "$JS.API.CONSUMER"
UNUSED_SECONDS: Final = 300.0  # after which the server forgets a consumer whose reader died


class Message(NamedTuple):
    """A message and its place in the stream, counted from 1."""

    sequence: int
    data: bytes


@dataclass(frozen=True)
class StreamState:
    """Which stream it is, by when it was made, and the first and the last message it holds.

    ``last`` never falls; where all messages are gone, ``first`` is the one after it.
    """

    created: str
    first: int
    last: int
    message_bytes: int


@dataclass(frozen=True)
class _Address:
    server: str
    stream: str
    tls: bool
    user: str | None
    password: str | None
    token: str | None


class _Client(Client):
    """Gives no credentials away: nats-py takes tls:// for nats:// where the server offers none."""

    tls_wanted = False

    def _connect_command(self) -> bytes:
        if self.tls_wanted and not self._server_info.get("tls_required"):
            raise nats.errors.SecureConnWantedError
        return super()._connect_command()


class Broker:
    """A connection to the server of a stream; see `connected`."""

    def __init__(self, client: Client, source: NatsSource, stream: str, where: str) -> None:
        self._client, self._source, self._stream, self._where = client, source, stream, where
        self._manager: JetStreamManager = client.jsm(timeout=source.timeout)

    async def state(self) -> StreamState:
        """Look at the stream.

        Raises
        ------
        InputError
            There is none of that name, or it forgets messages as soon as others have read them.
        """
        try:
            info = await self._manager.stream_info(self._stream)
        except NotFoundError:
            raise InputError(await self._no_stream()) from None
        if info.config.retention not in (None, RetentionPolicy.LIMITS):
            raise InputError(
                f"{self._where}: the stream has the retention {info.config.retention!r}: it drops "
                "what others have acknowledged. A table needs one with 'limits', which may be a "
                "mirror of it."
            )
        state = info.state
        return StreamState(
            created=info.created.isoformat() if info.created else "",
            first=state.first_seq,
            last=state.last_seq,
            message_bytes=state.bytes // max(1, state.messages),
        )

    async def pending(self, start: int) -> int:
        """Return how many messages there are from a place on."""
        pull = await self._pull(start)
        await pull.close()
        return pull.pending

    async def messages(self, start: int, state: StreamState) -> AsyncGenerator[Message]:
        """Yield the messages from a place on to the last one of ``state``: all, and in order.

        Raises
        ------
        UnreachableError
            The server goes away, or withholds a message.
        """
        size = int(min(max(FETCH_BYTES // max(1, state.message_bytes), 1), FETCH_MOST))
        stalled = 0
        while start <= state.last and stalled < TRIES:
            before = start
            pull = await self._pull(start)
            try:
                while pull.pending:
                    for message in await pull.fetch(min(size, pull.pending)):
                        if message.sequence > state.last:
                            return
                        yield message
                        start = message.sequence + 1
                    if pull.broken:
                        break
                else:
                    return
            finally:
                await pull.close()
            stalled = 0 if start > before else stalled + 1
            size = max(1, size // 8)  # it may have been more than the client could hold
        if start <= state.last:
            raise UnreachableError(
                f"{self._where}: the server does not deliver message {start}. Try again."
            )

    async def _no_stream(self) -> str:
        names: list[str] = []
        with suppress(nats.errors.Error, OSError):  # not everybody may list them
            names = [str(found.config.name) for found in await self._manager.streams_info()]
        near = get_close_matches(self._stream, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return f"{self._where}: there is no stream {self._stream!r}{hint}"

    async def _pull(self, start: int) -> _Pull:
        """Return a new consumer of the messages from a place on."""
        config = ConsumerConfig(
            name=f"evergreen-{secrets.token_hex(8)}",
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=max(1, start),
            ack_policy=AckPolicy.NONE,
            filter_subject=self._source.subject,
            inactive_threshold=UNUSED_SECONDS,
            mem_storage=True,
        )
        made = await self._manager.add_consumer(self._stream, config)
        pull = _Pull(self._client, f"{self._stream}.{made.name}", self._source.timeout)
        pull.pending = made.num_pending or 0
        await pull.open()
        return pull


class _Pull:
    """A consumer of this reader alone, to which the server sends what it asks for.

    It acknowledges nothing: what was read is known where it is kept, not at the server. The server
    counts what it sends, so a message that did not arrive is noticed: then it is ``broken``.
    """

    def __init__(self, client: Client, name: str, timeout: float) -> None:
        self._client, self._name, self._timeout = client, name, timeout
        self._inbox = client.new_inbox()
        self._arrived: list[Msg] = []
        self._awaited = self._received = 0
        self._whole: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.pending = 0
        self.broken = False

    async def open(self) -> None:
        """Take what the server will send."""
        self._subscription = await self._client.subscribe(self._inbox, cb=self._take)

    async def fetch(self, number: int) -> list[Message]:
        """Return the next messages; fewer than asked for where something is amiss."""
        self._arrived, self._awaited = [], number
        self._whole = asyncio.get_running_loop().create_future()
        request = json.dumps({"batch": number, "no_wait": True}).encode()
        await self._client.publish(f"{_API}.MSG.NEXT.{self._name}", request, self._inbox)
        await self._arrival()
        found = []
        for message in self._arrived:
            metadata = message.metadata
            if metadata.sequence.consumer != self._received + 1:
                break
            self._received += 1
            self.pending = metadata.num_pending
            found.append(Message(metadata.sequence.stream, message.data))
        self.broken = len(found) < number
        return found

    async def _arrival(self) -> None:
        """Wait until all has arrived, or nothing more does."""
        quiet = 0.0
        while not self._whole.done() and quiet < self._timeout:
            if self._client.is_closed:
                raise nats.errors.ConnectionClosedError
            seen = len(self._arrived)
            await asyncio.wait([self._whole], timeout=_LOOK_SECONDS)
            quiet = quiet + _LOOK_SECONDS if len(self._arrived) == seen else 0.0
        if not self._whole.done() and not self._arrived:
            raise nats.errors.TimeoutError

    async def close(self) -> None:
        """Let the server forget the consumer."""
        with suppress(nats.errors.Error, OSError):  # it would, after some time
            await self._subscription.unsubscribe()
            await self._client.publish(f"{_API}.DELETE.{self._name}")

    async def _take(self, message: Msg) -> None:
        if not message.reply:  # no message of the stream: there are no more
            self._end()
            return
        self._arrived.append(message)
        if len(self._arrived) == self._awaited:
            self._end()

    def _end(self) -> None:
        if not self._whole.done():
            self._whole.set_result(None)


@asynccontextmanager
async def connected(
    source: NatsSource, environment: Environment, where: str
) -> AsyncIterator[Broker]:
    """Connect to the server of a stream, until the block ends.

    Raises
    ------
    InputError
        A variable is not set, or the address is malformed.
    UnreachableError
        Instead of what the library raises in the block: the server does not answer, refuses the
        credentials, or goes away.
    """
    address = _resolved(source, environment)
    problems: list[Exception] = []

    async def note(problem: Exception) -> None:
        problems.append(problem)

    client = _Client()
    client.tls_wanted = address.tls
    try:
        await client.connect(
            address.server,
            user=address.user,
            password=address.password,
            token=address.token,
            name="evergreen",
            tls=ssl.create_default_context() if address.tls else None,
            connect_timeout=source.timeout,  # type: ignore[arg-type]
            allow_reconnect=False,
            max_reconnect_attempts=1,  # with 0 it would try forever
            reconnect_time_wait=0.1,  # type: ignore[arg-type]
            error_cb=note,
        )
        yield Broker(client, source, address.stream, where)
    except (nats.errors.Error, OSError) as error:
        reason = _reason(error, problems, source)
        raise UnreachableError(environment.hide(f"{where}: {reason}")) from None
    finally:
        with suppress(nats.errors.Error, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):  # it waits forever after a refused TLS
                await client.close()


def _resolved(source: NatsSource, environment: Environment) -> _Address:
    """Return where a stream is, with the credentials, which are remembered as secrets."""
    try:
        parts = urlsplit(environment.resolve_url(source.url, KEY))
        host, port = parts.hostname, parts.port or 4222
    except ValueError:
        host = None
    if not host:
        raise InputError(
            f"{KEY}: {mask_url(source.url)} is no address of a stream; write "
            "nats://user:${NATS_PASSWORD}@host:4222/STREAM"
        )
    user, password = (unquote(text) if text else None for text in (parts.username, parts.password))
    environment.remember(password or user or "")
    return _Address(
        server=f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}",
        stream=unquote(parts.path.strip("/")),
        tls=parts.scheme == "tls",
        user=user if password else None,
        password=password,
        token=None if password else user,
    )


def _reason(error: Exception, problems: list[Exception], source: NatsSource) -> str:
    """Word what went wrong, for which the server may have told the reason before."""
    told = [str(each) for each in (*problems, error)]
    if any("authorization" in each.lower() for each in told):
        return "the server refuses the credentials; check user and password, or the token"
    if any("permissions violation" in each.lower() for each in told):
        violation = next(each for each in told if "permissions violation" in each.lower())
        return f"the server does not permit to read the stream ({violation})"
    if isinstance(error, nats.errors.SecureConnWantedError):
        return "the server offers no TLS, which tls:// asks for"
    if isinstance(error, nats.errors.NoRespondersError | ServiceUnavailableError):
        return "the server has no JetStream, or its cluster has no leader"
    if isinstance(error, TimeoutError):
        return f"the server does not answer within {source.timeout:g} seconds"
    return f"the server does not answer ({told[0].removeprefix('nats: ')})"
