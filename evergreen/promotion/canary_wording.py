"""A canary's figures in words."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple


class Figures(NamedTuple):
    """How many of an arm's requests failed."""

    failed: int
    requests: int


def failures(champion: Figures, challenger: Figures, limit: float) -> str:
    """Say how many requests failed in each arm."""
    if not champion.requests or not challenger.requests:
        return "failures: one of the two answered nothing, so they cannot be compared"
    return (
        f"failures: the challenger failed {challenger.failed} of {requests(challenger.requests)} "
        f"({challenger.failed / challenger.requests:.1%}), the champion {champion.failed} of "
        f"{champion.requests:,} ({champion.failed / champion.requests:.1%}); at most "
        f"{100 * limit:g} % more are allowed"
    )


def latency(slow: float | None, before: float | None, surely: float, limit: float) -> str:
    """Say how long each arm took."""
    if slow is None or not before:
        return "latency: it is not known of both, so they cannot be compared"
    return (
        f"latency: 95 % of the challenger's answers took up to {slow:.3g} ms, of the champion's "
        f"{before:.3g} ms: {slow / before:.2f} times as long{_surely(surely, '.2f')}; at most "
        f"{limit:g} is allowed"
    )


def shift(distance: float | None, surely: float, limit: float, measure: str) -> str:
    """Say how far the predictions' distributions are from each other."""
    if distance is None:
        return "predictions: one of the two made none, so they cannot be compared"
    return (
        f"predictions: their distributions differ by {distance:.3f}{_surely(surely, '.3f')} "
        f"({measure} distance); at most {limit:g} is allowed"
    )


def requests(count: int) -> str:
    """Write a number of requests."""
    return f"{count:,} request{'' if count == 1 else 's'}"


def span(value: timedelta) -> str:
    """Write a span of time: "42 s", "10 min", "1 h 30 min"."""
    seconds = round(value.total_seconds())
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"


def _surely(value: float, form: str) -> str:
    return f", surely {value:{form}}" if value > 0 else ""
