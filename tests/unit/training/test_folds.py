from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.config import FeaturesConfig, SelectionConfig, SplitConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.data.splits import make_folds
from evergreen.features import build_features
from evergreen.training import folds as folds_module
from evergreen.training.folds import Folds, stop_rows
from tests.support.search_tables import column, contract_of, mixed_table


def folds_of(frame, contract, features=None, **split):
    return Folds(
        frame,
        contract,
        features=features or FeaturesConfig(),
        split=SplitConfig(**split),
        seed=0,
    )


@pytest.mark.parametrize("scale", [False, True])
def test_kept_features_are_those_of_the_whole_pipeline(scale, monkeypatch):
    frame, contract = mixed_table()
    features = FeaturesConfig(
        derive={"ratio": "`alcohol/vol` / `size [m]`"},
        selection=SelectionConfig(method="mutual_information", max_features=4),
    )
    X, y = model_frame(frame, contract), target_values(frame, contract)
    for kept_bytes in (1 << 30, 0):
        monkeypatch.setattr(folds_module, "KEPT_BYTES", kept_bytes)
        folds = folds_of(frame, contract, features, folds=3)
        positions = make_folds(frame, contract, SplitConfig(folds=3))
        for _ in range(2):
            for number, (fit, validate) in enumerate(positions):
                pipeline = build_features(contract, features, scale=scale, seed=0)
                expected = pipeline.fit_transform(X.iloc[fit], y[fit])
                fold = folds.fold(number, scale=scale, stops=False)
                assert (fold.X_fit == expected).all()
                assert (fold.X_validate == pipeline.transform(X.iloc[validate])).all()
                assert (fold.y_validate == y[validate]).all()
                assert fold.stop is None


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_rows_to_stop_on_are_fit_rows_and_never_validation_rows(task):
    frame, contract = mixed_table(task)
    frame["alcohol/vol"] = np.arange(len(frame), dtype=float)  # tells the rows apart
    folds = folds_of(frame, contract, FeaturesConfig(drop=("size [m]", "<colour>", "sold on")))
    for number in range(len(folds)):
        fold = folds.fold(number, scale=False, stops=True)
        stop, fit = set(fold.X_fit[fold.stop, 0]), set(fold.X_fit[~fold.stop, 0])
        validate = set(fold.X_validate[:, 0])
        assert 0.1 <= len(stop) / len(fold.X_fit) <= 0.3
        assert not stop & fit
        assert not stop & validate
        assert not fit & validate
        assert len(stop | fit | validate) == len(frame)


def test_rows_to_stop_on_respect_groups_and_time():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "x": rng.normal(size=100),
            "house": np.repeat([f"h{number}" for number in range(20)], 5).astype(object),
            "day": pd.date_range("2024-01-01", periods=100).astype("datetime64[us]"),
            "outcome": rng.normal(size=100),
        }
    )
    target = column("outcome", "number", "target")
    grouped = contract_of("regression", column("x"), column("house", "category", "group"), target)
    stop = stop_rows(frame, grouped, SplitConfig(holdout=0.2))
    assert not set(frame["house"][stop]) & set(frame["house"][~stop])
    timed = contract_of("regression", column("x"), column("day", "timestamp", "timestamp"), target)
    stop = stop_rows(frame, timed, SplitConfig(holdout=0.2))
    assert frame["day"][stop].min() > frame["day"][~stop].max()


def test_no_class_is_left_without_a_row_to_fit_on():
    frame, contract = mixed_table(rows=60)
    frame["outcome"] = ["amber"] * 40 + ["mint"] * 18 + ["zinc"] * 2
    y = frame["outcome"].to_numpy()
    for seed in range(20):
        stop = stop_rows(frame, contract, SplitConfig(holdout=0.3, seed=seed, method="random"))
        assert set(y[stop]) <= set(y[~stop])


def test_too_few_rows_to_spare_any():
    frame, contract = mixed_table(rows=60)
    assert stop_rows(frame.head(1), contract, SplitConfig()) is None
