"""Conforming: canonical dtypes, again and again the same, through Parquet too."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.data.conform import as_classes, as_label, conform, model_frame, target_values
from evergreen.data.dataset import Dataset
from evergreen.data.infer import infer_contract
from evergreen.errors import InputError
from tests.support.use_cases import use_case

N = 200
RAW = pd.DataFrame(
    {
        "size / cm": [str(i / 2) for i in range(N - 1)] + ["big"],
        "count": [np.nan, *range(N - 1)],
        "old": ["yes", "no"] * 100,
        "level": pd.Series([3.0, np.nan] * 100),
        "kind": ["a", None, "b", " "] * 50,
        "when": pd.date_range("2024-01-01", periods=N).strftime("%d/%m/%Y"),
        "id": [f"u{i}" for i in range(N)],
        "ratio": [np.inf, *([0.5] * (N - 1))],
        "y": [1, 0] * 100,
    }
)
CASE = use_case(contract={"level": {"type": "category"}})
CONTRACT = infer_contract(RAW, CASE)


def test_columns_get_their_canonical_dtypes():
    frame = conform(RAW, CONTRACT)
    assert list(frame.columns) == list(RAW.columns)
    dtypes = frame.dtypes.astype(str).to_dict()
    assert dtypes == {
        "size / cm": "float64",
        "count": "float64",
        "old": "float64",
        "level": "object",
        "kind": "object",
        "when": "datetime64[us]",
        "id": "object",
        "ratio": "float64",
        "y": "object",
    }
    assert np.isnan(frame["size / cm"].iloc[-1])
    assert np.isnan(frame["ratio"].iloc[0])
    assert frame["level"].iloc[:2].tolist() == ["3", None]
    assert frame["kind"].iloc[:4].tolist() == ["a", None, "b", None]
    assert [type(value) for value in frame["y"].iloc[:2]] == [int, int]


def test_conforming_again_changes_nothing():
    frame = conform(RAW, CONTRACT)
    pd.testing.assert_frame_equal(conform(frame, CONTRACT), frame)


def test_a_conformed_table_survives_parquet(tmp_path):
    frame = conform(RAW, CONTRACT)
    stored = Dataset.write(frame, tmp_path / "t.parquet").read()
    pd.testing.assert_frame_equal(model_frame(stored, CONTRACT), model_frame(RAW, CONTRACT))
    np.testing.assert_array_equal(
        target_values(stored, CONTRACT), target_values(frame, CONTRACT), strict=True
    )


def test_the_model_sees_features_only_in_contract_order():
    shuffled = RAW[RAW.columns[::-1]].assign(extra=1)
    features = model_frame(shuffled, CONTRACT)
    assert list(features.columns) == [
        "size / cm",
        "count",
        "old",
        "level",
        "kind",
        "when",
        "ratio",
    ]


@pytest.mark.parametrize(
    ("target", "dtype", "task"),
    [
        ([1, 0, 1], "int64", "classification"),
        ([1.0, 0.0, 1.0], "int64", "classification"),
        (["b", "a", "b"], "object", "classification"),
        ([True, False, True], "bool", "classification"),
        ([1, 2, 3], "float64", "regression"),
        (["1.5", "2", "3"], "float64", "regression"),
    ],
)
def test_targets_have_their_original_type(target, dtype, task, tmp_path):
    raw = pd.DataFrame({"x": [1, 2, 3], "y": target})
    contract = infer_contract(raw, use_case(task))
    stored = Dataset.write(conform(raw, contract), tmp_path / "t.parquet").read()
    found = target_values(stored, contract)
    assert found.dtype == dtype
    expected = [float(value) for value in target] if task == "regression" else target
    assert found.tolist() == expected


@pytest.mark.parametrize(
    "target",
    [
        pd.Series(["b", None, " ", "a", "c", "new"]),
        pd.Series(["b", None, "a", "c", 7, True], dtype=object),
        pd.Series(["b", None, "a", "c"], dtype="category"),
        pd.Series([2.0, np.nan, 1.0, 7.0]),
        pd.Series([True, False, True]),
        pd.Series([True, None, False], dtype=object),
        pd.Series([None, None], dtype=object),
    ],
    ids=["text", "objects", "category", "numbers", "bool", "bool with gaps", "nothing"],
)
@pytest.mark.parametrize("labels", [("a", "b", "c"), (1, 2), (False, True)], ids=str)
def test_classes_are_the_labels_of_the_same_values(target, labels):
    contract = CONTRACT.model_copy(update={"labels": labels})
    plain = as_label(target, contract)
    found = as_classes(target, contract)
    assert found.categories.tolist() == list(labels)
    assert [None if pd.isna(each) else each for each in found] == plain.tolist()


def test_a_class_that_the_contract_does_not_know_is_missing():
    later = RAW.assign(y=[2, *RAW["y"].iloc[1:]])
    assert conform(later, CONTRACT)["y"].isna().tolist() == [True] + [False] * (N - 1)


def test_rows_without_target_must_be_dropped_first():
    with pytest.raises(InputError, match="1 of 200 rows have no usable target 'y'"):
        target_values(RAW.assign(y=[None, *RAW["y"].iloc[1:]]), CONTRACT)


def test_an_absent_feature_is_refused_with_a_suggestion():
    with pytest.raises(InputError, match=r"'kind'.*Did you mean 'kinds'"):
        conform(RAW.rename(columns={"kind": "kinds"}), CONTRACT)


def test_what_no_model_needs_may_be_absent():
    frame = conform(RAW.drop(columns=["y", "id"]), CONTRACT)
    assert frame["y"].isna().all()
    assert frame["id"].isna().all()
    with pytest.raises(InputError, match="lacks the column 'y'"):
        target_values(RAW.drop(columns="y"), CONTRACT)


def test_the_index_stays():
    later = RAW.iloc[50:60]
    assert conform(later, CONTRACT).index.equals(later.index)
