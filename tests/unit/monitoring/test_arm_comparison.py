"""Arms compared by what came true: differences that are there are found, others are not claimed."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from evergreen.config import DataConfig, EvaluationConfig, TrainingConfig, UseCase
from evergreen.errors import UnreachableError
from evergreen.monitoring.arm_comparison import FEWEST, compare_arms
from evergreen.monitoring.arm_rows import ArmLog, ArmRows, BothArms
from evergreen.reporting.arms_report import arms_report
from evergreen.training.predictions import Predictions
from tests.support.html_checks import check_page
from tests.support.logged_arms import LABELS, answered, write_log
from tests.support.models import small_contract

SINCE = datetime(2026, 5, 1, tzinfo=UTC)
USE_CASE = UseCase(
    name="boats",
    task="classification",
    data=DataConfig(source="boats.csv", target="wind"),
    training=TrainingConfig(metric="accuracy"),
    evaluation=EvaluationConfig(bootstrap=200),
)


def arm(name, seed, rows, right, *, actual=None):
    """Rows of which a share is predicted right."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, rows) if actual is None else actual
    said = np.where(rng.random(rows) < right, truth, (truth + 1) % 3)
    words = np.array(LABELS, dtype=object)
    return ArmRows(
        arm=name,
        version={"champion": "1"}.get(name, "2"),
        rows=rows,
        failed=0,
        latencies=rng.lognormal(0, 0.5, rows),
        keys=tuple((f"r{number}", 0) for number in range(rows)),
        labelled=Predictions(
            actual=words[truth],
            predicted=words[said],
            labels=LABELS,
            groups=np.arange(rows),
        ),
    )


def compared(champion, challenger):
    return compare_arms(BothArms(champion, challenger, SINCE, SINCE), USE_CASE)


def test_a_difference_that_is_there_is_found():
    better = compared(arm("champion", 1, 600, 0.7), arm("challenger", 2, 300, 0.85))
    assert better.verdict == "better"
    assert not better.paired
    assert better.gain.low > 0
    assert better.sentence.startswith("The challenger is better in Accuracy: its gain is 0.1")
    worse = compared(arm("champion", 1, 600, 0.85), arm("challenger", 2, 300, 0.7))
    assert worse.verdict == "worse"
    assert worse.gain.high < 0


def test_what_is_not_there_is_hardly_ever_claimed():
    claims = sum(
        compared(
            arm("champion", 2 * seed, 200, 0.8), arm("challenger", 2 * seed + 1, 200, 0.8)
        ).verdict
        in ("better", "worse")
        for seed in range(80)
    )
    assert claims <= 10  # of 80 at a chance of 0.05, 11 or more come about once in 350 times


def test_an_error_that_is_less_is_a_gain():
    case = UseCase(
        name="boats",
        task="regression",
        data=DataConfig(source="boats.csv", target="wind"),
        evaluation=EvaluationConfig(bootstrap=200),
    )

    def regression(name, seed, noise):
        rng = np.random.default_rng(seed)
        actual = rng.normal(size=300)
        found = arm(name, seed, 300, 1.0)
        labelled = Predictions(actual=actual, predicted=actual + rng.normal(0, noise, 300))
        return ArmRows(**{**vars(found), "labelled": labelled})

    both = BothArms(regression("champion", 1, 1.0), regression("challenger", 2, 0.5), SINCE, SINCE)
    found = compare_arms(both, case)
    assert (found.metric, found.verdict) == ("rmse", "better")
    assert found.gain.low > 0


def test_a_shadow_is_compared_on_the_same_rows():
    """Pairs show what independent samples of this size cannot."""
    truth = np.random.default_rng(0).integers(0, 3, 400)
    champion = arm("champion", 1, 400, 0.8, actual=truth)
    said = champion.labelled.predicted.copy()
    wrong = np.flatnonzero(said != champion.labelled.actual)[:16]
    said[wrong] = champion.labelled.actual[wrong]  # right where the champion is, and 16 times more
    shadow = ArmRows(
        **{
            **vars(arm("shadow", 2, 400, 1.0, actual=truth)),
            "labelled": Predictions(
                champion.labelled.actual, said, labels=LABELS, groups=np.arange(400)
            ),
        }
    )
    paired = compared(champion, shadow)
    assert (paired.paired, paired.pairs, paired.verdict) == (True, 400, "better")
    unpaired = compared(champion, ArmRows(**{**vars(shadow), "arm": "challenger"}))
    assert unpaired.verdict == "no_difference"
    assert "may as well be nothing" in unpaired.sentence


def test_only_rows_that_both_scored_are_pairs():
    calm = np.zeros(300, dtype=np.int64)
    champion = arm("champion", 1, 300, 0.8, actual=calm)
    shadow = arm("shadow", 1, 300, 0.8, actual=calm)
    keys = tuple((f"r{number}", 0) for number in range(200, 500))
    found = compared(champion, ArmRows(**{**vars(shadow), "keys": keys}))
    assert found.pairs == 100


@pytest.mark.parametrize("rows", [0, 1, FEWEST - 1])
def test_too_few_labels_say_nothing(rows):
    found = compared(arm("champion", 1, 500, 0.5), arm("challenger", 2, rows, 1.0))
    assert found.verdict == "not_enough_labels"
    assert f"it takes {FEWEST} of each" in found.sentence


def test_the_page_says_what_was_found():
    found = compared(arm("champion", 1, 600, 0.7), arm("challenger", 2, 300, 0.85))
    page = arms_report(found)
    check_page(page)
    assert "Challenger better" in page
    assert found.sentence.replace("'", "&#39;") in page
    empty = arms_report(compared(arm("champion", 1, 0, 0.7), arm("challenger", 2, 0, 0.85)))
    check_page(empty)
    assert "Not enough labels" in empty


# --- from the log ---------------------------------------------------------------------------


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path / 'log.db'}"


@pytest.fixture
def log(url):
    log = ArmLog(url, small_contract())
    yield log
    log.close()


def test_the_log_tells_the_arms_apart(log, url, tmp_path):
    rows = answered("champion", 90, SINCE, seed=1)
    rows += answered("challenger", 40, SINCE, seed=2, fail=0.2)
    rows += answered("challenger", 5, SINCE, seed=3, version="7")  # of another plan
    failed = sum(bool(row.flags) for row in rows)
    write_log(url, tmp_path / "spool", rows, ["calm"] * len(rows))
    both = log.rows("2")
    assert failed > 0
    assert (both.champion.rows, both.champion.failed, both.champion.version) == (90, 0, "1")
    assert (both.challenger.rows, both.challenger.failed) == (40, failed)
    assert len(both.challenger.labelled) == 40 - failed
    assert both.champion.labelled.labels == LABELS
    assert len(both.champion.latencies) == 90
    assert both.since > SINCE


def test_a_shadow_shares_its_requests(log, url, tmp_path):
    rows = answered("champion", 60, SINCE, seed=1)
    shadows = answered("shadow", 60, SINCE, seed=2)
    for row, shadow in zip(rows, shadows, strict=True):
        shadow.request_id = row.request_id
    write_log(url, tmp_path / "spool", [*rows, *shadows], ["calm"] * 60)
    found = compare_arms(log.rows("2"), USE_CASE)
    assert (found.paired, found.pairs) == (True, 60)
    assert found.challenger.arm == "shadow"


def test_rows_without_feedback_or_with_an_unknown_label_are_not_measured(log, url, tmp_path):
    rows = answered("challenger", 10, SINCE)
    write_log(url, tmp_path / "spool", rows, ["calm", "tsunami", "gale"])
    assert len(log.rows("2").challenger.labelled) == 2


def test_nothing_logged_and_a_damaged_log(log, tmp_path):
    both = log.rows("2")
    assert (both.champion.rows, both.challenger.rows, both.since) == (0, 0, None)
    assert compare_arms(both, USE_CASE).verdict == "not_enough_labels"
    (tmp_path / "log.db").write_text("this is no database, and long enough to be seen as one")
    with pytest.raises(UnreachableError, match="cannot be read"):
        log.rows("2")
