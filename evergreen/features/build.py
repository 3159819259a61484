"""The first half of every model: derive columns, fill, encode and scale them, choose features."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from evergreen.config import EncodeConfig, FeaturesConfig, ImputeConfig
from evergreen.data.contract import Column, Contract
from evergreen.errors import InputError
from evergreen.expressions import parse_derived
from evergreen.features.columns import DateParts, DeriveColumns
from evergreen.features.imputing import NumberImputer
from evergreen.features.selection import SelectFeatures

MISSING_LEVEL = "(missing)"
_NUMERIC = ("number", "integer", "boolean")


@dataclass(frozen=True)
class ColumnKinds:
    """The columns that become features, by what is done with them."""

    numbers: tuple[str, ...]
    categories: tuple[str, ...]
    dates: tuple[str, ...]


def build_features(
    contract: Contract, features: FeaturesConfig, *, scale: bool, seed: int
) -> Pipeline:
    """Return the unfitted transformation of a `model_frame` into an n × features float64 array.

    ``scale`` brings numbers to zero mean and unit variance, which linear models want. Trees do
    not: there every number reaches the estimator exactly as it is.

    Raises
    ------
    InputError
        If a derived column or a dropped one does not fit the contract; see `check_features`.
    """
    kinds = check_features(contract, features)
    steps: list[tuple[str, Any]] = [
        (
            "derive",
            DeriveColumns(dict(features.derive), kinds.numbers, kinds.categories, kinds.dates),
        ),
        ("columns", _column_transformer(kinds, features, scale)),
    ]
    if features.selection is not None:
        chosen = features.selection
        selector = SelectFeatures(chosen.method, chosen.max_features, contract.task, seed)
        steps.append(("select", selector))
    return Pipeline(steps)


def is_fitted(features: Pipeline) -> bool:
    """Tell whether what `build_features` made is fitted."""
    return hasattr(features.named_steps["columns"], "transformers_")


def check_features(contract: Contract, features: FeaturesConfig) -> ColumnKinds:
    """Return which columns become features of which kind.

    Raises
    ------
    InputError
        If a derived column has the name of another column, its expression cannot be read or uses
        a column that is no number or no feature, a dropped column does not exist, or nothing is
        left to learn from.
    """
    every = [column.name for column in contract.columns]
    for name in features.derive:
        if name in every:
            raise InputError(
                f"features.derive.{name}: the table has a column {name!r} already; "
                "choose another name."
            )
    numeric = [column.name for column in contract.features if column.type in _NUMERIC]
    refused = {
        column.name: _why_not(column) for column in contract.columns if column.name not in numeric
    }
    parse_derived(features.derive, numeric, refused)
    _require_known(features.drop, [*every, *features.derive])

    left = [column for column in contract.features if column.name not in features.drop]
    kinds = ColumnKinds(
        numbers=tuple(name for name in [*numeric, *features.derive] if name not in features.drop),
        categories=tuple(
            column.name for column in left if column.type in ("category", "identifier")
        ),
        dates=tuple(
            column.name for column in left if column.type == "timestamp" and features.date_parts
        ),
    )
    if not (kinds.numbers or kinds.categories or kinds.dates):
        raise InputError(
            "No feature is left to learn from: every column is the target, ignored, an identifier, "
            "or named in features.drop."
        )
    return kinds


def _why_not(column: Column) -> str:
    if column.role == "target":
        return "it is the target, which a model must not see"
    if column.role != "feature":
        return f"it is no feature (its role is {column.role})"
    return f"it is a {column.type}, and expressions take numbers"


def _require_known(dropped: Collection[str], known: Collection[str]) -> None:
    for name in dropped:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}."
            raise InputError(f"features.drop: there is no column {name!r}; {hint}")


def _column_transformer(
    kinds: ColumnKinds, features: FeaturesConfig, scale: bool
) -> ColumnTransformer:
    branches = [
        ("numbers", _number_branch(features.impute, scale), list(kinds.numbers)),
        ("categories", _category_branch(features, scale), list(kinds.categories)),
        ("dates", _date_branch(features, scale), list(kinds.dates)),
    ]
    return ColumnTransformer(
        [branch for branch in branches if branch[2]],
        sparse_threshold=0.0,
        # Names as they are, and no complaint where two columns' names happen to meet.
        verbose_feature_names_out="{feature_name}",
    )


def _number_branch(impute: ImputeConfig, scale: bool) -> Pipeline:
    strategy = "constant" if impute.numbers == "zero" else impute.numbers
    imputer = NumberImputer(
        strategy=strategy,
        fill_value=0.0 if strategy == "constant" else None,
        add_indicator=impute.indicator,
        keep_empty_features=True,  # a column may be missing throughout in one fold
    )
    return _scaled([("impute", imputer)], scale)


def _date_branch(features: FeaturesConfig, scale: bool) -> Pipeline:
    steps = [("parts", DateParts(features.date_parts))]
    return _scaled([*steps, *_number_branch(features.impute, scale=False).steps], scale)


def _category_branch(features: FeaturesConfig, scale: bool) -> Pipeline:
    own_level = features.impute.categories == "own_level"
    imputer = SimpleImputer(
        missing_values=None,
        strategy="constant" if own_level else "most_frequent",
        fill_value=MISSING_LEVEL if own_level else None,
        keep_empty_features=True,
    )
    encode = features.encode
    if encode.method == "one_hot":
        return Pipeline([("impute", imputer), ("encode", _one_hot(encode))])
    return _scaled([("impute", imputer), ("encode", _ordinal(encode))], scale)


def _one_hot(encode: EncodeConfig) -> OneHotEncoder:
    return OneHotEncoder(
        handle_unknown="infrequent_if_exist",
        sparse_output=False,
        feature_name_combiner=level_name,
        **_rare_levels(encode),
    )


def _ordinal(encode: EncodeConfig) -> OrdinalEncoder:
    return OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, **_rare_levels(encode)
    )


def _rare_levels(encode: EncodeConfig) -> dict[str, Any]:
    rare = encode.min_frequency
    return {
        # Zero means no limit; the encoders take shares strictly between zero and one.
        "min_frequency": min(rare, 1 - 1e-9) if rare > 0 else None,
        "max_categories": encode.max_levels,
    }


def _scaled(steps: list[tuple[str, Any]], scale: bool) -> Pipeline:
    return Pipeline([*steps, ("scale", StandardScaler())] if scale else steps)


def level_name(column: str, level: Any) -> str:
    """Name the feature of one level of a category: ``colour=red``, or ``colour=(rare)``."""
    return f"{column}={'(rare)' if level == 'infrequent_sklearn' else level}"
