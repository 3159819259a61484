"""Telling people that a run failed, or took too long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from evergreen.alerts.alert import Alert, Kind
from evergreen.config import UseCase
from evergreen.errors import RefusedError
from evergreen.faults import as_product_error
from evergreen.paths import Home


@contextmanager
def telling(
    use_case: UseCase, kind: Kind | Callable[[], Kind], what: str, *, refusals: bool = True
) -> Iterator[None]:
    """Send an alert of ``kind`` where the block fails, one on slowness where it takes too long.

    ``kind`` may be a function, if only the failure tells. ``what`` names the run in a message
    (``The deployment``). The failure goes on as it was. An
    interruption by a person is no failure; without ``refusals``, nor is what a gate or a quality
    check says, where a step tells that itself.
    """
    from steps.alerting import tell

    started = time.monotonic()
    try:
        yield
    except Exception as error:
        known = as_product_error(error, str(Home.locate().root)) or error
        if isinstance(known, RefusedError) and not refusals:
            raise
        reason = str(known) or type(known).__name__
        first = reason.splitlines()[0]
        failed = kind() if callable(kind) else kind
        tell(
            Alert.of(
                failed,
                use_case.name,
                f"{what} failed: {first}",
                reason,
                key=f"{failed} {what} {type(known).__name__}",
            ),
            use_case,
        )
        raise
    taken = timedelta(seconds=time.monotonic() - started)
    limit = use_case.alerts.slow_after
    if limit is not None and taken > limit:
        tell(slow(use_case.name, what, taken, limit), use_case)


def slow(use_case: str, what: str, taken: timedelta, limit: timedelta) -> Alert:
    """Return the alert that a run took longer than ``alerts.slow_after``."""
    seconds = round(taken.total_seconds(), 1)
    return Alert.of(
        "pipeline_slow",
        use_case,
        f"{what} took {seconds:g} s, more than {limit.total_seconds():g} s",
        facts={"seconds": seconds, "limit": limit.total_seconds()},
        key=f"pipeline_slow {what}",
    )
