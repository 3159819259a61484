from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from evergreen.reporting.card import model_card
from evergreen.reporting.pages import code, escape_markdown
from tests.support.odd_tables import HOSTILE
from tests.support.report_facts import diabetes_facts, wine_facts
from tests.support.report_outcomes import promoted_first, refused, unmeasurable, waiting

HEADINGS = [
    "Model",
    "Intended use",
    "Data",
    "Metrics",
    "What matters",
    "Limits",
    "How to reproduce",
]


def rendered(card: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(card)


def text_of(markdown: str) -> str:
    html = MarkdownIt("commonmark").enable("table").render(markdown)
    from html import unescape

    return unescape(re.sub(r"<[^>]+>", "", html)).strip()


@pytest.mark.parametrize(
    "facts",
    [
        wine_facts,
        lambda: refused(diabetes_facts()),
        lambda: waiting(wine_facts()),
        lambda: promoted_first(wine_facts()),
        lambda: unmeasurable(wine_facts()),
    ],
)
def test_every_card_has_its_parts_and_whole_tables(facts):
    card = model_card(facts())
    html = rendered(card)
    assert re.findall(r"<h2>(.*?)</h2>", html) == HEADINGS
    assert html.count("<table>") == 3
    assert not re.search(r"\bnan\b|\bNone\b", card)
    assert "|" not in re.sub(r"<(td|th|code)>.*?</\1>", "", html)  # no table fell apart


def test_the_card_tells_figures_with_intervals_and_limits():
    card = model_card(wine_facts())
    accuracy = wine_facts().challenger.metrics["accuracy"]
    assert f"{accuracy.estimate:.3f} ({accuracy.low:.3f} to {accuracy.high:.3f})" in card
    assert "a single row moves the accuracy by 2.8 percentage points" in card
    assert "It passed all 3 rules of the gate. On 36 rows it had never seen" in card
    assert "python run.py --pipeline train --config configs/wine.yaml" in card
    assert wine_facts().data.fingerprint in card


def test_a_card_tells_what_the_gate_said_but_not_what_may_still_change():
    card = model_card(waiting(wine_facts()))
    assert "It passed all 3 rules of the gate." in card
    assert "--approve" not in card
    failed = model_card(refused(wine_facts()))
    assert "It fails 1 of 3 rules of the gate: better than champion 3." in failed


def test_unmeasurable_figures_say_so():
    card = model_card(unmeasurable(wine_facts()))
    assert card.count("not measurable") > 10
    assert "Not measurable on this holdout." in card


def test_hostile_names_stay_text():
    facts = wine_facts()
    contract = facts.data.contract
    columns = (contract.columns[0].model_copy(update={"name": HOSTILE}), *contract.columns[1:])
    first, *others = facts.challenger.slices
    slices = (first.model_copy(update={"column": HOSTILE, "value": HOSTILE}), *others)
    hostile = facts.model_copy(
        update={
            "use_case": facts.use_case.model_copy(update={"description": f"# {HOSTILE}"}),
            "challenger": facts.challenger.model_copy(update={"slices": slices}),
            "data": facts.data.model_copy(
                update={"contract": contract.model_copy(update={"columns": columns})}
            ),
        }
    )
    html = rendered(model_card(hostile))
    assert "<script" not in html
    assert html.count("<h1>") == 1
    assert html.count("<table>") == 3


def test_a_password_in_the_source_stays_out():
    facts = wine_facts()
    data = facts.data.model_copy(update={"source": "postgresql://me:hunter2@db/wine"})
    assert "hunter2" not in model_card(facts.model_copy(update={"data": data}))


@given(st.text(alphabet=st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))))
def test_escaped_text_reads_as_it_was(text):
    flat = " ".join(text.split())
    assert text_of(f"x{escape_markdown(text)}x") == f"x{flat}x"


@given(st.text(alphabet="`ab |", min_size=1))
def test_code_reads_as_it_was(text):
    flat = " ".join(text.split()).replace("|", "¦")
    if flat:
        assert text_of(f"x {code(text)} x") == f"x {flat} x"
