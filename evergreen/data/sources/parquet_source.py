"""Parquet: one file, a folder of them (also Hive-partitioned), or a glob."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from evergreen.data.source_config import ParquetSource
from evergreen.data.sources.environment import Environment
from evergreen.data.sources.files import KEY, local_path, require_file, unreadable
from evergreen.data.sources.tidy import column_names, tidy
from evergreen.errors import InputError

ENDINGS = (".parquet", ".pq")
UNNAMED_INDEX = "__index_level_"  # how pandas stores an index that has no name


def read_parquet(source: ParquetSource, environment: Environment) -> pd.DataFrame:
    """Return the table in all matching files, in the order of their sorted paths.

    Raises
    ------
    InputError
        Nothing matches, a file is damaged, two files differ in their columns or types, or a text
        is none.
    UnreachableError
        The file system does not let a file be read.
    """
    path = local_path(environment.resolve(source.path, KEY))
    files = matching_files(path)
    schema = common_schema(files)
    options = ds.ParquetFragmentScanOptions(pre_buffer=False)  # not all bytes beside the table
    form = ds.ParquetFileFormat(default_fragment_scan_options=options)
    layout: dict[str, Any] = {"format": form}
    if path.is_dir():
        layout |= {"partitioning": "hive", "partition_base_dir": str(path)}
    names = [str(file) for file in files]
    try:
        found = ds.dataset(names, **layout).schema
        folders = [field for field in found if field.name not in schema.names]
        table = ds.dataset(names, schema=pa.schema([*schema, *folders]), **layout).to_table()
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise InputError(f"{path}: a Parquet file is damaged: {error}") from error
    require_text(table, str(path))
    # pandas' own metadata is ignored: it would turn columns into an index.
    frame = table.to_pandas(
        ignore_metadata=True, date_as_object=False, split_blocks=True, self_destruct=True
    )
    kept = [name for name in frame.columns if not name.startswith(UNNAMED_INDEX)]
    return tidy(frame[kept], str(path))


def matching_files(path: Path) -> list[Path]:
    """Return the files meant by a path, sorted."""
    if path.is_dir():
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix in ENDINGS and not _hidden(file.relative_to(path)) and file.is_file()
        )
        if not found:
            raise InputError(f"{KEY}: the folder {path} holds no {' or '.join(ENDINGS)} file")
        return found
    if glob.has_magic(str(path)) and not path.exists():
        matches = glob.glob(str(path), recursive=True)  # noqa: PTH207 - absolute, unlike Path.glob
        found = [Path(name) for name in sorted(matches) if Path(name).is_file()]
        if not found:
            raise InputError(f"{KEY}: no file matches {path}")
        return found
    require_file(path)
    return [path]


def require_text(table: pa.Table, where: str) -> None:
    """Check that text is text: Parquet takes any bytes for it.

    Raises
    ------
    InputError
        If a column holds bytes that are no UTF-8.
    """
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not is_text(_plain(column.type)):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            raise InputError(
                f"{where}: column {name!r} is declared as text, but holds bytes that are no UTF-8"
            ) from error


def is_text(kind: pa.DataType) -> bool:
    """Tell types of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _hidden(relative: Path) -> bool:
    """Tell bookkeeping of writers such as Spark (``_SUCCESS``, ``.crc``) from data."""
    return any(part.startswith((".", "_")) for part in relative.parts)


def common_schema(files: list[Path]) -> pa.Schema:
    """Return the schema of all files; a column empty in one file takes the others' type."""
    first = _schema(files[0])
    column_names(first.names, str(files[0]))
    types: dict[str, Any] = {field.name: field.type for field in first}
    for file in files[1:]:
        for name, kind in _same_columns(file, first, files[0]).items():
            if pa.types.is_null(types[name]):
                types[name] = kind
            elif not pa.types.is_null(kind) and kind != types[name]:
                raise InputError(
                    f"{file}: column {name!r} is {kind}, but {types[name]} in {files[0]}; "
                    "write both with one type"
                )
    return pa.schema([pa.field(name, kind) for name, kind in types.items()])


def _same_columns(file: Path, first: pa.Schema, first_file: Path) -> dict[str, Any]:
    """Return a file's column types, if it has just the columns of the first file."""
    schema = _schema(file)
    for name in first.names:
        if name not in schema.names:
            raise InputError(f"{file}: column {name!r} is missing, which {first_file} has")
    for name in schema.names:
        if name not in first.names:
            raise InputError(f"{file}: column {name!r} is not in {first_file}")
    return {field.name: field.type for field in schema}


def _schema(file: Path) -> pa.Schema:
    """Return one file's columns, with text of every storage form as plain text."""
    try:
        schema = pq.read_schema(file)
    except pa.ArrowInvalid as error:
        raise InputError(f"{file} is no Parquet file, or is damaged: {error}") from error
    except OSError as error:
        raise unreadable(file, error) from error
    return pa.schema([pa.field(field.name, _plain(field.type)) for field in schema])


def _plain(kind: Any) -> Any:
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return pa.string() if pa.types.is_large_string(kind) else kind
