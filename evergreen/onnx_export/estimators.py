"""The second half of a model: its estimator, from the matrix of features to the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.graph import DOUBLE, Graph
from evergreen.onnx_export.sklearn_trees import sklearn_ensemble
from evergreen.onnx_export.trees import Ensemble, add_trees
from evergreen.onnx_export.xgboost_trees import EXPONENTIAL, Boosted

_IDENTITY: Final = frozenset(
    {
        *("reg:squarederror", "reg:absoluteerror", "reg:pseudohubererror", "reg:quantileerror"),
        *("reg:squaredlogerror",),
        *("regression", "regression_l1", "huber", "fair", "quantile", "mape"),
    }
)


def add_estimator(graph: Graph, estimator: Any, features: str) -> str:
    """Add a fitted estimator; return rows × classes probabilities, or rows × 1 predictions.

    The classes are in the order of ``classes_``.

    Raises
    ------
    NotExportable
        If there is no graph for this kind of estimator, or for how it was set up.
    """
    for kind in type(estimator).__mro__:
        if kind.__name__ in _WRITERS:
            return _WRITERS[kind.__name__](graph, estimator, features)
    raise NotExportable(f"there is no ONNX form of {type(estimator).__name__}")


def tree_ensemble(estimator: Any) -> Ensemble | None:
    """Return the trees of an estimator that is made of trees."""
    for kind in type(estimator).__mro__:
        if kind.__name__ in _FORESTS:
            return sklearn_ensemble(estimator)
        if kind.__name__ in _BOOSTED:
            return _boosted(estimator).ensemble
    return None


def _forest(graph: Graph, estimator: Any, features: str) -> str:
    ensemble = sklearn_ensemble(estimator)
    return graph.add(
        "Div", add_trees(graph, ensemble, features), graph.constant(float(len(ensemble.trees)))
    )


def _linear(graph: Graph, estimator: Any, features: str) -> str:
    weights = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64)).T
    bias = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), weights.shape[1])
    return graph.add("Gemm", features, graph.constant(weights), graph.constant(bias))


def _logistic(graph: Graph, estimator: Any, features: str) -> str:
    margins = _linear(graph, estimator, features)
    if len(estimator.classes_) > 2:
        return graph.add("Softmax", margins, axis=1)
    return _two_classes(graph, graph.add("Sigmoid", margins))


def _dummy(graph: Graph, estimator: Any, features: str) -> str:
    """Give every row the same answer, whatever its features."""
    if hasattr(estimator, "classes_"):
        if estimator.strategy != "prior":
            raise NotExportable(f"the baseline's answers are drawn ({estimator.strategy})")
        answer = np.atleast_2d(estimator.class_prior_)
    else:
        answer = np.atleast_2d(estimator.constant_)
    rows = graph.add("Slice", graph.add("Shape", features), *_first(graph))
    shape = graph.add("Concat", rows, graph.constant([answer.shape[1]], np.int64), axis=0)
    return graph.add("Expand", graph.constant(answer), shape)


def _first(graph: Graph) -> Sequence[str]:
    return graph.constant([0], np.int64), graph.constant([1], np.int64)


def _boosted(estimator: Any) -> Boosted:
    if hasattr(estimator, "get_booster"):
        from evergreen.onnx_export.xgboost_trees import xgboost_ensemble

        return xgboost_ensemble(estimator)
    from evergreen.onnx_export.lightgbm_trees import lightgbm_ensemble

    return lightgbm_ensemble(estimator)


def _gradient_boosting(graph: Graph, estimator: Any, features: str) -> str:
    boosted = _boosted(estimator)
    objective, *settings = boosted.objective.split()
    sums = add_trees(graph, boosted.ensemble, features)
    if not boosted.ensemble.exact:
        sums = graph.cast(sums, DOUBLE)
    return _link(graph, sums, objective, settings)


def _link(graph: Graph, sums: str, objective: str, settings: list[str]) -> str:
    """Turn sums into predictions, by the objective that the trees were grown for."""
    if objective in _IDENTITY and not settings:
        return sums
    if objective in EXPONENTIAL:
        return graph.add("Exp", sums)
    if objective in ("binary:logistic", "binary"):
        slopes = [float(text.partition(":")[2]) for text in settings if text.startswith("sigmoid:")]
        for slope in slopes:
            sums = sums if slope == 1 else graph.add("Mul", sums, graph.constant(slope))
        return _two_classes(graph, graph.add("Sigmoid", sums))
    if objective in ("multi:softprob", "multiclass"):
        return graph.add("Softmax", sums, axis=1)
    raise NotExportable(f"the objective {' '.join([objective, *settings])!r} has no ONNX form here")


def _two_classes(graph: Graph, positive: str) -> str:
    negative = graph.add("Sub", graph.constant(1.0), positive)
    return graph.side_by_side([negative, positive])


# By the names of classes, so that no library is imported that a model does not use.
_FORESTS: Final = frozenset(
    {
        *("DecisionTreeClassifier", "DecisionTreeRegressor"),
        *("RandomForestClassifier", "RandomForestRegressor"),
    }
)
_BOOSTED: Final = frozenset({"XGBClassifier", "XGBRegressor", "LGBMClassifier", "LGBMRegressor"})
_WRITERS: Final[dict[str, Callable[[Graph, Any, str], str]]] = {
    **dict.fromkeys(_FORESTS, _forest),
    **dict.fromkeys(_BOOSTED, _gradient_boosting),
    "LogisticRegression": _logistic,
    "Ridge": _linear,
    "LinearRegression": _linear,
    "DummyClassifier": _dummy,
    "DummyRegressor": _dummy,
}
