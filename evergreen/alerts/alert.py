"""One alert: what happened, how bad it is, and what makes two of them the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from evergreen.values import Value

Severity = Literal["info", "warning", "critical"]
Kind = Literal[
    "gate_refused",
    "approval_waiting",
    "data_quality_failed",
    "drift",
    "performance_drop",
    "retraining_failed",
    "rolled_back",
    "deployment_failed",
    "pipeline_failed",
    "pipeline_late",
    "pipeline_slow",
    "queue_full",
    "disk_full",
]
RANK: Final[Mapping[Severity, int]] = {"info": 0, "warning": 1, "critical": 2}
_WARNINGS: Final[frozenset[Kind]] = frozenset(
    {"gate_refused", "approval_waiting", "drift", "pipeline_late", "pipeline_slow"}
)
_LONGEST_TITLE: Final = 200  # characters
_LONGEST_TEXT: Final = 3000  # Slack takes no longer block of text


class Alert(Value):
    """What people are told.

    ``key`` tells repeats: within one use case, alerts with the same key are the same news.
    """

    kind: Kind
    severity: Severity
    use_case: str
    title: str  # one line
    text: str = ""
    facts: Mapping[str, str | int | float | bool | None] = {}
    key: str

    @classmethod
    def of(
        cls,
        kind: Kind,
        use_case: str,
        title: str,
        text: str = "",
        *,
        facts: Mapping[str, str | int | float | bool | None] | None = None,
        key: str | None = None,
        severity: Severity | None = None,
    ) -> Alert:
        """Return an alert with the severity of its kind, and the kind as its key.

        Give a ``key`` where one kind has several subjects (such as the columns that drift), so
        that news about one is no repeat of news about another.
        """
        return cls(
            kind=kind,
            severity=severity or ("warning" if kind in _WARNINGS else "critical"),
            use_case=use_case,
            title=_shortened(" ".join(title.split()), _LONGEST_TITLE),
            text=_shortened(text.strip(), _LONGEST_TEXT),
            facts=facts or {},
            key=key or kind,
        )

    @property
    def headline(self) -> str:
        """Severity, use case and title in one line."""
        return f"[{self.severity}] {self.use_case}: {self.title}"


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
