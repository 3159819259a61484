"""Reading the prediction log: a window of predictions with their true labels, as columns.

For monitoring: NumPy arrays by the contract's types, without pandas, in parts of bounded size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from evergreen.data.contract import Column, Contract
from evergreen.serving.arms import SHADOW
from evergreen.serving.log_reading import reading
from evergreen.serving.log_tables import (
    FEEDBACK,
    PREDICTIONS,
    connect,
    from_clients,
    moment,
    seconds,
    shown,
)

Array = npt.NDArray[Any]
PART: Final = 5000  # rows that are decoded at once
_DECODE: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class Window:
    """n logged predictions, the oldest first.

    Attributes
    ----------
    times : datetime64[us] in UTC.
    request_ids, rows : the key of each.
    versions, arms : objects (text; a version may be None).
    inputs : per feature column of the contract: float64 (missing NaN), objects (text, missing
        None) or datetime64[us] (missing NaT).
    predictions : float64 for a regression, else objects (labels in their own types).
    probabilities : n × labels, rows of NaN where a prediction has none; None for a regression.
    actual : the true label or value: as predictions, None or NaN where no feedback came.
    latencies : float64, milliseconds, NaN where unknown.
    redacted : feature columns of which values were dropped or hashed in this window; they are
        missing from ``inputs`` and must not be compared with anything.
    """

    times: Array
    request_ids: Array
    rows: Array
    versions: Array
    arms: Array
    inputs: Mapping[str, Array]
    predictions: Array
    probabilities: Array | None
    actual: Array
    latencies: Array
    redacted: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.times)


class PredictionHistory:
    """The predictions of one model in the log at a SQLAlchemy address.

    The golden rows that a deployment tries a server with are left out: no client sent them.

    Raises
    ------
    InputError
        If the address is unusable.
    """

    def __init__(self, url: str, contract: Contract) -> None:
        self.contract = contract
        self._engine = connect(url)
        self._address = shown(url)

    def window(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
        version: str | None = None,
        arm: str | None = None,
        labelled: bool = False,
    ) -> Window:
        """Return predictions from ``since`` to before ``until``; of those the ``last`` n.

        ``version`` and ``arm`` choose further: without ``arm`` those that were answered, so not
        what a shadow said. ``labelled`` keeps only those with feedback.
        Times without a zone are UTC.

        Raises
        ------
        UnreachableError
            If the database cannot be read.
        """
        columns = _Columns(self.contract)
        where = self._conditions(since, until, version, arm)
        for row in self._rows(where, last, labelled):
            columns.add(row)
        return columns.window()

    def parts(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        last: int | None = None,
        version: str | None = None,
        labelled_since: datetime | None = None,
        labelled: bool = False,
        part_rows: int = PART,
    ) -> Iterator[Window]:
        """Yield what `window` returns in parts of bounded size, the newest part first.

        ``labelled_since`` keeps only predictions whose feedback came after that moment. Raises as
        `window` does.
        """
        where = self._conditions(since, until, version, None)
        if labelled_since is not None:
            where.append(FEEDBACK.c.time > moment(_unix(labelled_since), self._engine))
        rows = self._rows(where, last, labelled or labelled_since is not None)
        columns, gathered = _Columns(self.contract), 0
        for row in rows:
            columns.add(row)
            gathered += 1
            if gathered == part_rows:
                yield columns.window()
                columns, gathered = _Columns(self.contract), 0
        if gathered:
            yield columns.window()

    def count(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        version: str | None = None,
        labelled: bool = False,
    ) -> int:
        """Return how many answered predictions a time span holds; raises as `window` does."""
        where = self._conditions(since, until, version, None)
        table = PREDICTIONS.join(FEEDBACK, _KEY) if labelled else PREDICTIONS
        query = sa.select(sa.func.count()).select_from(table).where(*where)
        with reading(self._engine, self._address) as connection:
            return 0 if connection is None else int(connection.execute(query).scalar_one())

    def time_of(
        self,
        newer: int,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        version: str | None = None,
    ) -> datetime | None:
        """Return when the prediction came that so many newer ones of a time span follow.

        None where there are no more than these; raises as `window` does.
        """
        where = self._conditions(since, until, version, None)
        query = (
            sa.select(seconds(PREDICTIONS.c.time, self._engine))
            .where(*where)
            .order_by(PREDICTIONS.c.time.desc())
            .offset(newer)
            .limit(1)
        )
        with reading(self._engine, self._address) as connection:
            found = None if connection is None else connection.execute(query).scalar()
        return None if found is None else datetime.fromtimestamp(float(found), UTC)

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    def _conditions(
        self,
        since: datetime | None,
        until: datetime | None,
        version: str | None,
        arm: str | None,
    ) -> list[sa.ColumnElement[bool]]:
        where = [PREDICTIONS.c.model == self.contract.use_case, from_clients()]
        if since is not None:
            where.append(PREDICTIONS.c.time >= moment(_unix(since), self._engine))
        if until is not None:
            where.append(PREDICTIONS.c.time < moment(_unix(until), self._engine))
        if version is not None:
            where.append(PREDICTIONS.c.version == version)
        where.append(PREDICTIONS.c.arm != SHADOW if arm is None else PREDICTIONS.c.arm == arm)
        return where

    def _rows(
        self, where: list[sa.ColumnElement[bool]], last: int | None, labelled: bool
    ) -> Iterator[Any]:
        # Text, also in PostgreSQL: decoding it once here is quicker than in the driver.
        as_text = {name: sa.cast(PREDICTIONS.c[name], sa.Text) for name in _JSON}
        time = seconds(PREDICTIONS.c.time, self._engine).label("time")
        order = (PREDICTIONS.c.time, PREDICTIONS.c.request_id, PREDICTIONS.c.request_row)
        query = (
            sa.select(
                time,
                PREDICTIONS.c.request_id,
                PREDICTIONS.c.request_row,
                PREDICTIONS.c.version,
                PREDICTIONS.c.arm,
                PREDICTIONS.c.latency_ms,
                *(expression.label(name) for name, expression in as_text.items()),
                sa.cast(FEEDBACK.c.label, sa.Text).label("label"),
            )
            .select_from(PREDICTIONS.join(FEEDBACK, _KEY, isouter=not labelled))
            .where(*where)
            .order_by(*(column.desc() for column in order))
            .limit(last)
        )
        with reading(self._engine, self._address) as connection:
            if connection is not None:
                streamed = connection.execution_options(yield_per=PART).execute(query)
                for part in streamed.partitions():
                    yield from part


_JSON: Final = ("inputs", "prediction", "probabilities")
_KEY: Final = (PREDICTIONS.c.request_id == FEEDBACK.c.request_id) & (
    PREDICTIONS.c.request_row == FEEDBACK.c.request_row
)


class _Columns:
    """Gathers rows, the newest first, into the columns of a window."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._features = contract.features
        self._plain: dict[str, list[Any]] = {
            name: [] for name in ("time", "request_id", "request_row", "version", "arm", "latency")
        }
        self._inputs: dict[str, list[Any]] = {column.name: [] for column in self._features}
        self._predictions: list[Any] = []
        self._probabilities: list[list[float]] = []
        self._actual: list[Any] = []
        self._redacted: set[str] = set()
        self._unknown = [float("nan")] * len(contract.labels or ())

    def add(self, row: Any) -> None:
        """Take one row of the query."""
        plain = self._plain
        plain["time"].append(float(row.time))
        plain["request_id"].append(row.request_id)
        plain["request_row"].append(row.request_row)
        plain["version"].append(row.version)
        plain["arm"].append(row.arm)
        plain["latency"].append(row.latency_ms)
        given = _DECODE(row.inputs)
        for name, values in self._inputs.items():
            value = given.get(name)
            if isinstance(value, dict) or (value is None and name not in given):
                self._redacted.add(name)
                value = None
            values.append(value)
        self._predictions.append(_DECODE(row.prediction))
        found = [] if row.probabilities is None else _DECODE(row.probabilities)
        fits = len(found) == len(self._unknown)
        self._probabilities.append(found if fits else self._unknown)
        self._actual.append(None if row.label is None else _DECODE(row.label))

    def window(self) -> Window:
        """Return what was gathered, the oldest first."""
        plain, regression = self._plain, self._contract.task == "regression"
        outcome = _floats if regression else _objects
        microseconds = np.round(np.array(plain["time"][::-1], dtype=np.float64) * 1e6)
        probabilities = None
        if not regression:
            shape = (len(self._predictions), len(self._unknown))
            probabilities = _floats(self._probabilities).reshape(shape)
        return Window(
            times=microseconds.astype(np.int64).view("datetime64[us]"),
            request_ids=_objects(plain["request_id"]),
            rows=np.array(plain["request_row"][::-1], dtype=np.int64),
            versions=_objects(plain["version"]),
            arms=_objects(plain["arm"]),
            inputs={
                column.name: _typed(column, self._inputs[column.name]) for column in self._features
            },
            predictions=outcome(self._predictions),
            probabilities=probabilities,
            actual=outcome(self._actual),
            latencies=_floats(plain["latency"]),
            redacted=tuple(c.name for c in self._features if c.name in self._redacted),
        )


def _typed(column: Column, values: list[Any]) -> Array:
    if column.type in ("number", "integer", "boolean"):
        return _floats(values)
    if column.type == "timestamp":
        return np.array([_time(value) for value in reversed(values)], dtype="datetime64[us]")
    return _objects(values)


def _floats(values: list[Any]) -> Array:
    return np.array(values[::-1], dtype=np.float64)  # None becomes NaN


def _objects(values: list[Any]) -> Array:
    array = np.empty(len(values), dtype=object)
    array[:] = values[::-1]
    return array


def _time(value: Any) -> np.datetime64:
    if value is None:
        return np.datetime64("NaT")
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return np.datetime64(value, "us")  # a year that Python's own type lacks
    naive = read if read.tzinfo is None else read.astimezone(UTC).replace(tzinfo=None)
    return np.datetime64(naive, "us")


def _unix(value: datetime) -> float:
    return (value if value.tzinfo is not None else value.replace(tzinfo=UTC)).timestamp()
