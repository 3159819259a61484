"""LightGBM's trees in the common form, read from its own text format."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.trees import Ensemble, FloatArray, Tree
from evergreen.onnx_export.xgboost_trees import Boosted

_CATEGORICAL: Final = 1  # bit of a decision type
_ZERO_IS_MISSING: Final = 1 << 2
_TINY: Final = float(np.float32(1e-35))  # LightGBM takes values up to this one for zero


def lightgbm_ensemble(estimator: Any) -> Boosted:
    """Return a fitted LightGBM estimator's trees, up to its best round.

    Raises
    ------
    NotExportable
        If it is no sum of plain trees.
    """
    text = estimator.booster_.model_to_string()
    header, *sections = text.split("\nend of trees")[0].split("\nTree=")
    settings = _settings(header)
    if "average_output" in settings:
        raise NotExportable("LightGBM averages its trees (boosting: rf)")
    outputs = int(settings["num_tree_per_iteration"])
    trees = tuple(_tree(_settings(part), turn % outputs) for turn, part in enumerate(sections))
    ensemble = Ensemble(trees, outputs, single=False, strict=False, exact=True)
    return Boosted(ensemble, settings.get("objective", ""))


def _settings(section: str) -> dict[str, str]:
    """Read lines of NAME=VALUE; a name alone has no value."""
    lines = (line.partition("=") for line in section.splitlines() if line)
    return {name: value for name, _, value in lines}


def _tree(settings: dict[str, str], output: int) -> Tree:
    if settings.get("is_linear", "0") != "0":
        raise NotExportable("LightGBM's leaves hold linear models")
    leaf_values = np.array(settings["leaf_value"].split(), dtype=np.float64)
    branches = len(leaf_values) - 1
    decisions = _integers(settings.get("decision_type", ""))
    if (decisions & _CATEGORICAL).any():
        raise NotExportable("LightGBM splits by categories")
    if (decisions & _ZERO_IS_MISSING).any():
        raise NotExportable("LightGBM takes zeros for missing values")
    leaf = np.full(len(leaf_values), -1)
    children = [
        np.concatenate([_positions(settings.get(side, ""), branches), leaf])
        for side in ("left_child", "right_child")
    ]
    thresholds = _thresholds(np.array(settings.get("threshold", "").split(), dtype=np.float64))
    padding = np.zeros(len(leaf_values))
    return Tree(
        left=children[0],
        right=children[1],
        feature=np.concatenate([_integers(settings.get("split_feature", "")), leaf]),
        threshold=np.concatenate([thresholds, padding]),
        values=np.concatenate([np.zeros(branches), leaf_values])[:, None],
        outputs=(output,),
    )


def _thresholds(written: FloatArray) -> FloatArray:
    """Move thresholds next to zero so that all tiny values fall to the side of zero itself."""
    moved = np.where((written >= 0) & (written < _TINY), _TINY, written)
    return np.where((moved < 0) & (moved >= -_TINY), np.nextafter(-_TINY, -np.inf), moved)


def _positions(children: str, branches: int) -> Any:
    """Return positions: branches come first, leaves (written as -1, -2, …) after them."""
    found = _integers(children)
    return np.where(found < 0, branches + ~found, found)


def _integers(text: str) -> Any:
    return np.array(text.split(), dtype=np.int64)
