"""The forest as a BentoML service."""

import os

import bentoml
import joblib
import numpy as np


@bentoml.service(workers=1)
class Forest:
    def __init__(self) -> None:
        self._model = joblib.load(os.environ["FOREST"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self._model.predict_proba(rows)
