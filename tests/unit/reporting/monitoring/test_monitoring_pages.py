"""The monitoring page and the decision page, made of histories that the core really wrote."""

from __future__ import annotations

import random
import re

import pytest

from evergreen.monitoring.decision import Decision, WindowLoss
from evergreen.monitoring.history import QualityFinding
from evergreen.monitoring.verdict import WindowVerdict
from evergreen.reporting.monitoring import decision_page, monitoring_page
from evergreen.reporting.monitoring.trend_page import DRAWN, LISTED, SHOWN_COLUMNS
from evergreen.reporting.monitoring.trends import (
    alarming_since,
    column_trends,
    in_order,
    performance_trends,
)
from evergreen.reporting.monitoring.wording import as_sentence, what_moved
from tests.support.html_checks import check_page
from tests.support.monitored import CHANGE, make_history

HOSTILE = 'a <script>alert("x")</script> & b'


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """22 windows, the newest first: drift from window 12 on, a retraining, recovery."""
    return make_history(f"sqlite:///{tmp_path_factory.mktemp('history')}/evergreen.db")


@pytest.fixture(scope="module")
def turn(history):
    return next(window for window in history if window.action == "retrain")


def before(history, window):
    return [other for other in history if other.id < window.id]


def empty_verdict(**values):
    given = {"rows": 0, "labelled": 0, "alarm": False, "families": (), "reasons": ("odd",)}
    return WindowVerdict(**(given | values))


def test_a_history_is_one_complete_page(history):
    page = check_page(monitoring_page(history))
    assert "No drift" in page.text
    assert "Version 2 of deliveries" in page.text or "version 2 of deliveries" in page.text
    for said in ("distance_km", "Brier score, by true labels", "estimated without labels"):
        assert said in page.text
    assert "watch 3" in page.text and "retrain 1" in page.text
    assert page.text.count("which took over from version 1") == 1


def test_the_page_names_what_moved_and_since_when(history, turn):
    drifting = [window for window in history if window.id < turn.id]
    page = check_page(monitoring_page(drifting))
    assert "Watch" in page.text
    assert "the model became worse; distance_km and the predictions moved" in page.text
    assert "1 of 7" in page.text
    first = next(window for window in history if window.id == CHANGE + 1)
    assert f"since {first.end.day} {first.end:%b, %H:%M}, 2 windows" in page.text


def test_a_quiet_history_marks_no_alarm(history):
    quiet = [window for window in history if window.id <= 3]
    html = monitoring_page(quiet)
    check_page(html)
    drawings = "".join(re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    assert "var(--series-1)" in drawings
    assert "var(--bad)" not in drawings
    assert "var(--bad)" in monitoring_page(history)


def test_the_order_of_the_windows_does_not_matter(history):
    mixed = random.Random(1).sample(history, len(history))
    now = history[0].time
    assert monitoring_page(mixed, now=now) == monitoring_page(history, now=now)


def test_the_decision_page_says_what_moved_how_much_since_when_and_what_was_done(history, turn):
    page = check_page(decision_page(turn, history))
    assert "Retrained" in page.text
    assert "A retraining made version 2, which took over from version 1." in page.text
    assert f"{turn.decision.training.rows:,} labelled rows" in page.text
    distance = next(c for c in turn.verdict.columns if c.column == "distance_km").distance
    assert f"{distance:.3f}" in page.text
    assert "3 windows" in page.text
    assert "6 other columns as at training" in page.text


def test_a_decision_knows_nothing_of_later_windows(history, turn):
    now = turn.time
    known = decision_page(turn, before(history, turn), now=now)
    assert decision_page(turn, history, now=now) == known
    assert "22 windows" not in known


@pytest.mark.parametrize(
    ("outcome", "word", "said"),
    [
        (None, "Retrain", "none was begun"),
        ("started", "Retraining", "under way"),
        ("refused", "Retrained, and refused", "refused by the gate; version 1 stays"),
        ("failed", "Retraining failed", "failed; version 1 stays"),
    ],
)
def test_every_outcome_of_a_retraining_has_its_words(history, turn, outcome, word, said):
    changed = turn.model_copy(update={"turn": outcome, "new_version": None})
    for page in (decision_page(changed, history), monitoring_page([changed])):
        text = check_page(page).text
        assert f" {word} " in text
        assert said in text


@pytest.mark.parametrize("action", ["rollback", "alert", "watch", "none"])
def test_every_decision_has_its_words(turn, action):
    changed = turn.model_copy(
        update={"decision": Decision(action=action, reasons=("so it is",)), "turn": None}
    )
    assert "So it is." in check_page(decision_page(changed)).text
    check_page(monitoring_page([changed]))


@pytest.mark.parametrize(
    "verdict",
    [
        empty_verdict(unmeasurable=("The window is empty: no row arrived.",)),
        empty_verdict(too_few=True, rows=3),
        empty_verdict(),
    ],
    ids=["empty", "too few", "nothing judged"],
)
def test_windows_without_figures_are_shown_as_such(history, verdict):
    action = "alert" if verdict.unmeasurable else "watch"
    bare = history[0].model_copy(
        update={
            "id": 99,
            "rows": verdict.rows,
            "verdict": verdict,
            "loss": WindowLoss(),
            "first": None,
            "last": None,
            "decision": Decision(action=action, reasons=verdict.reasons),
        }
    )
    for windows in ([bare], [*history, bare]):
        text = check_page(monitoring_page(windows)).text
        assert "not judged" in text
        check_page(decision_page(bare, windows[:-1]))
    # A column without a figure now keeps its past.
    assert "distance_km" in check_page(monitoring_page([*history, bare])).text


def test_names_and_reasons_are_escaped(history):
    window = history[0]
    columns = [c.model_copy(update={"column": HOSTILE}) for c in window.verdict.columns[:1]]
    finding = QualityFinding(
        check="range", column=HOSTILE, severity="error", rows=1, share=0.1, reason=HOSTILE
    )
    hostile = window.model_copy(
        update={
            "verdict": window.verdict.model_copy(update={"columns": tuple(columns)}),
            "decision": Decision(action="watch", reasons=(HOSTILE,)),
            "quality": (finding,),
        }
    )
    for page in (monitoring_page([hostile]), decision_page(hostile)):
        assert HOSTILE in check_page(page).text


def test_a_long_history_and_a_wide_table_stay_readable(history):
    window = history[0]
    many = [window.model_copy(update={"id": n}) for n in range(DRAWN + 30)]
    column = window.verdict.columns[0]
    wide = window.verdict.model_copy(
        update={
            "columns": tuple(
                column.model_copy(update={"column": f"c{n}"}) for n in range(SHOWN_COLUMNS + 5)
            )
        }
    )
    many[-1] = many[-1].model_copy(update={"verdict": wide})
    html = monitoring_page(many)
    text = check_page(html).text
    assert f"{DRAWN + 30} windows" in text
    assert f"{DRAWN + 30 - LISTED} earlier windows left out" in text
    # The other columns of earlier windows are there, too.
    assert "more columns" in text
    assert len(html) < 700_000


def test_no_window_is_a_programmers_mistake():
    with pytest.raises(ValueError, match="needs a window"):
        monitoring_page([])


def test_trends_are_the_verdicts_figures(history):
    ordered = in_order(history)
    trend = column_trends(ordered)["distance_km"]
    assert trend.limit == 0.05
    for window, point in zip(ordered, trend.points, strict=True):
        found = next(c for c in window.verdict.columns if c.column == "distance_km")
        assert (point.value, point.alarm) == (found.distance, found.alarm)
    measured = performance_trends(ordered)["measured"]
    for window, point in zip(ordered, measured.points, strict=True):
        found = window.verdict.measured
        assert point.value == found.value
        assert point.low == pytest.approx(found.before + found.low)


def test_alarms_of_an_earlier_version_are_not_counted(history, turn):
    ordered = in_order([w for w in history if w.id <= turn.id])
    points = column_trends(ordered)["distance_km"].points
    assert alarming_since(ordered, points) == (3, ordered[CHANGE].end)
    swapped = [*ordered[:-1], ordered[-1].model_copy(update={"version": "2"})]
    assert alarming_since(swapped, points) == (1, ordered[-1].end)
    assert alarming_since(ordered[:3], points[:3]) is None


def test_labels_that_came_late_are_drawn_hollow(history):
    window = history[-1]
    loss = WindowLoss(rows=400, total=160.0, squares=90.0)
    late = window.model_copy(
        update={
            "loss": loss,
            "verdict": window.verdict.model_copy(update={"performance": (), "labelled": 0}),
        }
    )
    point = performance_trends([late, *history[:3]])["measured"].points[0]
    assert point.late
    assert point.low < 0.4 < point.high
    assert point.value == pytest.approx(0.4)
    assert "Hollow" in check_page(monitoring_page([late, *history[:3]])).text
    assert "Hollow" not in check_page(monitoring_page(history)).text


def test_reasons_become_sentences():
    assert as_sentence("the mean rose") == "The mean rose."
    assert as_sentence("price: it moved, p = 2.6e-53").startswith("price: it moved")
    assert "10⁻⁵³" in as_sentence("moved, p = 2.6e-53")
    assert as_sentence("Done.") == "Done."
    assert as_sentence("version 1e-x") == "Version 1e-x."


def test_what_moved_names_a_few(turn):
    column = turn.verdict.columns[0].model_copy(update={"alarm": True})
    columns = tuple(column.model_copy(update={"column": f"c{n}"}) for n in range(9))
    verdict = turn.verdict.model_copy(update={"columns": columns})
    said = what_moved(verdict)
    assert said.endswith("c0, c1, c2, 6 more columns and the predictions moved")
    assert what_moved(empty_verdict()) == ""
