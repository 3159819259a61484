"""How good the model is in a window: by true labels, or estimated without them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.reference import Calibration, LossReference

IntArray = npt.NDArray[np.int64]


class Change(NamedTuple):
    """A figure now and before; ``change`` is positive where it is worse now."""

    value: float
    before: float
    change: float
    low: float
    high: float
    effect: float
    p: float  # one-sided


def loss_test(reference: LossReference, window: LossSums, confidence: float) -> Change:
    """Test whether the mean loss rose; needs two labelled rows.

    Student's t-test with pooled variance, one-sided, corrected for the skewness of losses by the
    first term of its Cornish-Fisher expansion (Hall, 1992, "The Bootstrap and Edgeworth
    Expansion", 2.6), with the interval of the change beside it. Null: the window's losses are
    distributed as the holdout's. The effect is the rise in standard deviations of the holdout's.
    """
    change = window.mean - reference.mean
    n, m = reference.rows, window.rows
    pooled = ((n - 1) * reference.deviation**2 + (m - 1) * window.variance) / (n + m - 2)
    error = float(np.sqrt(pooled * (1 / n + 1 / m)))
    if error == 0:
        p = 0.0 if change > 0 else 1.0
        effect = float("inf") if change > 0 else 0.0
        return Change(window.mean, reference.mean, change, change, change, effect, p)
    freedom = n + m - 2
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    t = change / error
    skewness = reference.skewness * (1 / m**2 - 1 / n**2) / (1 / m + 1 / n) ** 1.5
    # The term is small; within bounds it keeps greater statistics greater.
    corrected = t - np.clip(skewness, -0.5, 0.5) / 6 * (min(max(t, -3.0), 3.0) ** 2 - 1)
    return Change(
        value=window.mean,
        before=reference.mean,
        change=change,
        low=change - reach,
        high=change + reach,
        effect=change / np.sqrt(pooled),
        p=float(stats.t.sf(corrected, freedom)),
    )


def estimated_error(calibration: Calibration, window: IntArray, confidence: float) -> Change | None:
    """Estimate the error rate without labels; None without probabilities.

    Confidence-based: a row counts as right with the share of the holdout's rows that were right
    when the model was as sure (binned calibration of the greatest probability; Garg et al., ICLR
    2022, survey such estimators). It sees that inputs became harder, never that their meaning
    changed. Null: the window holds as many sure and unsure rows as the holdout. The variance adds
    what the window's rows draw, what the holdout's drew, and how well each bin's share is known.
    """
    rows = np.array(calibration.rows, dtype=np.float64)
    if not window.sum() or not rows.sum():
        return None
    # Half a right and half a wrong answer more per bin: no bin is surely without error.
    wrong = 1 - (np.array(calibration.right) + 0.5) / (rows + 1)
    now, before = window / window.sum(), rows / rows.sum()
    value, reference = float(now @ wrong), float(before @ wrong)
    change = value - reference
    drawn = (now @ wrong**2 - value**2) / window.sum() + (
        before @ wrong**2 - reference**2
    ) / rows.sum()
    known = ((now - before) ** 2 * wrong * (1 - wrong) / (rows + 1)).sum()
    error = float(np.sqrt(max(drawn + known, 1e-12)))
    reach = float(stats.norm.ppf((1 + confidence) / 2)) * error
    p = float(stats.norm.sf(change / error))
    return Change(value, reference, change, change - reach, change + reach, change, p)
