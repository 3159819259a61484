"""What the quality checks found."""

from __future__ import annotations

from typing import Literal

from evergreen.errors import RefusedError
from evergreen.values import Value


class Finding(Value):
    """One thing that a check found.

    ``rows`` holds the positions (0-based, in the table as read) of the first few rows concerned.
    """

    check: str
    severity: Literal["info", "warning", "error"]
    message: str  # what, where, and what to do
    columns: tuple[str, ...] = ()
    count: int | None = None
    share: float | None = None
    rows: tuple[int, ...] = ()


class QualityReport(Value):
    """All findings on one table, worst first."""

    rows: int
    columns: int
    checks: tuple[str, ...]  # the checks that ran
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that stop a run."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def require(self, report: str | None = None) -> None:
        """Raise `RefusedError` with every error's message, if there is any.

        ``report`` is where the whole report can be read; the message ends with it.
        """
        if self.errors:
            number = len(self.errors)
            lines = [f"The table fails {number} quality check{'s' if number > 1 else ''}:"]
            lines += [f"  - {finding.message}" for finding in self.errors]
            if report is not None:
                lines.append(f"Data report: {report}")
            raise RefusedError("\n".join(lines))
