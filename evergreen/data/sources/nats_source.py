"""NATS JetStream: a table that grows with the messages of a stream, each of which is a row.

Which messages the table holds, only our own manifest says; a reader asks for what follows, and
acknowledges nothing. So there are no two places that could disagree: see
`evergreen.data.sources.kept_rows`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa

from evergreen.data.source_config import NatsSource
from evergreen.data.sources.environment import Environment, mask_url
from evergreen.data.sources.json_records import parse_record
from evergreen.data.sources.kept_rows import (
    KeptRows,
    Manifest,
    Snapshot,
    sole_writer,
)
from evergreen.data.sources.nats_client import Broker, StreamState, connected
from evergreen.data.sources.streams import TableStream, as_table, together_as_one
from evergreen.data.sources.tidy import column_names, tidy
from evergreen.errors import InputError
from evergreen.paths import Home

BATCH_BYTES: Final = 32_000_000  # of messages that are turned into rows at once

logger = logging.getLogger(__name__)


def read_nats(source: NatsSource, environment: Environment) -> pd.DataFrame:
    """Read the messages that are new, and return the rows of all, in their order.

    Raises
    ------
    InputError
        There is no such stream, it is another one than was read before, a message is no JSON
        object, or there are none.
    UnreachableError
        The server does not answer, refuses the credentials, or goes away. The rows of what was
        read until then are kept.
    """
    stream = nats_stream(source, environment, source.batch_rows)
    table = together_as_one(list(stream.read(stream.names, 0)))
    frame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    return tidy(frame, _where(source))


def nats_stream(source: NatsSource, environment: Environment, piece_rows: int) -> TableStream:
    """Read the messages that are new; see `read_nats`."""
    where = _where(source)
    with sole_writer(Home.locate().locks, _name(source)):
        kept = asyncio.run(_read_on(source, environment, where))
    manifest = kept.manifest
    if not manifest.parts:
        raise InputError(f"{where}: there are no messages{_on_subject(source)}")

    def read(columns: Sequence[str], start: int) -> Iterator[pa.Table]:
        return kept.read(columns, start, piece_rows)

    content: dict[str, Any] = {
        **manifest.model_dump(include={"stream", "subject", "created"}),
        "messages": [manifest.parts[0].first, manifest.parts[-1].last],
        "rows": manifest.rows,
    }
    return TableStream(manifest.columns, read, content, proven=True, rows=manifest.rows, grows=True)


def nats_size(
    source: NatsSource, environment: Environment, sample_rows: int
) -> tuple[int, pa.Table | None]:
    """Return how many rows there will be, and the first ones; nothing is kept of them.

    Raises
    ------
    InputError, UnreachableError
        As `read_nats` does.
    """
    with sole_writer(Home.locate().locks, _name(source)):
        return asyncio.run(_look(source, environment, sample_rows))


async def _read_on(source: NatsSource, environment: Environment, where: str) -> Snapshot:
    """Keep the rows of the messages that are there and not kept yet."""
    folder = _folder(source)
    async with connected(source, environment, where) as broker:
        state = await broker.state()
        kept = KeptRows(folder, where, _begun(source, state))
        require_same(kept.manifest, source, state, folder)
        _tell_lost(kept.manifest, source, state, where)
        await _keep(broker, kept, state, source, where)
    return kept.snapshot()


async def _keep(
    broker: Broker, kept: KeptRows, state: StreamState, source: NatsSource, where: str
) -> None:
    records: list[dict[str, Any]] = []
    first = last = size = 0
    async with aclosing(broker.messages(kept.manifest.last + 1, state)) as messages:
        async for message in messages:
            last = message.sequence
            first = first if records else last
            try:
                records.append(parse_record(message.data, f"{where}, message {last}"))
            except InputError as error:
                kept.append(records, first, last - 1, source.batch_rows)
                raise InputError(
                    f"{error}. What came before it is kept. To go on without it: "
                    f"nats stream rmm {kept.manifest.stream} {last}"
                ) from None
            size += len(message.data)
            if len(records) >= source.batch_rows or size >= BATCH_BYTES:
                kept.append(records, first, last, source.batch_rows)
                records, size = [], 0
    kept.append(records, first, last, source.batch_rows)
    kept.note_end(state.last)


async def _look(
    source: NatsSource, environment: Environment, sample_rows: int
) -> tuple[int, pa.Table | None]:
    where, folder = _where(source), _folder(source)
    async with connected(source, environment, where) as broker:
        state = await broker.state()
        kept = KeptRows(folder, where, _begun(source, state))
        require_same(kept.manifest, source, state, folder)
        rows = kept.manifest.rows + await broker.pending(kept.manifest.last + 1)
        if kept.manifest.parts:
            snapshot = kept.snapshot()
            return rows, next(snapshot.read(kept.manifest.columns, 0, sample_rows))
        records: list[dict[str, Any]] = []
        async with aclosing(broker.messages(1, state)) as messages:
            async for message in messages:
                records.append(parse_record(message.data, f"{where}, message {message.sequence}"))
                if len(records) == sample_rows:
                    break
    if not records:
        return rows, None
    frame = pd.json_normalize(records)
    return rows, as_table(frame, column_names(list(frame.columns), where))


def require_same(manifest: Manifest, source: NatsSource, state: StreamState, folder: Path) -> None:
    """Check that a stream is the one of which rows are kept.

    Raises
    ------
    InputError
        It is another one, or was made anew, or set back to an earlier state.
    """
    new = _begun(source, state)
    remedy = (
        f"The {manifest.rows:,} rows that were read are in {folder}. Give this source a name of "
        "its own (data.source.name) and they stay there unused; or delete the folder, and the "
        "stream is read from its beginning."
    )
    if (manifest.stream, manifest.subject) != (new.stream, new.subject):
        before = f"{manifest.stream!r}{f' (subject {manifest.subject})' * bool(manifest.subject)}"
        raise InputError(f"{_where(source)}: what was read under this name is {before}. {remedy}")
    if manifest.created != new.created:
        raise InputError(
            f"{_where(source)}: the stream was deleted and made anew: it is of {new.created}, and "
            f"the one that was read of {manifest.created}. {remedy}"
        )
    if manifest.end > state.last:
        raise InputError(
            f"{_where(source)}: the stream was set back: it ends with message {state.last}, but "
            f"when it was read there were {manifest.end}. {remedy}"
        )


def _tell_lost(manifest: Manifest, source: NatsSource, state: StreamState, where: str) -> None:
    """Warn of messages that are gone and were not read, unless none ever was."""
    lost = state.first - manifest.end - 1
    if manifest.end and lost > 0:
        logger.warning(
            "%s: %s%d messages (%d to %d) were dropped by the stream before they were read. "
            "Read it more often, or let it keep messages for longer",
            where,
            "up to " if source.subject else "",
            lost,
            manifest.end + 1,
            state.first - 1,
        )


def _begun(source: NatsSource, state: StreamState) -> Manifest:
    """Return the manifest of a stream of which nothing is kept."""
    stream = source.url.rpartition("/")[2]
    return Manifest(stream=stream, subject=source.subject, created=state.created, last=0, end=0)


def _name(source: NatsSource) -> str:
    return source.name or source.url.rpartition("/")[2]


def _folder(source: NatsSource) -> Path:
    return Home.locate().streams / _name(source)


def _where(source: NatsSource) -> str:
    return f"nats {mask_url(source.url)}"


def _on_subject(source: NatsSource) -> str:
    return f" with the subject {source.subject}" if source.subject else ""
