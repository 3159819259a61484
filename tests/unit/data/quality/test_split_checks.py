"""What training rows and holdout must not share."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evergreen.config import SplitConfig
from evergreen.data.conform import conform
from evergreen.data.infer import infer_contract
from evergreen.data.quality import check_split
from evergreen.data.splits import Split, SplitRows, split_holdout
from tests.support.use_cases import use_case

ROWS = 100


def table(**columns):
    random = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "x": random.random(ROWS),
            "g": [f"g{i // 5}" for i in range(ROWS)],
            "t": pd.date_range("2024-01-01", periods=ROWS),
            "y": random.choice(["no", "yes"], ROWS),
        }
    ).assign(**columns)


def findings(frame, split=None, method="auto", drop_first=0, **parts):
    case = use_case(**parts)
    contract = infer_contract(frame, case)
    conformed = conform(frame, contract).iloc[drop_first:]
    if split is None:
        split = split_holdout(conformed, contract, SplitConfig(method=method))
    return check_split(SplitRows.of(conformed, contract), split, contract, case)


def halves(boundary=None):
    return Split(np.arange(50), np.arange(50, 100), "random", boundary)


def test_honest_splits_pass():
    for data in ({}, {"group": "g"}, {"timestamp": "t"}, {"timestamp": "t", "group": "g"}):
        quality = findings(table(), data=data)
        assert quality.findings == ()
        assert quality.checks == ("shared_rows", "future_rows")


def test_copies_on_both_sides_are_found():
    frame = table()
    frame.loc[90:, ["x", "g", "t"]] = frame.loc[:9, ["x", "g", "t"]].to_numpy()
    (finding,) = findings(frame, halves()).findings
    assert (finding.check, finding.severity, finding.count) == ("shared_rows", "error", 10)
    assert finding.rows == (90, 91, 92, 93, 94)
    assert "10 holdout rows (20.0%; rows 90, 91" in finding.message


def test_rows_are_named_as_the_table_named_them():
    frame = table()
    frame.loc[90:, ["x", "g", "t"]] = frame.loc[:9, ["x", "g", "t"]].to_numpy()
    split = Split(np.arange(48), np.arange(48, 98), "random")
    (finding,) = findings(frame, split, drop_first=2).findings
    assert finding.rows[0] == 92


def test_few_copies_are_left_to_the_limit():
    frame = table()
    frame.loc[99, ["x", "g", "t"]] = frame.loc[0, ["x", "g", "t"]].to_numpy()
    assert findings(frame, halves()).findings
    loose = {"shared_rows": {"limit": 0.02}}
    assert findings(frame, halves(), quality=loose).findings == ()


def test_repeats_prove_nothing_where_few_distinct_rows_exist():
    frame = table()[["y"]].assign(x=[0, 1] * 50)
    assert findings(frame, halves()).findings == ()


def test_groups_on_both_sides_are_found():
    (finding,) = findings(table(), method="random", data={"group": "g"}).findings
    assert (finding.check, finding.severity, finding.columns) == ("shared_rows", "error", ("g",))
    assert "of 'g' are in the training rows and in the holdout" in finding.message


def test_training_rows_after_the_split_are_found():
    split = halves("2024-02-15T00:00:00")
    (finding,) = findings(table(), split, data={"timestamp": "t"}).findings
    assert (finding.check, finding.severity, finding.count) == ("future_rows", "error", 5)
    assert finding.rows == (45, 46, 47, 48, 49)
    assert "2024-02-15T00:00:00" in finding.message


def test_a_moment_that_is_missing_is_not_known_to_be_older():
    frame = table()
    frame.loc[3, "t"] = pd.NaT
    split = halves("2024-02-20T00:00:00")
    (finding,) = findings(frame, split, data={"timestamp": "t"}).findings
    assert finding.rows == (3,)


def test_checks_can_be_off():
    quality = findings(table(), halves(), quality={"shared_rows": "off", "future_rows": "off"})
    assert quality.checks == ()
