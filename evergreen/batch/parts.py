"""One table scored in parts, by processes that need not share a machine, and joined again.

A part scores every chunk of its share of the table and leaves each as files; joining keeps these
chunks in the sink one after the other, as if they had been scored there. So output, refused rows
and what is promised of an output are those of a run in one piece.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq

from evergreen.batch.outcome import BatchResult
from evergreen.batch.run import (
    BatchJob,
    Listener,
    Stopwatch,
    Tally,
    open_sink,
    prepared,
    require_unchanged,
    result_of,
    score_all,
)
from evergreen.batch.scoring import Scored
from evergreen.batch.sink import Chunk, Kept
from evergreen.data.sources import describe_source
from evergreen.data.sources.streams import changed_meanwhile, evenly, known_rows, share
from evergreen.values import Value

FACTS: Final = "part.json"
_KINDS: Final = ("accepted", "rejected")


class PartFacts(Value):
    """What a part holds: its place, its chunks, and what the answers depend on."""

    number: int  # from 0
    of: int
    first_chunk: int
    chunks: tuple[Chunk, ...]
    key: str  # as JSON


@dataclass(frozen=True)
class ScoredPart:
    """A scored part: a folder with the files of its chunks and a file of facts."""

    folder: Path

    @property
    def facts(self) -> PartFacts:
        """What it holds."""
        return PartFacts.model_validate_json((self.folder / FACTS).read_text(encoding="utf-8"))

    def chunks(self) -> Iterator[tuple[int, Chunk, Scored]]:
        """Yield the number, the counts and the content of each chunk, in order."""
        for number, chunk in enumerate(self.facts.chunks, start=self.facts.first_chunk):
            accepted, rejected = (
                pq.read_table(_file(self.folder, kind, number)) for kind in _KINDS
            )
            yield number, chunk, Scored(accepted, rejected, chunk.flagged)


def score_part(
    job: BatchJob, number: int, of: int, folder: Path, listener: Listener = lambda _: None
) -> ScoredPart:
    """Score the part ``number`` (from 0) of so many into an existing, empty folder.

    Raises
    ------
    InputError
        If the table's rows are not known beforehand, or it changes while it is read, or it lacks a
        column.
    UnreachableError
        If the source does not answer or the disk is full.
    """
    with ExitStack() as stack:
        ready = stack.enter_context(prepared(job))
        rows = known_rows(ready.stream, describe_source(job.source), "batch.partitions")
        size = job.batch.chunk_rows
        first, last = share(number, of, -(-rows // size))
        read = evenly(ready.stream.read(ready.layout.columns, first * size), size)
        chunks = (
            (at, at * size, content)
            for at, content in enumerate(islice(read, last - first), start=first)
        )
        sink = _PartSink(folder)
        mine = min(last * size, rows) - min(first * size, rows)
        tally = Tally(Kept(), mine, listener)
        score_all(ready.scorer, sink, chunks, tally, job.threads, proven=True)
        require_unchanged(job, ready.stream)
        facts = PartFacts(
            number=number,
            of=of,
            first_chunk=first,
            chunks=tuple(tally.chunks),
            key=as_text(ready.key),
        )
        (folder / FACTS).write_text(facts.model_dump_json(), encoding="utf-8")
    return ScoredPart(folder)


def join_parts(
    job: BatchJob, parts: Sequence[ScoredPart], listener: Listener = lambda _: None
) -> BatchResult:
    """Put all parts into the output; a joining that was broken off is continued.

    Raises
    ------
    InputError
        If the output is there from another run, or the source changed while it was scored.
    UnreachableError
        If source or output do not answer or the disk is full. What was kept stays.
    """
    watch = Stopwatch()
    with ExitStack() as stack:
        ready = stack.enter_context(prepared(job))
        for part in parts:
            if part.facts.key != as_text(ready.key):
                raise changed_meanwhile(describe_source(job.source))
        sink = stack.enter_context(closing(open_sink(job, ready.scorer)))
        kept, note = sink.open(ready.key, overwrite=job.batch.overwrite)
        resumed, unchanged = sum(chunk.rows for chunk in kept.chunks), kept.complete
        if not kept.complete:
            tally = Tally(kept, ready.stream.rows, listener)
            for part in sorted(parts, key=lambda part: part.facts.number):
                for number, chunk, scored in part.chunks():
                    if number >= len(tally.chunks):
                        sink.keep(number, sink.encode(number, scored), chunk)
                        tally.add(chunk)
            kept = Kept(chunks=tuple(tally.chunks))
        sink.finish(kept)
        return result_of(job, sink, kept, resumed, unchanged, note, watch.seconds)


class _PartSink:
    """Keeps the chunks of a part as files of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def encode(self, number: int, scored: Scored) -> None:
        """Write a chunk's files."""
        for kind, table in zip(_KINDS, (scored.accepted, scored.rejected), strict=True):
            pq.write_table(table, _file(self._folder, kind, number), compression="zstd")

    def keep(self, number: int, encoded: Any, chunk: Chunk) -> None:
        """All is kept already."""


def _file(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{number:06}.{kind}.parquet"


def as_text(key: Any) -> str:
    """Return what the answers depend on in the form that parts keep."""
    return json.dumps(key, sort_keys=True, default=str)
