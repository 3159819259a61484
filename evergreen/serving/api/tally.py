"""Counting requests in plain numbers; Prometheus' own counters take microseconds each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class RouteTally:
    """The answers of one route since the last `publish`: how many of which status, how long.

    Only the event loop's thread counts and publishes, so nothing is locked.
    """

    __slots__ = ("_counters", "_histogram", "_requests", "_route", "buckets", "seconds", "statuses")

    def __init__(self, route: str, duration: Histogram, requests: Counter) -> None:
        self._route = route
        self._histogram = duration.labels(route)
        self._requests = requests
        self._counters: dict[int, Callable[[float], None]] = {}
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.statuses: dict[int, int] = {}

    def observe(self, status: int, seconds: float) -> None:
        """Count an answer that took so long."""
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds
        self.statuses[status] = self.statuses.get(status, 0) + 1

    def publish(self) -> None:
        """Add what was counted to Prometheus' figures."""
        if not self.statuses:
            return
        # What `Histogram.observe` does, for many observations at once.
        histogram = self._histogram
        for bucket, count in zip(histogram._buckets, self.buckets, strict=True):
            if count:
                bucket.inc(count)
        histogram._sum.inc(self.seconds)
        for status, count in self.statuses.items():
            counter = self._counters.get(status)
            if counter is None:
                counter = self._requests.labels(self._route, str(status)).inc
                self._counters[status] = counter
            counter(count)
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0
        self.statuses = {}


class RowTally:
    """Rows predicted by one route since the last `publish`."""

    __slots__ = ("_counter", "rows")

    def __init__(self, route: str, counter: Counter) -> None:
        self._counter = counter.labels(route)
        self.rows = 0

    def __call__(self, rows: int = 1) -> None:
        """Count rows."""
        self.rows += rows

    def publish(self) -> None:
        """Add what was counted to Prometheus' figures."""
        if self.rows:
            self._counter.inc(self.rows)
            self.rows = 0
