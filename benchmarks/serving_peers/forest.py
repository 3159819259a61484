"""The one model of the comparison: a random forest of 100 trees on scikit-learn's wine.

Every server trains it in its own environment, from the same rows with the same seed. The
comparison asks each server for the same rows and goes on only where all give the same answer.
"""

from __future__ import annotations

from sklearn.datasets import load_wine
from sklearn.ensemble import RandomForestClassifier


def train() -> RandomForestClassifier:
    """Return the fitted forest; ``n_jobs=1``, because threads only slow a single row down."""
    table, target = load_wine(return_X_y=True)
    return RandomForestClassifier(n_estimators=100, random_state=7, n_jobs=1).fit(table, target)
