"""The forest as Seldon's Python wrapper wants it."""

import os

import joblib


class Forest:
    def __init__(self):
        self._model = joblib.load(os.environ["FOREST"])

    def predict(self, X, features_names=None):
        return self._model.predict_proba(X)
