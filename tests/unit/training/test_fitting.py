"""Fitting a whole model in memory."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from evergreen.config import FeaturesConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.features import build_features
from evergreen.training.candidates import BY_NAME, make_estimator
from evergreen.training.fitting import fit_in_memory
from tests.support.search_tables import mixed_table, stored


@pytest.mark.parametrize(
    ("task", "name"),
    [
        *product(
            ["classification", "regression"],
            ["baseline", "xgboost", "lightgbm", "decision_tree"],
        ),
        ("classification", "logistic_regression"),
        ("regression", "ridge"),
    ],
)
def test_it_is_what_a_pipelines_own_fit_makes(task, name, tmp_path):
    table, contract = mixed_table(task, rows=2_000)
    candidate = BY_NAME[name]

    def halves():
        features = build_features(contract, FeaturesConfig(), scale=candidate.scale, seed=0)
        return features, make_estimator(candidate, task, {}, seed=0, balance=False, threads=1)

    inputs, target = model_frame(table, contract), target_values(table, contract)

    features, estimator = halves()
    found = fit_in_memory(stored(table, tmp_path), contract, features, candidate, estimator)

    features, estimator = halves()
    plain = Pipeline([("features", features), ("estimator", estimator)]).fit(inputs, target)
    answers = [
        model.predict_proba(inputs) if task == "classification" else model.predict(inputs)
        for model in (found, plain)
    ]
    assert np.array_equal(*answers)
    if name == "xgboost":
        trees = [
            model[-1].get_booster().trees_to_dataframe().drop(columns="Feature")
            for model in (found, plain)
        ]
        assert trees[0].equals(trees[1])
        assert found[-1].get_booster().save_raw() == plain[-1].get_booster().save_raw()
