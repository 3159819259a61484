"""A model fitted on a table that stays on disk is the one fitted on the table in memory."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.config import FeaturesConfig, SplitConfig, TrainingConfig
from evergreen.data import dataset as datasets
from evergreen.data.conform import model_frame
from evergreen.errors import InputError
from evergreen.onnx_export import check_parity, export_onnx
from evergreen.paths import Home
from evergreen.promotion.serialization import load_model, save_model
from evergreen.training import bounds, external, feature_file
from evergreen.training.bounds import search_rows, search_table
from evergreen.training.search import search_candidate, search_candidates
from tests.support.engines import ROWS, TARGETS, chosen, fitted, prepared, sales


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Let the table be several pieces, and its features several of XGBoost's."""
    monkeypatch.setattr(datasets, "piece_rows", lambda columns: 1_700)
    monkeypatch.setattr(feature_file, "FILE_BYTES", 60_000)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return sales()


@pytest.mark.parametrize("target", TARGETS)
def test_both_engines_fit_the_same_model(table, target, tmp_path):
    use_case, contract, frame, sides = prepared(table, target, tmp_path)
    candidate = chosen("xgboost", max_depth=4, learning_rate=0.2)
    memory, disk = fitted(sides, contract, use_case, candidate, balance=target == "kind")
    inputs = model_frame(frame, contract)
    if target == "price":
        scale = frame["price"].std()
        np.testing.assert_allclose(disk.predict(inputs), memory.predict(inputs), atol=0.1 * scale)
        difference = np.abs(disk.predict(inputs) - memory.predict(inputs)).mean()
        assert difference < 0.01 * scale
    else:
        assert disk.classes_.tolist() == memory.classes_.tolist()
        found, expected = (model.predict_proba(inputs) for model in (disk, memory))
        assert np.abs(found - expected).mean() < 0.01
        assert (disk.predict(inputs) == memory.predict(inputs)).mean() > 0.99
    assert disk[-1].get_booster().num_boosted_rounds() == 40

    # It is a model like any other: saved, loaded and written as a graph.
    save_model(disk, tmp_path / "model.skops")
    again = load_model(tmp_path / "model.skops")
    assert (again.predict(inputs) == disk.predict(inputs)).all()
    few = inputs.iloc[:300]
    parity = check_parity(disk, export_onnx(disk, contract), few, contract)
    assert parity.passed, parity.reason


def test_nothing_is_left_on_disk(table, tmp_path):
    use_case, contract, _, sides = prepared(table, "truth", tmp_path)
    fitted(sides[1:], contract, use_case, chosen("xgboost", max_depth=2))
    assert not list(Home.locate().scratch.iterdir())


@pytest.mark.parametrize("target", TARGETS)
def test_both_engines_fit_the_same_baseline(table, target, tmp_path):
    use_case, contract, frame, sides = prepared(table, target, tmp_path)
    memory, disk = fitted(sides, contract, use_case, chosen("baseline"))
    inputs = model_frame(frame.iloc[:50], contract)
    np.testing.assert_array_equal(disk.predict(inputs), memory.predict(inputs))
    if contract.labels is not None:
        np.testing.assert_array_equal(disk.predict_proba(inputs), memory.predict_proba(inputs))
        assert disk.classes_.dtype == memory.classes_.dtype


@pytest.mark.parametrize("target", TARGETS)
def test_preprocessing_in_pieces_is_that_of_the_whole_table(table, target, tmp_path, monkeypatch):
    monkeypatch.setattr(external, "PREPROCESSING_ROWS", 500)
    use_case, contract, frame, sides = prepared(table, target, tmp_path)
    memory, disk = fitted(sides, contract, use_case, chosen("xgboost", max_depth=4))
    inputs = model_frame(frame, contract)
    np.testing.assert_array_equal(disk[0].transform(inputs), memory[0].transform(inputs))


def test_candidates_that_need_the_table_in_memory_are_left_out(table, tmp_path):
    _, contract, _, (_, disk) = prepared(table, "truth", tmp_path)
    search = {"features": FeaturesConfig(), "split": SplitConfig(folds=2)}
    training = TrainingConfig(
        candidates={"xgboost": {"params": {"n_estimators": 5}, "search": {}}, "decision_tree": {}},
        jobs=1,
        search_rows=1_000,
    )
    few = search_table(disk, contract, training, tmp_path / "few.parquet")
    assert few.rows == 1_000
    found = search_candidates(few, contract, training=training, **search)
    by_name = {candidate.name: candidate for candidate in found.candidates}
    assert found.best == "xgboost"
    assert "training.engine is external" in (by_name["decision_tree"].error or "")
    assert by_name["baseline"].score is not None
    alone = search_candidate("decision_tree", few, contract, training=training, **search)
    assert alone == by_name["decision_tree"]
    with pytest.raises(InputError, match="Every candidate failed"):
        search_candidates(
            few, contract, training=TrainingConfig(candidates={"decision_tree": {}}), **search
        )


def test_the_rows_of_a_search(table, tmp_path, monkeypatch):
    _, contract, _, (memory, disk) = prepared(table, "kind", tmp_path)
    monkeypatch.setattr(bounds, "SEARCH_ROWS", 900)
    assert search_rows(ROWS, memory.engine, TrainingConfig()) == ROWS
    assert search_rows(ROWS, disk.engine, TrainingConfig()) == 900
    assert search_table(memory, contract, TrainingConfig(), tmp_path / "a.parquet") is memory
    rows = [
        search_table(side, contract, TrainingConfig(search_rows=900), tmp_path / "b.parquet").read()
        for side in (memory, disk)
    ]
    pd.testing.assert_frame_equal(*rows)
    assert len(rows[0]) == 900


def test_a_rare_class_keeps_rows_to_search_on(table, tmp_path):
    rare = table.copy()
    rare["kind"] = "often"
    rare.loc[rare.index[::200], "kind"] = "rare"
    _, contract, _, (_, disk) = prepared(rare, "kind", tmp_path)
    training = TrainingConfig(search_rows=500)
    found = search_table(disk, contract, training, tmp_path / "few.parquet").read()
    assert (found["kind"] == "rare").sum() == min(bounds.CLASS_ROWS, 40)
