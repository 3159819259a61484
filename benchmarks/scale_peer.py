"""The well-known ZenML end-to-end pattern: steps that hand pandas DataFrames to each other.

    python benchmarks/scale_peer.py TABLE ROUNDS

Steps, artifacts and default materializer are those of ZenML's own template for batch projects
(github.com/zenml-io/template-e2e-batch: data_loader, train_data_splitter, train_data_preprocessor,
model_trainer, model_evaluator), with the learner and rounds of the other scripts. It has no
contract, checks, search, gate, registry or reports. Prints the holdout's log loss as JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Annotated

import pandas as pd
from sklearn.base import ClassifierMixin
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler
from xgboost import XGBClassifier
from zenml import pipeline, step
from zenml.client import Client

TARGET = "y"


@step
def data_loader(table: str) -> Annotated[pd.DataFrame, "dataset"]:
    """Read the table."""
    frame = pd.read_parquet(table)
    frame[TARGET] = (frame[TARGET] == "yes").astype(int)
    return frame


@step
def train_data_splitter(
    dataset: pd.DataFrame, test_size: float = 0.2
) -> tuple[Annotated[pd.DataFrame, "raw_dataset_trn"], Annotated[pd.DataFrame, "raw_dataset_tst"]]:
    """Set a fifth aside."""
    trn, tst = train_test_split(dataset, test_size=test_size, random_state=42, shuffle=True)
    return pd.DataFrame(trn), pd.DataFrame(tst)


@step
def train_data_preprocessor(
    dataset_trn: pd.DataFrame, dataset_tst: pd.DataFrame
) -> tuple[
    Annotated[pd.DataFrame, "dataset_trn"],
    Annotated[pd.DataFrame, "dataset_tst"],
    Annotated[Pipeline, "preprocess_pipeline"],
]:
    """Leave out rows with gaps, and bring every number to 0 … 1."""
    made = Pipeline([("normalize", MinMaxScaler())]).set_output(transform="pandas")
    dataset_trn = made.fit_transform(dataset_trn.dropna())
    dataset_tst = made.transform(dataset_tst.dropna())
    return dataset_trn, dataset_tst, made


@step
def model_trainer(dataset_trn: pd.DataFrame, rounds: int) -> Annotated[ClassifierMixin, "model"]:
    """Fit the learner of the other scripts."""
    model = XGBClassifier(n_estimators=rounds, max_depth=6, learning_rate=0.1, tree_method="hist")
    return model.fit(dataset_trn.drop(columns=[TARGET]), dataset_trn[TARGET].astype(int))


@step
def model_evaluator(
    model: ClassifierMixin, dataset_trn: pd.DataFrame, dataset_tst: pd.DataFrame
) -> Annotated[float, "log_loss"]:
    """Score both parts, as the template does, and return the loss on what was set aside."""
    model.score(dataset_trn.drop(columns=[TARGET]), dataset_trn[TARGET].astype(int))
    told = model.predict_proba(dataset_tst.drop(columns=[TARGET]))
    return float(log_loss(dataset_tst[TARGET].astype(int), told))


@pipeline(enable_cache=False)
def e2e_training(table: str, rounds: int) -> None:
    """Load, split, preprocess, train, evaluate."""
    trn, tst = train_data_splitter(data_loader(table))
    trn, tst, _ = train_data_preprocessor(trn, tst)
    model = model_trainer(trn, rounds)
    model_evaluator(model, trn, tst)


def main() -> None:
    if sys.argv[1:] == ["--prepare"]:  # what a user's first run does once: ZenML's database
        print(json.dumps({"stack": Client().active_stack.name}))
        return
    run = e2e_training(sys.argv[1], int(sys.argv[2]))
    if run is None or run.status.value != "completed":
        raise SystemExit("the pipeline did not complete")
    found = run.steps["model_evaluator"].outputs["log_loss"][0].load()
    print(json.dumps({"log_loss": found}))


if __name__ == "__main__":
    main()
