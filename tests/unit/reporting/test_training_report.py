from __future__ import annotations

import functools

import pytest

from evergreen.reporting.facts import Link, TrainingFacts
from evergreen.reporting.figures import draw
from evergreen.reporting.training_report import training_report
from tests.support.html_checks import check_page
from tests.support.odd_tables import HOSTILE
from tests.support.report_facts import cancer_facts, diabetes_facts, wine_facts
from tests.support.report_outcomes import promoted_first, refused, unmeasurable, waiting

SECTIONS = (
    "The gate",
    "On unseen rows",
    "Candidates",
    "Right and wrong",
    "What matters",
    "Groups of rows",
    "The data",
    "Since the champion",
    "What this does not tell",
    "How to reproduce",
    "Words",
)


@functools.cache
def wine_drawings():
    return draw(wine_facts())


def report(facts: TrainingFacts) -> str:
    """The report with wine's figures, for tests that look at the words."""
    return training_report(facts, wine_drawings())


@pytest.mark.parametrize(
    "facts",
    [
        wine_facts,
        lambda: waiting(cancer_facts()),
        lambda: refused(diabetes_facts()),
        lambda: promoted_first(wine_facts()),
        lambda: unmeasurable(wine_facts()),
    ],
    ids=["promoted", "waiting", "refused", "first", "unmeasurable"],
)
def test_every_report_is_a_whole_page(facts):
    html = training_report(facts())
    page = check_page(html)
    assert len(html) < 1_500_000
    for section in SECTIONS:
        assert section in page.text


def test_the_verdict_comes_first():
    page = check_page(report(refused(wine_facts())))
    verdict = page.text.index("The new model of wine is refused; version 3 stays champion.")
    assert verdict < page.text.index("The gate")
    assert "✗ failed" in page.text
    assert page.text.count("✓ passed") == 2


def test_metrics_stand_with_their_intervals():
    facts = wine_facts()
    page = check_page(report(facts))
    accuracy = facts.challenger.metrics["accuracy"]
    assert f"{accuracy.estimate:.3f} {accuracy.low:.3f} to {accuracy.high:.3f}" in page.text
    assert "Gain per row, EUR" in page.text


def test_what_is_not_measurable_is_said_and_no_nan_is_shown():
    page = check_page(training_report(unmeasurable(wine_facts())))
    assert page.text.count("not measurable") > 10
    assert "Importance is not measurable here." in page.text
    assert "What the model gets right and wrong is not measurable" in page.text


def test_candidates_are_compared_and_failures_explained():
    page = check_page(report(wine_facts()))
    assert "Failed: every trial failed: too few rows for early stopping" in page.text
    assert "1 pruned" in page.text
    assert "C = 0.5, max_iter = 1000" in page.text


def test_how_to_reproduce_is_exact():
    facts = wine_facts()
    page = check_page(report(facts))
    for needed in (
        facts.provenance.command,
        facts.provenance.git_commit,
        facts.data.fingerprint,
        "scikit-learn 1.9.1",
        "with changes that were not committed",
    ):
        assert needed in page.text


def test_hostile_names_are_shown_and_not_run():
    facts = wine_facts()
    contract = facts.data.contract
    columns = (contract.columns[0].model_copy(update={"name": HOSTILE}), *contract.columns[1:])
    importance = facts.explanation.columns
    explanation = facts.explanation.model_copy(
        update={"columns": (importance[0].model_copy(update={"column": HOSTILE}), *importance[1:])}
    )
    first, *others = facts.challenger.slices
    challenger = facts.challenger.model_copy(
        update={"slices": (first.model_copy(update={"column": HOSTILE, "value": HOSTILE}), *others)}
    )
    data = facts.data.model_copy(
        update={
            "contract": contract.model_copy(update={"columns": columns}),
            "source": f"postgresql://me:secret@db/x {HOSTILE}",
        }
    )
    html = training_report(
        facts.model_copy(
            update={"data": data, "explanation": explanation, "challenger": challenger}
        )
    )
    page = check_page(html)
    assert HOSTILE in page.text
    assert "secret" not in html


def test_passwords_in_the_command_stay_out():
    facts = wine_facts()
    command = "python run.py --set data.source.url=postgresql://me:hunter2@db/x"
    provenance = facts.provenance.model_copy(update={"command": command})
    assert "hunter2" not in report(facts.model_copy(update={"provenance": provenance}))


def test_only_web_addresses_become_links():
    links = (
        Link(name="good", id="1", url="https://example.com/run"),
        Link(name="bad", id="2", url="javascript:alert(1)"),
    )
    page = check_page(report(wine_facts().model_copy(update={"links": links})))
    assert page.links == ["https://example.com/run"]


def test_the_source_configuration_is_not_shown():
    html = report(wine_facts())
    assert "&#34;source&#34;" not in html
    assert "&#34;target&#34;" in html


def test_drawings_may_be_handed_in():
    facts = wine_facts()
    assert training_report(facts, draw(facts)) == training_report(facts)


def test_facts_survive_json():
    facts = wine_facts()
    again = TrainingFacts.model_validate_json(facts.model_dump_json())
    assert report(again) == report(facts)
