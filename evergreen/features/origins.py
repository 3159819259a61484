"""Which input columns each feature comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from evergreen.features.columns import DateParts, DeriveColumns


def feature_origins(fitted: Pipeline) -> dict[str, tuple[str, ...]]:
    """Map each feature of a fitted pipeline to its input columns, through derived ones.

    ``fitted`` is what `build_features` made, or a whole model with it as its step ``features``.
    The features are in the order of the estimator's input.
    """
    features = fitted.named_steps.get("features", fitted)
    derive: DeriveColumns = features.named_steps["derive"]
    columns: ColumnTransformer = features.named_steps["columns"]
    inputs = _input_columns(derive)
    origins = [
        inputs[column]
        for _, branch, names in columns.transformers_
        if isinstance(branch, Pipeline)
        for column in _columns_of_features(branch, list(names))
    ]
    names = columns.get_feature_names_out()
    if "select" in features.named_steps:
        kept = features.named_steps["select"].get_support(indices=True)
        names, origins = names[kept], [origins[position] for position in kept]
    return _merged(names, origins)


def _input_columns(derive: DeriveColumns) -> Mapping[str, tuple[str, ...]]:
    """Map each column that leaves the first step to the table's columns."""
    origins: dict[str, tuple[str, ...]] = {
        name: (name,) for name in [*derive.numbers, *derive.categories, *derive.dates]
    }
    for name, expression in derive.expressions().items():
        read = [
            origin for column in expression.columns for origin in origins.get(column, (column,))
        ]
        origins[name] = tuple(dict.fromkeys(read))
    return origins


def _columns_of_features(branch: Pipeline, columns: list[str]) -> list[str]:
    """Return the column behind each feature that a branch gives out."""
    widths = [1] * len(columns)
    encoder = branch.named_steps.get("encode")
    if isinstance(encoder, OneHotEncoder):
        widths = one_hot_widths(encoder)
    if "parts" in branch.named_steps:
        parts: DateParts = branch.named_steps["parts"]
        widths = [len(parts.parts)] * len(columns)
    sources = list(np.repeat(columns, widths))
    indicator = getattr(branch.named_steps["impute"], "indicator_", None)
    if indicator is not None:
        sources += [sources[position] for position in indicator.features_]
    return sources


def one_hot_widths(encoder: OneHotEncoder) -> list[int]:
    """Return how many features each category column became; rare levels share one."""
    widths = []
    for levels, rare in zip(encoder.categories_, encoder.infrequent_categories_, strict=True):
        widths.append(len(levels) if rare is None else len(levels) - len(rare) + 1)
    return widths


def _merged(names: Any, origins: list[tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    merged: dict[str, tuple[str, ...]] = {}
    for name, columns in zip(names, origins, strict=True):
        merged[str(name)] = tuple(dict.fromkeys([*merged.get(str(name), ()), *columns]))
    return merged
