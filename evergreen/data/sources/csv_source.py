"""CSV: files, also compressed, and the same text from anywhere else.

Each file is gone through once before pandas reads it, because pandas silently pads short lines and
renames duplicate columns.
"""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal, cast

import pandas as pd

from evergreen.data.source_config import CsvSource
from evergreen.data.sources import csv_dialect as dialect
from evergreen.data.sources.csv_dialect import OpenBytes
from evergreen.data.sources.environment import Environment
from evergreen.data.sources.files import KEY, local_path, require_file, unreadable
from evergreen.data.sources.tidy import column_names, tidy
from evergreen.errors import InputError

GZIP_MAGIC = b"\x1f\x8b"
SHOWN_LINES = 3
_NAMES = {",": "','", ";": "';'", "\t": "'\\t' (tab)", "|": "'|'"}


def read_csv(source: CsvSource, environment: Environment) -> pd.DataFrame:
    """Return the table in one CSV file.

    Raises
    ------
    InputError
        The file does not exist, is empty, has only a header, has duplicate column names, lines of
        different length, another delimiter or encoding than given, or is damaged.
    UnreachableError
        The file system does not let it be read.
    """
    path = local_path(environment.resolve(source.path, KEY))
    require_file(path)
    with reading(path):
        frame = parse_csv(
            opener(path),
            str(path),
            delimiter=source.delimiter,
            encoding=source.encoding,
            decimal=source.decimal,
            missing=source.missing,
        )
    return tidy(frame, str(path))


def opener(path: Path) -> OpenBytes:
    """Return how to open the file; compression is told by its first bytes, not by its name."""
    with path.open("rb") as stream:
        compressed = stream.read(2) == GZIP_MAGIC

    def opened() -> IO[bytes]:
        return cast(IO[bytes], gzip.open(path)) if compressed else path.open("rb")

    return opened


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say what is wrong where a CSV file cannot be opened, or read to its end.

    Raises
    ------
    InputError
        It is compressed, and damaged.
    UnreachableError
        The file system does not let it be read.
    """
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} is compressed and damaged or cut short: {error}") from error
    except OSError as error:
        raise unreadable(path, error) from error


def csv_frames(
    source: CsvSource, environment: Environment, piece_rows: Callable[[int], int]
) -> tuple[Callable[[Collection[str], Collection[str]], Iterator[pd.DataFrame]], list[str]]:
    """Return what yields the tidy pieces of a file, as often as it is called, and the columns.

    It is called with columns to leave out, and with columns to read as the text that they are;
    the others get the types that each piece shows. ``piece_rows`` says for a number of columns
    how many rows a piece has.

    Raises
    ------
    InputError, UnreachableError
        See `read_csv`.
    """
    path = local_path(environment.resolve(source.path, KEY))
    require_file(path)

    def frames(left_out: Collection[str], texts: Collection[str]) -> Iterator[pd.DataFrame]:
        wanted = [name for name in known if name not in left_out]
        with reading(path), open_bytes() as stream:
            pieces = pd.read_csv(
                stream,
                usecols=wanted,
                dtype=dict.fromkeys(texts, str),
                chunksize=piece_rows(len(known)),
                **_options(encoding, used, names, decimal, source.missing),
            )
            for piece in pieces:
                yield tidy(piece, str(path))

    with reading(path):
        open_bytes = opener(path)
        encoding, used, decimal, detected = _dialect(
            open_bytes, str(path), source.delimiter, source.encoding, source.decimal
        )
        try:
            names = _require_even_lines(open_bytes, encoding, used, detected, str(path))
        except UnicodeDecodeError as error:
            raise dialect.wrong_encoding(str(path), encoding, error) from error
    known = names[:-1] if names[-1].startswith("Unnamed: ") else names
    return frames, known


def parse_csv(
    open_bytes: OpenBytes,
    where: str,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: Literal[".", ","] | None = None,
    missing: Sequence[str] = (),
) -> pd.DataFrame:
    """Return the table in CSV text; it may have no rows.

    Parameters
    ----------
    open_bytes
        Opens the uncompressed bytes from their start; called several times.
    where
        What messages call the text: a path or an address.
    delimiter, encoding, decimal
        As given by the user, or None to detect them.
    missing
        Spellings of a missing value besides those of pandas.

    Raises
    ------
    InputError
        See `read_csv`.
    """
    encoding, used, decimal, detected = _dialect(open_bytes, where, delimiter, encoding, decimal)
    try:
        names = _require_even_lines(open_bytes, encoding, used, detected, where)
        return _even_table(open_bytes, encoding, used, names, decimal, missing)
    except UnicodeDecodeError as error:
        raise dialect.wrong_encoding(where, encoding, error) from error
    except pd.errors.ParserError as error:
        raise InputError(f"{where} cannot be read as CSV: {error}") from error


def header_of(
    open_bytes: OpenBytes,
    where: str,
    *,
    delimiter: str | None = None,
    encoding: str | None = None,
    decimal: Literal[".", ","] | None = None,
) -> tuple[str, str, str, list[str]]:
    """Return encoding, delimiter, decimal mark and column names; see `parse_csv`.

    Raises
    ------
    InputError
        The text is empty, or its first line holds no names.
    """
    encoding, used, mark, detected = _dialect(open_bytes, where, delimiter, encoding, decimal)
    with open_bytes() as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
        try:
            rows = dialect.reader(stream, used)
            header = next((row for row in rows if not dialect.is_blank(row)), [])
        except csv.Error as error:
            raise InputError(f"{where}: the header cannot be read: {error}") from error
    return encoding, used, mark, _require_header(header, used, detected, where)


def _dialect(
    open_bytes: OpenBytes,
    where: str,
    delimiter: str | None,
    encoding: str | None,
    decimal: Literal[".", ","] | None,
) -> tuple[str, str, Literal[".", ","], str | None]:
    """Return encoding, delimiter and decimal mark to use, and the delimiter that was detected."""
    encoding = encoding or dialect.find_encoding(open_bytes, where)
    if encoding.lower().replace("_", "-") in {"utf-8", "utf8"}:
        encoding = "utf-8-sig"  # reads both, with and without the mark
    text, whole = dialect.sample_text(open_bytes, encoding, where)
    if not text.strip("\ufeff \t\r\n"):
        raise InputError(f"{where} is empty")
    if text.lstrip("\ufeff").lower().startswith("sep="):
        raise InputError(f"{where}: the first line is a note to Excel ('sep='); delete that line")
    detected = dialect.find_delimiter(text, whole)
    used = delimiter or detected or ","
    return encoding, used, decimal or dialect.find_decimal(text, whole, used), detected


def _even_table(
    open_bytes: OpenBytes,
    encoding: str,
    delimiter: str,
    names: list[str],
    decimal: Literal[".", ","],
    missing: Sequence[str],
) -> pd.DataFrame:
    """Return the table of lines that are known to have as many fields as there are names."""
    with open_bytes() as stream:
        frame = pd.read_csv(stream, **_options(encoding, delimiter, names, decimal, missing))
    # A delimiter that ends every line makes a last column with neither name nor values.
    if names[-1].startswith("Unnamed: ") and frame[names[-1]].isna().all():
        return frame.drop(columns=names[-1])
    return frame


def _options(
    encoding: str, delimiter: str, names: list[str], decimal: str, missing: Sequence[str]
) -> dict[str, Any]:
    return {
        "sep": delimiter,
        "encoding": encoding,
        "decimal": decimal,
        "header": 0,
        "names": names,
        "index_col": False,
        "skipinitialspace": delimiter != " ",
        "na_values": list(missing),
        "low_memory": False,  # else a long column may be read as several types
    }


def _require_even_lines(
    open_bytes: OpenBytes, encoding: str, delimiter: str, detected: str | None, where: str
) -> list[str]:
    """Return the column names once every line has as many fields as the header."""
    uneven: list[str] = []
    count = start = 0
    header: list[str] | None = None
    with open_bytes() as raw, io.TextIOWrapper(raw, encoding=encoding, newline="") as stream:
        reader = dialect.reader(stream, delimiter)
        try:
            for row in reader:
                line, start = start + 1, reader.line_num
                if dialect.is_blank(row):
                    continue
                if header is None:
                    header = row
                elif len(row) != len(header):
                    count += 1
                    if count <= SHOWN_LINES:
                        uneven.append(f"line {line} has {len(row)}")
        except csv.Error as error:
            raise InputError(
                f"{where}, line {start + 1}: {error}; is a quotation mark never closed?"
            ) from error
    names = _require_header(header or [], delimiter, detected, where)
    if count:
        raise InputError(
            f"{where}: the header has {len(names)} fields, but {', '.join(uneven)}"
            f"{f' ({count} such lines in all)' if count > SHOWN_LINES else ''}; quote fields that "
            f"hold the delimiter {_name(delimiter)}{_other(delimiter, detected)}"
        )
    return names


def _require_header(
    header: list[str], delimiter: str, detected: str | None, where: str
) -> list[str]:
    """Return the column names, if the first line holds names."""
    if not header:
        raise InputError(f"{where} is empty")
    if len(header) == 1 and detected not in {None, delimiter}:
        raise InputError(
            f"{where}: the delimiter {_name(delimiter)} gives only one column"
            f"{_other(delimiter, detected)}"
        )
    if all(_is_number(name) for name in header):
        raise InputError(
            f"{where}: the first line holds numbers ({', '.join(header[:4])}, …), not column "
            "names; add a line with the names of the columns"
        )
    return column_names(header, where)


def _other(delimiter: str, detected: str | None) -> str:
    if detected in {None, delimiter}:
        return ""
    return f"; {_name(str(detected))} would split it evenly: correct data.source.delimiter"


def _name(delimiter: str) -> str:
    return _NAMES.get(delimiter, repr(delimiter))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
