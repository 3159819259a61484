"""Datasets: tables at rest, in Parquet files that know their own content.

Steps hand a `Dataset` on instead of a frame, so that large tables are neither copied nor pickled.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from evergreen.data.casting import each_level_once
from evergreen.data.engine import IN_MEMORY, Engine
from evergreen.data.footers import METADATA_KEY, gone, read_metadata, stored_files
from evergreen.data.row_groups import read_batches, read_columns, read_row_group
from evergreen.data.table_file import table_file
from evergreen.data.threads import in_threads
from evergreen.errors import EvergreenError, InputError, UnreachableError

ROW_GROUP = 250_000
PIECE_VALUES = 8_000_000  # of a piece that is read or written at once: 64 MB of numbers


@dataclass(frozen=True)
class Dataset:
    """One table in one Parquet file, or in parts that this one names.

    Parameters
    ----------
    path
        The Parquet file; absolute. Everything else below is also kept inside it. Parts lie in a
        folder beside it, which goes along wherever the file goes: see `files`.
    rows
        Number of rows.
    columns
        Column names in order.
    fingerprint
        SHA-256 (hex) of column names, dtypes and values in row order; see `fingerprint`.
    source
        Where the table came from, in words, without secrets.
    engine
        How those who work on it go through it: as a whole, or piece by piece.
    """

    path: Path
    rows: int
    columns: tuple[str, ...]
    fingerprint: str
    source: str
    engine: Engine = IN_MEMORY

    @classmethod
    def write(
        cls, frame: pd.DataFrame, path: Path | str, source: str = "", engine: Engine = IN_MEMORY
    ) -> Dataset:
        """Store ``frame`` at ``path``; the file appears whole or not at all.

        The index is not stored. Parent folders are made. A file already there is replaced.

        Raises
        ------
        InputError
            Two columns share a name, a name is not text, or a column mixes kinds of values.
        UnreachableError
            The folder cannot be written (full disk, read-only, no permission).
        """
        path = Path(path).absolute()
        _require_usable_names(frame)
        table = _to_arrow(frame)
        dtypes = {str(name): str(dtype) for name, dtype in frame.dtypes.items()}
        with (
            appearing_whole(path) as temporary,
            table_file(temporary, table.schema, engine) as file,
        ):
            file.add(frame, table, ROW_GROUP)
            digest = file.fingerprint.hexdigest()
            stored = cls(path, len(frame), tuple(frame.columns), digest, source, engine)
            file.note({METADATA_KEY: stored.metadata(dtypes)})
        return stored

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Return the dataset stored at ``path``, reading only the file's footer.

        Raises
        ------
        UnreachableError
            The file is gone or cannot be read.
        InputError
            The file is no dataset of ours, or is damaged.
        """
        path = Path(path).absolute()
        metadata = read_metadata(path)
        return cls(
            path,
            metadata["rows"],
            tuple(metadata["columns"]),
            metadata["fingerprint"],
            metadata["source"],
            Engine.model_validate(metadata.get("engine", {})),
        )

    def read(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Return the table, or the named columns in the named order, with its original dtypes.

        Raises
        ------
        InputError
            A named column does not exist, or the file is damaged.
        UnreachableError
            The file is gone or cannot be read.
        """
        self._require_columns(columns)
        lost = read_metadata(self.path)["dtypes"]
        names = list(self.columns if columns is None else columns)
        # Some columns at a time, in memory that serves the next ones: fresh memory takes longer
        # than the reading.
        width = max(1, PIECE_VALUES // max(1, self.rows))
        groups = [names[start : start + width] for start in range(0, len(names), width)] or [[]]

        files, alone = stored_files(self.path), len(groups) == 1

        def read(group: list[str]) -> pd.DataFrame:
            table = read_columns(files, group, use_threads=alone)
            return _as_frame(table, group, lost)

        try:
            frame = pd.concat(in_threads(read, groups), axis=1)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(self.path, error) from error
        if frame.empty:  # Parquet has no say in the index of a table without rows or columns
            frame = frame.set_axis(pd.RangeIndex(self.rows), axis=0)
        return frame

    def pieces(
        self, columns: Sequence[str] | None = None, rows: int | None = None
    ) -> Iterator[pd.DataFrame]:
        """Yield the table in pieces of ``rows`` rows, in order; each is what `read` would give.

        The index goes on from piece to piece. Only one piece is in memory at a time; by default
        it holds some 64 MB of numbers.

        Raises
        ------
        InputError, UnreachableError
            As `read` does.
        """
        self._require_columns(columns)
        lost = read_metadata(self.path)["dtypes"]
        names = list(self.columns if columns is None else columns)
        start = 0
        size = rows or piece_rows(len(names))
        try:
            for table in read_batches(stored_files(self.path), names, size):
                frame = _as_frame(table, names, lost)
                yield frame.set_axis(pd.RangeIndex(start, start + len(frame)), axis=0)
                start += len(frame)
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(self.path, error) from error

    def read_some(
        self, rows: int, columns: Sequence[str] | None = None, seed: int = 0
    ) -> pd.DataFrame:
        """Return at most so many rows, drawn evenly by the seed, in their order.

        The index holds the rows' places in the table. Of a smaller table it is `read`.

        Raises
        ------
        InputError, UnreachableError
            As `read` does.
        """
        if rows >= self.rows:
            return self.read(columns)
        return self.read_where(draw_evenly(self.rows, rows, np.random.default_rng(seed)), columns)

    def read_where(
        self, taken: npt.NDArray[np.bool_], columns: Sequence[str] | None = None
    ) -> pd.DataFrame:
        """Return the rows where a mask of all rows is true; the index holds their places.

        Raises
        ------
        InputError, UnreachableError
            As `read` does.
        """
        self._require_columns(columns)
        if not taken.any():
            return self.read(columns).iloc[:0]
        lost = read_metadata(self.path)["dtypes"]
        names = list(self.columns if columns is None else columns)
        first_rows = np.cumsum([0, *self.row_groups()])
        parts = np.split(taken, first_rows[1:-1])

        def rows(number: int) -> pa.Table:
            return self._row_group(number, names, parts[number])

        numbers = [number for number, part in enumerate(parts) if part.any()]
        frame = _as_frame(pa.concat_tables(in_threads(rows, numbers)), names, lost)
        return frame.set_axis(pd.Index(np.flatnonzero(taken)), axis=0)

    def row_groups(self) -> tuple[int, ...]:
        """Return how many rows each row group has.

        Raises
        ------
        InputError, UnreachableError
            As `open` does.
        """
        return tuple(
            footer.row_group(number).num_rows
            for _, footer in stored_files(self.path)
            for number in range(footer.num_row_groups)
        )

    def read_row_group(
        self, number: int, columns: Sequence[str] | None = None, *, as_stored: bool = False
    ) -> pd.DataFrame:
        """Return one row group as `read` would; the index begins at 0.

        ``as_stored``: in the file's own types, whatever it was written in. Text is no objects then,
        which take long to make.

        Raises
        ------
        InputError, UnreachableError
            As `read` does.
        """
        self._require_columns(columns)
        lost = {} if as_stored else read_metadata(self.path)["dtypes"]
        names = list(self.columns if columns is None else columns)
        return _as_frame(self._row_group(number, names), names, lost)

    def _row_group(
        self, number: int, names: list[str], chosen: npt.NDArray[np.bool_] | None = None
    ) -> pa.Table:
        try:
            for file in stored_files(self.path):
                if number < file.footer.num_row_groups:
                    return read_row_group(file, number, names, chosen)
                number -= file.footer.num_row_groups
            raise IndexError("the table has fewer row groups")
        except (pa.ArrowInvalid, OSError) as error:
            raise _damaged(self.path, error) from error

    def files(self, name: str) -> dict[str, Path]:
        """Return the table's files by what to call them elsewhere, if it is to be ``name`` there.

        Raises
        ------
        InputError, UnreachableError
            As `open` does.
        """
        parts = read_metadata(self.path).get("parts", [])
        return {name: self.path, **{part: self.path.parent / part for part in parts}}

    def _require_columns(self, columns: Sequence[str] | None) -> None:
        for name in columns or ():
            if name not in self.columns:
                raise InputError(_unknown_column(name, self))

    def metadata(self, dtypes: Mapping[str, str], parts: Sequence[str] | None = None) -> bytes:
        """Return what `open` and `read` need to know beside the rows, as JSON."""
        lost = {name: dtype for name, dtype in dtypes.items() if _is_lost_in_parquet(dtype)}
        known = {
            "rows": self.rows,
            "columns": self.columns,
            "fingerprint": self.fingerprint,
            "source": self.source,
            "engine": self.engine.model_dump(mode="json"),
            "dtypes": lost,
        }
        return json.dumps(known if parts is None else {**known, "parts": parts}).encode()


def draw_evenly(rows: int, taken: int, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Return a mask of so many rows that is true for ``taken`` of them, each as likely."""
    mask = np.zeros(rows, dtype=bool)
    mask[random.choice(rows, taken, replace=False, shuffle=False)] = True
    return mask


def piece_rows(columns: int) -> int:
    """Return how many rows of so many columns are read or written at once."""
    return int(np.clip(PIECE_VALUES // max(1, columns), 1_000, ROW_GROUP))


def _as_frame(
    table: pa.Table, columns: Sequence[str] | None, lost: Mapping[str, Any]
) -> pd.DataFrame:
    """Return stored rows in the dtypes that they were written with."""
    if columns is not None:
        table = table.select(list(columns))
    # Column by column, each given up by Arrow once it is there: one table, not two.
    frame: pd.DataFrame = table.to_pandas(
        integer_object_nulls=True, split_blocks=True, self_destruct=True
    )
    for name in frame.columns.intersection(pd.Index(lost)):
        values, dtype = frame[name], lost[name]
        frame[name] = _as_objects(values) if dtype == "object" else values.astype(dtype)
    return frame


def _as_objects(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return values as Python objects, None where missing; equal texts are one object."""
    if isinstance(values.dtype, pd.StringDtype):
        return each_level_once(values, lambda levels: levels)
    values = values.astype(object)
    return values.where(values.notna(), None)


def _damaged(path: Path, error: Exception) -> EvergreenError:
    if isinstance(error, FileNotFoundError):  # a part, whose footer is known
        return gone(path)
    return InputError(f"The stored table {path} is damaged: {error}")


def _is_lost_in_parquet(dtype: str) -> bool:
    """Tell dtypes that would come back as others: objects, and times in whole seconds."""
    return dtype == "object" or dtype.startswith("datetime64[s")


def _require_usable_names(frame: pd.DataFrame) -> None:
    odd = [name for name in frame.columns if not isinstance(name, str)]
    if odd:
        raise InputError(f"Column names must be text; {odd[0]!r} is {type(odd[0]).__name__}")
    twice = frame.columns[frame.columns.duplicated()].unique().tolist()
    if twice:
        raise InputError(f"Column names must be unique; found more than once: {', '.join(twice)}")


def _to_arrow(frame: pd.DataFrame) -> pa.Table:
    """Convert column by column, so that the column that cannot be stored is known."""
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        for name, column in frame.items():
            try:
                pa.array(column, from_pandas=True)
            except pa.ArrowException as reason:
                raise InputError(
                    f"Column {name!r} mixes kinds of values and cannot be stored: {reason}"
                ) from error
        raise InputError(f"The table cannot be stored: {error}") from error


@contextmanager
def keeping(path: Path) -> Iterator[None]:
    """Raise `UnreachableError` where the file system does not take what goes to ``path``."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise UnreachableError(
            f"Cannot write {path}: {reason}. Nothing was kept of it; free some space, or move the "
            "state folder with EVERGREEN_HOME"
        ) from error


@contextmanager
def appearing_whole(path: Path) -> Iterator[Path]:
    """Yield a temporary file beside ``path`` that takes its place when the block succeeds."""
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    try:
        with keeping(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            with temporary.open("rb") as stream:
                os.fsync(stream.fileno())
            temporary.replace(path)
            names = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(names)
            finally:
                os.close(names)
    finally:
        with suppress(OSError):  # the folder itself may not exist
            temporary.unlink(missing_ok=True)


def _unknown_column(name: str, dataset: Dataset) -> str:
    near = get_close_matches(name, dataset.columns, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(dataset.columns)}"
    return f"The table {dataset.path.name} has no column {name!r}; {hint}"
