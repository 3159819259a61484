"""Each check on a table fires where it should, says what and where, and is silent elsewhere."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine

from evergreen.data.infer import infer_contract
from evergreen.data.quality import check_table, merge
from evergreen.data.quality_config import QualityConfig
from evergreen.errors import RefusedError
from tests.support.use_cases import use_case

ROWS = 100
NOW = datetime(2024, 6, 1, tzinfo=UTC)


def good(**columns) -> pd.DataFrame:
    """A table that nothing is wrong with; ``columns`` spoil it."""
    random = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "size": random.normal(10, 2, ROWS),
            "count": random.integers(0, 50, ROWS),
            "kind": random.choice(["a", "b", "c"], ROWS),
            "when": pd.date_range("2024-02-01", periods=ROWS),
            "y": random.choice(["no", "yes"], ROWS),
        }
    )
    return frame.assign(**columns)


def spoilt(column, values):
    """The good table with the first values of one column replaced."""
    frame = good()
    rest = frame[column].tolist()[len(values) :]
    frame[column] = pd.Series([*values, *rest], dtype=object)
    return frame


def report(frame, task="classification", target="y", **parts):
    case = use_case(task, target, **{"data": {"timestamp": "when"}, **parts})
    return check_table(frame, infer_contract(frame, case), case, now=NOW)


def found(check, frame, *args, **parts):
    """The findings of one check."""
    return [f for f in report(frame, *args, **parts).findings if f.check == check]


def test_a_good_table_has_no_findings():
    quality = report(good())
    assert quality.findings == ()
    assert (quality.rows, quality.columns) == (100, 5)
    assert set(quality.checks) == set(QualityConfig.model_fields) - {"shared_rows"}
    quality.require()


@pytest.mark.parametrize("load", [load_wine, load_iris, load_breast_cancer, load_diabetes])
def test_well_known_tables_have_no_findings(load):
    task = "regression" if load is load_diabetes else "classification"
    assert report(load(as_frame=True).frame, task, "target", data={}).findings == ()


RULES = {
    "size": {"minimum": 0, "maximum": 40},
    "kind": {"categories": ["a", "b", "c"]},
    "count": {"nullable": False},
}


@pytest.mark.parametrize(
    ("check", "column", "values", "words"),
    [
        ("types", "size", ["n/k", "?"], ("numbers", "2 values (2.0%; rows 0, 1", "'n/k', '?'")),
        ("types", "when", ["2024-01-01", "soon"], ("dates", "1 value (1.0%; row 1,", "'soon'")),
        ("ranges", "size", [-1.0, 99.0], ("at least 0 and at most 40", "'-1.0', '99.0'")),
        ("categories", "kind", ["d"], ("'a', 'b', 'c'", "1 value", "'d'")),
        ("nulls", "count", [None, None], ("2 values", "nullable: true")),
    ],
)
def test_broken_promises_are_errors(check, column, values, words):
    (finding,) = found(check, spoilt(column, values), contract=RULES)
    assert finding.severity == "error"
    assert finding.columns == (column,)
    assert len(finding.rows) == finding.count
    for word in words:
        assert word in finding.message
    assert found(check, good(), contract=RULES) == []


def test_ranges_categories_and_gaps_are_free_where_nothing_is_declared():
    frame = spoilt("size", [-1e3, 1e3]).assign(kind=[None] * 10 + ["x"] * 90)
    assert not {"ranges", "categories", "nulls"} & {f.check for f in report(frame).findings}


@pytest.mark.parametrize(
    ("check", "frame", "severity", "columns", "words"),
    [
        ("minimum_rows", good().head(12), "error", (), ("only 12 rows", "at least 20")),
        (
            "infinities",
            spoilt("size", [1.0, np.inf, -np.inf]),
            "error",
            ("size",),
            ("2 infinite numbers", "rows 1, 2"),
        ),
        ("empty_columns", good(count=np.nan), "error", ("count",), ("'count' holds no value",)),
        (
            "missing",
            spoilt("kind", [None] * 31),
            "warning",
            ("kind",),
            ("misses 31 values", "31.0%, more than 30.0%"),
        ),
        (
            "constant_columns",
            good(count=7, kind="a"),
            "warning",
            ("count", "kind"),
            ("'count', 'kind' have the same value",),
        ),
        (
            "duplicates",
            pd.concat([good(), good().head(6)], ignore_index=True),
            "warning",
            (),
            ("6 rows", "5.7%", "rows 100, 101"),
        ),
        (
            "outliers",
            spoilt("size", [500.0] * 6),
            "info",
            ("size",),
            ("6 values (6.0%)", "above"),
        ),
        (
            "target_missing",
            spoilt("y", [None] * 50),
            "error",
            ("y",),
            ("'y' is missing in 50 rows (50.0%, more than 20.0%)",),
        ),
        ("target_constant", good(y="yes"), "error", ("y",), ("'y' is 'yes' in every row",)),
        (
            "class_rows",
            spoilt("y", ["maybe"]),
            "error",
            ("y",),
            ("'maybe'", "only 1 row;", "5 folds"),
        ),
        (
            "class_balance",
            spoilt("y", ["rare"]),
            "warning",
            ("y",),
            ("'rare'", "1.0%", "training.balance"),
        ),
        (
            "identifiers",
            good(count=range(1000, 1000 + ROWS)),
            "warning",
            ("count",),
            ("looks like an identifier", "100 values in 100 rows"),
        ),
        (
            "identifiers",
            good(kind=[f"u{i}" for i in range(ROWS)]),
            "warning",
            ("kind",),
            ("left out as an identifier",),
        ),
        (
            "future_rows",
            good(paid=pd.date_range("2024-02-03", periods=ROWS)),
            "warning",
            ("paid", "when"),
            ("'paid' is later than 'when' in 100 rows",),
        ),
    ],
)
def test_each_check_fires(check, frame, severity, columns, words):
    (finding,) = found(check, frame)
    assert finding.severity == severity
    assert finding.columns == columns
    for word in words:
        assert word in finding.message


@pytest.mark.parametrize(
    ("check", "frame"),
    [
        ("minimum_rows", good().head(20)),
        ("infinities", good()),
        ("empty_columns", spoilt("count", [None] * 99)),
        ("missing", spoilt("kind", [None] * 30)),
        ("missing", spoilt("y", [None] * 40)),
        ("constant_columns", spoilt("kind", ["z"])),
        ("duplicates", pd.concat([good(), good().head(5)], ignore_index=True)),
        ("outliers", spoilt("size", [500.0] * 5)),
        ("outliers", good(count=[0] * 80 + [9] * 20)),
        ("target_missing", spoilt("y", [None] * 20)),
        ("target_constant", good()),
        ("class_rows", spoilt("y", ["maybe"] * 6)),
        ("class_balance", spoilt("y", ["rare"] * 2)),
        ("identifiers", good(count=np.random.default_rng(0).permutation(10**6)[:ROWS])),
        ("identifiers", good(count=[i // 2 for i in range(ROWS)])),
        ("future_rows", good(born=pd.date_range("1990-01-01", periods=ROWS))),
    ],
)
def test_no_check_fires_without_reason(check, frame):
    assert found(check, frame) == []


def test_ignored_columns_may_be_empty_or_identifiers():
    frame = good(nothing=None, id=[f"u{i}" for i in range(ROWS)])
    assert report(frame, data={"ignore": ["nothing", "id"]}).findings == ()


@pytest.mark.parametrize(
    ("expires_after", "when", "words"),
    [
        ("7d", {}, ("2024-05-10 00:00 UTC, 22 days ago", "allows 7 days")),
        ("6h", {}, ("allows 6 hours",)),
        ("90d", {"when": pd.date_range("2024-06-03", periods=ROWS)}, ("in the future",)),
        ("90d", {"when": ["soon", "later"] * 50}, ("No timestamp in 'when' can be read",)),
    ],
)
def test_a_table_can_be_too_old(expires_after, when, words):
    data = {"timestamp": "when", "expires_after": expires_after}
    (finding,) = found("freshness", good(**when), data=data)
    assert finding.severity == "error"
    for word in words:
        assert word in finding.message


def test_a_fresh_table_passes_and_no_limit_means_no_check():
    assert found("freshness", good(), data={"timestamp": "when", "expires_after": "30d"}) == []
    assert found("freshness", good(when=pd.Timestamp("1999-01-01"))) == []


def test_rare_classes_are_measured_by_the_folds():
    frame = spoilt("y", ["maybe"] * 3)
    assert "or lower split.folds" in found("class_rows", frame, data={})[0].message
    assert found("class_rows", frame, data={}, split={"folds": 2}) == []
    more_than_rows = {"folds": len(frame) + 1}  # a mistake in the configuration, told elsewhere
    assert found("class_rows", frame, data={}, split=more_than_rows) == []


def test_severities_and_limits_are_the_use_cases():
    frame = spoilt("kind", [None] * 31)
    (finding,) = found("missing", frame, quality={"missing": {"severity": "error", "limit": 0.1}})
    assert finding.severity == "error"
    assert found("missing", frame, quality={"missing": {"limit": 0.4}}) == []
    off = report(frame, quality={"missing": "off"})
    assert "missing" not in off.checks
    assert off.findings == ()


def test_an_error_stops_the_run_with_every_message():
    frame = spoilt("size", [np.inf]).assign(count=np.nan)
    with pytest.raises(RefusedError, match="2 quality check") as refusal:
        report(frame).require()
    assert "'size'" in str(refusal.value)
    assert "'count'" in str(refusal.value)


def test_reports_merge_worst_first():
    quality = report(spoilt("size", [np.inf]).assign(kind="a"))
    merged = merge(report(good()), quality)
    assert [finding.severity for finding in merged.findings] == ["error", "warning"]
    assert merged.checks == quality.checks


ODD = {
    "one row": good().head(1),
    "two rows": good().head(2),
    "mostly empty": good(size=np.nan, count=None),
    "infinite": good(size=np.inf),
    "huge": good(size=[1e308, -1e308] * 50),
    "mixed": good(kind=pd.Series([1, "a", None, 2.5, True] * 20, dtype=object)),
    "containers": good(kind=pd.Series([[1], {"a": 1}, "x", None] * 25, dtype=object)),
    "categorical": good(kind=pd.Series(["a", None] * 50, dtype="category")),
    "nullable": good(count=pd.Series([1, None] * 50, dtype="Int64")),
    "zoned": good(when=pd.date_range("2024-02-01", periods=ROWS, tz="Europe/Berlin")),
    "durations": good(size=pd.to_timedelta(range(ROWS), unit="h")),
    "odd names": good(**{"a / b c": range(ROWS), "": 1.5}),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_no_table_breaks_a_check(name, task):
    frame = ODD[name].rename(columns={"when": "day"})
    if task == "regression":
        frame["z"] = np.linspace(-1, 1, len(frame)) * (1e308 if name == "huge" else 1)
    target = "y" if task == "classification" else "z"
    for finding in report(frame, task, target, data={"timestamp": "day"}).findings:
        assert finding.message
