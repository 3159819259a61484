"""A table as its contract promises it: every column there, in its canonical dtype."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from evergreen.data.casting import as_boolean, as_number, as_text, cast, each_level_once
from evergreen.data.contract import Column, Contract
from evergreen.errors import InputError


def conform(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return the contract's columns, in its order, in canonical dtypes.

    number, integer and boolean become float64 (missing NaN), category and identifier an object
    column of ``str`` (missing None), timestamp datetime64[us] in UTC without a zone. The target
    of a classification is an object column of the contract's labels (missing None).

    What cannot be cast becomes missing, and so do infinities. Columns that the contract does not
    know are left out. A column that no model needs (target, timestamp, group, ignored) may be
    absent; it is then missing throughout. The result has the index of ``frame``, and conforming
    it again changes nothing.

    Raises
    ------
    InputError
        If a feature column is absent, or a column name occurs twice.
    """
    require_unique_names(frame)
    _require_columns(frame, (column.name for column in contract.features))
    series = {column.name: _conformed(frame, column, contract) for column in contract.columns}
    return pd.DataFrame(series, index=frame.index, copy=False)


def model_frame(frame: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Return the feature columns alone: what a model's ``fit`` and ``predict`` take.

    Raises
    ------
    InputError
        If a feature column is absent.
    """
    _require_columns(frame, (column.name for column in contract.features))
    series = {column.name: _conformed(frame, column, contract) for column in contract.features}
    return pd.DataFrame(series, index=frame.index, copy=False)


def target_values(frame: pd.DataFrame, contract: Contract) -> np.ndarray[Any, Any]:
    """Return the target, one value per row.

    Regression: float64. Classification: the labels as int64, bool or (text) object.

    Raises
    ------
    InputError
        If the target column is absent, or misses a value.
    """
    _require_columns(frame, (contract.target,))
    target = _conformed(frame, contract.column(contract.target), contract)
    absent = int(target.isna().sum())
    if absent:
        raise InputError(
            f"{absent} of {len(target)} rows have no usable target {contract.target!r}; "
            "drop these rows first."
        )
    if contract.labels is None:
        return target.to_numpy(dtype="float64")
    return target.to_numpy(dtype=_label_dtype(contract))


def require_unique_names(frame: pd.DataFrame) -> None:
    """Raise `InputError` if a column name occurs twice or is no text."""
    repeated = frame.columns[frame.columns.duplicated()].unique()
    if len(repeated):
        names = ", ".join(repr(name) for name in repeated)
        raise InputError(f"Column names must be unique, but these occur more than once: {names}.")
    odd = [name for name in frame.columns if not isinstance(name, str)]
    if odd:
        raise InputError(f"Column names must be text, but {odd[0]!r} is not; give it a name.")


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return a sentence that proposes a known name, or lists the first ones."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if not close:
        lowered = [other for other in names if other.lower() == name.lower()]
        close = lowered[:1]
    if close:
        return f"Did you mean {close[0]!r}?"
    shown = ", ".join(repr(other) for other in names[:20])
    return f"The table has: {shown}{', …' if len(names) > 20 else ''}."


def _conformed(frame: pd.DataFrame, column: Column, contract: Contract) -> pd.Series:
    if column.name not in frame.columns:
        raw = pd.Series([None] * len(frame), index=frame.index, dtype=object, name=column.name)
    else:
        raw = frame[column.name]
    if column.role == "target" and contract.labels is not None:
        return as_label(raw, contract)
    values = cast(raw, column.type, column.format)
    if values.dtype == np.float64 and (infinite := np.isinf(values.to_numpy())).any():
        values = values.mask(infinite)
    return values


def as_label(values: pd.Series, contract: Contract) -> pd.Series:
    """Read classes: an object column of the contract's labels, None where none fits."""
    if values.dtype != object:  # each distinct value once
        return each_level_once(values, lambda levels: _labels_of(pd.Series(levels), contract))
    return _labels_of(values, contract)


def as_classes(values: pd.Series, contract: Contract) -> pd.Categorical[Any]:
    """Read classes as `as_label` does: a categorical of the contract's labels, in their order."""
    labels = list(contract.labels or ())
    if values.dtype == object:
        values = as_label(values, contract)
    codes, levels = pd.factorize(values)
    found = as_label(pd.Series(levels), contract)
    places = [labels.index(label) if label is not None else -1 for label in found]
    return pd.Categorical.from_codes(
        np.array([*places, -1])[codes], dtype=pd.CategoricalDtype(labels)
    )


def _labels_of(values: pd.Series, contract: Contract) -> pd.Series:
    labels = contract.labels or ()
    keys: pd.Series
    by_key: dict[Any, Any]
    if _label_dtype(contract) is np.bool_:
        keys, by_key = as_boolean(values), {float(label): label for label in labels}
    elif _label_dtype(contract) is np.int64:
        keys, by_key = as_number(values), {float(label): label for label in labels}
    else:
        keys, by_key = as_text(values), {label: label for label in labels}
    return each_level_once(keys, lambda levels: map(by_key.get, levels))


def _label_dtype(contract: Contract) -> Any:
    labels = contract.labels or ()
    if labels and all(isinstance(label, bool) for label in labels):
        return np.bool_
    if labels and all(isinstance(label, int) for label in labels):
        return np.int64
    return object


def _require_columns(frame: pd.DataFrame, names: Iterable[str]) -> None:
    absent = [name for name in names if name not in frame.columns]
    if absent:
        more = f" (and {len(absent) - 1} more)" if len(absent) > 1 else ""
        raise InputError(
            f"The table lacks the column {absent[0]!r}{more} that its contract promises. "
            + suggestion(absent[0], (str(name) for name in frame.columns))
        )
