"""A holdout that is scored a row group at a time is judged as one that is scored at once."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.dask import tables
from evergreen.dask.settings import DaskConfig
from evergreen.data import dataset as datasets
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.passes import Passes
from evergreen.errors import RefusedError
from evergreen.paths import Home
from evergreen.training import judged_rows
from evergreen.training.judged_rows import judge_by_groups, rows_to_judge
from tests.support.engines import TARGETS
from tests.support.judged import CONFIG, judged, results

NO_CLUSTER = DaskConfig()


@pytest.fixture(autouse=True)
def several_row_groups(monkeypatch):
    monkeypatch.setattr(datasets, "ROW_GROUP", 700)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("held", [None, 1_234], ids=["all rows", "some rows"])
def test_evaluation_and_explanation_are_those_of_the_same_rows(target, held, tmp_path, monkeypatch):
    contract, holdout, arms = judged(target, tmp_path)
    if held:
        monkeypatch.setattr(judged_rows, "EVALUATION_ROWS", held)
    assert len(holdout.row_groups()) == 5
    expected = rows_to_judge(holdout, contract, arms, CONFIG, NO_CLUSTER, 3)
    found = judge_by_groups(holdout, contract, arms, CONFIG, 3, Passes())
    assert len(found.frame) == (held or holdout.rows)
    assert len(found.explained) == 60
    model = arms["challenger"].model
    assert results(found, contract, target, model) == results(expected, contract, target, model)
    for name, said in found.predictions.items():
        np.testing.assert_array_equal(said.predicted, expected.predictions[name].predicted)
        np.testing.assert_array_equal(said.groups, expected.predictions[name].groups)
    assert not list(Home.locate().scratch.iterdir())


def test_few_rows_are_explained_all(tmp_path):
    contract, holdout, arms = judged("price", tmp_path, rows=2_900)
    config = CONFIG.model_copy(update={"importance_rows": 5_000})
    found = judge_by_groups(holdout, contract, arms, config, 3, Passes())
    pd.testing.assert_frame_equal(found.explained, holdout.read())


def test_a_missing_prediction_in_any_group_is_refused(tmp_path):
    contract, holdout, arms = judged("price", tmp_path)
    arms["baseline"].model[-1].constant_ = np.array([[np.nan]])
    with pytest.raises(RefusedError, match="no usable prediction"):
        judge_by_groups(holdout, contract, arms, CONFIG, 3, Passes())


@pytest.mark.parametrize(
    ("engine", "dask"),
    [("memory", {"scheduler": "tcp://127.0.0.1:1"}), ("dask", {"workers": 2})],
    ids=["another engine", "processes of this machine"],
)
def test_no_cluster_is_needed(engine, dask, tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "connected", None)
    contract, holdout, arms = judged("price", tmp_path)
    here = Dataset.write(holdout.read(), tmp_path / "here.parquet", "rows", Engine(name=engine))
    rows = rows_to_judge(here, contract, arms, CONFIG, DaskConfig(**dask), 3)
    assert len(rows.frame) == holdout.rows
