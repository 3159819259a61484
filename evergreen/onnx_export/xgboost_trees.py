"""XGBoost's trees in the common form, read from its own JSON format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.trees import Ensemble, Tree


@dataclass(frozen=True)
class Boosted:
    """Trees, and what is made of their sums.

    ``base`` (one per output) is added to the sums; ``objective`` names the library's function
    that the result goes through.
    """

    ensemble: Ensemble
    base: npt.NDArray[Any]
    objective: str


def xgboost_ensemble(estimator: Any) -> Boosted:
    """Return a fitted XGBoost estimator's trees, up to its best round.

    Raises
    ------
    NotExportable
        If it is no ensemble of plain trees with one value per leaf.
    """
    learner = json.loads(estimator.get_booster().save_raw("json"))["learner"]
    booster = learner["gradient_booster"]
    if booster["name"] != "gbtree":
        raise NotExportable(f"XGBoost's booster {booster['name']!r} is no sum of plain trees")
    model = booster["model"]
    end = model["iteration_indptr"][_rounds(estimator, len(model["iteration_indptr"]) - 1)]
    base = np.asarray(json.loads(learner["learner_model_param"]["base_score"]), dtype=np.float32)
    outputs = max(1, int(learner["learner_model_param"]["num_class"]))
    trees = tuple(
        _tree(tree, output)
        for tree, output in zip(model["trees"][:end], model["tree_info"][:end], strict=True)
    )
    ensemble = Ensemble(trees, outputs, single=True, strict=True, exact=False)
    return Boosted(ensemble, np.broadcast_to(base, (outputs,)), learner["objective"]["name"])


def _rounds(estimator: Any, fitted: int) -> int:
    """Return how many rounds the estimator predicts with: the best ones, after early stopping."""
    best = estimator.get_booster().attr("best_iteration")
    return fitted if best is None else int(best) + 1


def _tree(tree: dict[str, Any], output: int) -> Tree:
    if any(tree["split_type"]):
        raise NotExportable("XGBoost splits by categories")
    if int(tree["tree_param"]["size_leaf_vector"]) > 1:
        raise NotExportable("XGBoost's leaves hold several values")
    conditions = np.asarray(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    return Tree(
        left=np.asarray(tree["left_children"]),
        right=np.asarray(tree["right_children"]),
        feature=np.asarray(tree["split_indices"]),
        threshold=conditions,
        values=conditions[:, None],  # a leaf's value stands where a branch's threshold does
        outputs=(output,),
    )
