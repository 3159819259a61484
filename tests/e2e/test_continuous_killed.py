"""A turn of the loop killed in any phase is finished by the next one, and done once."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from evergreen.monitoring.history import MonitoringHistory
from evergreen.monitoring.lease import Leases
from evergreen.paths import Home as State
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from tests.support.turns import NAME, ago, log_rows, table

# One after the other: observe, decide, retrain (select, train, judge), promote, verify.
PHASES = (
    "observe_window",
    "decide_window",
    "select_training_rows",
    "search_candidates",
    "judge_challenger",
    "publish_challenger",
    "verify_serving",
)


@pytest.mark.timeout(1800)
@pytest.mark.long
def test_killed_in_each_phase_in_turn(orders_home, orders_config, tmp_path):
    home = orders_home.copy(tmp_path / "home")
    log_rows(home.state, table(400, 2, turned=True), ago(minutes=10), version="1", wrong=True)
    settings = ("monitoring.alarms=1", "monitoring.of=1", "monitoring.retrain.min_rows=300")
    turn = (
        *("--pipeline", "continuous", "--config", str(orders_config)),
        *(word for each in (*settings, "deploy.port=1") for word in ("--set", each)),
    )
    for phase in PHASES:
        with home.running(*turn) as run:
            run.wait_for_log(f"Step `{phase}` has started")
    done = home.run(*turn, "--json").check().json
    assert (done["status"], done["champion"], done["taken_up"]) == ("concluded", "2", True)

    state = State(home.state)
    with closing(MonitoringHistory(state.database_url)) as history:
        windows = history.windows(NAME)
    assert [window.turn for window in windows if window.action == "retrain"] == ["promoted"]
    assert windows[0].new_version == "2"

    log = PromotionLog(state.database_url)
    registry = Registry(state.mlflow_uri, log, locks=tmp_path / "locks")
    promoted = [entry.to_version for entry in log.entries(NAME) if entry.action == "promoted"]
    assert promoted == ["2", "1"]  # no double retraining
    assert log.open_intents(NAME) == ()
    assert registry.reconcile(NAME) == ()
    assert len(registry.client.search_model_versions(f"name = '{NAME}'")) == 2
    assert registry.fetch_bundle(NAME, "champion", tmp_path / "bundle").replay().passed

    with closing(Leases(state.database_url)) as leases:
        assert leases.holder(f"retrain-{NAME}") is None
    assert not list((home.state / "locks").glob("*.txt"))
    assert not list((home.state / "tmp").iterdir())
    assert unfinished_runs(home) == []


def unfinished_runs(home):
    """The runs that ZenML believes to be under way."""
    [database] = home.folder.glob("zenml/**/zenml.db")
    with closing(sqlite3.connect(database)) as connection:
        rows = connection.execute(
            "SELECT name FROM pipeline_run WHERE status IN ('running', 'initializing')"
        )
        return [name for (name,) in rows]
