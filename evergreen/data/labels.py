"""The classes of a classification target."""

from __future__ import annotations

from numbers import Number

import pandas as pd

from evergreen.config import ColumnType, Label, UseCase
from evergreen.data.casting import as_number, as_text, is_missing
from evergreen.errors import InputError

MAX_CLASSES = 20  # more are fine where they are few beside the rows
MAX_CLASS_SHARE = 0.1


def class_labels(target: pd.Series) -> tuple[Label, ...]:
    """Return the distinct classes in sorted order, as ``bool``, ``int`` or ``str``.

    Raises
    ------
    InputError
        If the values look like measurements rather than classes.
    """
    rows = len(target) - int(is_missing(target).sum())
    if target.dtype != object:  # which may hold what cannot be compared
        target = pd.Series(target.unique(), name=target.name)
    present = target[~is_missing(target)]
    labels = _labels(present.reset_index(drop=True))
    if len(labels) > max(MAX_CLASSES, MAX_CLASS_SHARE * rows):
        raise InputError(
            f"The target {target.name!r} of a classification has {len(labels)} distinct values "
            f"in {rows} rows. Is this a regression? Then set task: regression; "
            "if not, check data.target."
        )
    return labels


def positive_label(labels: tuple[Label, ...], use_case: UseCase) -> Label | None:
    """Return the class that counts as positive, the last one where the use case names none.

    Raises
    ------
    InputError
        If ``data.positive`` is not among the labels, or there are more than two of them.
    """
    written = use_case.data.positive
    if written is None:
        return labels[1] if len(labels) == 2 else None
    for label in labels:
        if label == written or str(label) == str(written):
            if len(labels) > 2:
                raise InputError(
                    f"data.positive is for two classes, but the target has {len(labels)}: "
                    f"{_listed(labels)}. Remove it."
                )
            return label
    raise InputError(
        f"data.positive is {written!r}, but the target's classes are {_listed(labels)}."
    )


def label_type(labels: tuple[Label, ...]) -> ColumnType:
    """Return the column type of a target with these classes."""
    if all(isinstance(label, bool) for label in labels):
        return "boolean"
    return "integer" if all(isinstance(label, int) for label in labels) else "category"


def _labels(present: pd.Series) -> tuple[Label, ...]:
    distinct = as_text(present).drop_duplicates().index
    values = present.loc[distinct].tolist()
    if all(isinstance(value, bool) for value in values):
        return tuple(sorted(values))
    if not all(isinstance(value, Number) for value in values):
        return tuple(sorted(as_text(present).unique()))
    numbers = as_number(present).unique()
    fractions = [number for number in numbers if not float(number).is_integer()]
    if fractions:
        raise InputError(
            f"The target {present.name!r} of a classification holds numbers that are not whole, "
            f"such as {fractions[0]:g}. Is this a regression? Then set task: regression; "
            f"if not, set contract.{present.name}.type: category."
        )
    return tuple(sorted(int(number) for number in numbers))


def _listed(labels: tuple[Label, ...]) -> str:
    shown = ", ".join(repr(label) for label in labels[:20])
    return shown + (", …" if len(labels) > 20 else "")
