"""A source written to disk by several processes at once, each a part of its rows.

The table is the one that `evergreen.data.ingest.ingest` writes, with the same dtypes and
fingerprint; but its rows stay in the parts, which nobody has to put together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Final, Protocol, TypeVar
from uuid import uuid4

import pandas as pd

from evergreen.data.dataset import Dataset, keeping, piece_rows
from evergreen.data.dataset_writer import Layout, join, writing
from evergreen.data.engine import Engine
from evergreen.data.fingerprint import BLOCK_ROWS, HashedRows
from evergreen.data.ingest import without_rows
from evergreen.data.piece_types import (
    Seen,
    fitted,
    layout_of,
    looked_at,
    settled_types,
    tidied,
)
from evergreen.data.source_config import ParquetSource, Source
from evergreen.data.sources import describe_source
from evergreen.data.sources.streams import (
    TableStream,
    changed_meanwhile,
    evenly,
    open_stream,
)
from evergreen.data.threads import made_ahead
from evergreen.scratch import discard

Item = TypeVar("Item")
Made = TypeVar("Made")

PIECES: Final = 4  # that a part has at least, of 64 MB each or less


class Share(Protocol):
    """Yields what a function makes of each item, in order; others may work at several at once."""

    def __call__(self, function: Callable[[Item], Made], items: Sequence[Item]) -> Iterator[Made]:
        """Yield in order."""
        ...


def goes_in_parts(source: Source) -> bool:
    """Tell whether parts of a source can be read by themselves, wherever they begin."""
    return isinstance(source, ParquetSource)


@dataclass(frozen=True)
class SourcePart:
    """Some rows of a source; ``content`` is what its files were when it was divided."""

    source: Source
    content: str
    first: int  # row
    rows: int

    def frames(self, names: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield tidy pieces of the named columns.

        Raises
        ------
        InputError
            The source has another content by now.
        UnreachableError
            A file system does not answer.
        """
        size = piece_rows(len(names))
        left = self.rows
        for piece in evenly(_opened(self.source, self.content, size).read(names, self.first), size):
            yield tidied(piece.slice(0, left))
            left -= piece.num_rows
            if left <= 0:
                return


@dataclass(frozen=True)
class _Target:
    part: SourcePart
    file: Path


def ingest_in_parts(source: Source, path: Path, engine: Engine, share: Share) -> Dataset:
    """Write a source's table to ``path``; ``share`` has its parts written, beside that.

    Raises
    ------
    InputError
        The source does not hold a usable table, or changes meanwhile, or a variable is not set.
    UnreachableError
        A file system does not answer, or nothing can be written.
    """
    place = describe_source(source)
    with closing(open_stream(source, piece_rows=piece_rows(1_000))) as stream:
        names, settled, content = stream.names, settled_types(stream), _content(stream)
        rows, size = stream.rows, _part_rows(len(stream.names), stream.together)
    if not rows:
        raise without_rows(place, names)
    parts = [
        SourcePart(source, content, first, min(size, rows - first))
        for first in range(0, rows, size)
    ]
    unsettled = [name for name in names if name not in settled]
    seen = {name: Seen() for name in unsettled}
    for found in share(partial(_look, unsettled), parts) if unsettled else ():
        for name, each in found.items():
            seen[name].also(each)
    layout = layout_of(names, settled, seen)
    with _staying_if_whole(path.parent / f"parts-{uuid4().hex}") as folder:
        targets = [
            _Target(part, folder / f"{number:05}.parquet") for number, part in enumerate(parts)
        ]
        hashed = share(partial(_write, layout, engine), targets)
        written = {
            target.file.relative_to(path.parent).as_posix(): each
            for target, each in zip(targets, hashed, strict=True)
        }
        if content_of(source) != content:
            raise changed_meanwhile(place)
        return join(path, layout, written, place, engine)


@contextmanager
def _staying_if_whole(folder: Path) -> Iterator[Path]:
    with keeping(folder):
        folder.mkdir(parents=True)
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            discard(folder)  # workers may still write there
        raise


def content_of(source: Source) -> str:
    """Return what tells the content of a source's files from another one, by times and sizes.

    Raises
    ------
    InputError, UnreachableError
        As `ingest_in_parts` does.
    """
    with closing(open_stream(source, piece_rows=1)) as stream:
        return _content(stream)


@lru_cache(maxsize=2)
def _opened(source: Source, content: str, size: int) -> TableStream:
    """Return an open source, once for all parts: of many files that takes long."""
    stream = open_stream(source, piece_rows=size)
    if _content(stream) != content:
        raise changed_meanwhile(describe_source(source))
    return stream


def _content(stream: TableStream) -> str:
    facts = json.dumps(stream.fingerprint, sort_keys=True, default=str)
    return hashlib.sha256(facts.encode()).hexdigest()


def _part_rows(columns: int, together: int) -> int:
    """Return how many rows a part has.

    It ends where a block of the fingerprint does, and is not shorter than what is decoded together.
    """
    rows = max(PIECES * piece_rows(columns), together + BLOCK_ROWS - 1)
    return max(1, rows // BLOCK_ROWS) * BLOCK_ROWS


def _look(names: Sequence[str], part: SourcePart) -> dict[str, Seen]:
    return looked_at(part.frames(names), names)


def _write(layout: Layout, engine: Engine, target: _Target) -> HashedRows:
    frames = target.part.frames(list(layout))
    with writing(target.file, layout, describe_source(target.part.source), engine) as written:
        for frame in frames if engine.exceeds_memory else made_ahead(frames):
            written.add(fitted(frame, layout))
        return written.hashed
