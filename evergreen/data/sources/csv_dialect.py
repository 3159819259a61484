"""How a CSV file is written: its encoding, delimiter and decimal mark, found by looking.

RFC 4180 leaves both open. The encoding is UTF-8 wherever the whole file is valid UTF-8 (text in
another encoding practically never is); the delimiter is the one that splits every line of a sample
into the same number of fields; the decimal mark is a comma where a column can only be read so.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import zip_longest
from typing import IO, TYPE_CHECKING, Final, Literal

from evergreen.errors import InputError

if TYPE_CHECKING:
    from _csv import Reader as CsvReader

OpenBytes = Callable[[], IO[bytes]]

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_BYTES = 1 << 18
_CHUNK = 1 << 20
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_WITH_COMMA: Final = re.compile(r"[+-]?\d+(,\d+)?")
_WITH_POINT: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+")
_OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; export the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook; export the sheet as CSV"),
    (b"PAR1", "a Parquet file; use source type parquet"),
    (b"SQLite format 3\x00", "an SQLite database; use source type sql"),
)
# The encodings that tables are still written in; a longer list makes guesses on short text worse.
_LEGACY_ENCODINGS = [
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "koi8_r"),
    *("mac_roman", "cp437", "cp850"),
    *("shift_jis", "euc_jp", "gb18030", "big5", "euc_kr"),
]


def find_encoding(open_bytes: OpenBytes, where: str) -> str:
    """Return the name of the Python codec that reads the whole file.

    Raises
    ------
    InputError
        The file is not text.
    """
    with open_bytes() as stream:
        start = stream.read(SAMPLE_BYTES)
    for magic, what in _OTHER_FORMATS:
        if start.startswith(magic):
            raise InputError(f"{where} is not CSV but {what}")
    for mark, name in _BYTE_ORDER_MARKS:
        if start.startswith(mark):
            return name
    if b"\0" in start:
        return _utf16_without_mark(start, where)
    offending = _first_part_that_is_not_utf8(open_bytes)
    return "utf-8" if offending is None else _legacy_encoding(offending, where)


def _utf16_without_mark(start: bytes, where: str) -> str:
    """Tell UTF-16 by zero bytes that stand only in every second place."""
    even, odd = start[0::2].count(0), start[1::2].count(0)
    if min(even, odd) < max(even, odd) / 20:
        return "utf-16-le" if odd > even else "utf-16-be"
    raise InputError(f"{where} is not text: it holds zero bytes")


def _first_part_that_is_not_utf8(open_bytes: OpenBytes) -> bytes | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open_bytes() as stream:
        while chunk := stream.read(_CHUNK):
            try:
                decoder.decode(chunk)
            except UnicodeDecodeError as error:
                return error.object[max(0, error.start - SAMPLE_BYTES // 2) :][:SAMPLE_BYTES]
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return bytes(error.object)
    return None


def _legacy_encoding(part: bytes, where: str) -> str:
    from charset_normalizer import from_bytes

    matches = list(from_bytes(part, cp_isolation=_LEGACY_ENCODINGS, threshold=0.5))
    if not matches:
        raise InputError(
            f"{where} is in no encoding that can be recognised; give data.source.encoding"
        )
    best = matches[0]
    equals = [m for m in matches if (m.chaos, m.coherence) == (best.chaos, best.coherence)]
    names = [name for match in equals for name in match.could_be_from_charset]
    # Where the text itself cannot tell, Western Windows is by far the most frequent.
    return "cp1252" if "cp1252" in names else best.encoding


def sample_text(open_bytes: OpenBytes, encoding: str, where: str) -> tuple[str, bool]:
    """Return the start of the file as text, and whether that is all of it.

    Raises
    ------
    InputError
        There is no such encoding, or the bytes are not in it.
    """
    with open_bytes() as stream:
        start = stream.read(SAMPLE_BYTES)
        whole = not stream.read(1)
    try:
        return codecs.getincrementaldecoder(encoding)().decode(start, final=whole), whole
    except LookupError as error:
        raise InputError(
            f"data.source.encoding: Python knows no encoding {encoding!r}; such as utf-8 or cp1252"
        ) from error
    except UnicodeDecodeError as error:
        raise wrong_encoding(where, encoding, error) from error


def wrong_encoding(where: str, encoding: str, error: UnicodeDecodeError) -> InputError:
    """Say that the bytes are not in the encoding."""
    byte = error.object[error.start]
    return InputError(
        f"{where} is not in {encoding}: byte 0x{byte:02x} does not belong there; "
        "correct data.source.encoding, or leave it out to have it detected"
    )


def find_delimiter(text: str, whole: bool) -> str | None:
    """Return the delimiter that splits every line alike, or nearly so; None if there is none.

    Parameters
    ----------
    text
        The start of the file.
    whole
        Whether that is all of it; otherwise the last line may be cut and does not count.
    """
    found = {delimiter: _agreement(text, delimiter, whole) for delimiter in DELIMITERS}
    candidates = {delimiter: score for delimiter, score in found.items() if score is not None}
    return max(candidates, key=lambda name: candidates[name], default=None)


def _agreement(text: str, delimiter: str, whole: bool) -> tuple[float, int] | None:
    """Return (share of lines with as many fields as the header, that number), if above 1."""
    widths: list[int] = []
    # An unclosed quote ends the sample; the lines before it still tell.
    with suppress(csv.Error):
        rows = reader(io.StringIO(text, newline=""), delimiter)
        widths.extend(len(row) for row in rows if not is_blank(row))
    if not whole and len(widths) > 1:
        widths.pop()
    if not widths or widths[0] < 2:
        return None
    most_frequent, times = Counter(widths).most_common(1)[0]
    if most_frequent < 2:
        return None
    return (times / len(widths) if most_frequent == widths[0] else 0.0), widths[0]


def find_decimal(text: str, whole: bool, delimiter: str) -> Literal[".", ","]:
    """Return the decimal mark: a comma where some column can only be read so, and none by points.

    Parameters are those of `find_delimiter`. A column whose commas may all part thousands
    ("1,234") does not tell.
    """
    rows: list[list[str]] = []
    with suppress(csv.Error):
        rows.extend(
            row for row in reader(io.StringIO(text, newline=""), delimiter) if not is_blank(row)
        )
    body = rows[1:] if whole else rows[1:-1]
    # What holds no digit is a missing value, however it is spelt.
    columns = [
        [field.strip() for field in column if any(map(str.isdigit, field))]
        for column in zip_longest(*body, fillvalue="")
    ]
    if any(_are_numbers(column, _WITH_POINT, ".") for column in columns):
        return "."
    commas = (column for column in columns if _are_numbers(column, _WITH_COMMA, ","))
    told = (field for column in commas for field in column if "," in field)
    return "," if any(not _THOUSANDS.fullmatch(field) for field in told) else "."


def _are_numbers(fields: list[str], form: re.Pattern[str], mark: str) -> bool:
    """Tell whether all fields have the form and at least one has the mark."""
    return any(mark in field for field in fields) and all(map(form.fullmatch, fields))


def reader(lines: Iterable[str], delimiter: str) -> CsvReader:
    """Return a reader of lines in the form that pandas is told to expect, too."""
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != " ")


def is_blank(row: list[str]) -> bool:
    """Tell whether a line holds nothing, which every reader skips."""
    return not row or (len(row) == 1 and not row[0].strip())
