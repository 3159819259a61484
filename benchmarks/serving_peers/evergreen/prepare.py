"""Write the forest as a bundle, with the contract of ``configs/wine.yaml`` but no derived features.

(The peers have none, and would have to be sent them.)
"""

import sys
from pathlib import Path

from forest import train
from sklearn.pipeline import Pipeline

from evergreen.config import FeaturesConfig
from evergreen.data.conform import conform, model_frame, target_values
from evergreen.data.infer import infer_contract
from evergreen.data.sources import read_source
from evergreen.features import build_features
from evergreen.monitoring.profile import make_profile
from evergreen.promotion.bundle import Figures, Origin, write_bundle
from evergreen.provenance import environment
from evergreen.training.predictions import predict
from evergreen.use_case import load_use_case

ROOT = Path(__file__).resolve().parents[3]

use_case = load_use_case(ROOT / "configs/wine.yaml")
raw = read_source(use_case.data.source)
contract = infer_contract(raw, use_case)
table = conform(raw, contract)
inputs = model_frame(table, contract)
features = build_features(contract, FeaturesConfig(), scale=False, seed=7)
model = Pipeline([("features", features), ("estimator", train())])
model.fit(inputs, target_values(table, contract))
bundle = write_bundle(
    Path(sys.argv[1]),
    model=model,
    contract=contract,
    profile=make_profile(table, contract, predict(model, table, contract)),
    figures=Figures(metric="accuracy", rows=0, confidence=0.95, metrics={}),
    card="# Wine\n",
    inputs=inputs,
    origin=Origin(
        candidate="random_forest",
        title="Random forest",
        params={"n_estimators": 100},
        training_key="benchmark",
        data_fingerprint="0" * 64,
        data_source="scikit-learn: wine",
        rows=len(table),
    ),
    environment=environment(),
)
if bundle.manifest.runtime != "onnx":
    raise SystemExit(f"The forest is not served by ONNX Runtime: {bundle.manifest}")
