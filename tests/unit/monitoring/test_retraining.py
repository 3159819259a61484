"""The table of a retraining: which rows it takes, which it holds out, and when it refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from evergreen.data.conform import target_values
from evergreen.data.infer import infer_contract
from evergreen.errors import InputError, RefusedError
from evergreen.monitoring.retraining import (
    logged_table,
    require_same_question,
    select_rows,
    widened,
)
from evergreen.serving.prediction_history import PredictionHistory
from evergreen.serving.prediction_log import PredictionLog
from evergreen.serving.records import PredictionRecord
from tests.support.use_cases import use_case

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def table(rows: int, seed: int, shift: float = 0.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    size = rng.normal(shift, 1, rows)
    return pd.DataFrame(
        {
            "size": size,
            "kind": rng.choice(["a", "b"], rows),
            "y": np.where(size > 0, "yes", "no"),
        }
    )


def case(**retrain):
    return use_case(split={"holdout": 0.2}, monitoring={"retrain": retrain})


def logged(rows: int, seed: int = 9, shift: float = 0.0) -> pd.DataFrame:
    """A conformed table whose index is each row's moment."""
    return table(rows, seed, shift).set_axis(pd.date_range("2026-03-01", periods=rows, freq="min"))


HISTORY = table(500, 1)
CONTRACT = infer_contract(HISTORY, case())


def select(logged_rows, history=HISTORY, changed=False, **retrain):
    return select_rows(logged_rows, history, CONTRACT, case(**retrain), changed=changed)


def test_the_newest_rows_are_held_out():
    rows = logged(400)
    found, selection = select(rows, changed=True)
    assert selection.which == "recent"
    assert (selection.recent_rows, selection.history_rows, selection.holdout_rows) == (300, 0, 100)
    split = selection.split(len(found), CONTRACT)
    pd.testing.assert_frame_equal(
        found.iloc[split.holdout].reset_index(drop=True), rows.iloc[-100:].reset_index(drop=True)
    )
    assert split.method == "random"  # as far as checks of a timestamp go
    assert selection.boundary == rows.index[-100].isoformat()
    assert not set(split.train) & set(split.holdout)


def test_no_more_are_held_out_than_the_gate_looks_at():
    _, selection = select(logged(1000), changed=True, recheck_rows=60)
    assert selection.holdout_rows == 60


def test_rows_of_one_moment_stay_together():
    rows = logged(400)
    index = rows.index.to_series()
    index.iloc[280:320] = index.iloc[280]
    _, selection = select(rows.set_axis(pd.DatetimeIndex(index)), changed=True)
    assert selection.holdout_rows == 120


def test_without_a_change_the_original_table_comes_beside():
    found, selection = select(logged(400))
    assert selection.which == "recent_and_history"
    assert selection.history_rows == 400  # its holdout of a fifth stays out
    assert len(found) == 800
    assert "300 labelled rows of the log and 400 of the original table" in selection.reason


def test_a_weighted_draw_keeps_about_the_weight_and_is_the_same_again():
    first, selection = select(logged(400), rows="weighted", history_weight=0.25)
    assert 70 < selection.history_rows < 130
    again, _ = select(
        logged(400),
        HISTORY.sample(frac=1, random_state=3),
        rows="weighted",
        history_weight=0.25,
    )
    assert sorted(first["size"]) == sorted(again["size"])
    whole, _ = select(logged(400), rows="weighted", history_weight=1.0)
    assert len(whole) == 800


def test_repeated_rows_are_drawn_one_by_one():
    same = pd.concat([HISTORY.iloc[:5]] * 100, ignore_index=True)
    _, selection = select(logged(400), same, rows="weighted", history_weight=0.5)
    assert 120 < selection.history_rows < 280  # of 400: all five or none would be 0 or 400


def test_what_is_held_out_is_not_trained_on():
    rows = logged(400)
    rows.iloc[:10] = rows.iloc[-10:].to_numpy()
    found, selection = select(rows, changed=True)
    assert selection.removed == 10
    assert selection.split(len(found), CONTRACT).train.tolist() == list(range(290))
    assert "10 with the features of a held-out row were left out" in selection.reason


def test_too_few_rows_are_refused():
    with pytest.raises(RefusedError, match="180 labelled rows in the prediction log, too few"):
        select(logged(180))
    select(logged(200))


def test_one_moment_alone_is_refused():
    rows = logged(400)
    with pytest.raises(RefusedError, match="one moment"):
        select(rows.set_axis(pd.DatetimeIndex([rows.index[0]] * 400)))


def test_the_contract_grows_and_never_shrinks():
    rows = logged(10)
    rows.loc[rows.index[0], "kind"] = "c"
    rows.loc[rows.index[1], "size"] = 99.0
    rows.loc[rows.index[2], "size"] = np.nan
    found = widened(CONTRACT, rows)
    assert found.column("kind").categories == ("a", "b", "c")
    assert found.column("size").maximum == 99.0
    assert found.column("size").minimum == CONTRACT.column("size").minimum
    assert found.column("size").nullable
    assert found.labels == CONTRACT.labels
    assert [column.type for column in found.columns] == [c.type for c in CONTRACT.columns]


def test_what_is_declared_binds():
    declared = use_case(contract={"size": {"maximum": 5}, "kind": {"categories": ["a", "b"]}})
    contract = infer_contract(HISTORY, declared)
    rows = logged(10)
    rows.iloc[0] = [99.0, "c", "yes"]
    found = widened(contract, rows)
    assert found.column("size").maximum == 5
    assert found.column("kind").categories == ("a", "b")


def test_another_question_is_none_of_the_champions():
    require_same_question(CONTRACT, case())
    with pytest.raises(InputError, match="another question"):
        require_same_question(CONTRACT, use_case(target="kind"))


def window_of(tmp_path, records, labels):
    url = f"sqlite:///{tmp_path / 'predictions.db'}"
    log = PredictionLog(url, "shop", spool=tmp_path / "spool")
    log.record(records)
    for name, label in labels.items():
        log.feedback(name, label)
    log.close()
    history = PredictionHistory(url, CONTRACT)
    try:
        return history.window(labelled=True)
    finally:
        history.close()


def record(number, **inputs):
    return PredictionRecord(
        request_id=f"r{number}",
        model="shop",
        version="1",
        inputs=inputs,
        prediction="no",
        time=(START + timedelta(minutes=number)).timestamp(),
        arm="champion",
        latency_ms=1.0,
    )


def test_rows_come_from_the_log_with_their_labels(tmp_path):
    records = [record(n, size=n / 2, kind="a" if n else None) for n in range(5)]
    window = window_of(tmp_path, records, {"r0": "yes", "r2": "no", "r3": "maybe"})
    found = logged_table(window, CONTRACT)
    assert found["size"].tolist() == [
        0.0,
        1.0,
    ]  # what has no label, or an unknown one, is not there
    assert found["kind"].tolist() == [None, "a"]
    assert target_values(found, CONTRACT).tolist() == ["yes", "no"]
    assert found.index[1] == pd.Timestamp("2026-03-01 12:02")


def test_hidden_values_teach_nothing(tmp_path):
    records = [record(n, size=1.0, kind={"hash": "ab"}) for n in range(3)]
    window = window_of(tmp_path, records, {"r0": "yes"})
    with pytest.raises(InputError, match="keeps 'kind' hidden"):
        logged_table(window, CONTRACT)
