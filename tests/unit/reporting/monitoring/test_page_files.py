"""Pages on disk: written anew after every window and every turn."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from evergreen.monitoring.history import MonitoringHistory
from evergreen.paths import Home
from evergreen.reporting.monitoring.files import (
    monitoring_page_of,
    report_here,
    write_pages,
)
from tests.support.html_checks import check_page
from tests.support.monitored import make_history


def test_nothing_is_written_before_the_first_window(tmp_path):
    home = Home(tmp_path)
    assert write_pages(home, "deliveries") is None
    assert not monitoring_page_of(home, "deliveries").exists()


def test_pages_follow_the_history(tmp_path):
    home = Home(tmp_path)
    make_history(home.database_url, 15, outcome=None)
    folder = home.run_reports("deliveries", "monitoring") / "newest"
    folder.mkdir(parents=True)
    with closing(MonitoringHistory(home.database_url)) as history:
        newest = history.windows("deliveries", 1)[0]
        assert newest.action == "retrain"
        again = newest.model_copy(update={"report": str(folder)})
        recorded = history.record(again, newest.decision)
    page = write_pages(home, "deliveries")
    assert page == monitoring_page_of(home, "deliveries")
    assert "16 windows" in check_page(page.read_text()).text
    decision = folder / "decision.html"
    assert "none was begun" in check_page(decision.read_text()).text
    with closing(MonitoringHistory(home.database_url)) as history:
        history.record_turn(recorded.id, "started")
        history.record_turn(recorded.id, "promoted", version="2")
    write_pages(home, "deliveries")
    assert "took over from version 1" in check_page(decision.read_text()).text
    assert [file.name for file in folder.iterdir()] == ["decision.html"]
    assert [file.name for file in page.parent.glob("*.*")] == ["monitoring.html"]


def test_pages_that_another_machine_drew_have_their_place_here_as_well(tmp_path):
    home = Home(tmp_path)
    here = home.reports / "reports" / "monitoring" / "t1"
    there = "/var/lib/evergreen/state/reports/reports/monitoring/t1"
    assert report_here(there, home) == report_here(str(here), home) == here
    assert report_here("/somewhere/else", home) == Path("/somewhere/else")

    make_history(home.database_url, 1)
    with closing(MonitoringHistory(home.database_url)) as history:
        newest = history.windows("deliveries", 1)[0]
        report = "/var/lib/evergreen/state/reports/deliveries/monitoring/t2"
        history.record(newest.model_copy(update={"report": report}), newest.decision)
    fetched = home.run_reports("deliveries", "monitoring") / "t2"
    fetched.mkdir(parents=True)
    write_pages(home, "deliveries")
    assert (fetched / "decision.html").exists()


def test_a_folder_that_was_cleared_away_is_not_made_again(tmp_path):
    home = Home(tmp_path)
    make_history(home.database_url, 1)
    write_pages(home, "deliveries")
    assert [each.name for each in (home.reports / "deliveries").iterdir()] == ["monitoring.html"]
