"""Progress that a step writes into its pod's log is read back as what it was."""

from __future__ import annotations

import pytest

from evergreen.batch.outcome import RowProgress
from evergreen.training.progress import Progress
from pipelines.placement import candidate_step, resources_of
from steps.announcements import read_news, written

NEWS = (
    Progress("xgboost", "XGBoost", 3, 10, 0.125, None, error="no {braces} are safe: 'progress: {'"),
    RowProgress(10, None, 2, 1000.5),
)


@pytest.mark.parametrize("news", NEWS)
def test_progress_is_read_back_from_a_line_of_a_log(news):
    assert read_news(f"[2026-01-01 00:00:00 UTC] {written(news)} \x1b[0m") == news


@pytest.mark.parametrize(
    "line",
    [
        "",
        "Search the candidates",
        "progress: 3 of 10",
        'progress: {"kind": "Other"}',
        "progress: {",
    ],
)
def test_other_lines_tell_of_no_progress(line):
    assert read_news(line) is None


def test_titles_are_written_as_they_are():
    assert written("Search the candidates") == "Search the candidates"


def test_a_candidates_own_step_has_the_resources_of_the_search():
    assert resources_of(candidate_step("xgboost")) == "search_candidates"
    assert resources_of("rank_candidates") == "rank_candidates"
