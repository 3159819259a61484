"""Segments: a drift of one group is found in it, and quiet groups are quiet."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from evergreen.errors import InputError
from evergreen.monitoring.segments import Segments
from evergreen.monitoring.settings import MonitoringConfig
from tests.support.windows import orders_batch, orders_profile

PROFILE = orders_profile()


def verdicts(batch, *names):
    segments = Segments(PROFILE, MonitoringConfig(segments=names))
    half = batch.num_rows // 2
    for part in (batch.slice(0, half), batch.slice(half)):
        segments.add(part)
    return {(one.column, one.value): one.verdict for one in segments.verdicts()}


def test_a_drift_of_one_group_is_found_in_it():
    batch = orders_batch(900, 61)
    red = np.array(batch.column("colour").to_pylist()) == "red"
    moved = np.where(red, 1.5, 0.0) + batch.column("price").to_numpy()
    place = batch.schema.get_field_index("price")
    found = verdicts(batch.set_column(place, "price", pa.array(moved)), "colour")
    assert set(found) == {("colour", "blue"), ("colour", "green"), ("colour", "red")}
    assert found["colour", "red"].drifted == ("price",)
    assert not found["colour", "blue"].alarm
    assert not found["colour", "green"].alarm
    assert sum(verdict.rows for verdict in found.values()) == 900


def test_quiet_groups_rarely_alarm():
    alarms = [
        verdict.alarm
        for seed in range(200, 220)
        for verdict in verdicts(orders_batch(600, seed), "colour", "gift").values()
    ]
    assert len(alarms) == 20 * 5
    assert sum(alarms) <= 3


def test_few_rows_of_a_group_are_not_called_quiet():
    found = verdicts(orders_batch(60, 62), "colour")
    assert all(verdict.too_few for verdict in found.values())


@pytest.mark.parametrize(("name", "words"), [("price", "too many"), ("prise", "does not take")])
def test_a_column_without_groups_is_refused(name, words):
    with pytest.raises(InputError, match=words):
        Segments(PROFILE, MonitoringConfig(segments=(name,)))
