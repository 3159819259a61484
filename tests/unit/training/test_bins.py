"""XGBoost's bins of a large table are those of some of its rows, with any engine."""

from __future__ import annotations

import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import xgboost
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from evergreen.data import dataset as datasets
from evergreen.data.conform import model_frame
from evergreen.data.dataset import draw_evenly
from evergreen.training import bins, feature_file
from evergreen.training.bins import BinSample, bin_sample
from evergreen.training.fitting import _by_columns
from evergreen.training.xgboost_adapter import LabelledXGBClassifier
from tests.support.engines import ROWS, chosen, fitted, prepared, sales

DRAWN = 1_000


@dataclass(frozen=True)
class Learned:
    """What an estimator learned from: of each feature the bound below all values, then the cuts."""

    matrix: str
    cuts: list[list[float]]
    predicted: np.ndarray  # of the rows as they were filed into bins


def cuts_of(matrix):
    ends, values = matrix.get_quantile_cut()
    return [part.tolist() for part in np.split(values, ends[1:-1].astype(np.int64))]


@pytest.fixture
def learned(monkeypatch) -> list[Learned]:
    """Return a list that tells, for each fit of XGBoost, what it learned from."""
    fits = []
    train = xgboost.sklearn.train

    def watched(params, matrix, *args, **how):
        booster = train(params, matrix, *args, **how)
        fits.append(Learned(type(matrix).__name__, cuts_of(matrix), booster.predict(matrix)))
        return booster

    monkeypatch.setattr(xgboost.sklearn, "train", watched)
    return fits


@pytest.fixture
def large(monkeypatch):
    """Let small tables count as large ones, of several pieces."""
    monkeypatch.setattr(bins, "BIN_ROWS", DRAWN)
    monkeypatch.setattr(datasets, "piece_rows", lambda columns: 1_700)
    monkeypatch.setattr(feature_file, "FILE_BYTES", 60_000)


@pytest.mark.parametrize(
    ("target", "balance"), [("truth", False), ("kind", True), ("price", False)]
)
def test_all_engines_find_the_same_bins(target, balance, large, learned, tmp_path, monkeypatch):
    use_case, contract, frame, sides = prepared(sales(), target, tmp_path)
    candidate = chosen("xgboost", max_depth=4, learning_rate=0.2)
    memory, disk = fitted(sides, contract, use_case, candidate, balance=balance, seed=5)
    assert [fit.matrix for fit in learned] == ["QuantileDMatrix", "ExtMemQuantileDMatrix"]
    found = learned[0].cuts
    assert learned[1].cuts == found

    inputs = model_frame(frame, contract)
    if target == "price":
        np.testing.assert_allclose(disk.predict(inputs), memory.predict(inputs), atol=1e-4)
    else:
        answers = (model.predict_proba(inputs) for model in (disk, memory))
        np.testing.assert_allclose(*answers, atol=1e-5)

    if not balance:
        made = memory[0].transform(inputs).astype(np.float32)
        drawn = made[draw_evenly(ROWS, DRAWN, np.random.default_rng(5))]
        rows = np.vstack([drawn, np.nanmin(made, axis=0), np.nanmax(made, axis=0)])
        assert found == cuts_of(xgboost.QuantileDMatrix(rows))

    monkeypatch.setattr(bins, "BIN_ROWS", ROWS)
    fitted(sides, contract, use_case, candidate, balance=balance, seed=5)
    assert all(fit.cuts != found for fit in learned[2:])


def test_up_to_the_bound_and_of_very_many_features_all_rows_count():
    estimator = LabelledXGBClassifier(random_state=0)
    assert bin_sample(estimator, bins.BIN_ROWS, 10, None) is None
    drawn = bin_sample(estimator, bins.BIN_ROWS + 1, 10, None)
    assert drawn is not None and len(drawn.places) == bins.BIN_ROWS
    widest = bins.VALUES // bins.BIN_ROWS
    assert bin_sample(estimator, 10 * bins.BIN_ROWS, widest, None) is not None
    assert bin_sample(estimator, 10 * bins.BIN_ROWS, widest + 1, None) is None


def test_the_metric_hardly_moves(learned, tmp_path, monkeypatch):
    table = sales(30_000)
    use_case, contract, _, sides = prepared(table[:20_000], "truth", tmp_path)
    candidate = chosen("xgboost", max_depth=4, learning_rate=0.2)
    held_out = model_frame(table[20_000:], contract)
    losses = []
    for rows in (2_000, 20_000):
        monkeypatch.setattr(bins, "BIN_ROWS", rows)
        (model,) = fitted(sides[:1], contract, use_case, candidate)
        losses.append(log_loss(table["truth"][20_000:], model.predict_proba(held_out)[:, 1]))
    assert learned[0].cuts != learned[1].cuts
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)


def test_what_was_not_drawn_is_learned_as_it_is_predicted(large, learned):
    random = np.random.default_rng(0)
    rows = 20_000
    gap = random.random(rows) < 0.3
    tails = random.standard_cauchy(rows)
    seldom = np.full(rows, np.nan)
    seldom[:4] = 1, 2, 3, 4
    features = np.column_stack(
        [
            np.where(gap, np.nan, tails),
            seldom,
            np.full(rows, 7.0),
            np.full(rows, np.nan),
            random.normal(size=rows),
            np.arange(rows) == 11,
        ]
    ).astype(np.float32, order="F")
    truth = gap ^ (random.random(rows) < 0.05)
    estimator = LabelledXGBClassifier(n_estimators=5, max_depth=3, n_jobs=1, random_state=0)
    with _by_columns(estimator):
        estimator.fit(features, truth)

    (fit,) = learned
    drawn = features[draw_evenly(rows, DRAWN, np.random.default_rng(0))]
    assert np.nanmax(drawn[:, 0]) < np.nanmax(features[:, 0])
    assert np.isnan(drawn[:, 1]).all() and not drawn[:, 5].any()
    probabilities = estimator.predict_proba(features)[:, 1]
    np.testing.assert_allclose(probabilities, fit.predicted, atol=1e-6)

    for cuts, values in zip(fit.cuts, features.T, strict=True):
        if not np.isnan(values).all():
            assert cuts[0] < np.nanmin(values) and cuts[-1] > np.nanmax(values)
    inner = [cuts[1:-1] for cuts in fit.cuts]  # without what lies beyond all values
    assert len(inner[2]) == 0 and len(inner[3]) == 0
    assert len(inner[5]) == 1 and 0 < inner[5][0] <= 1  # the one row is apart from the others


def test_heavy_rows_are_drawn_and_count_for_what_they_weigh(large):
    random = np.random.default_rng(1)
    rows, rare = 50_000, 50
    values = random.random((rows, 1), np.float32)
    values[:rare] += 10
    weight = np.where(np.arange(rows) < rare, rows / rare, 1.0)
    estimator = LabelledXGBClassifier(random_state=3, n_jobs=1)

    def heavy_cuts(matrix):
        return sum(cut > 10 for cut in cuts_of(matrix)[0])

    sample = BinSample(rows, 1, weight, seed=3)
    assert len(sample.places) == DRAWN
    assert (sample.places[:rare] == np.arange(rare)).all()
    assert (sample.weight[:rare] == rows / rare).all()
    assert sample.weight.sum() == pytest.approx(weight.sum(), rel=0.05)
    for start in range(0, rows, 20_000):
        sample.take(values[start : start + 20_000])
    found = heavy_cuts(sample.matrix(estimator))
    assert found == pytest.approx(heavy_cuts(xgboost.QuantileDMatrix(values, weight=weight)), abs=3)

    plain = BinSample(rows, 1, None, seed=3)
    plain.take(values)
    assert heavy_cuts(plain.matrix(estimator)) < 5 < found


def test_rows_without_weight_are_not_drawn(large):
    weight = np.tile([0.0, 2.0], 5_000)
    sample = BinSample(10_000, 1, weight, seed=0)
    assert len(sample.places) == DRAWN
    assert (sample.places % 2 == 1).all()
    assert np.ptp(sample.weight) == 0


@given(
    columns=st.lists(
        st.sampled_from(["normal", "few", "constant", "gaps", "nothing", "skewed"]),
        min_size=1,
        max_size=5,
    ),
    rows=st.sampled_from([1, 2, 200, 255, 256, 257, 258, 3_000]),
    max_bin=st.sampled_from([None, 2, 16, 256]),
    seed=st.integers(0, 100),
)
@settings(max_examples=60, deadline=None)
def test_shared_bins_are_those_of_the_sample(columns, rows, max_bin, seed):
    random = np.random.default_rng(seed)
    kinds = {
        "normal": lambda: random.normal(size=rows),
        "few": lambda: random.integers(-3, 4, rows) / 2,
        "constant": lambda: np.full(rows, -7.25),
        "gaps": lambda: np.where(random.random(rows) < 0.5, np.nan, random.random(rows)),
        "nothing": lambda: np.full(rows, np.nan),
        "skewed": lambda: np.exp(4 * random.normal(size=rows)),
    }
    values = np.column_stack([kinds[name]() for name in columns]).astype(np.float32)
    estimator = LabelledXGBClassifier(random_state=0, n_jobs=1, max_bin=max_bin)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bins, "BIN_ROWS", max(1, rows // 2))
        samples = [BinSample(rows, len(columns), None, seed=1) for _ in range(2)]
    for sample in samples:
        sample.take(values)
    shared = pickle.loads(pickle.dumps(samples[0].shared(estimator)))
    for ours, theirs in zip(
        cuts_of(shared.matrix), cuts_of(samples[1].matrix(estimator)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    target = np.arange(rows) % 2
    params = {"max_depth": 3} | ({} if max_bin is None else {"max_bin": max_bin})
    trees = [
        xgboost.train(params, xgboost.QuantileDMatrix(values, target, max_bin=max_bin, ref=ref), 3)
        for ref in (shared, shared.matrix)
    ]
    assert trees[0].get_dump() == trees[1].get_dump()
