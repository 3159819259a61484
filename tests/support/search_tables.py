"""Small tables, contracts and datasets that the tests of features and search share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evergreen.data.contract import Column, Contract
from evergreen.data.dataset import Dataset


def column(name, type="number", role="feature", **more):
    return Column(name=name, type=type, role=role, nullable=True, **more)


def contract_of(task, *columns, labels=None, positive=None):
    return Contract(
        use_case="example",
        task=task,
        target="outcome",
        labels=labels,
        positive=positive,
        columns=columns,
    )


def mixed_table(task="classification", rows=120, seed=0):
    """Odd names, missing values, a category, a date; the target follows from the numbers."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "alcohol/vol": rng.normal(size=rows),
            "size [m]": rng.normal(size=rows),
            "<colour>": rng.choice(["red", "green", None], rows),
            "sold on": pd.date_range("2024-01-01", periods=rows).astype("datetime64[us]"),
        }
    )
    signal = 2 * frame["alcohol/vol"] + frame["size [m]"] ** 2 + 0.1 * rng.normal(size=rows)
    if task == "classification":
        names = np.array(["zinc", "amber", "mint"], dtype=object)
        frame["outcome"] = names[pd.qcut(signal, 3, labels=False)]
        target = column("outcome", "category", "target")
        labels = ("amber", "mint", "zinc")
    else:
        frame["outcome"] = signal
        target, labels = column("outcome", "number", "target"), None
    frame.loc[rng.choice(rows, 5, replace=False), "alcohol/vol"] = np.nan
    frame.loc[3, "sold on"] = pd.NaT
    frame["<colour>"] = frame["<colour>"].astype(object).where(frame["<colour>"].notna(), None)
    contract = contract_of(
        task,
        column("alcohol/vol"),
        column("size [m]"),
        column("<colour>", "category"),
        column("sold on", "timestamp"),
        target,
        labels=labels,
    )
    return frame, contract


def stored(frame, path):
    return Dataset.write(frame, path / "train.parquet", source="a test")


def comparable(result):
    """Return what a search found of its candidates, without what differs from run to run."""
    return [
        found.model_copy(
            update={
                "seconds": 0.0,
                "taken_over": 0,
                "trials": tuple(t.model_copy(update={"seconds": 0.0}) for t in found.trials),
            }
        )
        for found in result.candidates
    ]
