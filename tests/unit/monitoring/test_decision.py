"""The decision: what a verdict leads to, given what happened before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from evergreen.monitoring.change_point import change_point
from evergreen.monitoring.counts import LossSums
from evergreen.monitoring.decision import PastWindow, TrainingRows, WindowLoss, decide
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.verdict import Performance, WindowVerdict

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
CONFIG = MonitoringConfig()
QUIET = WindowVerdict(rows=500, labelled=0, alarm=False, families=(), reasons=("No drift.",))
INPUTS = QUIET.model_copy(update={"alarm": True, "families": ("columns",), "reasons": ("a moved",)})
WORSE = QUIET.model_copy(update={"alarm": True, "families": ("performance",), "reasons": ("b",)})


def loss(mean: float, rows: int = 500) -> WindowLoss:
    return WindowLoss(rows=rows, total=mean * rows, squares=(mean**2 + 0.04) * rows)


def past(*families, version="1", **more) -> list[PastWindow]:
    """Return windows, an hour apart, that alarmed in the given families ("" for none)."""
    return [
        PastWindow(
            at=START + place * HOUR,
            rows=500,
            version=version,
            families=(family,) if family else (),
            loss=loss(0.3),
            **more,
        )
        for place, family in enumerate(families)
    ]


def decided(verdict, history, config=CONFIG):
    return decide(verdict, config, history, history[-1].at)


def test_nothing_is_done_about_nothing():
    assert decided(QUIET, past("", "", "")).action == "none"


@pytest.mark.parametrize(
    ("families", "action"),
    [
        (("columns",), "watch"),
        (("", "", "columns"), "watch"),
        (("columns", "", "", "columns"), "watch"),
        (("columns", "", "columns"), "retrain"),
        (("", "multivariate", "columns"), "retrain"),
    ],
)
def test_an_alarm_must_be_confirmed(families, action):
    found = decided(INPUTS, past(*families))
    assert found.action == action
    if action == "watch":
        assert "not confirmed" in found.reasons[-1]


def test_the_newest_window_must_alarm():
    assert decided(QUIET, past("columns", "columns", "")).action == "none"


def test_drift_of_inputs_alone_may_be_accepted():
    assert decided(INPUTS, past("columns", "columns")).accept_when_refused
    assert not decided(WORSE, past("columns", "performance")).accept_when_refused


def test_what_cannot_be_measured_calls_a_person():
    verdict = INPUTS.model_copy(update={"unmeasurable": ("price is gone",)})
    found = decided(verdict, past("columns", "columns"))
    assert (found.action, found.reasons) == ("alert", ("price is gone",))
    few = QUIET.model_copy(update={"too_few": True, "reasons": ("3 rows are too few",)})
    assert decided(few, past("")).action == "watch"


def test_after_a_retraining_it_cools_down():
    history = past(*["columns"] * 14)
    training = TrainingRows(since=None, rows=None, max_rows=1, reason="")
    acted = {"action": "retrain", "outcome": "refused", "training": training}
    history[1] = history[1].model_copy(update=acted)
    assert "cooling down" in decided(INPUTS, history[:12]).reasons[-1]
    assert decided(INPUTS, history[:13]).action == "retrain"


def test_alarms_before_a_retraining_confirm_nothing():
    history = past("columns", "columns", "columns")
    history[1] = history[1].model_copy(update={"action": "retrain", "outcome": "refused"})
    config = CONFIG.model_copy(update={"cool_down": 0})
    assert "not confirmed" in decided(INPUTS, history, config).reasons[-1]


def test_a_day_has_a_cap():
    config = CONFIG.model_copy(update={"cool_down": 0, "daily_cap": 2})
    history = past(*["columns"] * 8)
    for place in (1, 4):
        history[place] = history[place].model_copy(update={"action": "retrain"})
    assert "daily cap" in decided(INPUTS, history, config).reasons[-1]
    later = history[-1].model_copy(update={"at": START + 30 * HOUR})
    assert decided(INPUTS, [*history[:-1], later], config).action == "retrain"


def test_training_starts_after_the_change():
    history = past(*[""] * 10, "performance", "performance")
    for place in range(9, 12):
        history[place] = history[place].model_copy(update={"loss": loss(0.6)})
    found = decided(WORSE, history)
    assert found.action == "retrain"
    assert found.training.since == history[8].at
    assert found.training.rows == 1500
    assert "0.3 to 0.6" in found.reasons[-1]


def test_too_few_rows_after_the_change_are_waited_for():
    history = past(*[""] * 10, "performance", "performance")
    history[-1] = history[-1].model_copy(update={"loss": loss(0.9)})
    found = decided(WORSE, history)
    assert found.action == "watch"
    assert "too few to train on" in found.reasons[-1]


def followed(rows_after: int) -> list[PastWindow]:
    training = TrainingRows(since=START, rows=1000, max_rows=50_000, reason="")
    acted = {"action": "retrain", "outcome": "promoted", "training": training}
    history = past("", "", "")
    history[2] = history[2].model_copy(update=acted)
    newer = past(*[""] * (3 + rows_after // 500), version="2")[3:]
    return [*history, *newer]


def test_it_retrains_once_more_when_labels_have_grown():
    assert decided(QUIET, followed(2500)).action == "none"
    found = decided(QUIET, followed(3000))
    assert found.action == "retrain"
    assert found.training.follow_up
    assert found.training.rows == 4000


def test_a_follow_up_is_not_followed():
    history = followed(3000)
    second = decided(QUIET, history).training
    acted = {"action": "retrain", "outcome": "promoted", "training": second}
    history[-1] = history[-1].model_copy(update=acted)
    more = [p.model_copy(update={"at": p.at + 200 * HOUR}) for p in past(*[""] * 60, version="3")]
    assert decided(QUIET, [*history, *more]).action == "none"


def measured(value: float, rows: int = 500) -> WindowVerdict:
    performance = Performance(
        kind="measured", metric="brier", rows=rows, value=value, before=0.3, change=value - 0.3,
        low=0.1, high=0.3, confidence=0.95, p=1e-6, alarm=True, reason="Brier score rose",
    )  # fmt: skip
    return WORSE.model_copy(update={"performance": (performance,)})


def test_a_new_version_that_does_worse_is_rolled_back():
    history = past("", "columns", "columns")
    history[-1] = history[-1].model_copy(update={"action": "retrain", "outcome": "promoted"})
    served = past("", "", "", "performance", version="2")[3:]
    after = [*history, *served]
    assert decided(measured(0.5), after).action == "rollback"
    assert decided(measured(0.28), after).action != "rollback"  # the former one was no better
    assert decided(measured(0.5, rows=20), after).action != "rollback"
    late = [*history, served[0].model_copy(update={"at": served[0].at + 9 * HOUR})]
    assert decided(measured(0.5), late).action != "rollback"


def test_a_history_is_needed():
    with pytest.raises(ValueError, match="must end with"):
        decide(QUIET, CONFIG, [], START)


def test_the_change_point_is_found():
    rng = np.random.default_rng(2)
    means = [0.3] * 12 + [0.4] * 4
    sums = [LossSums.of(rng.normal(mean, 0.3, 500)) for mean in means]
    found = change_point(sums)
    assert found.position == 12
    assert found.before == pytest.approx(0.3, abs=0.02)
    assert found.after == pytest.approx(0.4, abs=0.03)
    assert found.statistic > 20


@pytest.mark.parametrize(
    "sums",
    [[], [LossSums()], [LossSums(), LossSums()], [LossSums(10, 5.0, 3.0), LossSums(10, 1.0, 0.5)]],
)
def test_where_nothing_rose_there_is_no_change_point(sums):
    assert change_point(sums) is None
