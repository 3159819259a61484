"""What Prometheus reads of the arms; counted while a traffic plan is in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from evergreen.serving.api.tally import BUCKETS

if TYPE_CHECKING:
    from evergreen.serving.holder import ModelHolder


class ArmMetrics:
    """The figures of champion, challenger and shadow."""

    def __init__(self, holder: ModelHolder, registry: CollectorRegistry) -> None:
        self._holder = holder
        self._rows = Counter(
            "evergreen_arm_predictions",
            "Rows predicted, by arm, while a traffic plan is in force.",
            ("arm", "version"),
            registry=registry,
        )
        self._errors = Counter(
            "evergreen_arm_errors",
            "Rows that an arm could not predict; the champion answers for a challenger.",
            ("arm", "version"),
            registry=registry,
        )
        self._latency = Histogram(
            "evergreen_arm_latency_seconds",
            "From a request's head to its prediction; for a shadow the prediction alone.",
            ("arm",),
            buckets=BUCKETS,
            registry=registry,
        )
        self.dropped = Counter(
            "evergreen_shadow_dropped",
            "Rows that the shadow did not score, for lack of time.",
            registry=registry,
        )
        self._percent = Gauge(
            "evergreen_traffic_percent",
            "Percent of the requests that the challenger answers.",
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._refused = Gauge(
            "evergreen_challenger_failing",
            "1 while a traffic plan is not in force, for its challenger is no good or it is void.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def predicted(self, arm: str, version: str | None, rows: int, seconds: float) -> None:
        """Count what an arm predicted in one request."""
        self._rows.labels(arm, version or "").inc(rows)
        self._latency.labels(arm).observe(seconds)

    def failed(self, arm: str, version: str | None, rows: int) -> None:
        """Count what an arm could not predict."""
        self._errors.labels(arm, version or "").inc(rows)

    def publish(self) -> None:
        """Look at the plan again."""
        self._percent.set(self._holder.arms.percent if self._holder.ready else 0.0)
        self._refused.set(self._holder.challenger_failure is not None)
