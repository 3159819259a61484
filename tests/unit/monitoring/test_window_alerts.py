"""Which windows people are told of."""

from __future__ import annotations

import pytest

from evergreen.monitoring.alerting import alert_of
from tests.support.monitored import CHANGE, make_history


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    """Return a history, the oldest first, in which nobody retrains."""
    folder = tmp_path_factory.mktemp("history")
    return make_history(f"sqlite:///{folder}/evergreen.db", CHANGE + 4, outcome=None)[::-1]


def test_nobody_is_told_of_quiet_windows(windows):
    assert [alert_of(window) for window in windows[:CHANGE]] == [None] * CHANGE


def test_a_retraining_is_told_with_its_reason(windows):
    window = next(each for each in windows if each.action == "retrain")
    found = alert_of(window)
    assert found.kind in ("drift", "performance_drop")
    assert found.title.startswith("The monitor says retrain: ")
    assert window.decision.reasons[0][:40] in found.title
    assert found.facts["columns"] == ", ".join(window.verdict.drifted)


def test_a_fall_of_performance_goes_before_drift(windows):
    window = next(each for each in windows if each.action == "retrain")
    for families, kind in (
        (("columns",), "drift"),
        (("columns", "performance"), "performance_drop"),
    ):
        verdict = window.verdict.model_copy(update={"families": families})
        assert alert_of(window.model_copy(update={"verdict": verdict})).kind == kind


def test_what_cannot_be_judged_is_critical(windows):
    decision = windows[0].decision.model_copy(update={"action": "alert", "reasons": ("no rows",)})
    found = alert_of(windows[0].model_copy(update={"decision": decision}))
    assert (found.kind, found.severity) == ("data_quality_failed", "critical")
