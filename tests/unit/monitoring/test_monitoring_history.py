"""The monitoring history: what was recorded comes back, nothing can be changed, nothing doubles."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from evergreen.errors import UnreachableError
from evergreen.monitoring.decision import Decision, TrainingRows, WindowLoss
from evergreen.monitoring.history import (
    MonitoringHistory,
    ObservedWindow,
    QualityFinding,
    SegmentVerdict,
)
from evergreen.monitoring.verdict import WindowVerdict

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
QUIET = WindowVerdict(rows=500, labelled=0, alarm=False, families=(), reasons=("No drift.",))
ALARM = QUIET.model_copy(update={"alarm": True, "families": ("columns",)})
RETRAIN = Decision(
    action="retrain",
    reasons=("price moved",),
    training=TrainingRows(since=None, rows=None, max_rows=9, reason="the newest"),
)
NONE = Decision(action="none", reasons=())


@pytest.fixture
def history(tmp_path):
    history = MonitoringHistory(f"sqlite:///{tmp_path / 'evergreen.db'}")
    yield history
    history.close()


def observed(hour=0, verdict=QUIET, **changes):
    first = START + timedelta(hours=hour)
    return ObservedWindow(
        **{
            "use_case": "boats",
            "version": "1",
            "source": "log",
            "place": "sqlite:///log.db",
            "first": first,
            "last": first + timedelta(minutes=59),
            "rows": 500,
            "verdict": verdict,
            **changes,
        }
    )


def test_what_was_recorded_comes_back(history):
    full = observed(
        quality=(
            QualityFinding(
                check="range", column="a", severity="error", rows=3, share=0.1, reason="ü"
            ),
        ),
        segments=(SegmentVerdict(column="c", value="x", verdict=ALARM),),
        loss=WindowLoss(rows=3, total=1.5, squares=2.0),
        seconds=0.5,
    )
    recorded = history.record(full, RETRAIN)
    assert recorded.id == 1
    assert history.windows("boats") == (recorded,)
    assert history.window(1) == recorded
    assert history.windows("cars") == ()
    assert history.window(2) is None


def test_the_newest_window_comes_first(history):
    for hour in range(3):
        history.record(observed(hour), NONE)
    assert [window.id for window in history.windows("boats", limit=2)] == [3, 2]


@pytest.mark.parametrize("table", ["monitoring_windows", "monitoring_updates"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET host = 'x'", "DELETE FROM {}"])
def test_no_row_can_be_changed_or_removed(history, table, statement):
    history.record(observed(), RETRAIN)
    history.record_turn(1, "started")
    engine = sa.create_engine(history.url)
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(statement.format(table))
    with pytest.raises(sa.exc.DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(
            f"INSERT OR REPLACE INTO {table} SELECT * FROM {table} WHERE id = 1"
        )


def test_late_labels_replace_the_loss(history):
    history.record(observed(), NONE)
    history.record_loss(1, WindowLoss(rows=10, total=2.0, squares=1.0))
    history.record_loss(1, WindowLoss(rows=20, total=4.0, squares=2.0))
    (window,) = history.windows("boats")
    assert window.labelled == 20
    assert history.policy_history(observed(1))[0].loss.rows == 20


def test_a_retraining_counts_once_it_was_begun(history):
    history.record(observed(0, ALARM), RETRAIN)
    assert history.policy_history(observed(1))[0].action == "watch"
    history.record_turn(1, "started")
    assert history.policy_history(observed(1))[0].action == "retrain"
    assert history.policy_history(observed(1))[0].outcome is None
    assert [window.id for window in history.open_turns("boats")] == [1]
    history.record_turn(1, "promoted", version="2")
    past = history.policy_history(observed(1))[0]
    assert (past.action, past.outcome, past.training) == ("retrain", "promoted", RETRAIN.training)
    assert history.windows("boats")[0].new_version == "2"
    assert history.open_turns("boats") == ()


def test_policy_history_is_in_order_and_ends_with_this_window(history):
    for hour in range(3):
        history.record(observed(hour, ALARM), NONE)
    found = history.policy_history(observed(3, QUIET))
    assert [past.at.hour for past in found] == [12, 13, 14, 15]
    assert [past.families for past in found] == [("columns",)] * 3 + [()]


def test_shared_rows_do_not_confirm_an_alarm(history):
    history.record(observed(0, ALARM), NONE)
    overlapping = observed(0, ALARM, first=START + timedelta(minutes=30))
    assert len(history.policy_history(overlapping)) == 1
    assert len(history.policy_history(observed(1, ALARM))) == 2


def test_a_table_does_not_confirm_itself_nor_the_log(history):
    table = {"source": "table", "place": "a.csv", "first": None, "last": None}
    history.record(observed(0, ALARM), NONE)
    history.record(observed(0, ALARM, content="a", **table), NONE)
    assert len(history.policy_history(observed(0, ALARM, content="a", **table))) == 1
    assert len(history.policy_history(observed(0, ALARM, content="b", **table))) == 2
    assert len(history.policy_history(observed(1, ALARM))) == 2


def test_an_unusable_database_gets_one_message(tmp_path):
    (tmp_path / "evergreen.db").write_text("no database at all, but long enough to be one" * 20)
    history = MonitoringHistory(f"sqlite:///{tmp_path / 'evergreen.db'}")
    with pytest.raises(UnreachableError, match="monitoring history"):
        history.windows("boats")
