"""A table like California housing's, in the format of scikit-learn's cache."""

from __future__ import annotations

from pathlib import Path

import joblib
import numpy as np

from evergreen.data.sources.sklearn_source import CACHE_FILE


def write_housing_cache(folder: Path, rows: int = 1500) -> Path:
    """Write a table whose house values follow from income, place and rooms, nearly."""
    random = np.random.default_rng(0)
    income = random.uniform(0.5, 11, rows).round(4)
    households = random.integers(50, 2_000, rows)
    rooms = (households * random.uniform(3, 8, rows)).round()
    latitude = random.uniform(32.5, 42, rows).round(2)
    value = 38_000 * income - 5_000 * (latitude - 36) + 6_000 * rooms / households
    columns = [  # in the order of scikit-learn's array
        np.clip(value + random.normal(0, 20_000, rows), 15_000, 500_000).round(),
        income,
        random.integers(1, 53, rows),
        rooms,
        (households * random.uniform(0.9, 1.3, rows)).round(),
        (households * random.uniform(1.5, 4, rows)).round(),
        households,
        latitude,
        random.uniform(-124.4, -114.3, rows).round(2),
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / CACHE_FILE
    joblib.dump(np.column_stack(columns).astype(float), path, compress=6)
    return path
