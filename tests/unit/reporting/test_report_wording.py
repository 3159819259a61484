from __future__ import annotations

import re

from evergreen.promotion.verdict import Verdict
from evergreen.reporting.facts import Registration
from evergreen.reporting.wording import headline, performance
from tests.support.report_facts import diabetes_facts, wine_facts
from tests.support.report_outcomes import promoted_first, refused, unmeasurable, waiting


def test_promoted_over_a_champion():
    said = headline(wine_facts())
    assert (said.tone, said.word) == ("good", "Promoted")
    assert said.sentence == "Version 4 is the new champion of wine and replaces version 3."
    assert said.reasons[0] == "It passed all 3 rules of the gate."


def test_promoted_as_the_first_champion():
    said = headline(promoted_first(wine_facts()))
    assert said.sentence == "Version 1 is the first champion of wine."


def test_promoted_before_it_has_a_version():
    facts = wine_facts().model_copy(update={"registration": Registration(status="promoted")})
    assert headline(facts).sentence == "The new model is the first champion of wine."


def test_waiting_names_both_commands():
    said = headline(waiting(wine_facts()))
    assert (said.tone, said.word) == ("wait", "Waits for approval")
    assert said.sentence == "Version 4 of wine waits for a person’s approval."
    assert "python run.py --approve wine" in said.reasons[-1]
    assert "python run.py --reject wine" in said.reasons[-1]
    assert said.reasons[-1].endswith("Until then version 3 stays champion.")


def test_ramping_says_how_and_what_sends_it_back():
    facts = waiting(wine_facts())
    ramping = facts.registration.model_copy(update={"status": "ramping"})
    said = headline(facts.model_copy(update={"registration": ramping}))
    assert (said.tone, said.word) == ("wait", "Ramps as a canary")
    assert said.sentence == ("Version 4 of wine ramps as a canary: 5 %, 25 %, 50 %, then champion.")
    assert "Each step takes 10 min 00 s and 200 rows" in said.reasons[-1]
    assert "version 3 answers everything again by itself" in said.reasons[-1]


def test_refused_names_the_rule_that_failed():
    said = headline(refused(wine_facts()))
    assert (said.tone, said.word) == ("bad", "Refused")
    assert said.sentence == "The new model of wine is refused; version 3 stays champion."
    assert said.reasons[0] == "It fails 1 of 3 rules."
    assert said.reasons[1].startswith("Failed: better than champion 3. The gain over champion 3")


def test_refused_without_a_champion():
    facts = refused(wine_facts()).model_copy(
        update={"registration": Registration(status="refused")}
    )
    assert headline(facts).sentence.endswith("there is still no champion.")


def test_refused_for_want_of_rules_says_what_the_gate_said():
    verdict = Verdict(
        passed=False,
        rules=(),
        champion=None,
        approval="automatic",
        summary="Refused: no rule applies; add a threshold.",
    )
    facts = refused(wine_facts()).model_copy(update={"verdict": verdict})
    assert headline(facts).reasons[0] == "Refused: no rule applies; add a threshold."


def test_unchanged():
    facts = wine_facts().model_copy(
        update={"registration": Registration(status="unchanged", version="3", champion_before="3")}
    )
    said = headline(facts)
    assert (said.tone, said.word) == ("same", "Unchanged")
    assert said.sentence.startswith("Version 3 stays the champion of wine")
    assert said.reasons[0] == "Same data, settings and code."


def test_unchanged_though_the_gate_compared_the_champion_with_itself():
    facts = refused(wine_facts()).model_copy(
        update={"registration": Registration(status="unchanged", version="3", champion_before="3")}
    )
    said = headline(facts)
    assert said.word == "Unchanged"
    assert "no model is better than itself" in said.reasons[0]
    assert facts.verdict.summary in said.reasons[0]


def test_performance_of_a_classifier_and_a_regression():
    assert "of its predictions are right (95% interval" in performance(wine_facts())
    said = performance(diabetes_facts())
    assert said.startswith("On 89 rows it had never seen, its predictions are off by ")
    assert re.search(r" on average\. 95% of new ones are within ±\d[\d.]*\.$", said)


def test_performance_that_nobody_can_tell_is_not_told():
    assert performance(unmeasurable(wine_facts())) == ""
