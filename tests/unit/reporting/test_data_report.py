from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.data.quality_report import Finding, QualityReport
from evergreen.data.statistics import table_statistics
from evergreen.reporting import data_report as module
from evergreen.reporting.data_report import data_report, draw_portrait
from tests.support.html_checks import check_page
from tests.support.odd_tables import HOSTILE, LONG, mixed_table
from tests.support.report_facts import frame_and_contract


def quality(*findings: Finding, rows: int = 10, columns: int = 5) -> QualityReport:
    return QualityReport(
        rows=rows, columns=columns, checks=("missing", "leakage"), findings=findings
    )


def finding(severity: str, **values) -> Finding:
    return Finding(check="missing", severity=severity, message="Something is missing.", **values)


@pytest.mark.parametrize("name", ["wine", "diabetes"])
def test_a_real_table(name):
    frame, contract = frame_and_contract(name)
    html = data_report(frame, contract, quality())
    page = check_page(html)
    assert len(html) < 1_500_000
    assert "The table passes all 2 checks." in page.text
    for column in frame.columns:
        assert column in page.text
    assert ("Along each column" in page.text) is (name == "diabetes")
    assert "No value is missing." in page.text


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_all_types_odd_names_and_holes(task):
    frame, contract = mixed_table(rows=120, extra=2, task=task)
    page = check_page(data_report(frame, contract, quality()))
    assert HOSTILE in page.text
    assert LONG in page.text
    assert "<b>bold</b>" in page.text
    assert "no values" in page.text  # the column that holds nothing
    assert "only 1" in page.text  # the constant one
    assert "2 columns with missing values; most in nothing at all (100%)" in page.text


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_hardly_any_rows(rows, task):
    frame, contract = mixed_table(rows=60, extra=1, task=task)
    page = check_page(data_report(frame.head(rows), contract, quality(rows=rows)))
    assert "not measurable" in page.text


def test_a_target_without_values():
    frame, contract = frame_and_contract("diabetes")
    frame["target"] = np.nan
    page = check_page(data_report(frame, contract, quality()))
    assert "target holds no values." in page.text


def test_infinities_do_not_stop_the_report():
    frame, contract = frame_and_contract("diabetes")
    frame.loc[0, "bmi"] = np.inf
    check_page(data_report(frame, contract, quality()))


def test_wide_tables_are_cut_and_the_page_says_so():
    frame, contract = mixed_table(rows=40, extra=200)
    html = data_report(frame, contract, quality())
    page = check_page(html)
    assert len(html) < 1_500_000
    assert "60 more columns not listed." in page.text
    assert "The 24 of 208 input columns that go most with the target." in page.text
    assert "At most 25 columns of a kind" in page.text


def test_long_tables_are_sampled_for_drawing_and_counted_whole(monkeypatch):
    monkeypatch.setattr(module, "MAX_DRAWN_ROWS", 100)
    frame, contract = frame_and_contract("diabetes")
    frame.loc[5, "bmi"] = np.nan
    page = check_page(data_report(frame, contract, quality()))
    assert "of all 442 rows; drawings and associations are of 100 rows taken at random" in page.text
    assert "1 column with missing values; most in bmi" in page.text


def test_a_report_is_the_same_each_time():
    frame, contract = mixed_table(rows=50, extra=0)
    assert data_report(frame, contract, quality()) == data_report(frame, contract, quality())


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_known_statistics_make_the_same_report(task):
    frame, contract = mixed_table(rows=80, extra=1, task=task)
    known = table_statistics(frame, contract.columns)
    page = draw_portrait(frame, contract, known).page(quality())
    assert page == data_report(frame, contract, quality())


def test_the_table_is_left_as_it_was():
    frame, contract = mixed_table(rows=50, extra=0)
    before = frame.copy(deep=True)
    data_report(frame, contract, quality())
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    ("findings", "said"),
    [
        ([], "The table passes all 2 checks."),
        ([finding("info")], "The table passes all 2 checks."),
        ([finding("warning"), finding("warning")], "The table can be used; 2 warnings to look at."),
        ([finding("error")], "1 error in the table stops the run."),
        ([finding("error"), finding("error")], "2 errors in the table stop the run."),
    ],
)
def test_the_headline(findings, said):
    frame, contract = mixed_table(rows=30, extra=0)
    assert said in check_page(data_report(frame, contract, quality(*findings))).text


def test_findings_name_rows_and_columns():
    frame, contract = mixed_table(rows=30, extra=0)
    found = finding("error", columns=(HOSTILE, "seen"), count=7, share=0.07, rows=(3, 17))
    page = check_page(data_report(frame, contract, quality(found)))
    assert f"Columns {HOSTILE} and seen" in page.text
    assert "Rows 3 and 17 (counted from 0)" in page.text
    assert "7 7%" in page.text
