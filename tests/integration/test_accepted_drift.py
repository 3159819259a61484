"""Drift of the columns alone, beside a running API: looked into once, accepted, then quiet."""

from __future__ import annotations

from contextlib import closing

import pytest

from evergreen.monitoring.history import MonitoringHistory
from evergreen.paths import Home as State
from tests.support.serving import serving
from tests.support.turns import NAME, send, table

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]

# One window confirms itself, and the next one is judged at once.
AT_ONCE = ("monitoring.alarms=1", "monitoring.of=1", "monitoring.cool_down=0")


def drifted(rows, seed):
    """Rows nearly all of one kind, which the label does not depend on: nothing is to be learnt."""
    many = table(rows * 3, seed)
    few = many.index % 10 == 0
    return many[(many["kind"] == "a") | few].head(rows).reset_index(drop=True)


def test_drift_that_teaches_nothing_is_accepted_and_alarms_no_more(
    orders_home, orders_config, tmp_path
):
    home = orders_home.copy(tmp_path / "home")
    settings = [word for each in AT_ONCE for word in ("--set", each)]
    turn = ("--pipeline", "continuous", "--config", str(orders_config), "--json", *settings)
    with serving(home.state, "--model", NAME) as server:
        port = ("--set", f"deploy.port={server.url.rsplit(':', 1)[1]}")
        send(server.url, home.state, drifted(300, 11))
        first = home.run(*turn, *port).check(1).json
        assert first["status"] in ("refused", "unchanged")
        assert "columns" in first["window"]["verdict"]["families"]
        assert "performance" not in first["window"]["verdict"]["families"]
        assert send(server.url, home.state, drifted(300, 12)) == {"1"}
        second = home.run(*turn, *port).check().json
        assert (second["status"], second["champion"]) == ("none", "1")
        assert any("drift was accepted" in note for note in second["window"]["verdict"]["notes"])
        # Going back to what training had is drift again, from what was accepted.
        send(server.url, home.state, table(300, 13))
        monitor = ("--pipeline", "monitor", "--config", str(orders_config), "--json", *settings)
        third = home.run(*monitor).json
        assert third["window"]["verdict"]["alarm"]
    with closing(MonitoringHistory(State(home.state).database_url)) as history:
        turns = [window.turn for window in history.windows(NAME)]
    assert turns[1:] == [None, "refused"]
