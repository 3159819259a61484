"""Trees of any library in one form, and their graph.

Where differences between runtimes come from, and what is done about each:

- Thresholds. scikit-learn rounds a value to single precision and compares it with a threshold in
  double precision: for such a value, ``x <= t`` is the same as ``x <= t'`` with the greatest single
  ``t'`` not above ``t``. XGBoost compares singles by ``<``, LightGBM doubles by ``<=``; the graph
  does just that.
- Sums. ONNX Runtime gives sums out in single precision. XGBoost does, too; for the others each
  leaf's value is split in two, a multiple of a power of two whose sums are exact, and the small
  rest, so that both sums together are right to about twelve digits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.graph import DOUBLE, FLOAT, ML_DOMAIN, Graph

MAX_NODES: Final = 5_000_000
_SINGLE_BITS: Final = 24  # of a single's mantissa

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Tree:
    """One tree of n nodes, the first of which is its root.

    ``left`` and ``right`` are the children's positions, -1 at a leaf; a row goes left where its
    value of ``feature`` is at most (or, in a strict ensemble, below) ``threshold``. ``values`` is
    n × outputs, of which only leaves' rows count; ``outputs`` says which outputs these are.
    """

    left: IntArray
    right: IntArray
    feature: IntArray
    threshold: FloatArray
    values: FloatArray
    outputs: tuple[int, ...]

    @property
    def is_leaf(self) -> npt.NDArray[np.bool_]:
        """Which nodes are leaves."""
        return self.left < 0


@dataclass(frozen=True)
class Ensemble:
    """Trees whose values are summed up.

    ``single``: values are rounded to single precision before they are compared. ``strict``: a row
    goes left where its value is below the threshold. ``exact``: sums must be better than single.
    """

    trees: tuple[Tree, ...]
    outputs: int
    single: bool
    strict: bool
    exact: bool


def add_trees(graph: Graph, ensemble: Ensemble, features: str) -> str:
    """Add an ensemble; return its sums: double where ``exact``, else single.

    Raises
    ------
    NotExportable
        If there are too many nodes.
    """
    nodes = sum(len(tree.left) for tree in ensemble.trees)
    if nodes > MAX_NODES:
        raise NotExportable(f"its trees have {nodes:,} nodes, more than {MAX_NODES:,}")
    values = graph.cast(features, FLOAT) if ensemble.single else features
    hand_out = _split if ensemble.exact else _whole
    targets, weights, outputs = hand_out(ensemble)
    sums = graph.add(
        "TreeEnsembleRegressor",
        values,
        domain=ML_DOMAIN,
        n_targets=outputs,
        aggregate_function="SUM",
        post_transform="NONE",
        **_node_attributes(ensemble),
        **_leaf_attributes(ensemble, targets, weights),
    )
    if not ensemble.exact:
        return sums
    shape = graph.constant([-1, 2, ensemble.outputs], np.int64)
    halves = graph.add("Reshape", graph.cast(sums, DOUBLE), shape)
    return graph.add("ReduceSum", halves, graph.constant([1], np.int64), keepdims=0)


def largest_single(thresholds: FloatArray) -> npt.NDArray[np.float32]:
    """Return the greatest float32 values that are not above the given float64 ones."""
    with np.errstate(over="ignore"):
        rounded = thresholds.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded.astype(np.float64) > thresholds, below, rounded)


def _node_attributes(ensemble: Ensemble) -> dict[str, Any]:
    trees = ensemble.trees
    leaf = np.concatenate([tree.is_leaf for tree in trees])
    thresholds = np.concatenate([tree.threshold for tree in trees])
    if ensemble.single:
        thresholds = largest_single(thresholds) if not ensemble.strict else thresholds
    branch = "BRANCH_LT" if ensemble.strict else "BRANCH_LEQ"
    attributes: dict[str, Any] = {
        "nodes_treeids": _numbered(trees),
        "nodes_nodeids": np.concatenate([np.arange(len(tree.left)) for tree in trees]).tolist(),
        "nodes_featureids": _at_branches(trees, "feature", leaf),
        "nodes_truenodeids": _at_branches(trees, "left", leaf),
        "nodes_falsenodeids": _at_branches(trees, "right", leaf),
        "nodes_modes": np.where(leaf, "LEAF", branch).tolist(),
    }
    thresholds = np.where(leaf, 0.0, thresholds)
    return {**attributes, **_numbers("nodes_values", thresholds, ensemble)}


def _leaf_attributes(
    ensemble: Ensemble, targets: list[IntArray], weights: list[FloatArray]
) -> dict[str, Any]:
    """Name the values of each leaf; zeros are left out, except for a leaf's first one.

    ``targets`` and ``weights`` are per tree: outputs, and nodes × outputs.
    """
    tree_ids, node_ids, target_ids, values = [], [], [], []
    for number, (tree, target, weight) in enumerate(
        zip(ensemble.trees, targets, weights, strict=True)
    ):
        leaves = np.flatnonzero(tree.is_leaf)
        told = weight[leaves] != 0
        told[:, 0] |= ~told.any(axis=1)
        row, column = np.nonzero(told)
        tree_ids.append(np.full(len(row), number))
        node_ids.append(leaves[row])
        target_ids.append(target[column])
        values.append(weight[leaves[row], column])
    return {
        "target_treeids": np.concatenate(tree_ids).tolist(),
        "target_nodeids": np.concatenate(node_ids).tolist(),
        "target_ids": np.concatenate(target_ids).tolist(),
        **_numbers("target_weights", np.concatenate(values), ensemble),
    }


def _whole(ensemble: Ensemble) -> tuple[list[IntArray], list[FloatArray], int]:
    targets = [np.asarray(tree.outputs, dtype=np.int64) for tree in ensemble.trees]
    return targets, [tree.values for tree in ensemble.trees], ensemble.outputs


def _split(ensemble: Ensemble) -> tuple[list[IntArray], list[FloatArray], int]:
    """Split every value in two: outputs 0 … k-1 get the coarse parts, k … 2k-1 the rests."""
    quantum = _quantum(ensemble)
    targets, weights = [], []
    for tree in ensemble.trees:
        own = np.asarray(tree.outputs, dtype=np.int64)
        coarse = np.round(tree.values / quantum[own]) * quantum[own]
        targets.append(np.concatenate([own, own + ensemble.outputs]))
        weights.append(np.hstack([coarse, tree.values - coarse]))
    return targets, weights, 2 * ensemble.outputs


def _quantum(ensemble: Ensemble) -> FloatArray:
    """Return per output the power of two whose multiples no sum of values rounds."""
    bound = np.zeros(ensemble.outputs)
    for tree in ensemble.trees:
        bound[list(tree.outputs)] += np.abs(tree.values[tree.is_leaf]).max(axis=0)
    bound = np.where(bound > 0, bound, 1.0)
    # One bit is left for values that rounding made greater.
    return np.exp2(np.ceil(np.log2(bound)) + 1 - _SINGLE_BITS)


def _numbers(name: str, values: npt.NDArray[Any], ensemble: Ensemble) -> dict[str, Any]:
    """Return an attribute of numbers, in the precision that the values are compared in."""
    if ensemble.single:
        return {name: values.astype(np.float32).tolist()}
    from onnx import numpy_helper

    return {f"{name}_as_tensor": numpy_helper.from_array(values.astype(np.float64))}


def _numbered(trees: Sequence[Tree]) -> list[int]:
    sizes = [len(tree.left) for tree in trees]
    return np.repeat(np.arange(len(trees)), sizes).tolist()


def _at_branches(trees: Sequence[Tree], name: str, leaf: npt.NDArray[np.bool_]) -> list[int]:
    return np.where(leaf, 0, np.concatenate([getattr(tree, name) for tree in trees])).tolist()
