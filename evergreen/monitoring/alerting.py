"""What people are told of a judged window."""

from __future__ import annotations

from evergreen.alerts.alert import Alert, Kind
from evergreen.monitoring.history import MonitoredWindow


def alert_of(window: MonitoredWindow) -> Alert | None:
    """Return the alert that a window's decision calls for; None where nothing is to be done.

    A fall of performance goes before drift, and what could not be measured before both. Windows
    that alarm for the same columns are the same news.
    """
    if window.action in ("none", "watch"):
        return None
    verdict, reasons = window.verdict, window.decision.reasons
    kind: Kind = "drift"
    if window.action == "alert":
        kind = "data_quality_failed"
    elif "performance" in verdict.families:
        kind = "performance_drop"
    what = ", ".join(verdict.drifted) or ", ".join(verdict.families)
    return Alert.of(
        kind,
        window.use_case,
        f"The monitor says {window.action}: {reasons[0]}",
        "\n".join(reasons),
        facts={
            "action": window.action,
            "version": window.version,
            "rows": window.rows,
            "columns": ", ".join(verdict.drifted) or "none",
        },
        key=f"{kind} {window.action} {what}",
    )
