"""What the prediction log holds of champion and challenger in the span that both had traffic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from evergreen.data.contract import Contract
from evergreen.serving.arms import CHALLENGER, CHALLENGER_FAILED, CHAMPION, SHADOW
from evergreen.serving.log_reading import reading
from evergreen.serving.log_tables import FEEDBACK, PREDICTIONS, connect, moment, seconds, shown
from evergreen.training.predictions import FloatArray, IntArray, Predictions

PART: Final = 10_000  # rows that are read at once
_DECODE: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True)
class ArmRows:
    """One arm's rows.

    Attributes
    ----------
    arm : champion, challenger or shadow.
    version : the one that answered most of them; None where there are none.
    rows, failed : counts; of the failed ones the champion answered in the arm's place.
    latencies : milliseconds, one per request.
    keys : request and row of each labelled prediction, in the order of ``labelled``.
    labelled : predictions whose truth is known; rows of one request form a group.
    """

    arm: str
    version: str | None
    rows: int
    failed: int
    latencies: FloatArray
    keys: tuple[tuple[str, int], ...]
    labelled: Predictions


@dataclass(frozen=True)
class BothArms:
    """Champion and challenger (or its shadow) between two moments (UTC; None: nothing logged)."""

    champion: ArmRows
    challenger: ArmRows
    since: datetime | None
    until: datetime | None


class ArmLog:
    """The arms of one model in the log at a SQLAlchemy address.

    Raises
    ------
    InputError
        If the address is unusable.
    """

    def __init__(self, url: str, contract: Contract) -> None:
        self._contract = contract
        self._engine = connect(url)
        self._address = shown(url)

    def rows(self, challenger: str) -> BothArms:
        """Return the champion and a challenger, from the challenger's first row to its last.

        Where the challenger both answered and shadowed, what it answered counts.

        Raises
        ------
        UnreachableError
            If the database cannot be read.
        """
        with reading(self._engine, self._address) as connection:
            spans = {} if connection is None else self._spans(connection, challenger)
            arm = SHADOW if SHADOW in spans and CHALLENGER not in spans else CHALLENGER
            ours, theirs = _Gathered(self._contract, arm), _Gathered(self._contract, CHAMPION)
            if connection is None or arm not in spans:
                return BothArms(theirs.arm(), ours.arm(), None, None)
            first, last = spans[arm]
            streamed = connection.execution_options(yield_per=PART)
            for row in streamed.execute(self._query(first, last, arm, challenger)):
                (theirs if row.arm == CHAMPION else ours).add(row)
            # A stand-in is the challenger's failure, and no evidence of the champion.
            failed = theirs.stood_in
        return BothArms(theirs.arm(), ours.arm(failed), _utc(first), _utc(last))

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    def _spans(self, connection: sa.Connection, challenger: str) -> dict[str, tuple[float, float]]:
        """Return first and last moment of the challenger as each arm that it was."""
        time = seconds(PREDICTIONS.c.time, self._engine)
        query = (
            sa.select(PREDICTIONS.c.arm, sa.func.min(time), sa.func.max(time))
            .where(
                PREDICTIONS.c.model == self._contract.use_case,
                PREDICTIONS.c.version == challenger,
                PREDICTIONS.c.arm.in_((CHALLENGER, SHADOW)),
            )
            .group_by(PREDICTIONS.c.arm)
        )
        return {arm: (float(first), float(last)) for arm, first, last in connection.execute(query)}

    def _query(self, first: float, last: float, arm: str, challenger: str) -> sa.Select[Any]:
        table = PREDICTIONS.c
        key = (table.request_id == FEEDBACK.c.request_id) & (
            table.request_row == FEEDBACK.c.request_row
        )
        texts = {name: sa.cast(table[name], sa.Text) for name in ("prediction", "probabilities")}
        flags = sa.cast(table.flags, sa.Text)
        return (
            sa.select(
                table.request_id,
                table.request_row,
                table.version,
                table.arm,
                table.latency_ms,
                *(expression.label(name) for name, expression in texts.items()),
                flags.like(f'%"{CHALLENGER_FAILED}"%').label("failed"),
                sa.cast(FEEDBACK.c.label, sa.Text).label("label"),
            )
            .select_from(PREDICTIONS.join(FEEDBACK, key, isouter=True))
            .where(
                table.model == self._contract.use_case,
                # A second more: the two arms of one request are not written at one moment.
                table.time >= moment(first - 1, self._engine),
                table.time <= moment(last + 1, self._engine),
                (table.arm == CHAMPION) | ((table.arm == arm) & (table.version == challenger)),
            )
            .order_by(table.time, table.request_id, table.request_row)
        )


class _Gathered:
    """Gathers one arm's rows."""

    def __init__(self, contract: Contract, arm: str) -> None:
        self.stood_in = 0
        self._contract = contract
        self._arm = arm
        self._versions: dict[str | None, int] = {}
        self._latencies: list[float] = []
        self._keys: list[tuple[str, int]] = []
        self._predicted: list[Any] = []
        self._actual: list[Any] = []
        self._probabilities: list[list[float]] = []

    def add(self, row: Any) -> None:
        """Take one row of the query."""
        if row.failed:
            self.stood_in += 1
            return
        self._versions[row.version] = self._versions.get(row.version, 0) + 1
        if row.latency_ms is not None and row.request_row == 0:
            self._latencies.append(row.latency_ms)
        actual = None if row.label is None else _DECODE(row.label)
        predicted = _DECODE(row.prediction)
        if actual is None or predicted is None or not self._is_known(actual):
            return
        self._keys.append((row.request_id, row.request_row))
        self._predicted.append(predicted)
        self._actual.append(actual)
        found = _DECODE(row.probabilities) if row.probabilities is not None else None
        self._probabilities.append(found or [float("nan")] * len(self._contract.labels or ()))

    def arm(self, failed: int = 0) -> ArmRows:
        """Return what was gathered."""
        return ArmRows(
            arm=self._arm,
            version=max(self._versions, key=lambda each: self._versions[each], default=None),
            rows=sum(self._versions.values()) + failed,
            failed=failed,
            latencies=np.array(self._latencies, dtype=np.float64),
            keys=tuple(self._keys),
            labelled=self._labelled(),
        )

    def _labelled(self) -> Predictions:
        contract = self._contract
        groups = _codes([request for request, _ in self._keys])
        if contract.task == "regression":
            return Predictions(
                actual=np.array(self._actual, dtype=np.float64),
                predicted=np.array(self._predicted, dtype=np.float64),
                groups=groups,
            )
        labels = contract.labels or ()
        probabilities = np.array(self._probabilities, dtype=np.float64)
        return Predictions(
            actual=_objects(self._actual),
            predicted=_objects(self._predicted),
            probabilities=probabilities.reshape(len(self._actual), len(labels)),
            labels=labels,
            positive=contract.positive,
            groups=groups,
        )

    def _is_known(self, label: Any) -> bool:
        return self._contract.labels is None or label in self._contract.labels


def _codes(names: list[str]) -> IntArray:
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], dtype=np.int64)


def _objects(values: list[Any]) -> npt.NDArray[Any]:
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _utc(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)
