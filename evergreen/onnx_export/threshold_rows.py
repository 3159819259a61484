"""Rows that reach a tree's branches with the very values that they decide on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from evergreen.onnx_export.trees import Ensemble, FloatArray, IntArray, Tree, largest_single

_LARGEST: Final = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class Probe:
    """Rows of features at thresholds; ``base`` says which given row each one was made from."""

    features: FloatArray
    base: IntArray
    branches: int  # in the whole ensemble
    tried: int

    @classmethod
    def nothing(cls, features: FloatArray, branches: int = 0) -> Probe:
        """Return no rows."""
        return cls(features[:0], np.zeros(0, dtype=np.int64), branches, 0)


def rows_at_thresholds(ensemble: Ensemble, features: FloatArray, limit: int) -> Probe:
    """Return rows that reach branches of an ensemble, five for each.

    A given row (n × features) is moved into the box of values that leads to the branch; there,
    the value that it asks for is put at the threshold, and at its neighbours. Of more than
    ``limit`` branches, so many are taken evenly from all.
    """
    inner = [np.flatnonzero(~tree.is_leaf) for tree in ensemble.trees]
    ends = np.cumsum([len(nodes) for nodes in inner])
    branches = int(ends[-1])
    if not branches or not len(features):
        return Probe.nothing(features, branches)
    taken = np.unique(np.linspace(0, branches - 1, min(limit, branches)).astype(int))
    parents: dict[int, IntArray] = {}
    rows, base = [], []
    for turn, place in enumerate(taken):
        number = int(np.searchsorted(ends, place, side="right"))
        tree, node = ensemble.trees[number], int(inner[number][place - ends[number]])
        if number not in parents:
            parents[number] = _parents(tree)
        origin = turn % len(features)
        row = _inside(features[origin], tree, node, parents[number], ensemble)
        for value in _neighbours(float(tree.threshold[node]), ensemble.single):
            made = row.copy()
            made[tree.feature[node]] = value
            rows.append(made)
            base.append(origin)
    made_rows = np.clip(np.array(rows), -_LARGEST, _LARGEST)
    return Probe(made_rows, np.array(base), branches, len(taken))


def _parents(tree: Tree) -> IntArray:
    parents = np.full(len(tree.left), -1)
    inner = np.flatnonzero(~tree.is_leaf)
    parents[tree.left[inner]] = inner
    parents[tree.right[inner]] = inner
    return parents


def _inside(
    row: FloatArray, tree: Tree, node: int, parents: IntArray, ensemble: Ensemble
) -> FloatArray:
    """Move a row as little as needed to make it reach a node."""
    kind = np.float32 if ensemble.single else np.float64
    low = np.full(len(row), -np.inf, dtype=kind)
    high = np.full(len(row), np.inf, dtype=kind)
    child, parent = node, int(parents[node])
    while parent >= 0:
        feature = tree.feature[parent]
        last_left, first_right = _sides(float(tree.threshold[parent]), ensemble, kind)
        if tree.left[parent] == child:
            high[feature] = min(high[feature], last_left)
        else:
            low[feature] = max(low[feature], first_right)
        child, parent = parent, int(parents[parent])
    return np.clip(row.astype(kind), low, high).astype(np.float64)


def _sides(threshold: float, ensemble: Ensemble, kind: type[np.floating]) -> tuple[float, float]:
    """Return the greatest value that goes left, and the least that goes right."""
    if ensemble.strict:
        first = kind(threshold)
        return float(np.nextafter(first, kind(-np.inf))), float(first)
    last = largest_single(np.array([threshold]))[0] if ensemble.single else kind(threshold)
    return float(last), float(np.nextafter(last, kind(np.inf)))


def _neighbours(threshold: float, single: bool) -> npt.NDArray[np.float64]:
    values = [threshold, np.nextafter(threshold, -np.inf), np.nextafter(threshold, np.inf)]
    nearest = np.float32(threshold) if single else threshold
    way = np.float32(np.inf) if single else np.inf
    return np.array([*values, np.nextafter(nearest, -way), np.nextafter(nearest, way)], np.float64)
