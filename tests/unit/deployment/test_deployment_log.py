"""The deployment log: what is deployed, what was cut short, and that nothing is changed in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from evergreen.deployment.deployment_log import DeploymentEntry, DeploymentLog
from evergreen.deployment.values import Check, ServerState
from evergreen.errors import UnreachableError

API = ServerState(
    kind="deployer",
    flavor="local",
    component="local",
    title="Contract API",
    condition="running",
    url="http://127.0.0.1:8000",
    version="1",
)
PASSED = Check(
    title="Contract API",
    url="http://127.0.0.1:8000",
    version="1",
    passed=True,
    rows=30,
    probabilities=True,
    difference=1e-17,
    message="30 golden rows come out as at training",
)


def entry(action: str, **more) -> DeploymentEntry:
    return DeploymentEntry(who="ada", use_case="boats", action=action, **{"version": "1", **more})


@pytest.fixture
def log(tmp_path):
    found = DeploymentLog(f"sqlite:///{tmp_path / 'evergreen.db'}")
    yield found
    found.close()


def test_rows_come_back_as_they_were_written(log):
    started = log.record(entry("started", stack="local"))
    deployed = log.record(entry("deployed", closes=started.id, servers=(API,), checks=(PASSED,)))
    assert log.entries() == (deployed, started)
    assert log.deployed("boats") == deployed
    assert log.deployed("cars") is None
    assert log.unfinished("boats") == ()


def test_a_start_that_nothing_closes_is_unfinished(log):
    first = log.record(entry("started"))
    second = log.record(entry("started", version="2"))
    log.record(entry("failed", closes=first.id))
    assert log.unfinished("boats") == (second,)
    assert log.deployed("boats") is None


def test_what_was_removed_is_not_deployed(log):
    log.record(entry("deployed"))
    log.record(entry("removed"))
    assert log.deployed("boats") is None
    again = log.record(entry("deployed", version="2"))
    assert log.deployed("boats") == again


def test_no_row_can_be_changed_or_deleted(log, tmp_path):
    log.record(entry("deployed"))
    with closing(sqlite3.connect(tmp_path / "evergreen.db")) as connection:
        for statement in ("UPDATE deployment_log SET who = 'eve'", "DELETE FROM deployment_log"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)


def test_a_database_that_cannot_be_used_is_named(tmp_path):
    (tmp_path / "evergreen.db").mkdir()
    with pytest.raises(UnreachableError, match=r"deployment log at sqlite.*evergreen\.db"):
        DeploymentLog(f"sqlite:///{tmp_path / 'evergreen.db'}").record(entry("started"))
