"""A contract, made from a table and from what the use case says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
import pandas as pd

from evergreen.config import ColumnRule, ColumnType, Label, UseCase
from evergreen.data.casting import as_number, as_text, cast, is_missing
from evergreen.data.column_types import InferredType, evenly, infer_moment_format, infer_type
from evergreen.data.conform import require_unique_names, suggestion
from evergreen.data.contract import Column, Contract, Role
from evergreen.data.dataset import Dataset
from evergreen.data.labels import class_labels, label_type, positive_label
from evergreen.data.threads import in_threads
from evergreen.errors import InputError

MAX_CATEGORIES = 1000  # a column with more levels is recorded without them
_NUMERIC_SHARE = 0.95
_EXAMPLE_ROWS = 20_000

_Labels: TypeAlias = tuple[Label, ...] | None
_Inferred: TypeAlias = tuple[_Labels, Column]


def infer_contract(frame: pd.DataFrame, use_case: UseCase) -> Contract:
    """Return what the table promises; what the use case's ``contract`` says goes first.

    Columns without any value and identifiers (nearly unique text) get the role "ignored", unless
    the use case gives their type.

    Parameters
    ----------
    frame
        The table as read, before any cast.
    use_case
        Names the target and the other columns with a role.

    Raises
    ------
    InputError
        If the table is empty, misses a named column, has repeated column names, has no feature
        left, or if its target does not suit the task.
    """
    require_unique_names(frame)
    frame = frame.reset_index(drop=True)
    return _inferred(list(frame.columns), len(frame), frame.__getitem__, use_case)


def infer_contract_by_columns(table: Dataset, use_case: UseCase) -> Contract:
    """Return what `infer_contract` returns, with a column for each core in memory at a time.

    With the engine `external` it is one column.
    """

    def column(name: str) -> pd.Series:
        return table.read([name])[name]

    each = map if table.engine.exceeds_memory else in_threads
    return _inferred(list(table.columns), table.rows, column, use_case, each)


def _inferred(
    names: list[str],
    rows: int,
    column: Callable[[str], pd.Series],
    use_case: UseCase,
    each: Callable[[Callable[[str], _Inferred], list[str]], Iterable[_Inferred]] = map,
) -> Contract:
    _require_named_columns(names, use_case)
    if not rows or not names:
        raise InputError(
            f"The table has no rows, only {len(names)} column name(s); check data.source."
        )
    target = use_case.data.target

    def infer(name: str) -> _Inferred:
        values = column(name)
        if name != target:
            return None, _infer_column(values, use_case)
        labels, kind = _target(values, use_case)
        return labels, _infer_column(values, use_case, kind)

    # The target first: what is the matter with it is said before all else.
    ordered = sorted(names, key=lambda name: name != target)
    found = dict(zip(ordered, each(infer, ordered), strict=True))
    labels = found[target][0]
    contract = Contract(
        use_case=use_case.name,
        task=use_case.task,
        target=target,
        labels=labels,
        positive=positive_label(labels, use_case) if labels is not None else None,
        columns=tuple(found[name][1] for name in names),
    )
    _require_features(contract, use_case)
    return contract


def _target(values: pd.Series, use_case: UseCase) -> tuple[_Labels, ColumnType]:
    """Return the classes (None for a regression) and the target's type.

    The use case may turn numbers into classes by stating the type category.
    """
    name = use_case.data.target
    if is_missing(values).all():
        raise InputError(
            f"The target {name!r} has no value in any of {len(values)} rows; "
            "check data.target and the source."
        )
    stated = use_case.contract.get(name, ColumnRule()).type
    labels: _Labels = None
    if use_case.task == "classification":
        labels = class_labels(as_text(values) if stated == "category" else values)
        found = label_type(labels)
    else:
        _require_numbers(values)
        found = "integer" if infer_type(values).type == "integer" else "number"
    if stated not in {None, found, "number" if found == "integer" else found}:
        raise InputError(
            f"contract.{name}.type is {stated}, but the target of this {use_case.task} holds "
            f"values of type {found}. Leave the type out, or check data.target and task."
        )
    return labels, stated or found


def _infer_column(
    values: pd.Series, use_case: UseCase, target_type: ColumnType | None = None
) -> Column:
    name = str(values.name)
    rule = use_case.contract.get(name, ColumnRule())
    inferred = _typed(values, rule, use_case, target_type)
    missing = is_missing(values)
    written = {key for key in rule.model_fields_set if getattr(rule, key) is not None}
    facts = _facts(values, inferred, missing) | {key: getattr(rule, key) for key in written}
    facts["type"] = inferred.type
    if rule.categories is not None and name != use_case.data.target:
        facts["categories"] = tuple(as_text(pd.Series(rule.categories, dtype=object)))
    return Column(
        name=name,
        role=_role(name, inferred.type, bool(missing.all()), use_case),
        format=inferred.format,
        declared=tuple(sorted(written)),
        **facts,
    )


def _typed(
    values: pd.Series, rule: ColumnRule, use_case: UseCase, target_type: ColumnType | None
) -> InferredType:
    """Return the type that the use case states, else the one that the values show.

    ``target_type`` is that of the target, if it is the column.
    """
    name = values.name
    stated: ColumnType | None = rule.type
    if stated is None and name == use_case.data.timestamp:
        stated = "timestamp"
    if stated is None and name == use_case.data.group:
        stated = "category"
    if stated == "timestamp":
        return InferredType("timestamp", infer_moment_format(values))
    if stated is not None:
        return InferredType(stated)
    if target_type is not None:
        return InferredType(target_type)
    inferred = infer_type(values)
    if rule.categories is not None:
        return InferredType("category")
    ranged = rule.minimum is not None or rule.maximum is not None
    if ranged and inferred.type not in {"number", "integer"}:
        return InferredType("number")
    return inferred


def _role(name: str, column_type: ColumnType, empty: bool, use_case: UseCase) -> Role:
    data = use_case.data
    if name == data.target:
        return "target"
    if name == data.timestamp:
        return "timestamp"
    if name == data.group:
        return "group"
    stated = name in use_case.contract and use_case.contract[name].type is not None
    if name in data.ignore or column_type == "identifier" or (empty and not stated):
        return "ignored"
    return "feature"


def _facts(values: pd.Series, inferred: InferredType, missing: pd.Series) -> dict[str, object]:
    """Return what the table shows of a column: range, categories, nullability, an example."""
    facts: dict[str, object] = {"nullable": bool(missing.any())}
    ordered = inferred.type in {"number", "integer", "timestamp"}
    if not ordered and isinstance(values.dtype, pd.StringDtype):  # each text once
        counts = values.value_counts(sort=False)
        known = cast(pd.Series(counts.index), inferred.type, inferred.format)
        return facts | _of_levels(counts.groupby(known.to_numpy()).sum(), inferred.type)
    known = cast(values, inferred.type, inferred.format)
    usable = np.isfinite(known) if known.dtype.kind == "f" else known.notna()
    if facts["nullable"]:
        usable &= ~missing
    if not usable.all():
        known = known[usable]
    if ordered:
        return facts | _of_ordered(known, inferred.type)
    return facts | _of_levels(known.value_counts(sort=False), inferred.type)


def _of_ordered(known: pd.Series, column_type: ColumnType) -> dict[str, object]:
    """Return the range of numbers, and as an example their median: of many values, of some."""
    if known.empty:
        return {}
    some = evenly(known, _EXAMPLE_ROWS)
    median = some.sort_values().iloc[(len(some) - 1) // 2]
    if column_type == "timestamp":
        return {"example": str(median.isoformat())}
    return {
        "minimum": float(known.min()),
        "maximum": float(known.max()),
        "example": int(median) if column_type == "integer" else float(median),
    }


def _of_levels(counts: pd.Series, column_type: ColumnType) -> dict[str, object]:
    """Return the levels of a category by their rows, and as an example the most frequent one."""
    facts: dict[str, object] = {}
    if column_type == "category":
        few = 0 < len(counts) <= MAX_CATEGORIES
        facts["categories"] = tuple(sorted(counts.index)) if few else None
    if len(counts):
        frequent = counts.index[counts == counts.max()].min()
        facts["example"] = bool(frequent) if column_type == "boolean" else str(frequent)
    return facts


def _require_numbers(target: pd.Series) -> None:
    present = target[~is_missing(target)]
    kind = infer_type(target).type
    if as_number(present).notna().mean() < _NUMERIC_SHARE or kind in {"boolean", "timestamp"}:
        shown = ", ".join(repr(value) for value in present.drop_duplicates().iloc[:3].tolist())
        raise InputError(
            f"The target {target.name!r} of a regression must be numbers, but holds {shown}. "
            "Is this a classification? Then set task: classification."
        )


def _require_named_columns(columns: Sequence[str], use_case: UseCase) -> None:
    data = use_case.data
    named: list[tuple[str, Iterable[str | None]]] = [
        ("data.target", (data.target,)),
        ("data.timestamp", (data.timestamp,)),
        ("data.group", (data.group,)),
        ("data.ignore", data.ignore),
        ("contract", use_case.contract),
        ("features.drop", use_case.features.drop),
        ("evaluation.slices", use_case.evaluation.slices),
    ]
    derived = use_case.features.derive
    for place, names in named:
        for name in names:
            known_later = place == "features.drop" and name in derived
            if name is not None and name not in columns and not known_later:
                raise InputError(
                    f"{place} names the column {name!r}, which the table does not have. "
                    + suggestion(name, columns)
                )


def _require_features(contract: Contract, use_case: UseCase) -> None:
    features = {column.name for column in contract.features}
    if not features:
        raise InputError(
            "No feature column is left: every column is the target, the timestamp, the group, "
            "ignored, an identifier or empty. Take some out of data.ignore, or give a column's "
            "type under contract."
        )
    if not use_case.features.derive and features <= set(use_case.features.drop):
        raise InputError(
            "No feature column is left: features.drop names all of them. Take some out of it."
        )
