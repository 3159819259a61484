"""What a batch run tells: while it works, and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from evergreen.values import Value


@dataclass(frozen=True)
class RowProgress:
    """How far a run has come; ``total`` is None where the source does not say."""

    rows: int
    total: int | None
    rejected: int
    rows_per_second: float


class BatchResult(Value):
    """What a batch run ended with.

    ``seconds`` and ``rows_per_second`` are those of this run, without the rows that an earlier one
    had kept (``resumed_rows``).
    """

    status: Literal["scored", "unchanged"]
    rows: int
    accepted: int
    rejected: int
    flagged: int
    resumed_rows: int
    chunks: int
    seconds: float
    rows_per_second: float
    source: str
    output: str
    rejected_output: str | None  # None where no row was refused
    model: str
    version: str
    runtime: Literal["onnx", "native"]
    note: str | None  # why it started over

    @property
    def rejected_share(self) -> float:
        """Refused rows among all; 0 for an empty table."""
        return self.rejected / self.rows if self.rows else 0.0
