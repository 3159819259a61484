"""Evidently's univariate report: computed and drawn on samples, beside a verdict from all rows.

The statistics are pinned per type of column, to distances that mean the same at every sample size;
Evidently's own choice changes with the number of rows and, with p-values, alarms on anything. What
counts is `evergreen.monitoring.judge`; this is the picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from evergreen.monitoring.encoding import NEW
from evergreen.monitoring.grid import MISSING
from evergreen.monitoring.reference import ColumnReference, Comparison
from evergreen.values import Value

if TYPE_CHECKING:
    import pandas as pd

NUMBERS: Final = "wasserstein"  # divided by the reference's standard deviation
CATEGORIES: Final = "jensenshannon"
THRESHOLD: Final = 0.1  # of both
PAGE: Final = "evidently.html"
KEPT_PAGES: Final = 30  # per use case; each takes some megabytes


class EvidentlyColumn(Value):
    """What Evidently computed for one column."""

    column: str
    method: str
    value: float
    threshold: float
    drifted: bool


class EvidentlyFigures(Value):
    """Evidently's figures, and the page that it drew (None where nothing could be drawn).

    ``left_out`` are columns without any value in one of the samples.
    """

    reference_rows: int
    window_rows: int
    columns: tuple[EvidentlyColumn, ...] = ()
    left_out: tuple[str, ...] = ()
    page: str | None = None


def reference_frame(comparison: Comparison) -> pd.DataFrame:
    """Return the bundle's sample of reference rows, decoded: numbers within 1/512 of their rank.

    The bundle keeps no training rows as they were, but up to 2,000 of them as bins; a bin between
    two quantiles becomes their middle.
    """
    import pandas as pd

    codes = comparison.sample.codes.array()
    copies = comparison.sample.copies.array()
    table = {
        column.name: _decoded(column, codes[:, place])
        for place, column in enumerate(comparison.columns)
    }
    frame = pd.DataFrame(table)
    return frame.loc[frame.index.repeat(copies)].reset_index(drop=True)


def window_frame(sample: pa.Table, comparison: Comparison) -> pd.DataFrame:
    """Return the sampled rows of a window, typed as the reference's are."""
    import pandas as pd

    from evergreen.monitoring.reading import read_levels, read_moments, read_numbers

    table: dict[str, Any] = {}
    for column in comparison.columns:
        if column.name not in sample.column_names:
            continue
        values = pa.concat_arrays(sample[column.name].chunks)
        if column.kind == "category":
            levels, _ = read_levels(values)
            texts = np.array([*levels.levels, None], dtype=object)
            table[column.name] = texts[levels.positions]
        else:
            read = read_moments if column.kind == "timestamp" else read_numbers
            numbers, _ = read(values)
            table[column.name] = np.where(np.isfinite(numbers), numbers, np.nan)
    return pd.DataFrame(table)


def draw_report(sample: pa.Table, comparison: Comparison, folder: Path) -> EvidentlyFigures:
    """Compute and draw the report; write its page (self-contained, some megabytes) to ``folder``.

    Evidently takes seconds to import and nothing else needs it, so that happens here.
    """
    before, now = reference_frame(comparison), window_frame(sample, comparison)
    drawn = [name for name in now if before[name].notna().any() and now[name].notna().any()]
    left_out = tuple(name for name in before if name not in drawn)
    figures = EvidentlyFigures(reference_rows=len(before), window_rows=len(now), left_out=left_out)
    if not drawn:
        return figures
    snapshot = _run(before[drawn], now[drawn], comparison)
    folder.mkdir(parents=True, exist_ok=True)
    page = folder / PAGE
    half = page.with_suffix(".part")
    snapshot.save_html(str(half))
    half.replace(page)
    return figures.model_copy(update={"columns": _columns(snapshot.dict()), "page": str(page)})


def forget_old_pages(folder: Path) -> None:
    """Remove all but the newest pages below a use case's monitoring folder."""
    pages = sorted(folder.glob(f"*/{PAGE}"), key=lambda page: page.parent.name)
    for page in pages[:-KEPT_PAGES]:
        page.unlink(missing_ok=True)


def _run(before: pd.DataFrame, now: pd.DataFrame, comparison: Comparison) -> Any:
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    kinds = {column.name: column.kind for column in comparison.columns}
    names = [str(name) for name in before]
    categories = [name for name in names if kinds[name] == "category"]
    numbers = [name for name in names if kinds[name] != "category"]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    preset = DataDriftPreset(
        columns=[*numbers, *categories],
        # Its headline counts columns; by default it says "not detected" up to half of them.
        drift_share=1 / len(names),
        num_method=NUMBERS,
        num_threshold=THRESHOLD,
        cat_method=CATEGORIES,
        cat_threshold=THRESHOLD,
        include_tests=False,
    )
    return Report([preset]).run(
        Dataset.from_pandas(now, data_definition=definition),
        Dataset.from_pandas(before, data_definition=definition),
    )


def _columns(found: Mapping[str, Any]) -> tuple[EvidentlyColumn, ...]:
    columns = []
    for metric in found["metrics"]:
        config = metric.get("config", {})
        if not str(config.get("type", "")).endswith("ValueDrift"):
            continue
        value, threshold = float(metric["value"]), float(config["threshold"])
        columns.append(
            EvidentlyColumn(
                column=config["column"],
                method=config["method"],
                value=value,
                threshold=threshold,
                drifted=value >= threshold,
            )
        )
    return tuple(columns)


def _decoded(column: ColumnReference, codes: Any) -> Any:
    """Return values for bins, texts for level positions."""
    if column.grid is None:
        texts = np.array([*column.levels, None], dtype=object)
        places = np.where(codes == MISSING, len(texts) - 1, np.minimum(codes, len(texts) - 1))
        values = texts[places]
        values[codes == NEW] = "(other)"
        return values
    points = column.grid.points.array()
    if not len(points):
        return np.full(len(codes), np.nan)
    middles = np.concatenate([points[:1], (points[:-1] + points[1:]) / 2, points[-1:]])
    values = np.empty(2 * len(points) + 1)
    values[0::2], values[1::2] = middles, points
    return np.where(codes == MISSING, np.nan, values[np.minimum(codes, len(values) - 1)])
