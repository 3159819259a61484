"""Prediction logs that are closed after the test."""

from __future__ import annotations

import pytest

from evergreen.serving.prediction_log import PredictionLog


@pytest.fixture
def database(tmp_path):
    return tmp_path / "log" / "predictions.db"


@pytest.fixture
def open_log(tmp_path, database):
    logs = []

    def make(**settings):
        log = PredictionLog(f"sqlite:///{database}", "wine", spool=tmp_path / "spool", **settings)
        logs.append(log)
        return log

    yield make
    for log in logs:
        log.close(patience=0)
