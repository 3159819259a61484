"""What Prometheus is told of the newest window: from the database, whatever state that is in."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing

import pytest

from evergreen.monitoring.history import MonitoringHistory
from evergreen.serving.api import monitoring_metrics
from evergreen.serving.newest_window import WindowReader
from tests.support.contract_api import make_api
from tests.support.models import write_small_bundle
from tests.support.monitored import make_history


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("bundle") / "boats")


@pytest.fixture(scope="module")
def drifting(tmp_path_factory):
    """The newest of fourteen windows, in which a column and the performance alarm."""
    folder = tmp_path_factory.mktemp("history")
    return make_history(f"sqlite:///{folder}/evergreen.db", 14)


@pytest.fixture
def api(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(monitoring_metrics, "FRESH", 0.0)
    made = make_api(bundle.folder, tmp_path, promises={})
    yield made
    made.close()


def record(api, tmp_path, window, version="3"):
    name = api.holder.current.name
    changed = window.model_copy(update={"use_case": name, "version": version})
    with closing(MonitoringHistory(f"sqlite:///{tmp_path / 'evergreen.db'}")) as history:
        return history.record(changed, window.decision)


def figures(api) -> dict[str, float]:
    answer = api.get("/metrics")
    assert answer.status_code == 200
    found = re.findall(r"^evergreen_monitoring_(\S+) (\S+)$", answer.text, re.MULTILINE)
    return {name: float(value) for name, value in found}


def one(found, name, **labels):
    chosen = [
        value
        for series, value in found.items()
        if re.match(rf"{name}(\{{|$)", series)
        and all(f'{label}="{text}"' in series for label, text in labels.items())
    ]
    assert len(chosen) == 1, (name, labels, found)
    return chosen[0]


def test_nothing_is_claimed_before_the_first_check(api, tmp_path):
    assert figures(api) == {"unreadable": 0.0}
    assert not (tmp_path / "evergreen.db").exists()


def test_a_database_without_windows_is_no_fault(api, tmp_path):
    with closing(sqlite3.connect(tmp_path / "evergreen.db")) as connection:
        connection.execute("CREATE TABLE other (id INTEGER)")
    assert figures(api) == {"unreadable": 0.0}


def test_the_newest_windows_figures_are_served(api, tmp_path, drifting):
    record(api, tmp_path, drifting[-1])
    assert one(figures(api), "alarm", version="3") == 0
    window = record(api, tmp_path, drifting[0])
    found = figures(api)
    verdict = window.verdict
    assert one(found, "alarm", version="3") == 1
    assert one(found, "columns_drifted") == 1
    assert one(found, "rows") == window.rows
    assert one(found, "labelled_rows") == verdict.labelled
    assert one(found, "decision", action="watch") == 1
    for other in ("none", "retrain", "rollback", "alert"):
        assert one(found, "decision", action=other) == 0
    for column in verdict.columns:
        distance = one(found, "column_distance", column=column.column)
        assert distance == pytest.approx(column.distance)
    measured = verdict.measured
    assert one(found, "performance", kind="measured", metric="brier") == measured.value
    assert one(found, "performance_at_training", kind="measured") == measured.before
    assert one(found, "performance", kind="estimated", metric="error_rate") > 0
    assert one(found, "last_check_timestamp_seconds") == pytest.approx(time.time(), abs=60)


def test_windows_of_another_version_are_not_the_models(api, tmp_path, drifting):
    record(api, tmp_path, drifting[0], version="2")
    found = figures(api)
    assert one(found, "last_check_timestamp_seconds") > 0
    assert not [name for name in found if name.startswith(("alarm", "decision", "performance"))]


def test_windows_of_another_model_are_none(api, tmp_path, drifting):
    with closing(MonitoringHistory(f"sqlite:///{tmp_path / 'evergreen.db'}")) as history:
        history.record(drifting[0], drifting[0].decision)
    assert figures(api) == {"unreadable": 0.0}


def test_a_database_that_cannot_be_read_is_said_and_older_figures_stay(api, tmp_path, drifting):
    record(api, tmp_path, drifting[0])
    assert one(figures(api), "alarm") == 1
    for file in tmp_path.glob("evergreen.db*"):
        file.unlink()
    (tmp_path / "evergreen.db").write_text("no database " * 1000)
    found = figures(api)
    assert found["unreadable"] == 1
    assert one(found, "alarm") == 1


def test_a_slow_database_delays_nobody(api, monkeypatch):
    asked = []

    def slow(self, use_case, version):
        asked.append(use_case)
        time.sleep(1.5)
        raise OSError("too late")

    monkeypatch.setattr(WindowReader, "read", slow)
    monkeypatch.setattr(monitoring_metrics, "WAIT", 0.05)
    assert figures(api) == {"unreadable": 0.0}
    assert asked == [api.holder.current.name]


def test_the_database_is_not_asked_by_every_scrape(api, monkeypatch):
    monkeypatch.setattr(monitoring_metrics, "FRESH", 600.0)
    asked = []
    original = WindowReader.read

    def counted(self, use_case, version):
        asked.append(use_case)
        return original(self, use_case, version)

    monkeypatch.setattr(WindowReader, "read", counted)
    for _ in range(3):
        figures(api)
    assert len(asked) == 1
