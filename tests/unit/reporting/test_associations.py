from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr
from scipy.stats.contingency import association

from evergreen.reporting.associations import (
    correlation_ratio,
    cramers_v,
    spearman,
    target_associations,
)
from tests.support.report_facts import frame_and_contract

RNG = np.random.default_rng(5)


def test_spearman_is_scipys():
    one, other = pd.Series(RNG.normal(size=50)), pd.Series(RNG.normal(size=50))
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)


def test_cramers_v_is_near_scipys_in_a_large_table_and_corrected_in_a_small_one():
    left = pd.Series(RNG.choice(list("abc"), 20_000))
    right = left.where(RNG.random(20_000) < 0.5, RNG.choice(list("abc"), 20_000))
    table = pd.crosstab(left, right).to_numpy()
    assert cramers_v(left, right) == pytest.approx(association(table, method="cramer"), abs=0.005)
    unrelated = pd.Series(RNG.choice(list("abc"), 30)), pd.Series(RNG.choice(list("abc"), 30))
    plain = association(pd.crosstab(*unrelated).to_numpy(), method="cramer")
    assert cramers_v(*unrelated) < plain


def test_the_ratio_is_one_where_groups_decide_and_low_where_they_do_not():
    groups = pd.Series(["a"] * 50 + ["b"] * 50)
    assert correlation_ratio(groups, pd.Series([0.0] * 50 + [1.0] * 50)) == pytest.approx(1)
    assert correlation_ratio(groups, pd.Series(RNG.normal(size=100))) < 0.3


@pytest.mark.parametrize("measure", [spearman, correlation_ratio, cramers_v])
@pytest.mark.parametrize(
    "values", [[1.0, 1.0, 1.0, 1.0], [np.nan] * 4, [1.0, np.nan, np.nan, np.nan]]
)
def test_what_does_not_vary_is_not_measurable(measure, values):
    assert measure(pd.Series(values), pd.Series([1.0, 2.0, 3.0, 4.0])) is None


def test_a_tables_associations_come_strongest_first():
    frame, contract = frame_and_contract("diabetes")
    frame["s6"] = np.nan
    found = target_associations(frame, contract)
    strengths = [abs(each.value) for each in found[:-1]]
    assert strengths == sorted(strengths, reverse=True)
    assert (found[-1].column, found[-1].value) == ("s6", None)
