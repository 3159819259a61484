from __future__ import annotations

import pytest

from evergreen.reporting.limits import limits
from evergreen.training.results import CalibrationBin, Interval
from tests.support.report_facts import diabetes_facts, wine_facts
from tests.support.report_outcomes import unmeasurable


def said(facts) -> str:
    return "\n".join(limits(facts))


def changed(facts, part: str, **values):
    return facts.model_copy(update={part: getattr(facts, part).model_copy(update=values)})


def test_few_holdout_rows():
    assert "a single row moves the accuracy by 2.8 percentage points" in said(wine_facts())
    assert "so the intervals are wide: RMSE is" in said(diabetes_facts())
    assert "The holdout has only" not in said(changed(wine_facts(), "challenger", rows=100))


def test_classes_with_few_rows():
    few = changed(wine_facts(), "challenger", confusion=((12, 0, 0), (0, 14, 0), (1, 0, 2)))
    assert "Classes with few holdout rows, hardly judged: class_2 (3 rows)." in said(few)
    assert "Classes with few" not in said(
        changed(wine_facts(), "challenger", confusion=((12, 0, 0), (0, 14, 0), (0, 0, 10)))
    )


def test_metrics_and_slices_that_are_not_measurable():
    text = said(unmeasurable(wine_facts()))
    assert "Not measurable on this holdout: Log loss, Accuracy, F1 and ROC AUC." in text
    assert "Log loss is not measurable for alcohol low, alcohol middle and alcohol high." in text
    assert "Not measurable" not in said(wine_facts())


def test_slices_that_were_not_examined():
    assert "the use case names no slices" in said(changed(wine_facts(), "challenger", slices=()))
    assert "names no slices" not in said(wine_facts())


@pytest.mark.parametrize(("low", "worse"), [(5.0, True), (0.0, False)])
def test_a_slice_that_is_surely_worse(low, worse):
    bad = (
        wine_facts()
        .challenger.slices[0]
        .model_copy(update={"metrics": {"log_loss": Interval(estimate=6.0, low=low, high=7.0)}})
    )
    text = said(changed(wine_facts(), "challenger", slices=(bad,)))
    assert ("Surely worse than overall" in text) is worse


@pytest.mark.parametrize(("observed", "misses"), [(0.1, True), (0.6, False)])
def test_probabilities_that_miss(observed, misses):
    one = CalibrationBin(
        predicted=0.6, observed=observed, low=observed - 0.05, high=observed + 0.05, rows=40
    )
    text = said(changed(wine_facts(), "challenger", calibration=(one,)))
    assert ("where 60% was predicted and 10% came true" in text) is misses


def test_a_split_that_is_not_by_time():
    assert "say nothing about change over time" in said(wine_facts())
    timed = changed(wine_facts(), "data", split_method="time", split_boundary="2026-01-01")
    assert "change over time" not in said(timed)


def test_rows_without_a_target():
    assert "took no part" not in said(wine_facts()).split("\n")[0]
    fewer = changed(wine_facts(), "data", rows=wine_facts().data.rows + 5)
    assert "5 rows without a usable target took no part." in said(fewer)


def test_warnings_count_and_notes_do_not():
    text = said(wine_facts())
    assert "Data quality: 1 row is an exact copy" in text
    assert "holds 3 values far" not in text


def test_explanations_candidates_and_code():
    assert "SHAP values were not computed: there are no rows." in said(unmeasurable(wine_facts()))
    assert "Which columns matter was not computed." in said(
        wine_facts().model_copy(update={"explanation": None})
    )
    assert "Could not be trained and so took no part: LightGBM." in said(wine_facts())
    assert "not committed" in said(wine_facts())
    clean = changed(wine_facts(), "provenance", git_dirty=False)
    assert "not committed" not in said(clean)
    assert "commit is not recorded" in said(changed(wine_facts(), "provenance", git_commit=None))
