"""Groups of rows judged apart: each beside the rows of the reference sample that are of its group.

A drift of one group may drown among all rows. The reference of a group is what the bundle's sample
(up to 2,000 rows) holds of it; performance and predictions are judged over all rows alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.errors import InputError
from evergreen.monitoring.encoding import NEW, ColumnEncoder
from evergreen.monitoring.grid import MISSING
from evergreen.monitoring.history import SegmentVerdict
from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.outputs import OUTPUTS
from evergreen.monitoring.packed import Packed
from evergreen.monitoring.profile import Profile
from evergreen.monitoring.reference import (
    ColumnReference,
    Comparison,
    GridReference,
    PredictionReference,
    Sample,
    comparison_of,
)
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.window import WindowCounter, WindowProfile

MOST: Final = 10  # groups of a column: those with most rows in the reference
Codes = npt.NDArray[np.uint16]


class Segments:
    """Counts and judges the groups of the columns that ``monitoring.segments`` names.

    Raises
    ------
    InputError
        If a column is none of the model's, or has too many values to be one of groups.
    """

    def __init__(self, reference: Profile, config: MonitoringConfig) -> None:
        self._config = config
        self._groups = [
            group for name in config.segments for group in _groups(reference, name, config)
        ]

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of the window."""
        plain = batch.select([n for n in batch.schema.names if not n.startswith(OUTPUTS)])
        for group in self._groups:
            group.add(plain)

    def profiles(self) -> tuple[WindowProfile, ...]:
        """Return what was counted of each group."""
        return tuple(group.profile for group in self._groups)

    def verdicts(
        self, profiles: tuple[WindowProfile, ...] | None = None
    ) -> tuple[SegmentVerdict, ...]:
        """Judge every group. Together they raise no more false alarms than one window does.

        ``profiles`` are what was counted elsewhere, instead of here.
        """
        counted = self.profiles() if profiles is None else profiles
        levels = self._config.levels
        many = max(1, len(self._groups))
        shared = {name: getattr(levels, name) / many for name in type(levels).model_fields}
        ignored = (*self._config.ignore, *self._config.segments)
        update: dict[str, Any] = {"levels": levels.model_copy(update=shared), "ignore": ignored}
        config = self._config.model_copy(update=update)
        return tuple(
            group.verdict(profile, config)
            for group, profile in zip(self._groups, counted, strict=True)
        )


class _Group:
    def __init__(self, column: str, value: str, code: int, reference: Profile) -> None:
        self._column, self._value, self._code = column, value, code
        self._reference = reference
        self._counter = WindowCounter(reference)
        self.profile: WindowProfile = self._counter.empty()
        own = next(c for c in comparison_of(reference).columns if c.name == column)
        self._encoder = ColumnEncoder(own)

    def add(self, batch: pa.RecordBatch) -> None:
        if self._column not in batch.schema.names:
            return
        codes = self._encoder.encode(batch.column(self._column)).codes
        rows = np.flatnonzero(codes == self._code)
        if len(rows):
            part = pa.Table.from_batches([batch]).take(pa.array(rows))
            self.profile = self.profile.merge(self._counter.count([part]))

    def verdict(self, profile: WindowProfile, config: MonitoringConfig) -> SegmentVerdict:
        found = judge_window(self._reference, profile, config)
        return SegmentVerdict(
            column=self._column,
            value=self._value,
            verdict=found.model_copy(update={"notes": ()}),
        )


def _groups(reference: Profile, name: str, config: MonitoringConfig) -> Iterator[_Group]:
    comparison = comparison_of(reference)
    names = [column.name for column in comparison.columns]
    if name not in names:
        raise InputError(
            f"monitoring.segments names {name!r}, which the model does not take. It takes: "
            f"{', '.join(map(repr, names[:20]))}."
        )
    place = names.index(name)
    values = _values(comparison.columns[place])
    if len(values) > 1000:
        raise InputError(
            f"monitoring.segments names {name!r}, whose values are too many to be groups; name "
            "categories, truth values or numbers with few values."
        )
    codes = comparison.sample.codes.array().astype(np.uint16)
    copies = comparison.sample.copies.array()
    sizes = {code: int(copies[codes[:, place] == code].sum()) for code in values}
    largest = sorted(sizes, key=lambda code: -sizes[code])[:MOST]
    for code in largest:
        if sizes[code] >= config.window.min_rows:
            chosen = codes[:, place] == code
            part = _part(comparison, codes[chosen], copies[chosen])
            yield _Group(
                name, values[code], code, reference.model_copy(update={"comparison": part})
            )


def _values(column: ColumnReference) -> dict[int, str]:
    """Return the values that a column's codes stand for."""
    if column.grid is None:
        return dict(enumerate(column.levels))
    points = column.grid.points.array()
    if len(points) > MOST:  # it is no number with few values
        return dict.fromkeys(range(1001), "")
    return {2 * place + 1: f"{point:g}" for place, point in enumerate(points.tolist())}


def _part(comparison: Comparison, codes: Codes, copies: npt.NDArray[np.int64]) -> Comparison:
    """Return the reference of some of the sample's rows."""
    columns = tuple(
        _column(column, codes[:, place], copies) for place, column in enumerate(comparison.columns)
    )
    return comparison.model_copy(
        update={
            "rows": int(copies.sum()),
            "columns": columns,
            "structure": None,
            "sample": Sample(codes=Packed.of(codes), copies=Packed.of(copies)),
            "predictions": PredictionReference(rows=0),
            "loss": None,
            "calibration": None,
        }
    )


def _column(
    column: ColumnReference, codes: Codes, copies: npt.NDArray[np.int64]
) -> ColumnReference:
    counts = np.bincount(codes, weights=copies, minlength=MISSING + 1).astype(np.int64)
    update: dict[str, Any] = {"rows": int(copies.sum()), "missing": int(counts[MISSING])}
    if column.grid is None:
        rows = counts[: len(column.levels)]
        update["level_rows"] = tuple(rows.tolist())
        update["other_rows"] = int(counts[NEW])
        update["singletons"] = int((rows == 1).sum())
    else:
        points = column.grid.points
        bins = 2 * len(points.array()) + 1
        update["grid"] = GridReference(points=points, counts=Packed.of(counts[:bins]))
    return column.model_copy(update=update)
