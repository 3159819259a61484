from __future__ import annotations

from evergreen.reporting.changes import changes, recorded_metrics
from evergreen.reporting.facts import ChampionRecord
from tests.support.report_facts import wine_facts
from tests.support.report_outcomes import promoted_first


def by_name(facts):
    return {each.what: each for each in changes(facts)}


def test_what_differs_is_told_then_and_now():
    found = by_name(wine_facts())
    assert found["Trained"].before == "12 January 2026, 08:30 UTC"
    assert found["Estimator"].now == "Logistic regression"
    assert found["Rows as read"].now == "178 (+12)"
    assert found["Input columns"].now == "13 (new: alcohol)"
    assert found["Data fingerprint"].changed


def test_parameters_of_one_estimator_are_compared_one_by_one():
    facts = wine_facts()
    previous = facts.previous.model_copy(
        update={"candidate": facts.best.title, "params": {"C": 0.1, "penalty": "l2"}}
    )
    found = by_name(facts.model_copy(update={"previous": previous}))
    assert (found["Parameter C"].before, found["Parameter C"].now) == ("0.1", "0.5")
    assert found["Parameter penalty"].now == "not set"
    assert found["Parameter max_iter"].before == "not set"


def test_what_is_the_same_is_marked_so():
    facts = wine_facts()
    previous = facts.previous.model_copy(
        update={
            "fingerprint": facts.data.fingerprint,
            "rows": facts.data.rows,
            "features": tuple(column.name for column in facts.data.contract.features),
        }
    )
    found = by_name(facts.model_copy(update={"previous": previous}))
    assert not found["Data fingerprint"].changed
    assert not found["Rows as read"].changed
    assert not found["Input columns"].changed


def test_a_champion_of_which_little_is_recorded():
    bare = wine_facts().model_copy(update={"previous": ChampionRecord(version="3")})
    found = by_name(bare)
    assert found["Estimator"].before == "not recorded"
    assert found["Rows as read"].before == "not recorded"
    assert "Input columns" not in found
    assert recorded_metrics(bare) == []


def test_no_champion_no_changes():
    assert changes(promoted_first(wine_facts())) == []
    assert recorded_metrics(promoted_first(wine_facts())) == []
