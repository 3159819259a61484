"""The guard: a promoted version that does surely worse goes back, and no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from evergreen.monitoring.guard import Promotion, judge_guard, newest_promotion
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.promotion.promotion_log import Entry
from evergreen.training.metrics import metric_named
from evergreen.training.predictions import Predictions

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROMOTION = Promotion(version="2", former="1", at=AT)
CONFIG = MonitoringConfig(guard="1h", guard_rows=200)
ACCURACY = metric_named("accuracy", "classification")
WITHIN, AFTER = AT + timedelta(minutes=30), AT + timedelta(hours=2)


def answers(errors: float, rows: int = 400, seed: int = 1) -> Predictions:
    """Predictions of which the given share is wrong."""
    actual = np.array(["no", "yes"] * (rows // 2), dtype=object)
    wrong = np.random.default_rng(seed).random(rows) < errors
    predicted = np.where(wrong, np.where(actual == "yes", "no", "yes"), actual)
    return Predictions(actual=actual, predicted=predicted, labels=("no", "yes"))


def judged(new, former, now=WITHIN, metric=ACCURACY):
    return judge_guard(PROMOTION, metric, new, former, CONFIG, now=now)


def test_a_surely_worse_version_goes_back():
    verdict = judged(answers(0.4), answers(0.1, seed=2))
    assert verdict.action == "roll_back"
    assert verdict.gain.high is not None
    assert verdict.gain.high < 0
    assert "surely worse" in verdict.reason
    assert "400 labelled rows" in verdict.reason


def test_also_where_the_labels_came_after_the_period():
    assert judged(answers(0.4), answers(0.1, seed=2), now=AFTER).action == "roll_back"


def test_a_better_one_stays():
    assert judged(answers(0.1), answers(0.4, seed=2)).action == "keep"


def test_what_is_not_sure_waits_until_the_period_is_over():
    same = answers(0.2), answers(0.2, seed=2)
    assert judged(*same).action == "wait"
    assert judged(*same, now=AFTER).action == "keep"


def test_few_rows_say_nothing_however_bad():
    verdict = judged(answers(1.0, rows=100), answers(0.0, rows=100))
    assert verdict.action == "wait"
    assert "100 labelled rows since the promotion of 200 that it takes" in verdict.reason
    assert judged(answers(1.0, rows=100), answers(0.0, rows=100), now=AFTER).action == "keep"


def test_no_rows_are_no_fault():
    verdict = judged(answers(0, rows=0), answers(0, rows=0))
    assert verdict.action == "wait"
    assert verdict.gain.estimate is None


def test_errors_count_the_other_way_round():
    rng = np.random.default_rng(3)
    actual = rng.normal(size=400)
    near, far = actual + rng.normal(0, 0.1, 400), actual + rng.normal(0, 2, 400)
    good, bad = (Predictions(actual=actual, predicted=p) for p in (near, far))
    rmse = metric_named("rmse", "regression")
    assert judged(bad, good, metric=rmse).action == "roll_back"
    assert judged(good, bad, metric=rmse).action == "keep"


def test_equal_versions_are_rarely_told_apart():
    # Each look at level 0.05 / 4: of 200 pairs of equal models 2.5 go back on average.
    verdicts = [
        judge_guard(
            PROMOTION,
            ACCURACY,
            answers(0.2, seed=2 * seed),
            answers(0.2, seed=2 * seed + 1),
            CONFIG,
            now=WITHIN,
            resamples=400,
        )
        for seed in range(200)
    ]
    assert sum(verdict.action == "roll_back" for verdict in verdicts) <= 9


def entry(action, to, since, minutes=0):
    return Entry(
        who="ada",
        use_case="wine",
        action=action,
        from_version=since,
        to_version=to,
        time=AT + timedelta(minutes=minutes),
    )


@pytest.mark.parametrize("action", ["promoted", "approved"])
def test_the_newest_move_is_watched(action):
    entries = (
        entry("refused", None, "2", 9),
        entry(action, "2", "1", 0),
        entry("promoted", "1", None),
    )
    assert newest_promotion(entries) == PROMOTION


def test_the_first_champion_and_a_way_back_are_not():
    assert newest_promotion(()) is None
    assert newest_promotion((entry("promoted", "1", None),)) is None
    entries = (entry("rolled_back", "1", "2", 5), entry("promoted", "2", "1"))
    assert newest_promotion(entries) is None
