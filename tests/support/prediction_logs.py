"""Rows for a prediction log over SQLite, and what it made of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from evergreen.serving.records import PredictionRecord


def record(number: int = 0, **changed) -> PredictionRecord:
    fields = {
        "request_id": f"request-{number}",
        "version": "3",
        "inputs": {"alcohol": 13.2, "region": "Douro", "year": None},
        "prediction": "class_1",
        "probabilities": [0.1, 0.9],
        "flags": ["out_of_range"],
        "latency_ms": 1.25,
    }
    return PredictionRecord(**{**fields, **changed})


def rows(database: Path, query: str = "SELECT * FROM predictions ORDER BY time") -> list[dict]:
    connection = sqlite3.connect(database)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query)]
    finally:
        connection.close()


def spool_files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "spool").rglob("*.spool"))
