from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evergreen.features.calendar import date_parts, part_key, split_moments

PARTS = ("year", "month", "day", "weekday", "hour", "day_of_year", "epoch_days")


def parts_of(moments: pd.Series, parts=PARTS) -> pd.DataFrame:
    values = split_moments(moments.to_numpy())
    for name, expression in date_parts(parts).items():
        values[name] = expression.evaluate(values)
    return pd.DataFrame({part: values[part_key(part)] for part in parts})


def expected(moments: pd.Series) -> pd.DataFrame:
    parts = {part: getattr(moments.dt, part).astype(float) for part in PARTS[:-1]}
    days = moments.to_numpy().astype(np.int64) / 86_400_000_000
    return pd.DataFrame({**parts, "epoch_days": days})


@settings(deadline=None)
@given(st.lists(st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31, 23)), min_size=1))
def test_the_parts_are_those_of_pandas(dates):
    moments = pd.Series(np.array(dates, dtype="datetime64[us]"))
    pd.testing.assert_frame_equal(parts_of(moments), expected(moments), rtol=1e-15)


@pytest.mark.parametrize("year", [1600, 1899, 1900, 1968, 1969, 1970, 2000, 2023, 2024, 2100])
def test_every_day_of_a_year_is_right(year):
    hours = np.arange(f"{year}-01-01", f"{year + 1}-01-01", 11, dtype="datetime64[h]")
    moments = pd.Series(hours.astype("datetime64[us]"))
    pd.testing.assert_frame_equal(parts_of(moments), expected(moments), rtol=1e-15)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_any_unit_of_time_will_do(unit):
    moments = pd.Series(["2024-02-29 23:59:59", None]).astype(f"datetime64[{unit}]")
    found = parts_of(moments)
    assert found.loc[0].tolist()[:6] == [2024, 2, 29, 3, 23, 60]
    assert found.loc[1].isna().all()


def test_only_what_is_asked_for_is_computed():
    assert list(date_parts(["hour", "weekday"])) == ["weekday", "hour"]


def test_no_moment_gives_an_infinite_part():
    moments = np.array([-(2**63) + 1, 2**63 - 1, 0], dtype="datetime64[us]")
    assert np.isfinite(parts_of(pd.Series(moments)).to_numpy()).all()
