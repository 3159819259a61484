"""Verdicts: alarms where something changed, none where nothing did, words for the rest."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from evergreen.errors import InputError
from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.settings import EffectConfig, MonitoringConfig
from evergreen.monitoring.window import WindowCounter
from tests.support.windows import orders_batch, orders_profile

PROFILE = orders_profile()
COUNTER = WindowCounter(PROFILE)
CONFIG = MonitoringConfig()


def verdict(*batches, config=CONFIG):
    return judge_window(PROFILE, COUNTER.count(batches), config)


def replaced(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    return batch.set_column(batch.schema.get_field_index(name), name, values)


def test_false_alarms_are_rare():
    """At most 1.3 % of quiet windows alarm; 12 of 100 come less than once in ten million."""
    alarms = sum(verdict(orders_batch(300, seed)).alarm for seed in range(100, 200))
    assert alarms < 12


@pytest.mark.parametrize(
    ("how", "family", "words"),
    [
        ({"shift": 0.7}, "columns", "price: KS distance"),
        ({"correlation": 0.0}, "multivariate", "correlation of price and weight"),
        ({"flipped": True}, "performance", "by true labels"),
        ({"change": {"colour": np.array(["mauve", "red"] * 150, object)}}, "columns", "'mauve'"),
        ({"change": {"gift": np.full(300, np.nan)}}, "columns", "missing 100.0%"),
    ],
)
def test_changes_are_found_and_said(how, family, words):
    found = verdict(orders_batch(300, 11, **how))
    assert found.alarm
    assert family in found.families
    assert any(words in reason for reason in found.reasons)


def test_a_sure_but_tiny_shift_does_not_alarm():
    large = [orders_batch(40_000, seed, shift=0.08, labelled=False) for seed in range(2)]
    price = verdict(*large).columns[0]
    assert price.q < CONFIG.levels.columns
    assert not price.alarm
    assert "too small to matter" in price.reason
    strict = CONFIG.model_copy(update={"effects": EffectConfig(distance=0.0)})
    assert verdict(*large, config=strict).columns[0].alarm


def test_a_drop_is_estimated_without_labels():
    batch = orders_batch(600, 12, labelled=False)
    names = ["evergreen.probability.no", "evergreen.probability.yes"]
    unsure = np.random.default_rng(0).uniform(0.4, 0.6, 600)
    for name, values in zip(names, (unsure, 1 - unsure), strict=True):
        batch = replaced(batch, name, pa.array(values))
    found = [p for p in verdict(batch).performance if p.kind == "estimated"]
    assert found[0].alarm
    assert found[0].low > 0
    assert not any(p.alarm for p in verdict(orders_batch(600, 13, labelled=False)).performance)


@pytest.mark.parametrize(
    ("batches", "words"),
    [
        ([], "empty"),
        ([orders_batch(300, 1).slice(0, 0)], "empty"),
        ([orders_batch(300, 1).drop_columns(["price"])], "lacks columns that the model takes"),
        ([orders_batch(300, 1, change={"price": np.full(300, np.nan)})], "price: all of its 300"),
        ([orders_batch(300, 1, change={"price": np.full(300, np.inf)})], "are infinite"),
        ([replaced(orders_batch(300, 1), "price", pa.array(["a"] * 300))], "is a number"),
        ([replaced(orders_batch(300, 1), "made", pa.array([1.5] * 300))], "is a moment"),
        ([orders_batch(60, 1)] * 5, "repeat another row"),
        ([pa.record_batch({"other": [1] * 99})], "lacks columns"),
    ],
)
def test_what_cannot_be_judged_is_named(batches, words):
    found = verdict(*batches)
    assert any(words in text for text in found.unmeasurable)
    assert any(words in text for text in found.reasons)
    assert not any("No drift" in text for text in found.reasons)


@pytest.mark.parametrize("rows", [1, 49])
def test_a_small_window_is_not_called_quiet(rows):
    found = verdict(orders_batch(rows, 1))
    assert found.too_few
    assert "too few to judge" in found.reasons[-1]


def test_a_constant_column_alarms():
    found = verdict(orders_batch(300, 14, change={"price": np.full(300, 0.1)}))
    assert "price" in found.drifted


def test_ignored_columns_are_not_looked_at():
    config = MonitoringConfig(ignore=("price",))
    found = verdict(orders_batch(300, 15, shift=1.0), config=config)
    assert "price" not in {column.column for column in found.columns}
    assert found.families == ()


def test_unknown_columns_are_noted():
    batch = orders_batch(300, 16).append_column("extra", pa.array([1] * 300))
    assert "'extra'" in verdict(batch).notes[0]


def test_a_window_of_another_reference_is_refused():
    other = WindowCounter(orders_profile(seed=3)).count([orders_batch(300, 1)])
    assert "another reference" in judge_window(PROFILE, other, CONFIG).unmeasurable[0]


def test_an_older_profile_gets_a_message():
    old = PROFILE.model_copy(update={"comparison": None, "format": 1})
    with pytest.raises(InputError, match="Train again"):
        WindowCounter(old)


def test_verdicts_survive_json():
    found = verdict(orders_batch(300, 17, shift=0.7))
    assert type(found).model_validate_json(found.model_dump_json()) == found
