"""A holdout in several row groups, three models that are judged on it, and what comes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from evergreen.config import EvaluationConfig
from evergreen.data.conform import conform
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.data.infer import infer_contract
from evergreen.training.evaluation import evaluate
from evergreen.training.explanation import explain
from evergreen.training.judged_rows import Arm, JudgedRows
from tests.support.engines import EXTERNAL, chosen, fitted, sales, tried

CONFIG = EvaluationConfig(slices=("colour", "a", "day"), bootstrap=100, importance_rows=60)
METRIC = {"truth": "roc_auc", "kind": "log_loss", "price": "rmse"}


def judged(
    target: str, folder: Path, rows: int = 3_000, engine: Engine = EXTERNAL
) -> tuple[Contract, Dataset, dict[str, Arm]]:
    """Return a contract, a holdout in several row groups, and the models that are judged on it."""
    table = sales(rows)
    table["shop"] = np.where(np.arange(rows) % 5 == 0, None, np.arange(rows) // 7)
    use_case = tried(target, group="shop")
    contract = infer_contract(table, use_case)
    frame = conform(table, contract)
    train = Dataset.write(frame, folder / "train.parquet", "rows")
    models = {
        name: fitted([train], contract, use_case, chosen(kind, **params))[0]
        for name, kind, params in (
            ("challenger", "xgboost", {"max_depth": 3}),
            ("baseline", "baseline", {}),
            ("champion", "decision_tree", {"max_depth": 3}),
        )
    }
    arms = {
        name: Arm(model, contract if name == "champion" else None) for name, model in models.items()
    }
    holdout = Dataset.write(frame, folder / "holdout.parquet", "rows", engine)
    return contract, holdout, arms


def results(rows: JudgedRows, contract: Contract, target: str, model: Any) -> Any:
    """Return the evaluation of each model, and the explanation of one."""
    evaluations = {
        arm: evaluate(said, rows.frame, contract, CONFIG, 3)
        for arm, said in rows.predictions.items()
    }
    return evaluations, explain(
        model, rows.explained, contract, metric=METRIC[target], config=CONFIG, seed=3
    )
