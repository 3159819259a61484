"""Windows from log and tables: drift is found, quiet is quiet, and odd ones are never called so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from evergreen.errors import InputError, UnreachableError
from evergreen.monitoring.evidently_report import EvidentlyFigures
from evergreen.monitoring.history import MonitoringHistory
from evergreen.monitoring.monitor import conclude, observe
from evergreen.paths import Home
from evergreen.reporting.window_summary import window_summary
from evergreen.serving.runtime import load_runtime
from tests.support.boat_windows import BoatLog, boats, boats_bundle, boats_case

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
NO_FIGURES = EvidentlyFigures(reference_rows=0, window_rows=0)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return boats_bundle(tmp_path_factory.mktemp("bundle") / "boats")


@pytest.fixture(scope="module")
def runtime(bundle):
    return load_runtime(bundle.folder, "1")


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def judge(bundle, home, tmp_path):
    """Judge a frame as a table and decide."""

    def judge(frame, ending="parquet", **policy):
        path = tmp_path / f"window-{len(list(tmp_path.glob('window-*')))}.{ending}"
        frame.to_parquet(path) if ending == "parquet" else frame.to_csv(path, index=False)
        use_case = boats_case(source=str(path), **policy)
        checked = observe(use_case, bundle.folder, "1", home)
        return conclude(checked.observed, use_case, home)

    return judge


@pytest.fixture
def log(home, tmp_path, runtime):
    return BoatLog(f"sqlite:///{home.root / 'predictions.db'}", tmp_path / "spool", runtime)


@pytest.fixture
def turn(bundle, home):
    """Judge what was logged so far, at a moment."""

    def turn(now, asked=None, version="1", **policy):
        use_case = boats_case(**policy)
        checked = observe(use_case, bundle.folder, version, home, asked=asked, now=now)
        return conclude(checked.observed, use_case, home, now=now)

    return turn


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_a_quiet_table_is_quiet_and_a_shifted_one_alarms(judge, ending):
    quiet = judge(boats(500, 11), ending)
    assert quiet.action == "none", quiet.decision.reasons
    assert quiet.verdict.measured is not None  # by the table's target
    shifted = judge(boats(500, 12, mast=2), ending)
    assert shifted.verdict.drifted == ("mast / height",)
    assert shifted.action == "watch"
    assert "not confirmed" in shifted.decision.reasons[-1]
    again = judge(boats(500, 13, mast=2), ending)
    assert again.action == "retrain"


def test_wrong_labels_are_a_drop_in_performance(judge):
    found = judge(boats(500, 14, wrong=0.3))
    assert found.verdict.families == ("performance",)


def test_the_same_table_does_not_confirm_itself(bundle, home, tmp_path):
    path = tmp_path / "window.parquet"
    boats(500, 15, mast=2).to_parquet(path)
    use_case = boats_case(source=str(path))
    for _ in range(3):
        checked = observe(use_case, bundle.folder, "1", home)
        assert conclude(checked.observed, use_case, home).action == "watch"


def changed(**columns):
    return boats(300, 16).assign(**columns)


def with_infinities(share):
    frame = boats(300, 17)
    frame.loc[: int(300 * share) - 1, "mast / height"] = np.inf
    return frame


ODD = {
    "empty": (boats(300, 1).iloc[:0], "alert", "empty"),
    "one row": (boats(1, 1), "watch", "too few to judge"),
    "all missing": (
        boats(300, 1).assign(**dict.fromkeys(boats(1, 1).columns, None)),
        "alert",
        "values are missing",
    ),
    "a constant": (changed(**{"mast / height": 10.0}), "watch", "mast / height: KS distance"),
    "a few infinities": (with_infinities(0.05), "alert", "are infinite"),
    "nothing but infinities": (with_infinities(1), "alert", "infinite"),
    "a missing column": (boats(300, 1).drop(columns="crew"), "alert", "lacks columns"),
    "another type": (changed(crew="many"), "alert", "crew"),
    "another type in some rows": (
        changed(crew=["many"] * 30 + ["3"] * 270),
        "alert",
        "cannot be read as integer",
    ),
    "duplicates": (pd.concat([boats(60, 1)] * 5), "alert", "repeat another row"),
    "out of range": (changed(**{"mast / height": 500.0}), "alert", "range of the contract"),
    "no crew": (changed(crew=None), "alert", "crew"),
}


@pytest.mark.parametrize("kind", ODD)
def test_odd_tables_are_never_called_quiet(judge, kind):
    frame, action, words = ODD[kind]
    found = judge(frame)
    assert found.action == action, found.decision.reasons
    assert any(words in reason for reason in found.decision.reasons), found.decision.reasons
    assert not any("No drift" in reason for reason in found.decision.reasons)


def test_groups_are_judged_apart_where_that_is_asked_for(judge):
    frame = boats(900, 20)
    frame.loc[frame["harbour"] == "Kiel", "mast / height"] += 4
    found = judge(frame, segments=["harbour"])
    assert {one.value: one.verdict.drifted for one in found.segments} == {
        "Kiel": ("mast / height",),
        "Åbo": (),
    }
    assert any("Within harbour = Kiel: mast / height" in note for note in found.verdict.notes)
    page = window_summary(found, NO_FIGURES)
    kiel, aabo = (
        page.split(f"harbour = {name}</th>")[1].split("</tr>")[0] for name in ("Kiel", "Åbo")
    )
    assert "mast / height" in kiel
    assert "alike" in aabo
    assert "judged apart" not in window_summary(judge(frame), NO_FIGURES)


def test_unknown_columns_are_noted(judge):
    found = judge(boats(300, 18).assign(colour="red"))
    assert found.action == "none", found.decision.reasons
    assert any("'colour'" in note for note in found.verdict.notes)


def test_a_single_broken_promise_is_shown_and_calls_nobody(judge):
    frame = boats(500, 19)
    frame.loc[3, "mast / height"] = 101.0
    found = judge(frame)
    assert [(one.check, one.rows) for one in found.quality] == [("ranges", 1)]
    assert found.action == "none"


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        ("no, idea\n1, 2\n", InputError, "none of the columns that the model takes"),
        ("", InputError, "window.csv"),
        (None, InputError, "window.csv"),
    ],
)
def test_a_useless_file_gets_a_message(bundle, home, tmp_path, content, error, words):
    path = tmp_path / "window.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(error, match=words):
        observe(boats_case(source=str(path)), bundle.folder, "1", home)


def test_log_windows_follow_each_other(log, turn):
    log.add(boats(300, 21), NOW - 2 * HOUR, name="a", labelled=300)
    first = turn(NOW - HOUR)
    assert (first.action, first.rows, first.verdict.labelled) == ("none", 300, 300)
    assert first.last < NOW - HOUR
    log.add(boats(300, 22, mast=2), NOW - HOUR / 2, name="b")
    second = turn(NOW)
    assert (second.action, second.rows, second.verdict.labelled) == ("watch", 300, 0)
    assert second.verdict.drifted == ("mast / height",)
    log.add(boats(300, 23, mast=2), NOW + HOUR / 2, name="c")
    assert turn(NOW + HOUR).action == "retrain"


def test_no_row_is_judged_twice(log, turn):
    log.add(boats(300, 24, mast=2), NOW - HOUR, name="a")
    assert turn(NOW).action == "watch"
    again = turn(NOW + HOUR)
    assert (again.rows, again.action) == (0, "watch")
    assert "No row came since" in again.decision.reasons[0]
    log.add(boats(20, 25), NOW + HOUR, name="b")
    few = turn(NOW + 2 * HOUR)
    assert (few.rows, few.action) == (20, "watch")
    log.add(boats(300, 26), NOW + 2 * HOUR, name="c")
    assert turn(NOW + 3 * HOUR).rows == 320  # those that were too few to judge come along


def test_a_span_that_is_asked_for_is_judged_as_a_whole(log, turn):
    log.add(boats(700, 27), NOW - HOUR, name="a")
    log.add(boats(100, 28), NOW - 20 * HOUR, name="b")
    assert turn(NOW, asked=6 * HOUR).rows == 700
    assert turn(NOW, asked=48 * HOUR).rows == 800
    assert turn(NOW + 30 * HOUR, asked=HOUR).action == "alert"  # an empty span is not quiet


def test_a_log_without_rows_alerts(turn):
    found = turn(NOW)
    assert found.action == "alert"
    assert "empty" in found.decision.reasons[0]


def test_a_version_that_just_took_over_may_have_no_rows_yet(log, turn):
    log.add(boats(300, 21), NOW - HOUR, name="a")
    turn(NOW)
    found = turn(NOW + HOUR / 60, version="2")
    assert found.action == "watch"
    assert "No row of this version came yet" in found.decision.reasons[0]


def test_labels_that_come_late_are_judged_once(log, turn, home):
    rows = boats(300, 29, wrong=0.4)
    log.add(rows, NOW - HOUR, name="a")
    assert turn(NOW).verdict.measured is None
    log.label(rows, NOW, name="a", rows=range(30))
    log.add(boats(300, 30), NOW + HOUR / 2, name="b")
    partly = turn(NOW + HOUR)
    assert partly.verdict.labelled == 30  # too few to judge; they are not forgotten
    log.label(rows, NOW + HOUR, name="a", rows=range(30, 300))
    log.add(boats(300, 31), NOW + 3 * HOUR / 2, name="c")
    found = turn(NOW + 2 * HOUR)
    assert found.verdict.labelled == 300
    assert found.verdict.families == ("performance",)
    log.add(boats(300, 32), NOW + 5 * HOUR / 2, name="d")
    assert turn(NOW + 3 * HOUR).verdict.labelled == 0
    windows = MonitoringHistory(home.database_url).windows("boats")
    assert windows[-1].labelled == 300  # the window that they belong to knows of them


def test_a_clock_that_went_back_is_said(log, turn):
    log.add(boats(300, 33), NOW, name="a")
    assert turn(NOW + HOUR).action == "none"
    log.add(boats(300, 34, mast=2), NOW - 5 * HOUR, name="b")
    found = turn(NOW - 4 * HOUR)
    assert found.rows == 300
    assert found.verdict.drifted == ("mast / height",)
    assert any("clock went back" in note for note in found.verdict.notes)


def test_other_versions_are_left_out_and_counted(log, turn):
    log.add(boats(300, 35), NOW - HOUR, name="a")
    log.add(boats(40, 36), NOW - HOUR, name="b", version="2")
    found = turn(NOW)
    assert found.rows == 300
    assert any("40 rows that other versions" in note for note in found.verdict.notes)


def test_a_damaged_log_gets_a_message(home, bundle):
    home.root.mkdir()
    (home.root / "predictions.db").write_text("no database" * 300)
    with pytest.raises(UnreachableError, match="prediction log"):
        observe(boats_case(), bundle.folder, "1", home)


def test_drift_becomes_the_reference_once_a_retraining_on_it_was_refused(log, turn, home):
    for number in range(2):
        rows = boats(300, 51 + number, mast=2)
        log.add(rows, NOW + number * HOUR, name=f"a{number}", labelled=300)
        drifted = turn(NOW + (number + 1 / 2) * HOUR)
    assert drifted.action == "retrain", drifted.decision.reasons
    assert drifted.decision.accept_when_refused
    history = MonitoringHistory(home.database_url)
    history.record_turn(drifted.id, "started")
    log.add(boats(300, 53, mast=2), NOW + 2 * HOUR, name="b")
    assert turn(NOW + 5 / 2 * HOUR).verdict.alarm  # nothing was accepted yet
    history.record_turn(drifted.id, "refused")
    for number in range(2):  # the second time it is read from the history
        log.add(boats(300, 54 + number, mast=2), NOW + (3 + number) * HOUR, name=f"c{number}")
        quiet = turn(NOW + (number + 7 / 2) * HOUR)
        assert quiet.action == "none", quiet.decision.reasons
        assert any("was accepted" in note for note in quiet.verdict.notes)
    log.add(boats(300, 56), NOW + 6 * HOUR, name="d")
    assert turn(NOW + 13 / 2 * HOUR).verdict.drifted == ("mast / height",)  # back is a change, too
