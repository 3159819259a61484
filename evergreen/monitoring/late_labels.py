"""Labels that came after their window was judged: the losses that the history remembers grow."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from evergreen.monitoring.counted import Reference
from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.decision import WindowLoss
from evergreen.monitoring.history import LOOK_BACK, MonitoredWindow, MonitoringHistory
from evergreen.monitoring.window_source import outputs_of
from evergreen.serving.prediction_history import PredictionHistory

TICK: Final = timedelta(microseconds=1)


def take_late_labels(
    history: MonitoringHistory, log: PredictionHistory, reference: Reference
) -> int:
    """Note the losses of earlier windows whose labels came meanwhile; return how many changed.

    Raises
    ------
    UnreachableError
        If history or log cannot be used.
    """
    changed = 0
    counter = reference.predictions
    for window in history.windows(reference.contract.use_case, LOOK_BACK):
        if window.id is None or window.last is None or not _open(window):
            continue
        first, end, version = window.first, window.last + TICK, window.version
        if log.count(since=first, until=end, version=version, labelled=True) <= window.labelled:
            continue
        sums = LossSums()
        for rows in log.parts(since=first, until=end, version=version, labelled=True):
            sums = sums.merge(counter.count(outputs_of(log.contract, rows)).loss)
        if sums.rows > window.labelled:
            loss = WindowLoss(rows=sums.rows, total=sums.total, squares=sums.squares)
            history.record_loss(window.id, loss)
            changed += 1
    return changed


def _open(window: MonitoredWindow) -> bool:
    """Tell whether labels may be missing that a decision would look at."""
    is_judged = window.source == "log" and not window.verdict.too_few
    return is_judged and window.labelled < window.rows
