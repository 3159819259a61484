"""Tables that reports must survive: wide, tiny, empty, oddly named."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evergreen.data.contract import Column, Contract

HOSTILE = "<script>alert(\"x\")</script> & 'q' ${1} `|` $\\alpha$"
LONG = "a very long column name that somebody exported from a spreadsheet with units [kg/m²]"


def mixed_table(rows: int = 300, extra: int = 30, task: str = "classification"):
    """A table of all types with missing values and names that are hard on markup."""
    rng = np.random.default_rng(3)
    amount = rng.lognormal(3, 1, rows)
    frame = pd.DataFrame(
        {
            "amount / month": np.where(rng.random(rows) < 0.2, np.nan, amount),
            HOSTILE: rng.choice(np.array(["<b>bold</b>", "b&w", "čšž", "x" * 90], object), rows),
            "number of visits": rng.poisson(3, rows).astype("float64"),
            "is member": rng.integers(0, 2, rows).astype("float64"),
            "nothing at all": np.full(rows, np.nan),
            "constant": np.ones(rows),
            "seen": pd.Timestamp("2024-02-01")
            + pd.to_timedelta(rng.integers(0, 500, rows), unit="D"),
            "customer id": [f"c-{n:05d}" for n in range(rows)],
            LONG: rng.normal(size=rows) * 1e-7,
        }
    )
    frame[HOSTILE] = frame[HOSTILE].astype(object)
    frame["seen"] = frame["seen"].astype("datetime64[us]")
    types = ["number", "category", "integer", "boolean", "number", "number", "timestamp"]
    types += ["identifier", "number"]
    roles = ["feature"] * 7 + ["ignored", "feature"]
    sensors = {
        f"sensor {n}": rng.normal(size=rows) + (amount / 50 if n % 3 == 0 else 0)
        for n in range(extra)
    }
    frame = pd.concat([frame, pd.DataFrame(sensors)], axis=1)
    types += ["number"] * extra
    roles += ["feature"] * extra
    signal = amount + 10 * frame["is member"] + rng.normal(size=rows)
    if task == "classification":
        frame["outcome <i>"] = pd.Series(np.where(signal > 30, "yes", "no"), dtype=object)
    else:
        frame["outcome <i>"] = signal.astype("float64")
    columns = [
        Column(name=str(name), type=kind, role=role, nullable=True)
        for name, kind, role in zip(frame.columns, types, roles, strict=False)
    ]
    target = Column(
        name="outcome <i>",
        type="category" if task == "classification" else "number",
        role="target",
        nullable=False,
    )
    contract = Contract(
        use_case="odd",
        task=task,
        target="outcome <i>",
        labels=("no", "yes") if task == "classification" else None,
        positive="yes" if task == "classification" else None,
        columns=(*columns, target),
    )
    return frame, contract
