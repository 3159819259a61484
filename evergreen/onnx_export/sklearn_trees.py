"""scikit-learn's trees and forests in the common form."""

from __future__ import annotations

from typing import Any

import numpy as np

from evergreen.onnx_export.trees import Ensemble, Tree


def sklearn_ensemble(estimator: Any) -> Ensemble:
    """Return a fitted tree or forest; its sums are to be divided by the number of trees.

    Outputs: one per class in the order of ``classes_``, or one for a regression.
    """
    members = [estimator] if hasattr(estimator, "tree_") else estimator.estimators_
    outputs = len(estimator.classes_) if hasattr(estimator, "classes_") else 1
    return Ensemble(
        trees=tuple(_tree(member.tree_, outputs) for member in members),
        outputs=outputs,
        single=True,
        strict=False,
        exact=True,
    )


def _tree(tree: Any, outputs: int) -> Tree:
    return Tree(
        left=tree.children_left,
        right=tree.children_right,
        feature=tree.feature,
        threshold=tree.threshold,
        values=np.asarray(tree.value[:, 0, :outputs], dtype=np.float64),
        outputs=tuple(range(outputs)),
    )
