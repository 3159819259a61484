"""The section ``batch`` of a use case: what is scored, and where the predictions go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from evergreen.dask.settings import DaskConfig
from evergreen.data.source_config import Source, keep_references, source_from_shorthand
from evergreen.object_stores import is_remote
from evergreen.serving.settings import Judgement, ServingConfig
from evergreen.values import Value

MAX_THREADS = 64


class ParquetOutput(Value):
    """A Parquet file here or in an object store, or a folder of them."""

    type: Literal["parquet"] = "parquet"
    path: str = Field(min_length=1, description="A file; ending in / a folder, one file per chunk.")


class CsvOutput(Value):
    """A CSV file here or in an object store, or a folder of them."""

    type: Literal["csv"] = "csv"
    path: str = Field(min_length=1, description="A file; ending in / a folder, one file per chunk.")


class SqlOutput(Value):
    """A table that is made in any database that SQLAlchemy speaks to."""

    type: Literal["sql"] = "sql"
    url: str = Field(
        min_length=1, description="SQLAlchemy URL; refer to the environment for the password."
    )
    table: str = Field(
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]{0,44}$",
        description="[schema.]table; it appears once all rows are in.",
    )
    timeout: float = Field(10, gt=0, description="Seconds to wait for a connection.")


Output = Annotated[ParquetOutput | CsvOutput | SqlOutput, Field(discriminator="type")]


def output_from_shorthand(value: Any) -> Any:
    """Read ``scored.parquet``, ``scored.csv``, ``scored/`` or ``sqlite:///a.db#table``.

    References to the environment are put into the form that is kept.

    Raises
    ------
    ValueError
        If the text names no known kind of output.
    """
    value = keep_references(value)
    if not isinstance(value, str):
        return value
    if "://" in value and not is_remote(value):
        url, found, table = value.rpartition("#")
        if not found:
            raise ValueError(f"names no table; write {value}#TABLE")
        return {"type": "sql", "url": url, "table": table}
    if value.lower().endswith(".csv"):
        return {"type": "csv", "path": value}
    if value.lower().endswith((".parquet", ".pq", "/")):
        return {"type": "parquet", "path": value}
    raise ValueError(
        "names no known output; allowed are a path ending in .parquet, .csv or / (a folder of "
        "Parquet files), such a file in an object store (s3://), a database address with #TABLE, "
        "or a mapping with a type"
    )


def batch_source_from_shorthand(value: Any) -> Any:
    """Read what `source_from_shorthand` reads, and ``sqlite:///a.db#table``.

    Raises
    ------
    ValueError
        If the text names no known kind of source.
    """
    address = isinstance(value, str) and "://" in value
    is_database = address and not value.startswith("http") and not is_remote(value)
    if is_database and "#" in value:
        url, _, table = keep_references(value).rpartition("#")
        return {"type": "sql", "url": url, "table": table}
    return source_from_shorthand(value)


class BatchConfig(Value):
    """What is scored, and where the predictions go."""

    source: (
        Annotated[
            Source,
            BeforeValidator(batch_source_from_shorthand, json_schema_input_type=Source | str),
        ]
        | None
    ) = Field(None, description="As data.source, whose table it is by default; no target needed.")
    output: (
        Annotated[
            Output, BeforeValidator(output_from_shorthand, json_schema_input_type=Output | str)
        ]
        | None
    ) = Field(None, description="A path, URL#TABLE, or a mapping. Default: below .evergreen/batch.")
    rejected: str | None = Field(
        None, min_length=1, description="Path or table of refused rows. Default: beside the output."
    )
    overwrite: bool = Field(False, description="Replace an output that is there.")
    keep: Literal["keys", "all"] | tuple[str, ...] = Field(
        "keys", description="Input columns that stand beside the predictions, or all."
    )
    version: str | None = Field(None, description="Version of the model; overrules alias.")
    alias: str = Field("champion", min_length=1, description="Alias of the version that scores.")
    chunk_rows: int = Field(
        65_536, ge=1, le=10_000_000, description="Rows that are read, scored and kept at once."
    )
    partitions: int = Field(
        1, ge=1, le=256, description="Parts that are scored by steps, and so pods, of their own."
    )
    dask: DaskConfig = Field(
        DaskConfig(), description="A Dask cluster whose workers score the parts instead of steps."
    )
    threads: int | None = Field(
        None, ge=1, le=MAX_THREADS, description="Chunks scored at once. Default: all cores."
    )
    max_rejected: float = Field(
        1.0, ge=0, le=1, description="Greatest share of refused rows; more is exit code 1."
    )
    out_of_range: Judgement | None = Field(None, description="Default: as in serving.")
    unknown_category: Judgement | None = Field(None, description="Default: as in serving.")
    missing: Literal["reject", "flag", "accept"] | None = Field(
        None, description="Default: as in serving."
    )
    extra_fields: Literal["reject", "ignore"] = Field(
        "ignore", description="A column that the contract does not know; reject refuses the table."
    )

    @model_validator(mode="after")
    def _dask_has_parts(self) -> BatchConfig:
        if self.dask.chosen and self.partitions == 1:
            raise ValueError("dask shares the partitions of a table; say how many: partitions")
        return self

    @property
    def in_steps(self) -> bool:
        """Whether the parts are scored by steps of their own."""
        return self.partitions > 1 and not self.dask.chosen


def policies(batch: BatchConfig, serving: ServingConfig) -> ServingConfig:
    """Return what the API's policies are for this table."""
    own: dict[str, Any] = {
        name: getattr(batch, name)
        for name in ("out_of_range", "unknown_category", "missing", "extra_fields")
        if getattr(batch, name) is not None
    }
    return serving.model_copy(update=own)


def output_of(batch: BatchConfig, folder: Path) -> ParquetOutput | CsvOutput | SqlOutput:
    """Return where predictions go: by default a Parquet file in ``folder``."""
    if batch.output is not None:
        return batch.output
    return ParquetOutput(path=str(folder / "predictions.parquet"))
