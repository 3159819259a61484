"""Tables that come as CSV or Parquet, brought into columns. Nothing is loaded until one comes."""

from __future__ import annotations

import csv
import io
import math
from typing import TYPE_CHECKING, Any, Final

from evergreen.serving.parsing.fields import Findings
from evergreen.serving.parsing.readers import MAX_TEXT
from evergreen.serving.parsing.rows import Inputs
from evergreen.serving.parsing.tables import TableReader
from evergreen.serving.problems import Problem

if TYPE_CHECKING:
    import pyarrow as pa

DELIMITERS: Final = (",", ";", "\t")


def read_csv(body: bytes, table: TableReader, limit: int) -> tuple[Inputs, Findings]:
    """Read CSV (UTF-8, a header, comma, semicolon or tab) of at most ``limit`` rows.

    Raises
    ------
    Problem
        If it is no such CSV, has too many rows, or a value breaks the contract.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Problem("malformed-body", f"The CSV is no UTF-8 at byte {error.start}.") from None
    header = text.lstrip("\r\n").split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=header.count)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = next((line for line in lines if line), None)
        if names is None:
            raise Problem("malformed-body", "The CSV is empty; a header is expected.")
        _require_distinct(names)
        rows = []
        for line in lines:
            if not line:
                continue
            if len(line) != len(names):
                raise Problem(
                    "malformed-body",
                    f"Line {lines.line_num} of the CSV has {len(line)} cells, the header "
                    f"{len(names)}.",
                )
            rows.append(line)
            require_rows(len(rows), limit)
    except csv.Error as error:
        where = f"Line {lines.line_num} of the CSV cannot be read"
        raise Problem("malformed-body", f"{where}: {error}.") from None
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    return table.text_columns({name: list(cells) for name, cells in zip(names, columns)})  # noqa: B905


def read_parquet(
    body: bytes, table: TableReader, limit: int, bytes_limit: int
) -> tuple[Inputs, Findings]:
    """Read a Parquet file of at most ``limit`` rows and ``bytes_limit`` bytes once unpacked.

    Raises
    ------
    Problem
        If it is no such file, or a value breaks the contract.
    """
    import pyarrow as pa

    try:
        arrow, names = _read_arrow(body, table, limit, bytes_limit)
        columns: dict[str, list[Any]] = {name: [] for name in names}  # unknown ones stay empty
        for name in arrow.column_names:
            columns[name] = _values(arrow.column(name))
    except (pa.ArrowException, OSError, ValueError) as error:
        first = str(error).split("\n", 1)[0][:200]
        raise Problem("malformed-body", f"The Parquet file cannot be read: {first}") from None
    return table.typed_columns(columns)


def _read_arrow(
    body: bytes, table: TableReader, limit: int, bytes_limit: int
) -> tuple[pa.Table, list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(body))
    require_rows(file.metadata.num_rows, limit)
    schema = file.schema_arrow
    _require_distinct(schema.names)
    groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > bytes_limit:
        raise Problem(
            "body-too-large", f"The Parquet file unpacks to more than {bytes_limit} bytes."
        )
    known = [name for name in schema.names if name in table.names]
    nested = [name for name in known if pa.types.is_nested(schema.field(name).type)]
    if nested:
        raise Problem("invalid-input", f"{nested[0]}: a nested column is no value.")
    # Texts stay dictionaries: a small file must not become a huge table.
    texts = [
        name
        for name in known
        if pa.types.is_string(schema.field(name).type)
        or pa.types.is_large_string(schema.field(name).type)
    ]
    file = pq.ParquetFile(io.BytesIO(body), read_dictionary=texts)
    return file.read(columns=known, use_threads=False), list(schema.names)


def require_rows(rows: int, limit: int) -> None:
    """Refuse more rows than one request may have."""
    if rows > limit:
        raise Problem("body-too-large", f"One request may have {limit} rows; send it in parts.")


def _require_distinct(names: list[str]) -> None:
    seen: set[str] = set()
    for position, name in enumerate(names, 1):
        if not name.strip():
            raise Problem("malformed-body", f"Column {position} has no name.")
        if name in seen:
            raise Problem("malformed-body", f"The column {name[:100]!r} stands twice.")
        seen.add(name)


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Return a column's values as Python has them; NaN, as in training, is a missing one."""
    import pyarrow as pa

    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_dictionary(column.type):
        levels = [level for part in column.chunks for level in part.dictionary.to_pylist()]
        longest = max((len(level) for level in levels if isinstance(level, str)), default=0)
        if longest > MAX_TEXT:
            raise Problem("invalid-input", f"A text has {longest} characters; {MAX_TEXT} may be.")
    if pa.types.is_floating(column.type):
        values = column.to_pylist()
        return [None if value is None or math.isnan(value) else value for value in values]
    return list(column.to_pylist())
