"""What LightGBM's estimators become when others have learned for them. Import it where it is used.

LightGBM's own Dask interface looks at each worker's rows alone to find the labels and their
weights, and writes the addresses of workers into the model. So workers learn codes, with weights
that were counted over all rows, and the model forgets where it was made.
"""

from __future__ import annotations

import re
from typing import Any, Final

import numpy.typing as npt
from lightgbm import Booster
from sklearn.preprocessing import LabelEncoder

Labels = npt.NDArray[Any]

_MADE_BY: Final = re.compile(
    r"^\[(machines|num_machines|local_listen_port|time_out|tree_learner|num_threads): .*\]\n",
    re.MULTILINE,
)
_LEARNED: Final = (
    *("_evals_result", "_best_score", "_best_iteration", "_objective", "fitted_"),
    *("_fitted_with_feature_names", "_n_features", "_n_features_in"),
)


def parameters_for(estimator: Any, classes: int | None) -> dict[str, Any]:
    """Return the parameters of a regressor that learns, on codes, what the estimator would.

    ``classes`` is their number, None for a regression. Threads are left to who trains.
    """
    params: dict[str, Any] = estimator.get_params()
    for elsewhere in ("n_jobs", "class_weight"):
        params.pop(elsewhere, None)
    if classes is not None and params["objective"] is None:
        params["objective"] = "multiclass" if classes > 2 else "binary"
    if classes is not None and classes > 2:
        params["num_class"] = classes
    return params


def adopt_learned(estimator: Any, learned: Any, labels: Labels | None) -> None:
    """Make an estimator what its ``fit`` would have made it, had it learned this model itself."""
    for name in _LEARNED:
        setattr(estimator, name, getattr(learned, name))
    estimator._Booster = Booster(model_str=_MADE_BY.sub("", learned.booster_.model_to_string()))
    if labels is None:
        return
    estimator._le = LabelEncoder().fit(labels)
    estimator._class_map = {label: code for code, label in enumerate(labels)}
    estimator._class_weight = estimator.class_weight
    estimator._classes, estimator._n_classes = estimator._le.classes_, len(labels)
