"""What a batch run tells: while it works, and at its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from evergreen.errors import ExitCode
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


class BatchOutcome(Value):
    """What the command line tells at the end: the object that ``--json`` prints."""

    pipeline: Literal["batch"] = "batch"
    status: Literal["scored", "unchanged", "refused"]
    message: str
    exit_code: int
    result: BatchResult
    stack: str
    zenml_run: str
    log: str
    total_seconds: float

    @classmethod
    def of(cls, result: BatchResult, max_rejected: float, **facts: Any) -> BatchOutcome:
        """Judge a result: more refused rows than the use case allows are exit code 1."""
        refused = result.rejected_share > max_rejected
        return cls(
            status="refused" if refused else result.status,
            message=_message(result, max_rejected, refused=refused),
            exit_code=ExitCode.REFUSED if refused else ExitCode.DONE,
            result=result,
            **facts,
        )


def _message(result: BatchResult, max_rejected: float, *, refused: bool) -> str:
    if refused:
        return (
            f"{result.rejected:,} of {result.rows:,} rows were refused "
            f"({result.rejected_share:.2%}); batch.max_rejected allows {max_rejected:.2%}. "
            "The others are scored; the reasons stand beside the refused ones."
        )
    if result.status == "unchanged":
        return "The output is there already, of the same table, model and settings."
    told = f"{result.accepted:,} rows are scored"
    if result.rejected:
        told += f", {result.rejected:,} were refused"
    if result.flagged:
        told += f", {result.flagged:,} have flags"
    if result.resumed_rows:
        told += f"; {result.resumed_rows:,} were there from a run that was broken off"
    return f"{told}."
