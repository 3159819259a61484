"""What the checks share is counted once, and is what each would count for itself."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest

from evergreen.data import threads
from evergreen.data.conform import conform
from evergreen.data.hashes import whole_hashes
from evergreen.data.infer import infer_contract
from evergreen.data.quality import check, check_table, observation, whole_table
from evergreen.data.quality.observation import Table
from evergreen.data.statistics import column_statistics
from tests.support.use_cases import use_case

NOW = datetime(2024, 6, 1, tzinfo=UTC)
ROWS = 1_200


def raw() -> pd.DataFrame:
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "size": random.normal(size=ROWS),
            "count": random.integers(0, 9, ROWS),
            "kind": pd.Series(random.choice(["a", "b", " ", None], ROWS), dtype="str"),
            "code": pd.Series([f"c{n % 700}" for n in range(ROWS)], dtype="str"),
            "mixed": pd.Series(random.choice(np.array(["x", None, 3], object), ROWS), dtype=object),
            "when": pd.Timestamp("2024-01-01") + pd.to_timedelta(random.integers(0, 50, ROWS), "D"),
            "y": random.choice(["no", "yes"], ROWS),
        }
    )
    frame.loc[:4, "size"] = [np.inf, -np.inf, np.nan, 3.0, 3.0]
    return pd.concat([frame, frame[:300]], ignore_index=True)


@pytest.fixture(params=["looked at first", "as asked"])
def table(request) -> Table:
    case = use_case(data={"timestamp": "when"})
    contract = infer_contract(raw(), case)
    if request.param == "looked at first":
        return whole_table(raw(), contract, case, NOW)
    return Table(raw(), contract, case, NOW)


def test_missing_values_and_infinities_are_those_of_the_raw_table(table):
    missing = {column.name: table.missing(column) for column in table.columns()}
    blank = raw()["kind"].isna() | (raw()["kind"] == " ")
    expected = dict.fromkeys(raw().columns, 0) | {
        "size": 2,  # one of them in the repeated rows
        "kind": int(blank.sum()),
        "mixed": int(raw()["mixed"].isna().sum()),
    }
    assert missing == expected
    infinite = {c.name: table.infinite(c) for c in table.columns() if table.infinite(c)}
    assert infinite == {"size": 4}  # two of them there


def test_statistics_are_those_of_each_column_by_itself(table):
    conformed = conform(raw(), table.contract)
    for column in table.columns():
        found = table.statistics(column)
        alone = column_statistics(conformed[column.name], column)
        assert (found.missing, found.distinct) == (alone.missing, alone.distinct)
        assert (found.spread is None) == (alone.spread is None)
        assert found is table.statistics(column)


@pytest.mark.parametrize("kept", [0, 3, 10_000])
def test_rows_are_hashed_alike_whether_their_levels_are_known_or_not(table, monkeypatch, kept):
    monkeypatch.setattr(observation, "KEPT_LEVELS", kept)
    for column in table.columns():
        table.statistics(column)
    expected = whole_hashes(conform(raw(), table.contract))
    np.testing.assert_array_equal(table.row_hashes, expected)


def test_one_core_finds_what_several_find(table, monkeypatch):
    several = check(table)
    monkeypatch.setattr(threads, "cores", lambda: 1)
    assert check_table(raw(), table.contract, table.use_case, NOW) == several
    assert {each.check for each in several.findings} >= {"infinities", "duplicates"}
