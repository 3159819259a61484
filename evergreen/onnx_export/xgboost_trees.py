"""XGBoost's trees in the common form, read from its own JSON format."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.trees import Ensemble, Tree


@dataclass(frozen=True)
class Boosted:
    """Trees, and the objective they were grown for, which says what is made of their sums."""

    ensemble: Ensemble
    objective: str


# Objectives whose predictions are exponentials of sums.
EXPONENTIAL: Final = frozenset(
    {"count:poisson", "reg:gamma", "reg:tweedie", "poisson", "gamma", "tweedie"}
)


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
    objective = learner["objective"]["name"]
    # XGBoost adds its trees, one after the other, to the base score; so it comes first here, too.
    start = np.broadcast_to(_margin(base, objective), (outputs,))
    trees = [_stump(value, output) for output, value in enumerate(start)]
    trees += map(_tree, model["trees"][:end], model["tree_info"][:end])
    ensemble = Ensemble(tuple(trees), outputs, single=True, strict=True, exact=False)
    return Boosted(ensemble, objective)


def _margin(base: npt.NDArray[np.float32], objective: str) -> npt.NDArray[np.float32]:
    """Bring the base score from the units of predictions into those of the sums."""
    if objective in ("binary:logistic", "reg:logistic"):
        return -np.log(np.float32(1) / base - np.float32(1))
    return np.log(base) if objective in EXPONENTIAL else base


def _stump(value: np.float32, output: int) -> Tree:
    """Return a tree that is one leaf."""
    leaf = np.array([-1])
    return Tree(leaf, leaf, leaf, np.zeros(1), np.full((1, 1), value, np.float64), (output,))


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
