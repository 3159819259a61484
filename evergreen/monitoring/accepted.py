"""Drift that was looked into: the data reference after a retraining on it was refused.

Where only inputs moved and nothing better could be learnt from them, the windows that alarmed
become what later ones are compared with, or the same drift would alarm for ever. What the model
promised on its holdout stays (`evergreen.monitoring.comparison.accept_drift`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evergreen.data.contract import Contract
from evergreen.errors import InputError
from evergreen.monitoring.counted import Reference
from evergreen.monitoring.history import LOOK_BACK, MonitoredWindow, MonitoringHistory
from evergreen.monitoring.profile import Profile, make_profile
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.serving.prediction_history import Window as LoggedRows
from evergreen.training.predictions import Predictions

MOST_ROWS: Final = 50_000
_TICK: Final = timedelta(microseconds=1)


def reference_in_force(
    bundled: Reference,
    history: MonitoringHistory,
    log: PredictionHistory,
    config: MonitoringConfig,
) -> Reference:
    """Return what windows of a version are compared with now: by default what its bundle holds.

    An accepted reference is made once, from the log, and kept in the history.

    Raises
    ------
    UnreachableError
        If history or log cannot be used.
    """
    windows = history.windows(bundled.contract.use_case, LOOK_BACK)
    accepted = next((w for w in windows if _is_accepted(w, bundled.version)), None)
    if accepted is None or accepted.id is None:
        return bundled
    note = (
        f"Compared with rows up to {accepted.end:%Y-%m-%d %H:%M} UTC, not with those of training: "
    )
    note += "their drift was accepted when a retraining on it was refused."
    kept = history.reference(accepted.id)
    if kept is None:
        kept = _made(bundled, _behind(accepted, windows, config), log)
        if kept is None:  # the log no longer holds them
            return bundled
        history.record_reference(accepted.id, kept)
    return replace(bundled, profile=kept, note=note)


def _is_accepted(window: MonitoredWindow, version: str) -> bool:
    refused = window.turn == "refused" and window.decision.accept_when_refused
    return refused and window.version == version and window.source == "log"


def _behind(
    accepted: MonitoredWindow, windows: Sequence[MonitoredWindow], config: MonitoringConfig
) -> list[MonitoredWindow]:
    """Return the windows whose alarms led to it, the newest first."""
    before = [
        window
        for window in windows
        if window.source == "log"
        and window.version == accepted.version
        and window.verdict.alarm
        and (window.id or 0) <= (accepted.id or 0)
    ]
    return before[: config.alarms]


def _made(
    bundled: Reference, windows: Sequence[MonitoredWindow], log: PredictionHistory
) -> Profile | None:
    from evergreen.monitoring.comparison import accept_drift

    parts: list[LoggedRows] = []
    for window in windows:
        if window.first is not None and window.last is not None:
            end, most = window.last + _TICK, MOST_ROWS // len(windows)
            parts += log.parts(since=window.first, until=end, version=window.version, last=most)
    if not parts:
        return None
    import pandas as pd

    contract = bundled.contract
    inputs = {c.name: np.concatenate([p.inputs[c.name] for p in parts]) for c in contract.features}
    predictions = _predictions(parts, contract)
    table = {name: pa.array(values, from_pandas=True) for name, values in inputs.items()}
    try:
        columns = make_profile(pd.DataFrame(inputs), contract, predictions).columns
        return accept_drift(bundled.profile, table, columns, predictions)
    except InputError:
        return None


def _predictions(parts: Sequence[LoggedRows], contract: Contract) -> Predictions:
    """Return what the model said; the truth has no say in a data reference."""
    predicted: npt.NDArray[Any] = np.concatenate([part.predictions for part in parts])
    shares = [part.probabilities for part in parts if part.probabilities is not None]
    probabilities = np.concatenate(shares) if shares else None
    if probabilities is not None and not np.isfinite(probabilities).any():
        probabilities = None
    return Predictions(predicted, predicted, probabilities, contract.labels, contract.positive)
