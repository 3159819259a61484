"""What a model said about rows whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from evergreen.config import Label
from evergreen.errors import RefusedError

if TYPE_CHECKING:
    import pandas as pd

    from evergreen.data.contract import Contract

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_PART: Final = 100_000  # rows that a model gets at once; features of all would take much memory


@dataclass(frozen=True, eq=False)
class Predictions:
    """Actual and predicted values of the same n rows.

    Classification: ``actual`` and ``predicted`` hold labels, ``probabilities`` is n×k with one
    column per label, in the order of ``labels``. Regression: both hold floats, in units of the
    target; labels and probabilities are None. ``groups`` (n codes) says which rows belong
    together, where the contract has a group column: they are no independent evidence.
    """

    actual: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    probabilities: FloatArray | None = None
    labels: tuple[Label, ...] | None = None
    positive: Label | None = None
    groups: IntArray | None = None

    def __post_init__(self) -> None:
        if len(self.actual) != len(self.predicted):
            raise ValueError(
                f"{len(self.actual)} actual values, {len(self.predicted)} predicted ones"
            )
        if self.probabilities is not None:
            expected = (len(self.actual), len(self.labels or ()))
            if self.probabilities.shape != expected:
                raise ValueError(
                    f"probabilities have shape {self.probabilities.shape}, not {expected}"
                )

    def __len__(self) -> int:
        return len(self.actual)

    @cached_property
    def actual_codes(self) -> IntArray:
        """Position of each actual label in ``labels``; -1 for an unknown or missing one."""
        return _codes(self.actual, self.labels or ())

    @cached_property
    def predicted_codes(self) -> IntArray:
        """Position of each predicted label in ``labels``; -1 for an unknown or missing one."""
        return _codes(self.predicted, self.labels or ())

    @property
    def binary(self) -> bool:
        """Whether there are exactly two labels."""
        return self.labels is not None and len(self.labels) == 2

    @property
    def positive_code(self) -> int:
        """Position of the positive label; where none is named, the last label counts."""
        labels = self.labels or ()
        return len(labels) - 1 if self.positive is None else labels.index(self.positive)

    @cached_property
    def complete(self) -> bool:
        """Whether every row has a known actual value and a prediction that is not missing."""
        if self.labels is None:
            return bool(np.isfinite(self.actual).all() and np.isfinite(self.predicted).all())
        return bool((self.actual_codes >= 0).all() and not _missing(self.predicted).any())

    @cached_property
    def has_probabilities(self) -> bool:
        """Whether every row has a finite probability for every label."""
        return self.probabilities is not None and bool(np.isfinite(self.probabilities).all())

    def take(self, rows: npt.NDArray[Any]) -> Predictions:
        """Return the rows at the given positions (or where a mask is true)."""
        return Predictions(
            actual=self.actual[rows],
            predicted=self.predicted[rows],
            probabilities=None if self.probabilities is None else self.probabilities[rows],
            labels=self.labels,
            positive=self.positive,
            groups=None if self.groups is None else self.groups[rows],
        )


def predict(
    model: Any,
    frame: pd.DataFrame,
    contract: Contract,
    *,
    model_contract: Contract | None = None,
    threads: int = 1,
) -> Predictions:
    """Let a fitted pipeline predict the rows of a conformed frame that holds the target.

    ``model_contract`` is the contract that the model was trained under, where that is another one
    (an older champion): the frame is conformed to it before the model sees it, while actual values
    and labels follow ``contract``. Classes that only the model knows count as wrong.

    Raises
    ------
    RefusedError
        If the model gives a missing or infinite prediction or probability for any row.
    """
    from evergreen.data.conform import conform, model_frame, target_values

    if model_contract is None:
        inputs = model_frame(frame, contract)
    else:
        inputs = model_frame(conform(frame, model_contract), model_contract)
    actual = target_values(frame, contract)
    groups = group_codes(frame, contract)
    return predict_inputs(model, inputs, actual, contract, groups=groups, threads=threads)


def predict_inputs(
    model: Any,
    inputs: pd.DataFrame,
    actual: npt.NDArray[Any],
    contract: Contract,
    *,
    groups: IntArray | None = None,
    threads: int = 1,
) -> Predictions:
    """Let a fitted pipeline predict a `model_frame` whose targets are known.

    It gets the rows in parts, so many at once as there are threads.

    Raises
    ------
    RefusedError
        If the model gives a missing or infinite prediction or probability for any row.
    """
    starts = range(0, max(1, len(inputs)), _PART)
    with ThreadPoolExecutor(threads) as pool:
        parts = list(pool.map(lambda at: _said(model, inputs.iloc[at : at + _PART]), starts))
    predicted = np.concatenate([values for values, _ in parts])
    if contract.task == "regression":
        predicted = predicted.astype(np.float64)
        _require_usable(np.isfinite(predicted))
        return Predictions(actual=actual, predicted=predicted, groups=groups)

    labels = contract.labels or ()
    _require_usable(~_missing(predicted))
    probabilities = None
    if parts[0][1] is not None:
        given = np.concatenate([share for _, share in parts if share is not None])
        _require_usable(np.isfinite(given).all(axis=1))
        probabilities = _reordered(given, model.classes_, labels)
    return Predictions(
        actual=actual,
        predicted=predicted,
        probabilities=probabilities,
        labels=labels,
        positive=contract.positive,
        groups=groups,
    )


def _said(model: Any, inputs: pd.DataFrame) -> tuple[npt.NDArray[Any], FloatArray | None]:
    """Return a model's values or labels, and its probabilities, from features made once.

    A classifier without a decision function says the most probable class, and isn't asked twice.
    """
    from sklearn.dummy import DummyClassifier, DummyRegressor
    from sklearn.pipeline import Pipeline

    features: Any = inputs
    most_probable = False
    if isinstance(model, Pipeline):
        reads = not isinstance(model[-1], DummyClassifier | DummyRegressor)  # it only counts rows
        features, model = model[:-1].transform(inputs) if reads else inputs, model[-1]
        most_probable = not hasattr(model, "decision_function")
    given = None
    if hasattr(model, "predict_proba"):
        given = np.asarray(model.predict_proba(features), dtype=np.float64)
        if most_probable:
            return np.asarray(model.classes_)[given.argmax(axis=1)], given
    return np.asarray(model.predict(features)).reshape(-1), given


def group_codes(frame: pd.DataFrame, contract: Contract) -> IntArray | None:
    """Return which rows of a conformed frame belong together; None where there is no group."""
    import pandas as pd

    names = [column.name for column in contract.columns if column.role == "group"]
    if not names or names[0] not in frame.columns:
        return None
    codes, levels = pd.factorize(frame[names[0]])
    alone = len(levels) + np.arange(len(codes))  # a row without a group is one of its own
    return np.where(codes < 0, alone, codes).astype(np.int64)


def joined(parts: Sequence[Predictions], groups: IntArray | None = None) -> Predictions:
    """Return the predictions of parts of a table as those of the whole; ``groups`` are its own.

    Raises
    ------
    ValueError
        If there is no part.
    """
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return Predictions(
        actual=np.concatenate([part.actual for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        probabilities=np.concatenate(probabilities) if probabilities else None,
        labels=parts[0].labels,
        positive=parts[0].positive,
        groups=groups,
    )


def arms_to_frame(arms: Mapping[str, Predictions]) -> pd.DataFrame:
    """Lay the predictions of several models (arms) on the same rows side by side.

    Columns: ``actual``, ``group`` where there are groups, and per arm ``ARM.predicted`` and, with
    probabilities, one
    ``ARM.probability.LABEL`` per label. Labels are written as categories, of text.

    Raises
    ------
    ValueError
        If the arms disagree on the rows' actual values.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    first: Predictions | None = None
    for arm, predictions in arms.items():
        if first is None:
            first = predictions
            columns["actual"] = _written(first.actual, first.labels)
        elif not np.array_equal(first.actual, predictions.actual):
            raise ValueError(f"arm {arm!r} has other actual values than the arms before it")
        if predictions.groups is not None:
            columns["group"] = predictions.groups
        columns[f"{arm}.predicted"] = _written(predictions.predicted, predictions.labels)
        if predictions.probabilities is not None:
            for position, label in enumerate(predictions.labels or ()):
                columns[f"{arm}.probability.{label}"] = predictions.probabilities[:, position]
    return pd.DataFrame(columns)


def arms_from_frame(frame: pd.DataFrame, contract: Contract) -> dict[str, Predictions]:
    """Read what `arms_to_frame` wrote."""
    suffix = ".predicted"
    names = [str(name).removesuffix(suffix) for name in frame if str(name).endswith(suffix)]
    groups = frame["group"].to_numpy(np.int64) if "group" in frame else None
    actual = _read(frame["actual"], contract.labels)
    arms = {}
    for arm in names:
        columns = [f"{arm}.probability.{label}" for label in contract.labels or ()]
        known = bool(columns) and set(columns) <= set(frame.columns)
        arms[arm] = Predictions(
            actual=actual,
            predicted=_read(frame[f"{arm}{suffix}"], contract.labels),
            probabilities=frame[columns].to_numpy(np.float64) if known else None,
            labels=contract.labels,
            positive=contract.positive,
            groups=groups,
        )
    return arms


def _codes(values: npt.NDArray[Any], labels: Sequence[Label]) -> IntArray:
    import pandas as pd

    positions = {label: position for position, label in enumerate(labels)}
    codes, levels = pd.factorize(values)
    found = [positions.get(level, -1) for level in levels.tolist()]
    return np.array([*found, -1], dtype=np.int64)[codes]  # of a missing value the code is -1


def _missing(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    import pandas as pd

    return np.asarray(pd.isna(values), dtype=np.bool_)


def _require_usable(usable: npt.ArrayLike) -> None:
    bad = np.flatnonzero(~np.asarray(usable, dtype=np.bool_))
    if len(bad):
        raise RefusedError(
            f"The model gives no usable prediction for {len(bad)} of {np.size(usable)} rows "
            f"(the first at position {bad[0]}): a value is missing or infinite. "
            "Look at that row's columns and at the model's imputation."
        )


def _reordered(given: FloatArray, classes: npt.NDArray[Any], labels: Sequence[Label]) -> FloatArray:
    """Bring probability columns into the order of ``labels``; a label never seen gets zero."""
    probabilities = np.zeros((len(given), len(labels)))
    for column, code in enumerate(_codes(np.asarray(classes), labels)):
        if code >= 0:
            probabilities[:, code] = given[:, column]
    return probabilities


def _written(
    values: npt.NDArray[Any], labels: Sequence[Label] | None
) -> FloatArray | pd.Categorical:
    import pandas as pd

    if labels is None:
        return values.astype(np.float64)
    codes, levels = pd.factorize(values)
    places, texts = pd.factorize(np.array([str(level) for level in levels.tolist()], dtype=object))
    return pd.Categorical.from_codes(np.append(places, -1)[codes], pd.Index(texts))


def _read(column: pd.Series[Any], labels: Sequence[Label] | None) -> npt.NDArray[Any]:
    import pandas as pd

    if labels is None:
        return column.to_numpy(np.float64)
    by_text = {str(label): label for label in labels}
    codes, texts = pd.factorize(column)
    values = np.empty(len(texts) + 1, dtype=object)
    values[:-1] = [by_text.get(text, text) for text in texts.tolist()]
    return values[codes]
