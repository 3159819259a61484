"""What the prediction log says of a canary's two arms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
import sqlalchemy as sa

from evergreen.data.contract import Contract
from evergreen.promotion.canary_decision import Arm
from evergreen.serving.arms import CHALLENGER, CHALLENGER_FAILED, CHAMPION
from evergreen.serving.log_reading import reading
from evergreen.serving.log_tables import PREDICTIONS, connect, from_clients, moment, seconds, shown

PART: Final = 10_000  # rows that are read at once
_DECODE: Final = msgspec.json.Decoder().decode


class CanaryLog:
    """The requests that champion and challenger answered, in the log at a SQLAlchemy address.

    Raises
    ------
    InputError
        If the address is unusable.
    """

    def __init__(self, url: str, contract: Contract) -> None:
        self._contract = contract
        self._engine = connect(url)
        self._address = shown(url)

    def arms(self, since: datetime, challenger: str) -> tuple[Arm, Arm]:
        """Return champion and challenger (a version) since a moment.

        A request counts once, by its first row: the rows of a batch are no independent evidence.
        It failed where the champion had to stand in for any of its rows.

        Raises
        ------
        UnreachableError
            If the database cannot be read.
        """
        gathered = {CHAMPION: _Gathered(self._contract), CHALLENGER: _Gathered(self._contract)}
        with reading(self._engine, self._address) as connection:
            if connection is not None:
                failed = set(connection.execute(self._failures(since)).scalars())
                rows = connection.execution_options(yield_per=PART).execute(
                    self._first_rows(since, challenger)
                )
                for row in rows:
                    arm = CHALLENGER if row.request_id in failed else row.arm
                    gathered[arm].add(row, failed=row.request_id in failed)
        return gathered[CHAMPION].arm(), gathered[CHALLENGER].arm()

    def close(self) -> None:
        """Give the database's connections back."""
        self._engine.dispose()

    def _failures(self, since: datetime) -> sa.Select[Any]:
        flags = sa.cast(PREDICTIONS.c.flags, sa.Text)
        return (
            sa.select(PREDICTIONS.c.request_id)
            .where(*self._since(since), flags.like(f'%"{CHALLENGER_FAILED}"%'))
            .distinct()
        )

    def _first_rows(self, since: datetime, challenger: str) -> sa.Select[Any]:
        table = PREDICTIONS.c
        answered = sa.or_(
            table.arm == CHAMPION,
            sa.and_(table.arm == CHALLENGER, table.version == challenger),
        )
        return (
            sa.select(
                seconds(table.time, self._engine).label("time"),
                table.request_id,
                table.arm,
                table.latency_ms,
                sa.cast(table.prediction, sa.Text).label("prediction"),
            )
            .where(*self._since(since), table.request_row == 0, answered)
            .order_by(table.time, table.request_id)
        )

    def _since(self, since: datetime) -> tuple[sa.ColumnElement[bool], ...]:
        return (
            PREDICTIONS.c.model == self._contract.use_case,
            PREDICTIONS.c.time >= moment(since.timestamp(), self._engine),
            from_clients(),
        )


class _Gathered:
    """Gathers one arm's requests."""

    def __init__(self, contract: Contract) -> None:
        self._labels = None
        if contract.task == "classification":
            self._labels = {label: code for code, label in enumerate(contract.labels or ())}
        self._times: list[float] = []
        self._failed: list[bool] = []
        self._latencies: list[float | None] = []
        self._outcomes: list[float] = []
        self._known: dict[str, float] = {}  # a label's text is decoded once

    def add(self, row: Any, *, failed: bool) -> None:
        self._times.append(float(row.time))
        self._failed.append(failed)
        self._latencies.append(None if failed else row.latency_ms)
        self._outcomes.append(self._nothing if failed else self._read(row.prediction))

    def arm(self) -> Arm:
        outcomes: Callable[[Any], Any] = lambda kind: np.array(self._outcomes, dtype=kind)  # noqa: E731
        regression = self._labels is None
        return Arm(
            times=np.array(self._times, dtype=np.float64),
            failed=np.array(self._failed, dtype=np.bool_),
            latencies=np.array(self._latencies, dtype=np.float64),
            codes=None if regression else outcomes(np.int64),
            numbers=outcomes(np.float64) if regression else None,
            kinds=len(self._labels or ()),
        )

    @property
    def _nothing(self) -> float:
        return float("nan") if self._labels is None else -1

    def _read(self, text: str) -> float:
        if self._labels is None:
            value = _DECODE(text)
            return float("nan") if value is None else float(value)
        if text not in self._known:
            self._known[text] = self._labels.get(_DECODE(text), -1)
        return self._known[text]
