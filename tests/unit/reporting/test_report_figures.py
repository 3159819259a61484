from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from evergreen.reporting.figures import draw, figures
from evergreen.reporting.figures.canvas import drawing_style
from evergreen.reporting.figures.comparison import draw_candidates
from evergreen.training.results import CandidateResult, Curve
from tests.support.report_facts import cancer_facts, diabetes_facts, wine_facts
from tests.support.report_outcomes import promoted_first, unmeasurable

ROOT = Path(__file__).resolve().parents[3]
COMMON = {"metrics", "candidates", "importance_permutation", "importance_shap", "slices"}
CLASSES = COMMON | {"confusion", "roc", "precision_recall", "calibration"}
NUMBERS = COMMON | {"predicted", "residuals"}


@pytest.mark.parametrize(
    ("facts", "names"),
    [(wine_facts, CLASSES), (cancer_facts, CLASSES), (diabetes_facts, NUMBERS)],
)
def test_every_figure_of_a_task_is_a_small_svg_file(facts, names):
    made = figures(facts())
    assert made.keys() == names
    for svg in made.values():
        root = ElementTree.fromstring(svg)
        assert root.get("aria-label")
        assert len(svg) < 60_000


def test_drawing_does_without_pyplot():
    code = (
        "import sys; from tests.support.report_facts import wine_facts; "
        "from evergreen.reporting.figures import figures; "
        "figures(wine_facts()); sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_drawings_are_not_drawn_twice():
    drawings = draw(wine_facts())
    assert figures(wine_facts(), drawings) == figures(wine_facts())


def test_titles_say_what_is_seen():
    drawings = draw(wine_facts())
    best = wine_facts().best.title
    assert best in drawings["candidates"].title
    assert "holdout rows on the diagonal" in drawings["confusion"].title
    assert wine_facts().explanation.columns[0].column in drawings["importance_permutation"].title


def test_what_is_not_measurable_is_left_out_or_said():
    made = figures(unmeasurable(wine_facts()))
    assert made.keys() == {"metrics", "candidates"}
    assert "not measurable" in made["metrics"]
    assert not any("nan" in svg.lower() for svg in made.values())


def test_a_slice_without_a_figure_says_so_in_its_row():
    facts = wine_facts()
    empty = unmeasurable(facts).challenger.slices[0]
    slices = (empty, *facts.challenger.slices[1:])
    some = facts.challenger.model_copy(update={"slices": slices})
    assert "not measurable" in figures(facts.model_copy(update={"challenger": some}))["slices"]


def test_arms_that_are_missing_are_not_named():
    title = draw(promoted_first(wine_facts()))["metrics"].title
    assert "champion" not in title
    assert "baseline" in title


def test_a_candidate_far_off_is_named_at_the_edge():
    search = wine_facts().search
    far = search.candidates[0].model_copy(
        update={"name": "far", "title": "Far", "score": 1e6, "fold_scores": (1e6, 1.1e6, 0.9e6)}
    )
    with drawing_style():
        drawing = draw_candidates(
            search.model_copy(update={"candidates": (*search.candidates, far)})
        )
    assert "1,000,000" in drawing.svg


def test_a_search_in_which_all_failed_still_draws():
    failed = CandidateResult.failed("a", "A", "too few rows")
    with drawing_style():
        drawing = draw_candidates(
            wine_facts().search.model_copy(update={"candidates": (failed,), "best": "a"})
        )
    assert "no candidate" in drawing.svg


def test_many_classes_are_cut_and_the_title_says_so():
    facts = wine_facts()
    labels = tuple(f"class {n}" for n in range(30))
    curves = tuple(Curve(label=label, x=(0.0, 1.0), y=(0.0, 1.0)) for label in labels)
    confusion = tuple(tuple(int(i == j) for j in range(30)) for i in range(30))
    many = facts.challenger.model_copy(
        update={"labels": labels, "roc": curves, "confusion": confusion}
    )
    drawings = draw(facts.model_copy(update={"challenger": many}))
    assert "24 more classes not drawn" in drawings["roc"].title
    assert len(drawings["confusion"].svg) < 200_000
