"""Batch jobs on the boats of `tests.support.models`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from evergreen.batch.run import BatchJob
from evergreen.batch.settings import BatchConfig
from evergreen.serving.settings import ServingConfig
from tests.support.models import small_table


def boat_table(rows: int = 100) -> pd.DataFrame:
    """Return rows that the boats' model takes, each with its number as ``seen`` (hours)."""
    frame = small_table(rows=rows).drop(columns="wind")
    frame["mast / height"] = frame["mast / height"].clip(0, 60)
    frame["licensed"] = frame["licensed"] == 1.0
    return frame


def job(
    runtime: Any, source: Any, output: str, records: Path, serving: Any = None, **batch: Any
) -> BatchJob:
    """Return a job, with source and output as the command line takes them."""
    config = BatchConfig.model_validate({"source": source, "output": output, **batch})
    assert config.source is not None and config.output is not None
    serving = ServingConfig() if serving is None else serving
    return BatchJob(config.source, config.output, config, serving, runtime, "3", records)


def read(path: Path) -> pd.DataFrame:
    """Return the rows of a Parquet file, or of a folder's files in order."""
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    return pd.concat([pq.read_table(file).to_pandas() for file in files], ignore_index=True)


def expected(runtime: Any, frame: pd.DataFrame) -> np.ndarray:
    """Return what the model says of rows that break no promise."""
    inputs = {}
    for column in runtime.contract.features:
        values = frame[column.name]
        if column.type == "category":
            inputs[column.name] = values.astype(object).where(values.notna(), None).to_numpy()
        elif column.type == "timestamp":
            inputs[column.name] = values.to_numpy("datetime64[us]")
        else:
            inputs[column.name] = values.to_numpy("float64")
    return runtime.predict(inputs).predictions
