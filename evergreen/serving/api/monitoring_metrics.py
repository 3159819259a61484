"""What Prometheus reads of monitoring: the newest window of the model that is served.

The database is asked in a thread when Prometheus asks, and at most so often; whoever asks waits a
moment for it, never longer, and gets what was known before.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from evergreen.serving.newest_window import Monitored, NewestWindow, WindowReader

if TYPE_CHECKING:
    from evergreen.serving.holder import ModelHolder

ACTIONS: Final = ("none", "watch", "retrain", "rollback", "alert")
FRESH: Final = 5.0  # seconds in which the database is not asked again
WAIT: Final = 1.0  # seconds that Prometheus waits for the database

logger = logging.getLogger(__name__)


class MonitoringMetrics(Collector):
    """The figures of the newest window, which are the same whichever worker is asked."""

    def __init__(self, holder: ModelHolder, reader: WindowReader) -> None:
        self._holder, self._reader = holder, reader
        self._known: tuple[str, Monitored] | None = None  # with the model's name
        self._asked = float("-inf")
        self._failure: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Ask the database anew, unless it was asked just now or still owes an answer."""
        if not self._holder.ready:
            return
        if self._task is None or self._task.done():
            if time.monotonic() < self._asked + FRESH:
                return
            self._task = asyncio.create_task(self._read())
        await asyncio.wait({self._task}, timeout=WAIT)

    async def _read(self) -> None:
        served = self._holder.current
        try:
            found = await asyncio.to_thread(self._reader.read, served.name, served.version)
        except OSError as error:
            if str(error) != self._failure:
                logger.warning("The monitoring history cannot be read: %s", error)
            self._failure = str(error)
        else:
            self._failure = None
            self._known = (served.name, found)
        self._asked = time.monotonic()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Return the figures; what is not known has none."""
        name, found = self._known or ("", Monitored())
        window = found.window
        yield GaugeMetricFamily(
            "evergreen_monitoring_unreadable",
            "1 while the monitoring history cannot be read; the figures are older ones.",
            value=float(self._failure is not None),
        )
        last = _family("last_check_timestamp_seconds", "When any version was judged.", "model")
        if found.last_check is not None:
            last.add_metric([name], found.last_check)
        yield last
        yield from _whole(name, window)
        yield from _parts(name, window)


def _whole(name: str, window: NewestWindow | None) -> Iterator[GaugeMetricFamily]:
    alarm = _family("alarm", "1 where the newest window alarms.", "model", "version")
    rows = _family("rows", "Rows of the newest window.", "model", "version")
    labelled = _family(
        "labelled_rows", "Rows of it that were judged by their truth.", "model", "version"
    )
    drifted = _family("columns_drifted", "Columns that alarm.", "model", "version")
    if window is not None:
        labels = [name, window.version]
        alarm.add_metric(labels, window.alarm)
        rows.add_metric(labels, window.rows)
        labelled.add_metric(labels, window.labelled)
        drifted.add_metric(labels, window.drifted)
    yield from (alarm, rows, labelled, drifted)


def _parts(name: str, window: NewestWindow | None) -> Iterator[GaugeMetricFamily]:
    decision = _family("decision", "1 for what was decided.", "model", "version", "action")
    distance = _family(
        "column_distance",
        "Distance from training: Kolmogorov-Smirnov, or total variation of categories.",
        "model",
        "version",
        "column",
    )
    kinds = ("model", "version", "kind", "metric")
    performance = _family("performance", "Less is better; measured or estimated.", *kinds)
    before = _family("performance_at_training", "The same on the holdout.", *kinds)
    if window is not None:
        labels = [name, window.version]
        for action in ACTIONS:
            decision.add_metric([*labels, action], float(window.action == action))
        for column, value in window.distances.items():
            distance.add_metric([*labels, column], value)
        for found in window.performance:
            performance.add_metric([*labels, found.kind, found.metric], found.value)
            before.add_metric([*labels, found.kind, found.metric], found.before)
    yield from (decision, distance, performance, before)


def _family(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"evergreen_monitoring_{name}", meaning, labels=labels)
