"""A whole table through a model: read, judge, score, keep; and go on where it was broken off."""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyarrow import csv as arrow_csv

from evergreen import __version__
from evergreen.batch.database import DatabaseSink
from evergreen.batch.files import FileSink, flat
from evergreen.batch.outcome import BatchResult, RowProgress
from evergreen.batch.remote import RemoteSink
from evergreen.batch.scoring import Layout, Scored, Scorer, make_layout
from evergreen.batch.settings import BatchConfig, Output, SqlOutput, output_of, policies
from evergreen.batch.sink import Chunk, Chunks, Kept, Key, Sink
from evergreen.config import UseCase
from evergreen.data.source_config import Source, SqlSource
from evergreen.data.sources import describe_source
from evergreen.data.sources.environment import Environment
from evergreen.data.sources.streams import (
    TableStream,
    changed_meanwhile,
    evenly,
    open_stream,
)
from evergreen.errors import InputError
from evergreen.object_stores import is_remote
from evergreen.paths import Home
from evergreen.serving.runtime import Runtime
from evergreen.serving.settings import ServingConfig

TELL_EVERY: Final = 0.25  # seconds
Listener = Callable[[RowProgress], None]


class _ChangedError(Exception):
    """The source no longer gives the rows that were kept."""


class Stopwatch:
    """Measures how long something takes."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds since it was made."""
        return time.monotonic() - self._started


@dataclass(frozen=True)
class BatchJob:
    """What is to be scored, by what, and where to.

    ``version`` is what the registry calls the model; ``records`` a folder for locks and for notes
    on finished outputs.
    """

    source: Source
    output: Output
    batch: BatchConfig
    serving: ServingConfig
    runtime: Runtime
    version: str
    records: Path
    environ: Mapping[str, str] | None = None

    @property
    def threads(self) -> int:
        """How many chunks are scored at once."""
        return self.batch.threads or len(os.sched_getaffinity(0))


def batch_job(use_case: UseCase, runtime: Runtime, version: str, home: Home) -> BatchJob:
    """Return what a use case says is to be scored."""
    return BatchJob(
        source=use_case.batch.source or use_case.data.source,
        output=output_of(use_case.batch, home.batch / use_case.name),
        batch=use_case.batch,
        serving=use_case.serving,
        runtime=runtime,
        version=version,
        records=home.batch / "records",
    )


def run_batch(job: BatchJob, listener: Listener = lambda _: None) -> BatchResult:
    """Score a table; a run that was broken off is continued.

    Raises
    ------
    InputError
        If the table lacks a column, the output is there from another run, or the source changes
        while it is read.
    UnreachableError
        If source or output do not answer or the disk is full. What was kept stays.
    """
    watch = Stopwatch()
    try:
        return _run(job, listener, watch, afresh=None)
    except _ChangedError as changed:
        return _run(job, listener, watch, afresh=str(changed))


@dataclass(frozen=True)
class Prepared:
    """A job whose table was opened: what is read and scored, and what the answers depend on.

    ``pieces`` is what was begun to be read, where the first rows had to tell the types.
    """

    stream: TableStream
    layout: Layout
    pieces: Iterator[pa.Table] | None
    scorer: Scorer
    key: Key


@contextmanager
def prepared(job: BatchJob) -> Iterator[Prepared]:
    """Open a job's table, and close it at the block's end."""
    stream = open_stream(job.source, job.environ, piece_rows=job.batch.chunk_rows)
    with closing(stream):
        settings = policies(job.batch, job.serving)
        layout = make_layout(stream, job.runtime.contract, job.batch, settings)
        pieces, types = _with_types(stream, layout)
        scorer = Scorer(job.runtime, layout, job.version, types)
        yield Prepared(stream, layout, pieces, scorer, _key(job, stream, layout, settings))


def _run(job: BatchJob, listener: Listener, watch: Stopwatch, afresh: str | None) -> BatchResult:
    with ExitStack() as stack:
        ready = stack.enter_context(prepared(job))
        stream, key = ready.stream, ready.key
        sink = stack.enter_context(closing(open_sink(job, ready.scorer)))
        kept, note = sink.open(key, overwrite=job.batch.overwrite or afresh is not None)
        if afresh is not None:
            sink.restart(key)
            kept, note = Kept(), afresh
        resumed = sum(chunk.rows for chunk in kept.chunks)
        unchanged = kept.complete
        if not kept.complete:
            tally = Tally(kept, stream.rows, listener)
            chunks = _chunks(stream, ready.layout, ready.pieces, kept, job.batch.chunk_rows)
            score_all(ready.scorer, sink, chunks, tally, job.threads, proven=stream.proven)
            require_unchanged(job, stream)
            kept = Kept(chunks=tuple(tally.chunks))
        sink.finish(kept)
        return result_of(job, sink, kept, resumed, unchanged, note, watch.seconds)


def _with_types(
    stream: TableStream, layout: Layout
) -> tuple[Iterator[pa.Table] | None, Mapping[str, Any]]:
    """Return the columns' types; where the first rows must tell them, also what was begun."""
    if stream.types is not None:
        return None, stream.types
    pieces = stream.read(layout.columns, 0)
    first = next(pieces, None)
    if first is None:
        return iter(()), dict.fromkeys(stream.names, pa.null())
    types = dict(zip(first.column_names, first.schema.types, strict=True))
    return chain([first], pieces), types


def open_sink(job: BatchJob, scorer: Scorer) -> Sink:
    """Return where a job's chunks go."""
    schemas = (scorer.schema, scorer.rejected_schema)
    if isinstance(job.output, SqlOutput):
        source = job.source
        same = isinstance(source, SqlSource) and source.url == job.output.url
        if same and job.output.url.startswith("sqlite"):
            raise InputError(
                "batch.output is the SQLite file that the table is read from, and SQLite cannot do "
                "both at once. Name another file."
            )
        environment = Environment(os.environ if job.environ is None else job.environ)
        return DatabaseSink(job.output, job.batch.rejected, schemas, environment)
    files = RemoteSink if is_remote(job.output.path) else FileSink
    return files(job.output, job.batch.rejected, schemas, job.records)


def _key(job: BatchJob, stream: TableStream, layout: Layout, settings: ServingConfig) -> Key:
    """Return what the answers depend on."""
    files = dict(sorted(job.runtime.manifest.files.items()))
    judged = settings.model_dump(
        mode="json", include={"out_of_range", "unknown_category", "missing", "extra_fields"}
    )
    return {
        "source": {"from": describe_source(job.source), **stream.fingerprint},
        "model": {"version": job.version, "files": _digest(repr(files).encode())},
        "settings": {
            **judged,
            "read": job.source.model_dump(mode="json"),
            "kept": dict(layout.kept),
            "chunk_rows": job.batch.chunk_rows,
            "output": job.output.model_dump(mode="json"),
            "rejected": job.batch.rejected,
            "evergreen": __version__,
        },
        "proven": stream.proven,
    }


def _chunks(
    stream: TableStream,
    layout: Layout,
    pieces: Iterator[pa.Table] | None,
    kept: Kept,
    rows: int,
) -> Iterator[tuple[int, int, pa.Table]]:
    """Yield number, first row and content of each chunk that is yet to be scored.

    Where the source's fingerprint proves nothing, what was kept is read again and compared.

    Raises
    ------
    _ChangedError
        If it is not what it was.
    """
    done = sum(chunk.rows for chunk in kept.chunks)
    if stream.proven:
        read = evenly(stream.read(layout.columns, done), rows)
    else:
        found = stream.read(layout.columns, 0) if pieces is None else pieces
        read = evenly(found, rows)
        for chunk in kept.chunks:
            again = next(read, None)
            if again is None or _content(again) != chunk.digest:
                raise _ChangedError(
                    f"Started over: the source no longer begins with the {done:,} rows that were "
                    "scored."
                )
    for number, content in enumerate(read, start=len(kept.chunks)):
        yield number, done, content
        done += content.num_rows


def score_all(
    scorer: Scorer,
    sink: Chunks,
    chunks: Iterator[tuple[int, int, pa.Table]],
    tally: Tally,
    threads: int,
    *,
    proven: bool,
) -> None:
    """Score chunks side by side, a bounded number of them, and keep them in order."""

    def work(number: int, first: int, content: pa.Table) -> tuple[Any, Chunk]:
        scored: Scored = scorer.score(content, first)
        chunk = Chunk(
            rows=content.num_rows,
            rejected=scored.rejected.num_rows,
            flagged=scored.flagged,
            digest=None if proven else _content(content),
        )
        return sink.encode(number, scored), chunk

    def keep(number: int, future: Future[tuple[Any, Chunk]]) -> None:
        encoded, chunk = future.result()
        sink.keep(number, encoded, chunk)
        tally.add(chunk)

    waiting: deque[tuple[int, Future[tuple[Any, Chunk]]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="batch") as pool:
        try:
            for number, first, content in chunks:
                waiting.append((number, pool.submit(work, number, first, content)))
                while len(waiting) > threads:
                    keep(*waiting.popleft())
            while waiting:
                keep(*waiting.popleft())
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class Tally:
    """Counts kept chunks and tells of them now and then."""

    def __init__(self, kept: Kept, total: int | None, listener: Listener) -> None:
        self.chunks = list(kept.chunks)
        self._total, self._listener = total, listener
        self._rows = self._first = sum(chunk.rows for chunk in kept.chunks)
        self._rejected = sum(chunk.rejected for chunk in kept.chunks)
        self._started, self._told = time.monotonic(), 0.0

    def add(self, chunk: Chunk) -> None:
        """Count a chunk."""
        self.chunks.append(chunk)
        self._rows += chunk.rows
        self._rejected += chunk.rejected
        now = time.monotonic()
        if now - self._told >= TELL_EVERY:
            self._told = now
            rate = (self._rows - self._first) / max(now - self._started, 1e-9)
            self._listener(RowProgress(self._rows, self._total, self._rejected, rate))


def require_unchanged(job: BatchJob, stream: TableStream) -> None:
    """Raise `InputError` where a file was changed while it was read."""
    if not stream.proven or stream.grows:
        return
    with closing(open_stream(job.source, job.environ, piece_rows=1)) as now:
        if now.fingerprint != stream.fingerprint:
            raise changed_meanwhile(describe_source(job.source))


def result_of(
    job: BatchJob,
    sink: Sink,
    kept: Kept,
    resumed: int,
    unchanged: bool,
    note: str | None,
    seconds: float,
) -> BatchResult:
    """Return what a run ended with."""
    rows = sum(chunk.rows for chunk in kept.chunks)
    rejected = sum(chunk.rejected for chunk in kept.chunks)
    return BatchResult(
        status="unchanged" if unchanged else "scored",
        rows=rows,
        accepted=rows - rejected,
        rejected=rejected,
        flagged=sum(chunk.flagged for chunk in kept.chunks),
        resumed_rows=resumed,
        chunks=len(kept.chunks),
        seconds=seconds,
        rows_per_second=(rows - resumed) / seconds if seconds else 0.0,
        source=describe_source(job.source),
        output=sink.address,
        rejected_output=sink.rejected_address if rejected else None,
        model=job.runtime.contract.use_case,
        version=job.version,
        runtime=job.runtime.kind,
        note=note,
    )


def _content(table: pa.Table) -> str:
    """Return a digest of a chunk's values."""
    content = io.BytesIO()
    arrow_csv.write_csv(flat(table), content)
    return _digest(content.getvalue())


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
