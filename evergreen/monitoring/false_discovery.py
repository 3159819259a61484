"""Many tests at once.

Benjamini and Hochberg (1995), "Controlling the False Discovery Rate", JRSS B 57. Where nothing
drifted, the rate of false discoveries is the rate of windows with any alarm, and it holds for
independent and positively dependent tests (Benjamini and Yekutieli, 2001).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def adjusted(p_values: Sequence[float]) -> FloatArray:
    """Return q-values: the levels at which each hypothesis is just rejected."""
    p = np.asarray(p_values, dtype=np.float64)
    if not len(p):
        return p
    order = np.argsort(p, kind="stable")
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    q = np.empty_like(p)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


def bonferroni(p_values: Sequence[float]) -> float:
    """Return the p-value of "at least one is not null", valid under any dependence."""
    return min(1.0, min(p_values) * len(p_values))
