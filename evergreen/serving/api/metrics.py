"""What Prometheus reads. Label values are bound once, so that counting a request is cheap."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from evergreen.serving.holder import ModelHolder
    from evergreen.serving.prediction_log import PredictionLog

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST.encode()
BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
REFRESH: Final = 1.0  # seconds after which the gauges of model and log are looked at again
_SHARED: Final = "PROMETHEUS_MULTIPROC_DIR"  # where several workers add up their figures


class Metrics:
    """The figures of one application.

    With ``PROMETHEUS_MULTIPROC_DIR`` set, as for several workers, what any worker serves is the
    sum over all of them.
    """

    def __init__(self, holder: ModelHolder, log: PredictionLog) -> None:
        self._holder, self._log = holder, log
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
        self._refreshed = 0.0
        self._served: tuple[str, ...] | None = None

    def refresh(self, now: float) -> None:
        """Look at model and log again, at most once a second."""
        if now - self._refreshed < REFRESH:
            return
        self._refreshed = now
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

    def text(self) -> bytes:
        """Return the figures in Prometheus' text format."""
        self._refreshed = 0.0
        self.refresh(time.monotonic())
        if _SHARED not in os.environ:
            return generate_latest(self.registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return generate_latest(shared)

    def _gauge(self, name: str, meaning: str, together: str = "livesum") -> Gauge:
        return Gauge(name, meaning, registry=self.registry, multiprocess_mode=together)  # type: ignore[arg-type]
