"""The first half of a model, from a table's columns to the matrix that its estimator takes.

It is read off the fitted transformers: expressions and date parts from the same objects that they
evaluate, categories by asking the fitted encoder about every level.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from evergreen.data.contract import Contract
from evergreen.features.calendar import MICROSECONDS_PER_DAY, date_parts, part_key
from evergreen.features.columns import LARGEST, DateParts, DeriveColumns
from evergreen.features.origins import one_hot_widths
from evergreen.onnx_export.errors import NotExportable
from evergreen.onnx_export.expressions import Columns, Derivation
from evergreen.onnx_export.graph import DOUBLE, INT64, STRING, Graph
from evergreen.onnx_export.operations import finite

FEATURES = "features"  # the tensor that the estimator takes
UNKNOWN = "\0unknown"
NOT_A_TIME = np.iinfo(np.int64).min


@dataclass(frozen=True)
class Inputs:
    """The columns that a graph takes, by the input that holds them."""

    numbers: tuple[str, ...]  # float64, missing NaN
    categories: tuple[str, ...]  # text, missing empty
    timestamps: tuple[str, ...]  # microseconds since 1970 in UTC, missing the least integer

    def metadata(self) -> dict[str, str]:
        """Return what a graph says of its inputs."""
        return {name: json.dumps(columns) for name, columns in vars(self).items()}


def add_features(graph: Graph, features: Pipeline, contract: Contract) -> Inputs:
    """Add the graph of a fitted `build_features` pipeline; its result is the tensor ``FEATURES``.

    Raises
    ------
    NotExportable
        If the pipeline holds a step that is not known here.
    """
    known = {"derive", "columns", "select"}
    if not known.issuperset(features.named_steps):
        raise NotExportable(f"the preprocessing has other steps than {', '.join(sorted(known))}")
    derive: DeriveColumns = features.named_steps["derive"]
    branches = {
        name: (branch, tuple(columns))
        for name, branch, columns in features.named_steps["columns"].transformers_
        if isinstance(branch, Pipeline)
    }
    inputs = _inputs(derive, contract)
    columns = _number_columns(graph, derive, branches, inputs)
    parts = []
    if "numbers" in branches:
        parts.append(_numeric(graph, columns, *branches["numbers"]))
    if "categories" in branches:
        parts += _categories(graph, *branches["categories"])
    if "dates" in branches:
        branch, dates = branches["dates"]
        taken = branch.named_steps["parts"].parts
        names = [_part_name(date, part) for date in dates for part in taken]
        parts.append(_numeric(graph, columns, branch, names))
    everything = graph.side_by_side(parts)
    if "select" in features.named_steps:
        chosen = features.named_steps["select"].get_support(indices=True)
        everything = graph.add("Gather", everything, graph.constant(chosen, np.int64), axis=1)
    graph.add("Identity", everything, name=FEATURES)
    return inputs


def _inputs(derive: DeriveColumns, contract: Contract) -> Inputs:
    """Return the columns that are used, in the contract's order."""
    expressions = derive.expressions()
    used = {*derive.numbers, *derive.categories, *derive.dates}
    used.update(name for expression in expressions.values() for name in expression.columns)
    by_kind: dict[str, list[str]] = {"numbers": [], "categories": [], "timestamps": []}
    kinds = {"timestamp": "timestamps", "category": "categories", "identifier": "categories"}
    for column in contract.features:
        if column.name in used:
            by_kind[kinds.get(column.type, "numbers")].append(column.name)
    return Inputs(**{kind: tuple(names) for kind, names in by_kind.items()})


def _number_columns(
    graph: Graph,
    derive: DeriveColumns,
    branches: dict[str, tuple[Pipeline, tuple[str, ...]]],
    inputs: Inputs,
) -> Columns:
    """Declare the inputs of numbers and moments, and compute what is derived of them."""
    columns = Columns(graph)
    derivations = []
    if inputs.numbers:
        given = graph.input("numbers", DOUBLE, len(inputs.numbers))
        columns.define(inputs.numbers, finite(graph, given))
        derivations.append(Derivation(derive.expressions()))
    if inputs.timestamps:
        given = graph.input("timestamps", INT64, len(inputs.timestamps))
        day, time = _split_moments(graph, given)
        columns.define([f"{name}\0day" for name in inputs.timestamps], day)
        columns.define([f"{name}\0time" for name in inputs.timestamps], time)
        step: DateParts = branches["dates"][0].named_steps["parts"]
        parts = date_parts(step.parts)
        derivations += [Derivation(parts, f"{name}\0", bounded=True) for name in inputs.timestamps]
    columns.derive(*derivations)
    return columns


def _part_name(date: str, part: str) -> str:
    return f"{date}\0{part_key(part)}"


def _split_moments(graph: Graph, moments: str) -> tuple[str, str]:
    """Split microseconds into whole days and the rest, as `split_moments` does."""
    length = graph.constant(MICROSECONDS_PER_DAY, np.int64)
    missing = graph.add("Equal", moments, graph.constant(NOT_A_TIME, np.int64))
    present = graph.add("Where", missing, graph.constant(0, np.int64), moments)
    time = graph.add("Mod", present, length)  # of integers: never negative
    day = graph.add("Div", graph.add("Sub", present, time), length)
    split = [
        graph.add("Where", missing, graph.constant(np.nan), graph.cast(part, DOUBLE))
        for part in (day, time)
    ]
    return split[0], split[1]


def _numeric(graph: Graph, columns: Columns, branch: Pipeline, names: Sequence[str]) -> str:
    """Fill, mark and scale numbers."""
    imputer = branch.named_steps["impute"]
    values = columns.pick(names)
    missing = graph.add("IsNaN", values)
    fill = graph.constant(np.asarray(imputer.statistics_, dtype=np.float64)[None, :])
    filled = graph.add("Where", missing, fill, values)
    # After filling: whether NaN passes through Clip is not laid down.
    result = graph.add("Clip", filled, graph.constant(-LARGEST), graph.constant(LARGEST))
    if imputer.indicator_ is not None:
        marked = list(imputer.indicator_.features_)
        if marked:
            indicators = graph.cast(graph.columns(missing, marked, len(names)), DOUBLE)
            result = graph.side_by_side([result, indicators])
    if "scale" in branch.named_steps:
        scaler = branch.named_steps["scale"]
        centred = graph.add("Sub", result, graph.constant(scaler.mean_[None, :]))
        result = graph.add("Div", centred, graph.constant(scaler.scale_[None, :]))
    return result


def _categories(graph: Graph, branch: Pipeline, names: Sequence[str]) -> list[str]:
    """Look up each level's row in a table that the fitted encoder filled."""
    given = graph.input("categories", STRING, len(names))
    levels = _known_levels(branch)
    tables = _encode_levels(branch, names, levels)
    parts = []
    for position, (known, table) in enumerate(zip(levels, tables, strict=True)):
        column = graph.add("Gather", given, graph.constant(position, np.int64), axis=1)
        row = graph.add(
            "LabelEncoder",
            column,
            domain="ai.onnx.ml",
            keys_strings=["", *known],
            values_int64s=list(range(len(known) + 1)),
            default_int64=len(known) + 1,
        )
        parts.append(graph.add("Gather", graph.constant(table), row, axis=0))
    return parts


def _known_levels(branch: Pipeline) -> list[list[str]]:
    encoder = branch.named_steps["encode"]
    return [[str(level) for level in levels if level != ""] for levels in encoder.categories_]


def _encode_levels(
    branch: Pipeline, names: Sequence[str], levels: list[list[str]]
) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """Return per column what a missing value, each known level and an unknown one become."""
    asked = [[None, *known, UNKNOWN] for known in levels]
    longest = max(len(column) for column in asked)
    frame = pd.DataFrame(
        {
            name: pd.Series([*column, *[None] * (longest - len(column))], dtype=object)
            for name, column in zip(names, asked, strict=True)
        }
    )
    encoded = np.asarray(branch.transform(frame), dtype=np.float64)
    encoder = branch.named_steps["encode"]
    widths = [1] * len(names)
    if isinstance(encoder, OneHotEncoder):
        widths = one_hot_widths(encoder)
    starts = np.cumsum([0, *widths])
    return [
        encoded[: len(column), starts[position] : starts[position + 1]]
        for position, column in enumerate(asked)
    ]
