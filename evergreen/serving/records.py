"""What the prediction log keeps: predictions, and the true labels that arrive later."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

Scalar = str | int | float | bool | None


class PredictionRecord(msgspec.Struct, tag="prediction", kw_only=True, gc=False):
    """One prediction. ``request_id``, ``row`` and ``arm`` together are its key.

    Numbers that are not finite become null. ``inputs`` is by column, as the model got it.
    """

    request_id: str
    version: str | None
    inputs: dict[str, Any]
    prediction: Scalar
    row: int = 0
    model: str = ""  # filled in by the log
    time: float = msgspec.field(default_factory=time.time)  # seconds since 1970, UTC
    key_id: str | None = None
    arm: str = "champion"
    probabilities: list[float] | None = None  # in the order of the contract's labels
    flags: Sequence[str] = ()
    latency_ms: float | None = None


class PredictionBatch(msgspec.Struct, kw_only=True, gc=False):
    """The predictions of one request with many rows, by column: cheap to hand over.

    ``inputs`` holds one list of equal length per column; ``flags`` is by row number.
    """

    request_id: str
    version: str | None
    inputs: dict[str, list[Any]]
    predictions: list[Any]
    model: str = ""
    time: float = msgspec.field(default_factory=time.time)
    key_id: str | None = None
    arm: str = "champion"
    probabilities: list[list[float]] | None = None
    flags: dict[int, Sequence[str]] = msgspec.field(default_factory=dict)
    latency_ms: float | None = None
    first_row: int = 0  # of a part of a longer request

    def __len__(self) -> int:
        return len(self.predictions)

    def require_even(self) -> None:
        """Raise ``ValueError`` where columns are not of one length."""
        rows = len(self.predictions)
        lengths = {name: len(values) for name, values in self.inputs.items()}
        if self.probabilities is not None:
            lengths["probabilities"] = len(self.probabilities)
        if uneven := [name for name, length in lengths.items() if length != rows]:
            raise ValueError(f"{uneven[0]!r} has {lengths[uneven[0]]} rows, predictions {rows}")

    def records(self) -> Iterator[PredictionRecord]:
        """Yield one record per row."""
        names = tuple(self.inputs)
        shares = self.probabilities or itertools.repeat(None)
        # zip and dict take the columns apart in C.
        columns = zip(*self.inputs.values(), strict=True) if names else itertools.repeat(())
        rows = zip(columns, self.predictions, shares)  # noqa: B905  (repeat ends never)
        for position, (values, prediction, share) in enumerate(rows):
            yield PredictionRecord(
                request_id=self.request_id,
                model=self.model,
                version=self.version,
                inputs=dict(zip(names, values, strict=True)),
                prediction=prediction,
                row=self.first_row + position,
                time=self.time,
                key_id=self.key_id,
                arm=self.arm,
                probabilities=share,
                flags=self.flags.get(position, ()),
                latency_ms=self.latency_ms,
            )


class FeedbackRecord(msgspec.Struct, tag="feedback", kw_only=True, gc=False):
    """The true label of a prediction; of several for one prediction, the newest holds."""

    request_id: str
    label: Scalar
    row: int = 0
    model: str = ""
    time: float = msgspec.field(default_factory=time.time)
    key_id: str | None = None


Record = PredictionRecord | FeedbackRecord
