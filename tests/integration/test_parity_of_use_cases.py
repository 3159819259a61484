"""Every candidate, on every shipped use case whose table is at hand, answers alike as a graph."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import Pipeline

from evergreen.data.conform import conform, model_frame, target_values
from evergreen.data.infer import infer_contract
from evergreen.data.sources import read_source
from evergreen.data.splits import split_holdout
from evergreen.features import build_features
from evergreen.onnx_export import check_parity, export_onnx
from evergreen.serving.onnx_model import OnnxModel
from evergreen.training.candidates import candidates_for, make_estimator
from evergreen.use_case import load_use_case

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
ROUNDS = {"xgboost": 60, "lightgbm": 60, "random_forest": 60}


@pytest.fixture(scope="module", params=["wine", "iris", "breast_cancer", "diabetes"])
def case(request):
    use_case = load_use_case(CONFIGS / f"{request.param}.yaml")
    raw = read_source(use_case.data.source)
    contract = infer_contract(raw, use_case)
    frame = conform(raw, contract)
    split = split_holdout(frame, contract, use_case.split)
    return use_case, contract, frame.iloc[split.train], frame.iloc[split.holdout]


def test_every_candidate_passes_the_parity_gate(case):
    use_case, contract, train, holdout = case
    rows = model_frame(holdout, contract)
    for plan in candidates_for(use_case.task, use_case.training):
        candidate = plan.candidate
        rounds = {"n_estimators": ROUNDS[candidate.name]} if candidate.name in ROUNDS else {}
        estimator = make_estimator(
            candidate, use_case.task, {**plan.params, **rounds}, seed=1, balance=False, threads=1
        )
        features = build_features(contract, use_case.features, scale=candidate.scale, seed=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Pipeline([("features", features), ("estimator", estimator)]).fit(
                model_frame(train, contract), target_values(train, contract)
            )
        graph = export_onnx(model, contract)
        parity = check_parity(model, graph, rows, contract)
        assert parity.passed, f"{candidate.name}: {parity.reason}"
        assert parity.difference < 2e-7
        columns = {name: rows[name].to_numpy() for name in rows}
        found = OnnxModel(graph).run(columns, len(rows))
        if contract.labels is not None:
            chosen = np.array(contract.labels, dtype=object)[found.argmax(axis=1)]
            assert chosen.tolist() == model.predict(rows).tolist()
