"""CSV, block by block; every cell stays the text that it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from evergreen.data.source_config import CsvSource
from evergreen.data.sources import csv_dialect as dialect
from evergreen.data.sources.csv_source import header_of, opener, reading
from evergreen.data.sources.environment import Environment
from evergreen.data.sources.files import KEY, local_path, require_file
from evergreen.data.sources.streams import TableStream, stamp, without_rows
from evergreen.errors import InputError

BLOCK_BYTES = 4 << 20
UNNAMED = "Unnamed: "


def csv_stream(source: CsvSource, environment: Environment) -> TableStream:
    """Find out how the file is written; see `evergreen.data.sources.csv_source.read_csv`.

    Lines of another length than the header's end the reading with an `InputError`.
    """
    path = local_path(environment.resolve(source.path, KEY))
    require_file(path)
    with reading(path):
        open_bytes = opener(path)
        fingerprint: dict[str, Any] = stamp([path])
        encoding, used, decimal, names = header_of(
            open_bytes,
            str(path),
            delimiter=source.delimiter,
            encoding=source.encoding,
            decimal=source.decimal,
        )

    def read(columns: Sequence[str], start: int) -> Iterator[pa.Table]:
        with reading(path), open_bytes() as stream:
            pieces = _pieces(stream, path, encoding, used, names, source.missing)
            yield from without_rows((piece.select(list(columns)) for piece in pieces), start)

    known = names[:-1] if names[-1].startswith(UNNAMED) else names  # each line ends in a delimiter
    return TableStream(
        tuple(known),
        read,
        fingerprint,
        proven=True,
        types=dict.fromkeys(known, pa.string()),
        written=True,
        decimal=decimal,
    )


def _pieces(
    stream: IO[bytes],
    path: Path,
    encoding: str,
    delimiter: str,
    names: Sequence[str],
    missing: Sequence[str],
) -> Iterator[pa.Table]:
    try:
        reader = arrow_csv.open_csv(
            stream,
            arrow_csv.ReadOptions(
                use_threads=False,
                block_size=BLOCK_BYTES,
                column_names=list(names),
                skip_rows_after_names=1,
                encoding="utf8" if encoding.startswith("utf-8") else encoding,
            ),
            arrow_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                null_values=list(missing),
                strings_can_be_null=bool(missing),
                quoted_strings_can_be_null=bool(missing),
            ),
        )
        for batch in reader:
            yield _without_blanks(pa.Table.from_batches([batch]), delimiter)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):
            return
        raise InputError(f"{path} cannot be read as CSV: {_first_line(error)}") from error
    except UnicodeDecodeError as error:
        raise dialect.wrong_encoding(str(path), encoding, error) from error


def _without_blanks(piece: pa.Table, delimiter: str) -> pa.Table:
    """Take away the blanks after delimiters, as the reading in one piece does."""
    if delimiter == " ":
        return piece
    return pa.table(
        [pc.ascii_ltrim_whitespace(column) for column in piece.columns], names=piece.column_names
    )


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
