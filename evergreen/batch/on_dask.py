"""A table's parts scored by the workers of a Dask cluster, and joined by the process that asked.

A scored part is a folder below the state folder, which all workers see; it appears whole. So a run
that was broken off goes on with the parts that are there, and a part whose worker was lost is
scored by another one. Workers may not know that their run was broken off: what they still write
cannot be mistaken for a part of another run, and serves the same one.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from evergreen.batch.outcome import BatchResult, RowProgress
from evergreen.batch.parts import ScoredPart, as_text, join_parts, score_part
from evergreen.batch.run import BatchJob, Listener, Stopwatch, batch_job, open_sink, prepared
from evergreen.batch.staging import written
from evergreen.config import UseCase
from evergreen.dask.cluster import connected
from evergreen.dask.pieces import map_pieces
from evergreen.data.sources import describe_source
from evergreen.data.sources.streams import known_rows
from evergreen.file_lock import sole_process
from evergreen.paths import Home
from evergreen.scratch import discard
from evergreen.serving.runtime import Runtime, load_runtime

SECTION: Final = "batch.dask"
PATIENCE: Final = 5.0  # seconds for another run to the same output to end


@dataclass(frozen=True)
class PartTask:
    """What a worker needs to score a part: the use case, the model, the part and its place.

    ``bundle`` is a folder that all workers see; so is ``folder``, which need not exist.
    """

    use_case: UseCase
    bundle: Path
    version: str
    home: Home
    number: int
    folder: Path

    def score(self) -> None:
        """Score the part, where that is not done yet.

        Raises
        ------
        InputError
            As `evergreen.batch.parts.score_part` does.
        UnreachableError
            As that does, or if the folder cannot be written.
        """
        if self.folder.exists():
            return
        # The other cores have parts of their own.
        batch = self.use_case.batch.model_copy(update={"threads": self.use_case.batch.threads or 1})
        use_case = self.use_case.model_copy(update={"batch": batch})
        job = batch_job(use_case, _runtime(self.bundle, self.version), self.version, self.home)
        with written(self.folder):
            temporary = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix="tmp-"))
            try:
                score_part(job, self.number, batch.partitions, temporary)
                try:
                    temporary.rename(self.folder)
                except OSError:
                    if not self.folder.exists():  # else another worker was quicker
                        raise
            finally:
                shutil.rmtree(temporary, ignore_errors=True)


def run_batch_on_dask(
    use_case: UseCase,
    bundle: Path,
    version: str,
    home: Home,
    listener: Listener = lambda _: None,
) -> BatchResult:
    """Score a table by the cluster of ``batch.dask``; a run that was broken off is continued.

    Output, refused rows and what is promised of them are those of `evergreen.batch.run.run_batch`.

    Raises
    ------
    InputError
        If the table's rows are not known beforehand, or it changes while it is read, or lacks a
        column; if the output is there from another run, or the cluster does not suit.
    UnreachableError
        If source, output or cluster do not answer, workers are lost again and again, or the disk
        is full. What was kept stays.
    """
    watch = Stopwatch()
    job = batch_job(use_case, _runtime(bundle, version), version, home)
    output = _digest(job.output.model_dump_json())
    folder = home.batch / "parts" / output
    with written(home.locks):
        home.locks.mkdir(parents=True, exist_ok=True)
    lock = home.locks / f"batch-{output[:16]}.lock"
    with sole_process(lock, "scoring to the same output", PATIENCE):
        begun = _begin(job, folder)
        parts = [ScoredPart(begun.folder / f"{each:03}") for each in range(job.batch.partitions)]
        there = 0
        if not begun.complete:
            there = sum(_rows(part) for part in parts if part.folder.exists())
            tasks = [
                PartTask(use_case, bundle, version, home, number, part.folder)
                for number, part in enumerate(parts)
            ]
            _score(tasks, job, begun.rows, there, listener)
        result = join_parts(job, () if begun.complete else parts)
        with suppress(OSError):  # what cannot be removed is removed by the next run
            discard(folder)
    resumed = max(result.resumed_rows, there)
    return result.model_copy(
        update={
            "resumed_rows": resumed,
            "seconds": watch.seconds,
            "rows_per_second": (result.rows - resumed) / watch.seconds,
            "note": result.note or begun.note,
        }
    )


@dataclass(frozen=True)
class _Begun:
    """What is known before anything is scored."""

    rows: int
    complete: bool  # whether the output is there
    note: str | None
    folder: Path  # of this run's parts


def _begin(job: BatchJob, output_folder: Path) -> _Begun:
    """Look at source and output; keep only those parts of the output that belong to this run."""
    with ExitStack() as stack:
        ready = stack.enter_context(prepared(job))
        rows = known_rows(ready.stream, describe_source(job.source), "batch.partitions")
        sink = stack.enter_context(closing(open_sink(job, ready.scorer)))
        kept, note = sink.open(ready.key, overwrite=job.batch.overwrite)
    key = as_text(ready.key)
    folder = output_folder / _digest(f"{job.batch.partitions} {key}")
    with written(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for other in {*output_folder.iterdir(), *output_folder.parent.glob(".*")} - {folder}:
            discard(other)
        for part in folder.glob("[0-9]*"):
            if not _holds(part, key):  # the table changed meanwhile, and was put back
                discard(part)
    return _Begun(rows, kept.complete, note, folder)


def _holds(part: Path, key: str) -> bool:
    try:
        return ScoredPart(part).facts.key == key
    except (OSError, ValueError):
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _score(
    tasks: Sequence[PartTask], job: BatchJob, total: int, there: int, listener: Listener
) -> None:
    started = time.monotonic()
    rows = refused = 0
    with connected(job.batch.dask, SECTION) as client:
        for task, _ in zip(tasks, map_pieces(client, PartTask.score, tasks), strict=True):
            chunks = ScoredPart(task.folder).facts.chunks
            rows += sum(chunk.rows for chunk in chunks)
            refused += sum(chunk.rejected for chunk in chunks)
            rate = max(0, rows - there) / max(time.monotonic() - started, 1e-9)
            listener(RowProgress(rows, total, refused, rate))


def _rows(part: ScoredPart) -> int:
    return sum(chunk.rows for chunk in part.facts.chunks)


@lru_cache(maxsize=1)
def _runtime(bundle: Path, version: str) -> Runtime:
    """Return a model, which a worker loads but once."""
    return load_runtime(bundle, version)
