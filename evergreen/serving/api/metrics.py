"""What Prometheus reads; requests are counted in plain numbers and added to it every second."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from evergreen.serving.api.tally import BUCKETS, RouteTally, RowTally

if TYPE_CHECKING:
    from evergreen.serving.api.monitoring_metrics import MonitoringMetrics
    from evergreen.serving.holder import ModelHolder
    from evergreen.serving.prediction_log import PredictionLog

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST.encode()
REFRESH: Final = 1.0  # seconds after a request in which it shows in the figures of all workers
_SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"  # where several workers add up their figures


class Tally(Protocol):
    """What is brought to Prometheus' figures now and then."""

    def publish(self) -> None:
        """Bring it there."""


class Metrics:
    """The figures of one application.

    With ``PROMETHEUS_MULTIPROC_DIR`` set, as for several workers, what any worker serves is the
    sum over all of them.
    """

    def __init__(
        self,
        holder: ModelHolder,
        log: PredictionLog,
        monitoring: MonitoringMetrics | None = None,
    ) -> None:
        self._holder, self._log, self._monitoring = holder, log, monitoring
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "evergreen_requests", "Requests answered.", ("route", "status"), registry=self.registry
        )
        self.duration = Histogram(
            "evergreen_request_duration_seconds",
            "From the request's head to its answer.",
            ("route",),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.rows = Counter(
            "evergreen_predictions", "Rows predicted.", ("route",), registry=self.registry
        )
        self.flags = Counter(
            "evergreen_flags", "Values that were flagged.", ("flag",), registry=self.registry
        )
        self.in_flight = self._gauge("evergreen_requests_in_flight", "Requests under way.")
        self._ready = self._gauge("evergreen_model_ready", "1 where a model is loaded.", "livemin")
        self._swaps = self._gauge("evergreen_model_swaps", "Exchanges of the model.", "livemax")
        self._failing = self._gauge(
            "evergreen_model_swap_failing", "1 while a newer version cannot be loaded.", "livemax"
        )
        self._model = Gauge(
            "evergreen_model_info",
            "1 for the model that is served.",
            ("model", "version", "alias", "runtime"),
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._log_rows = Gauge(
            "evergreen_prediction_log_rows",
            "Rows of the prediction log by where they are; refused and rejected ones are lost.",
            ("state",),
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        if _SHARED not in os.environ:
            ProcessCollector(registry=self.registry)
            self._add_monitoring(self.registry)
        self._tallies: list[Tally] = []
        self._due = False
        self._served: tuple[str, ...] | None = None

    def route(self, path: str) -> RouteTally:
        """Return what counts the answers of a route."""
        tally = RouteTally(path, self.duration, self.requests)
        self._tallies.append(tally)
        return tally

    def predicted(self, path: str) -> RowTally:
        """Return what counts the rows that a route predicts."""
        tally = RowTally(path, self.rows)
        self._tallies.append(tally)
        return tally

    def add(self, tally: Tally) -> None:
        """Have something else published with the others."""
        self._tallies.append(tally)

    def counted(self) -> None:
        """See to it that what was counted is published; to be called in the event loop."""
        if not self._due:
            self._due = True
            asyncio.get_running_loop().call_later(REFRESH, self.publish)

    def publish(self) -> None:
        """Publish what was counted, and look at model and log again."""
        self._due = False
        for tally in self._tallies:
            tally.publish()
        self._ready.set(self._holder.ready)
        self._swaps.set(self._holder.swaps)
        self._failing.set(self._holder.failure is not None)
        counts = self._log.counts
        for state in ("logged", "spooled", "queued", "refused", "rejected"):
            self._log_rows.labels(state).set(getattr(counts, state))
        if self._holder.ready:
            served = self._holder.current
            labels = (served.name, served.version or "", served.alias or "", served.runtime.kind)
            if labels != self._served:
                if self._served is not None:
                    self._model.labels(*self._served).set(0)
                self._model.labels(*labels).set(1)
                self._served = labels

    async def text(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        if self._monitoring is not None:
            await self._monitoring.refresh()
        self.publish()
        if _SHARED not in os.environ:
            return generate_latest(self.registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        self._add_monitoring(shared)
        return generate_latest(shared)

    def _add_monitoring(self, registry: CollectorRegistry) -> None:
        if self._monitoring is not None:
            registry.register(self._monitoring)

    def _gauge(self, name: str, meaning: str, together: str = "livesum") -> Gauge:
        return Gauge(name, meaning, registry=self.registry, multiprocess_mode=together)  # type: ignore[arg-type]
