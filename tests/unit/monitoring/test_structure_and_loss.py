"""Tests of columns together and of the loss keep their level and find what is there."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import stats

from evergreen.monitoring.comparison import accept_drift
from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.multivariate import (
    classifier_test,
    correlation_test,
    mean_test,
    weighted_area,
)
from evergreen.monitoring.packed import Packed
from evergreen.monitoring.performance import estimated_error, loss_test
from evergreen.monitoring.profile import make_profile
from evergreen.monitoring.reference import Calibration, LossReference, Sample
from evergreen.monitoring.scores import MomentSums, ScoreSums, fisher_spread
from evergreen.monitoring.window import WindowCounter
from evergreen.training.predictions import Predictions
from tests.support.windows import LABELS, orders, orders_batch, orders_contract, orders_profile

PROFILE = orders_profile()
STRUCTURE = PROFILE.comparison.structure
COUNTER = WindowCounter(PROFILE)


def test_correlations_are_pearsons_of_pairs():
    rng = np.random.default_rng(1)
    scores = rng.normal(size=(500, 3)).astype(np.float32)
    scores[:, 1] += scores[:, 0]
    present = rng.random((500, 3)) < 0.8
    masked = np.where(present, scores, 0).astype(np.float32)
    expected = pd.DataFrame(np.where(present, scores, np.nan)).corr().to_numpy()
    np.testing.assert_allclose(ScoreSums.of(masked, present).correlations(), expected, atol=1e-4)


def spread(scores):
    mean, deviation = scores.mean(axis=0, dtype=np.float64), scores.std(axis=0, dtype=np.float64)
    return fisher_spread(MomentSums.of(scores, None, mean, deviation), ScoreSums.of(scores, None))


def test_the_spread_of_a_normal_correlation_is_one():
    rng = np.random.default_rng(2)
    scores = rng.normal(size=(40_000, 2)).astype(np.float32)
    scores[:, 1] += scores[:, 0]
    assert spread(scores)[0, 1] == pytest.approx(1, abs=0.05)


def test_a_heavier_spread_is_found():
    rng = np.random.default_rng(3)
    one = rng.normal(size=40_000)
    scores = np.stack([one, one**2 - 1], axis=1).astype(np.float32)
    assert spread(scores)[0, 1] > 2


def test_quiet_windows_have_even_p_values():
    found = {"correlation": [], "means": []}
    for seed in range(200, 300):
        window = COUNTER.count([orders_batch(120, seed)])
        found["correlation"].append(correlation_test(STRUCTURE, window.scores).p)
        found["means"].append(mean_test(STRUCTURE, window.scores).p)
    for name, p_values in found.items():
        assert np.mean(np.array(p_values) < 0.05) < 0.15, name
        assert np.mean(np.array(p_values) < 0.5) > 0.25, name


def test_means_that_move_against_the_correlation_are_found():
    drawn = orders(200, 31)["columns"]
    moved = {"price": drawn["price"] + 0.3, "weight": drawn["weight"] * np.exp(-0.3)}
    window = COUNTER.count([orders_batch(200, 31, change=moved)])
    found = mean_test(STRUCTURE, window.scores)
    assert found.p < 1e-6
    assert found.column in ("price", "weight")


def test_the_classifier_finds_what_no_correlation_shows():
    rng = np.random.default_rng(4)

    def sample(rows, twisted):
        codes = rng.integers(0, 1000, (rows, 3))
        if twisted:  # uncorrelated, and far from independent
            codes[:, 2] = (np.abs(codes[:, 1] - 500) + codes[:, 2] // 2).astype(int)
        window = COUNTER.empty().sample
        kind = type(window)
        return kind(
            np.arange(rows, dtype=np.uint64), np.ones(rows, np.int64), codes.astype(np.uint16)
        )

    plain = sample(1000, False)
    reference = Sample(codes=Packed.of(plain.codes), copies=Packed.of(plain.copies))
    assert classifier_test(reference, sample(1000, True), [0, 1, 2]).p < 1e-4
    quiet = [classifier_test(reference, sample(300, False), [0, 1, 2]).p for _ in range(40)]
    assert np.mean(np.array(quiet) < 0.05) < 0.2
    assert classifier_test(reference, sample(10, True), [0, 1, 2]) is None


def test_the_area_is_mann_whitneys():
    rng = np.random.default_rng(5)
    scores, side = rng.normal(size=200), rng.integers(0, 2, 200)
    area, p = weighted_area(scores, side, np.ones(200))
    high, low = scores[side == 1], scores[side == 0]
    expected = stats.mannwhitneyu(
        high, low, alternative="greater", method="asymptotic", use_continuity=False
    )
    assert area == pytest.approx(expected.statistic / (len(high) * len(low)))
    assert p == pytest.approx(expected.pvalue)


def skewed(rng, rows, scale=1.0):
    return scale * rng.beta(0.7, 2.0, rows)


def test_the_loss_test_keeps_its_level_for_skewed_losses():
    rng = np.random.default_rng(6)
    p_values = []
    for _ in range(1000):
        before, now = skewed(rng, 1500), skewed(rng, 60)
        reference = LossReference(
            metric="brier",
            rows=1500,
            mean=before.mean(),
            deviation=before.std(ddof=1),
            skewness=float(stats.skew(before)),
        )
        p_values.append(loss_test(reference, LossSums.of(now), 0.95).p)
    assert 0.025 < np.mean(np.array(p_values) < 0.05) < 0.08


def test_a_rise_of_the_loss_is_found_with_its_interval():
    reference = LossReference(metric="brier", rows=1000, mean=0.3, deviation=0.2)
    found = loss_test(reference, LossSums.of(np.array([0.2, 0.6] * 100)), 0.95)
    assert found.p < 1e-6
    assert found.low < 0.1 < found.high
    assert found.low > 0
    better = loss_test(reference, LossSums.of(np.array([0.0, 0.4] * 100)), 0.95)
    assert better.p > 0.99


def test_losses_that_do_not_vary_have_a_verdict():
    reference = LossReference(metric="error_rate", rows=50, mean=0.0, deviation=0.0)
    assert loss_test(reference, LossSums.of(np.zeros(60)), 0.95).p == 1
    assert loss_test(reference, LossSums.of(np.ones(60)), 0.95).p == 0


def test_the_estimate_follows_the_models_sureness():
    calibration = Calibration(edges=(0.7,), rows=(500, 500), right=(300, 480))
    alike = estimated_error(calibration, np.array([200, 200]), 0.95)
    assert alike.change == pytest.approx(0, abs=1e-9)
    assert alike.p == pytest.approx(0.5, abs=0.01)
    harder = estimated_error(calibration, np.array([380, 20]), 0.95)
    assert harder.value == pytest.approx(0.38, abs=0.01)
    assert harder.p < 1e-6
    assert estimated_error(calibration, np.array([0, 0]), 0.95) is None


def test_accepted_drift_moves_the_data_and_keeps_the_promise():
    drawn = orders(1500, 40, shift=1.0)
    frame = pd.DataFrame(drawn["columns"])
    predictions = Predictions(
        actual=drawn["actual"],
        predicted=np.array(LABELS, object)[drawn["probabilities"].argmax(axis=1)],
        probabilities=drawn["probabilities"],
        labels=LABELS,
    )
    newer = make_profile(frame, orders_contract(), predictions)
    table = {name: pa.array(frame[name], from_pandas=True) for name in frame}
    moved = accept_drift(PROFILE, table, newer.columns, predictions)
    assert moved.comparison.loss == PROFILE.comparison.loss
    assert moved.comparison.key not in (PROFILE.comparison.key, newer.comparison.key)
    assert moved.column("price").number.mean == pytest.approx(1, abs=0.1)


def test_a_regression_is_judged_by_absolute_errors():
    rng = np.random.default_rng(8)
    frame = pd.DataFrame({name: rng.normal(size=500) for name in ("price", "weight")})
    contract = orders_contract()
    columns = tuple(c for c in contract.columns if c.name in (*frame, "late"))
    number = columns[-1].model_copy(update={"type": "number"})
    contract = contract.model_copy(
        update={"task": "regression", "labels": None, "columns": (*columns[:-1], number)}
    )
    predicted = rng.normal(size=500)
    predictions = Predictions(actual=predicted + rng.normal(size=500), predicted=predicted)
    profile = make_profile(frame, contract, predictions)
    assert profile.comparison.loss.metric == "absolute_error"
    assert profile.comparison.loss.mean == pytest.approx(0.8, abs=0.1)
    batch = pa.record_batch(
        {
            "price": rng.normal(size=200),
            "weight": rng.normal(size=200),
            "evergreen.prediction": rng.normal(size=200),
            "evergreen.actual": pa.array([None, 1.0] * 100),
        }
    )
    window = WindowCounter(profile).count([batch])
    assert window.predictions.rows == 200
    assert window.predictions.loss.rows == 100
