"""What is decided before a cluster learns: which settings hold, who gets what, what rows become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from evergreen.config import TrainingConfig
from evergreen.dask.settings import DaskConfig
from evergreen.data import dataset as datasets
from evergreen.data.conform import model_frame, target_values
from evergreen.data.dataset import Dataset
from evergreen.errors import InputError
from evergreen.features import build_features
from evergreen.provenance import training_key
from evergreen.training.on_dask import Recipe, spread
from tests.support.engines import prepared, sales


def test_settings_name_one_cluster():
    assert not DaskConfig().chosen
    assert DaskConfig(workers=1).title == "1 Dask worker on this machine"
    assert DaskConfig(scheduler="tcp://a:1").title == "the Dask cluster tcp://a:1"
    with pytest.raises(ValidationError, match="keep one"):
        DaskConfig(scheduler="tcp://a:1", workers=2)
    with pytest.raises(ValidationError, match="say how many"):
        DaskConfig(memory="4Gi")
    with pytest.raises(ValidationError, match="amount of memory"):
        DaskConfig(workers=2, memory="much")
    for address in ("scheduler:8786", "http://scheduler:8787", "tcp://scheduler"):
        with pytest.raises(ValidationError):
            DaskConfig(scheduler=address)


def test_only_a_cluster_that_runs_may_have_other_cores():
    assert DaskConfig(scheduler="tcp://a:1").elsewhere
    assert not DaskConfig(workers=4).elsewhere
    assert not DaskConfig().elsewhere


def test_the_engine_needs_a_cluster():
    with pytest.raises(ValidationError, match=r"needs dask\.scheduler or dask\.workers"):
        TrainingConfig(engine="dask")
    assert TrainingConfig.model_validate({"engine": "dask", "dask": {"workers": 2}}).dask.chosen


def test_who_does_the_work_does_not_make_another_training(tmp_path):
    use_case, *_ = prepared(sales(200), "truth", tmp_path)
    there = use_case.training.model_copy(update={"dask": DaskConfig(workers=3)})
    shared = use_case.model_copy(update={"training": there})
    assert training_key("rows", shared) == training_key("rows", use_case)


def test_row_groups_are_shared_by_their_rows():
    assert spread((5, 5, 5, 5), ["a", "b"]) == ["a", "b", "a", "b"]
    assert spread((9, 2, 2, 2, 2), ["a", "b"]) == ["a", "b", "b", "b", "b"]
    assert spread((1,), ["a", "b"]) == ["a"]


@pytest.mark.parametrize("by_columns", [False, True], ids=["by rows", "by columns"])
@pytest.mark.parametrize("target", ["kind", "price"])
def test_parts_are_the_features_of_the_table(target, by_columns, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 300)
    use_case, contract, frame, (table, _) = prepared(sales(800), target, tmp_path)
    transform = build_features(contract, use_case.features, scale=False, seed=0)
    inputs, actual = model_frame(frame, contract), target_values(frame, contract)
    expected = transform.fit(inputs, actual).transform(inputs).astype(np.float32)
    labels = np.unique(actual) if target == "kind" else None
    weights = None if labels is None else np.array([1, 2, 4], dtype=np.float32)
    recipe = Recipe(table, contract, transform, labels, weights, by_columns)
    parts = [recipe.part(number) for number in range(len(table.row_groups()))]
    assert [len(part["label"]) for part in parts] == [300, 300, 200]
    data = np.asarray(parts[0]["data"])
    assert data.flags["F_CONTIGUOUS" if by_columns else "C_CONTIGUOUS"]
    assert isinstance(parts[0]["data"], pd.DataFrame) is by_columns
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    np.testing.assert_array_equal(whole["data"], expected)
    if labels is None:
        np.testing.assert_array_equal(whole["label"], actual.astype(np.float32))
        assert "weight" not in whole
    else:
        np.testing.assert_array_equal(labels[whole["label"].astype(int)], actual)
        assert pd.Series(whole["weight"]).groupby(actual).first().to_dict() == {
            "high": 1.0,
            "low": 2.0,
            "mid": 4.0,
        }


def test_another_table_in_the_same_place_is_refused(tmp_path):
    use_case, contract, frame, (table, _) = prepared(sales(200), "price", tmp_path)
    transform = build_features(contract, use_case.features, scale=False, seed=0)
    transform.fit(model_frame(frame, contract), target_values(frame, contract))
    recipe = Recipe(table, contract, transform)
    assert recipe.part(0)["data"].shape[0] == 200
    Dataset.write(frame.iloc[::-1].reset_index(drop=True), table.path, "rows")
    with pytest.raises(InputError, match="another table here"):
        recipe.part(0)
    again = replace(recipe, table=Dataset.open(table.path))
    assert again.part(0)["data"].shape[0] == 200
