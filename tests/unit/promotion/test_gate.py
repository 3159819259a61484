"""Every rule of the gate with a worse, an equal and a better challenger, and with none at all."""

import math

import numpy as np
import pytest

from evergreen.config import ChampionRule, EvaluationConfig, GateConfig, SliceRule
from evergreen.errors import InputError
from evergreen.promotion.gate import check_gate, judge
from evergreen.training.metrics import METRICS
from evergreen.training.predictions import Predictions
from evergreen.training.results import Evaluation, Interval, SliceResult

ROWS = 200
ACTUAL = np.array(["no", "yes"] * (ROWS // 2), dtype=object)


def model(skill, seed=1):
    """A classifier that knows the truth the better, the greater its skill."""
    noise = np.random.default_rng(seed).normal(size=ROWS)
    yes = 1 / (1 + np.exp(-(skill * np.where(ACTUAL == "yes", 1, -1) + noise)))
    predicted = np.where(yes > 0.5, "yes", "no").astype(object)
    return Predictions(ACTUAL, predicted, np.stack([1 - yes, yes], axis=1), ("no", "yes"), "yes")


GOOD, WEAK, USELESS = model(2.0), model(0.5), model(0.0)


def evaluation(figures=None, slices=(), task="classification"):
    return Evaluation(
        task=task,
        rows=ROWS,
        labels=("no", "yes"),
        positive="yes",
        confidence=0.95,
        metrics={
            name: Interval(estimate=figure, low=figure, high=figure)
            for name, figure in (figures or {}).items()
        },
        gain=None,
        gain_unit=None,
        confusion=None,
        calibration=(),
        roc=(),
        precision_recall=(),
        residuals=None,
        slices=slices,
    )


def part(value, rows, figure, metric="accuracy"):
    return SliceResult(
        column="colour",
        value=value,
        rows=rows,
        metrics={metric: Interval(estimate=figure, low=None, high=None)},
    )


def gate(thresholds=None, baseline=None, champion=None, slices=(), **more):
    return GateConfig(
        thresholds=thresholds or {}, baseline=baseline, champion=champion, slices=slices, **more
    )


def verdict(
    config,
    *,
    challenger=GOOD,
    baseline=None,
    champion=None,
    version=None,
    figures=None,
    slices=(),
    metric="log_loss",
):
    task = METRICS[metric].task
    return judge(
        config,
        metric=metric,
        challenger=challenger,
        baseline=baseline,
        champion=champion,
        champion_version=version,
        evaluation=evaluation(figures, slices, task),
        seed=3,
        bootstrap=500,
    )


@pytest.mark.parametrize(
    ("metric", "figure", "passed"),
    [
        ("accuracy", 0.94, False),
        ("accuracy", 0.95, True),
        ("accuracy", 1 - 0.05, True),  # 0.95 but for rounding
        ("accuracy", 0.96, True),
        ("log_loss", 0.96, False),
        ("log_loss", 0.95, True),
        ("log_loss", 0.94, True),
        ("accuracy", None, False),
        ("accuracy", math.nan, False),
        ("log_loss", math.nan, False),
    ],
)
def test_threshold(metric, figure, passed):
    result = verdict(gate({metric: 0.95}), figures={metric: figure})
    assert result.passed is passed
    (rule,) = result.rules
    assert (rule.rule, rule.metric, rule.bound, rule.passed) == ("threshold", metric, 0.95, passed)
    side = "at least" if metric == "accuracy" else "at most"
    assert rule.name == f"{metric} {side} 0.95"
    assert ("could not be measured" in rule.reason) == (rule.figure is None)


def test_a_threshold_on_a_metric_that_was_not_evaluated_says_no():
    assert not verdict(gate({"accuracy": 0.5}), figures={}).passed


def test_the_reason_tells_close_numbers_apart():
    result = verdict(gate({"accuracy": 0.95}), figures={"accuracy": 0.949996})
    assert result.rules[0].reason == "Accuracy is 0.949996; at least 0.95 is asked for."


@pytest.mark.parametrize(
    ("challenger", "passed"), [(model(-1.0), False), (USELESS, False), (GOOD, True)]
)
def test_baseline_with_a_worse_an_equal_and_a_better_challenger(challenger, passed):
    result = verdict(gate(baseline={}), challenger=challenger, baseline=USELESS)
    assert result.passed is passed
    assert result.rules[0].rule == "baseline"
    assert result.rules[0].low <= result.rules[0].figure <= result.rules[0].high


@pytest.mark.parametrize("metric", ["log_loss", "accuracy"])
def test_no_gain_is_a_plain_zero(metric):
    for rule in ({"champion": {}}, {"champion": {"mode": "not_worse"}}):
        result = verdict(gate(**rule), champion=GOOD, version="1", metric=metric)
        (found,) = result.rules
        assert "-0" not in result.model_dump_json() + found.reason
        assert "exactly as good as the champion" in found.reason


def test_baseline_gain_must_surely_exceed_the_least_gain():
    gain = verdict(gate(baseline={}), baseline=USELESS).rules[0]
    assert verdict(gate(baseline={"min_gain": gain.low * 0.99}), baseline=USELESS).passed
    assert not verdict(gate(baseline={"min_gain": gain.low}), baseline=USELESS).passed
    assert not verdict(gate(baseline={"min_gain": gain.figure}), baseline=USELESS).passed


def test_without_a_baseline_the_rule_says_no():
    rule = verdict(gate(baseline={}), baseline=None).rules[0]
    assert not rule.passed
    assert rule.figure is None
    assert "could not be compared" in rule.reason


@pytest.mark.parametrize("mode", ["better", "not_worse"])
@pytest.mark.parametrize(
    ("challenger", "champion", "passes_in"),
    [
        (WEAK, GOOD, set()),  # worse
        (GOOD, GOOD, {"not_worse"}),  # equal
        (GOOD, WEAK, {"better", "not_worse"}),  # better
    ],
)
def test_champion_with_a_worse_an_equal_and_a_better_challenger(
    mode, challenger, champion, passes_in
):
    for config in (gate(champion={"mode": mode}), gate(champion={"mode": mode, "margin": 0.01})):
        result = verdict(config, challenger=challenger, champion=champion, version="4")
        assert result.passed is (mode in passes_in)
        assert result.champion == "4"
        assert result.rules[0].rule == "champion"


def test_equal_predictions_gain_exactly_nothing():
    rule = verdict(gate(champion={}), champion=model(2.0), version="1").rules[0]
    assert (rule.figure, rule.low, rule.high) == (0, 0, 0)
    assert "exactly as good as the champion" in rule.reason


def test_rounding_is_no_gain():
    nudged = GOOD.probabilities + np.where(ACTUAL == "yes", 1, -1)[:, None] * [-1e-14, 1e-14]
    better = Predictions(ACTUAL, GOOD.predicted, nudged, GOOD.labels, "yes")
    assert not verdict(gate(champion={}), challenger=better, champion=GOOD, version="1").passed
    config = gate(champion={"mode": "not_worse"})
    assert verdict(config, challenger=GOOD, champion=better, version="1").passed


def test_champion_min_gain_fires_and_does_not():
    low = verdict(gate(champion={}), champion=WEAK, version="1").rules[0].low
    for share, passed in ((0.99, True), (1.0, False), (1.01, False)):
        config = gate(champion={"min_gain": low * share})
        assert verdict(config, champion=WEAK, version="1").passed is passed


def test_non_inferiority_margin_fires_and_does_not():
    slightly_worse = model(1.95)
    loss = (
        -verdict(gate(champion={}), challenger=slightly_worse, champion=GOOD, version="1")
        .rules[0]
        .low
    )
    assert loss > 0
    for share, passed in ((0.99, False), (1.0, True), (1.01, True)):
        config = gate(champion={"mode": "not_worse", "margin": loss * share})
        result = verdict(config, challenger=slightly_worse, champion=GOOD, version="1")
        assert result.passed is passed
        assert result.rules[0].bound == -loss * share


def test_an_error_counts_the_other_way_round():
    actual = np.random.default_rng(0).normal(size=100)
    near, far = Predictions(actual, actual + 0.1), Predictions(actual, actual * 0.2)
    for metric in ("rmse", "mae", "median_absolute_error", "r2"):
        for challenger, champion, passed in ((near, far, True), (far, near, False)):
            result = verdict(
                gate(champion={}),
                challenger=challenger,
                champion=champion,
                version="1",
                metric=metric,
            )
            assert result.passed is passed
            assert (result.rules[0].figure > 0) is passed


def test_a_known_champion_without_predictions_says_no():
    for mode in ("better", "not_worse"):
        result = verdict(gate(champion={"mode": mode, "margin": 9}), champion=None, version="7")
        assert not result.passed
        assert result.rules[0].figure is None


def test_without_any_champion_its_rule_is_left_out():
    result = verdict(gate({"accuracy": 0.5}, champion={}), figures={"accuracy": 0.9})
    assert result.passed
    assert [rule.rule for rule in result.rules] == ["threshold"]
    assert result.champion is None


@pytest.mark.parametrize("arm", ["challenger", "champion"])
def test_a_nan_probability_in_either_arm_says_no(arm):
    probabilities = GOOD.probabilities.copy()
    probabilities[5] = math.nan
    spoiled = Predictions(ACTUAL, GOOD.predicted, probabilities, GOOD.labels, "yes")
    arms = {"challenger": GOOD, "champion": WEAK, arm: spoiled}
    for mode in ("better", "not_worse"):
        config = gate(champion={"mode": mode, "margin": 100})
        assert not verdict(config, **arms, version="1").passed


def test_one_row_proves_nothing():
    row = np.array([0])
    result = verdict(
        gate(champion={"mode": "not_worse", "margin": 100}),
        challenger=GOOD.take(row),
        champion=WEAK.take(row),
        version="1",
    )
    assert not result.passed


def test_other_rows_are_a_fault():
    with pytest.raises(ValueError, match="same rows"):
        verdict(gate(champion={}), champion=WEAK.take(np.arange(ROWS)[::-1]), version="1")


RULE = SliceRule(metric="accuracy", floor=0.8, min_rows=20)


@pytest.mark.parametrize(
    ("red", "passed"), [(0.79, False), (0.8, True), (0.81, True), (None, False), (math.nan, False)]
)
def test_slice_floor(red, passed):
    slices = (part("red", 20, red), part("green", 90, 0.95))
    result = verdict(gate(slices=[RULE]), slices=slices)
    assert result.passed is passed
    assert "colour = red (20 rows)" in result.rules[0].reason
    assert result.rules[0].figure == (red if red and not math.isnan(red) else None)


@pytest.mark.parametrize(("red", "passed"), [(0.41, False), (0.4, True), (0.3, True)])
def test_slice_ceiling_of_a_loss(red, passed):
    rule = SliceRule(metric="log_loss", floor=0.4)
    slices = (part("red", 50, red, "log_loss"), part("green", 50, 0.1, "log_loss"))
    result = verdict(gate(slices=[rule]), slices=slices)
    assert result.passed is passed
    assert result.rules[0].figure == red


def test_small_slices_are_listed_and_not_judged():
    slices = (part("red", 19, 0.1), part("green", 20, 0.9))
    rule = verdict(gate(slices=[RULE]), slices=slices).rules[0]
    assert rule.passed
    assert "Not judged, having fewer than 20 rows: colour = red (19 rows)" in rule.reason


@pytest.mark.parametrize("slices", [(), (part("red", 19, 0.99),)])
def test_no_slice_to_judge_says_no(slices):
    rule = verdict(gate(slices=[RULE]), slices=slices).rules[0]
    assert not rule.passed
    assert rule.figure is None


def test_a_gate_without_rules_refuses_and_says_so():
    result = verdict(gate())
    assert not result.passed
    assert result.rules == ()
    assert "no rule of the gate applies" in result.summary
    with pytest.raises(InputError, match="checks nothing"):
        check_gate(gate(), "classification", EvaluationConfig())


def test_a_champion_rule_alone_lets_no_first_version_pass():
    result = verdict(gate(champion={}))
    assert not result.passed
    assert "no champion to compare with yet" in result.summary


def test_one_failing_rule_refuses_and_the_summary_names_it():
    config = gate({"accuracy": 0.9, "f1": 0.5}, approval="manual")
    result = verdict(config, figures={"accuracy": 0.8, "f1": 0.8})
    assert not result.passed
    assert [rule.passed for rule in result.rules] == [False, True]
    assert result.summary == "Refused by 1 of 2 rules: accuracy at least 0.9."
    assert result.approval == "manual"
    passing = verdict(config, figures={"accuracy": 0.9, "f1": 0.8})
    assert passing.summary == "Passed: the challenger meets all 2 rules."


def test_check_gate_accepts_what_can_be_judged():
    config = gate(
        {"accuracy": 0.9, "log_loss": 2.5},
        baseline={},
        champion=ChampionRule(mode="not_worse", margin=0.1),
        slices=[RULE],
    )
    check_gate(config, "classification", EvaluationConfig(slices=("colour",)))
    check_gate(gate({"r2": -1, "rmse": 1e9}), "regression", EvaluationConfig())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (gate({"acuracy": 0.9}), r"gate\.thresholds\.acuracy: .*Did you mean 'accuracy'"),
        (gate({"rmse": 3}), r"gate\.thresholds\.rmse: .*is for regression"),
        (gate({"accuracy": 95}), r"gate\.thresholds\.accuracy: 95 .*between 0 and 1"),
        (gate({"accuracy": math.nan}), r"gate\.thresholds\.accuracy: nan"),
        (gate({"log_loss": -1}), r"between 0 and inf"),
        (gate(slices=[RULE]), r"gate\.slices\[0\]: .*evaluation\.slices"),
        (gate(slices=[SliceRule(metric="f2", floor=0)]), r"gate\.slices\[0\]\.metric: .*mean 'f1'"),
        (gate(champion={"margin": 0.1}), r"gate\.champion\.margin: only counts with mode: not_wor"),
        (
            gate(champion={"mode": "not_worse", "min_gain": 0.1}),
            r"gate\.champion\.min_gain: only counts with mode: better",
        ),
    ],
)
def test_check_gate_refuses_early_what_cannot_be_judged(config, message):
    with pytest.raises(InputError, match=message):
        check_gate(config, "classification", EvaluationConfig())


def test_judging_twice_gives_the_same_verdict():
    config = gate({"accuracy": 0.5}, baseline={}, champion={})
    arms = {"baseline": USELESS, "champion": WEAK, "version": "2", "figures": {"accuracy": 0.9}}
    assert verdict(config, **arms) == verdict(config, **arms)


def test_reasons_read_well():
    result = verdict(gate(baseline={}, champion={}), baseline=USELESS, champion=model(2.1))
    better, worse = (rule.reason for rule in result.rules)
    assert better.startswith("Log loss: on the same rows the challenger is 0.")
    assert "better than the baseline; with 95 % confidence the gain is at least 0." in better
    assert better.endswith("and more than 0 is asked for.")
    assert "worse than the champion" in worse
