"""What a training tells MLflow can be read there, and is told quickly."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from evergreen.paths import Home
from evergreen.promotion import tracking
from evergreen.promotion.store import open_client, prepare_store
from evergreen.provenance import environment
from evergreen.training.results import (
    CandidateResult,
    Evaluation,
    Interval,
    SearchResult,
    SliceResult,
    Trial,
)

NOT_MEASURED = Interval(estimate=None, low=None, high=None)


def _trials(count):
    return tuple(
        Trial(
            number=number,
            params={"max_depth": number, "C": 0.1},
            score=None if number == 1 else 0.5 + number / 100,
            fold_scores=(0.5, 0.6),
            seconds=0.1,
            state="pruned" if number == 1 else "complete",
        )
        for number in range(count)
    )


def _candidate(name, score=0.9, trials=10, **changes):
    return CandidateResult(
        name=name,
        title=name.title(),
        params={"max_depth": 3, "splitter": "best", "odd[name]": None},
        score=score,
        score_std=0.01,
        fold_scores=(0.88, 0.9, math.nan, 0.92),
        rounds=None,
        trials=_trials(trials),
        seconds=1.5,
        **changes,
    )


def _search(*candidates):
    return SearchResult(
        metric="accuracy",
        greater_is_better=True,
        folds=4,
        candidates=candidates,
        best=candidates[0].name,
        seconds=3.0,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("tracking"))
    experiment = prepare_store(home, "boats")
    return open_client(home.mlflow_uri), experiment


@pytest.fixture
def run(store):
    client, experiment = store
    return client.create_run(experiment).info.run_id


def _artifact(client, run, path, folder):
    return Path(client.download_artifacts(run, path, str(folder))).read_text()


def test_a_nested_run_per_candidate(store, run, tmp_path):
    client, experiment = store
    runs = tracking.log_search(
        client, experiment, run, _search(_candidate("tree"), _candidate("forest", 0.8))
    )
    assert set(runs) == {"tree", "forest"}
    tree = client.get_run(runs["tree"])
    assert tree.data.tags["mlflow.parentRunId"] == run
    assert tree.info.status == "FINISHED"
    assert tree.info.run_name == "Tree"
    assert tree.data.params == {"max_depth": "3", "splitter": "best", "odd_name_": "None"}
    assert tree.data.metrics["cv_accuracy"] == 0.9
    assert tree.data.metrics["cv_accuracy_std"] == 0.01
    folds = client.get_metric_history(runs["tree"], "fold_accuracy")
    assert [(each.step, each.value) for each in folds] == [(0, 0.88), (1, 0.9), (3, 0.92)]
    scores = client.get_metric_history(runs["tree"], "trial_score")
    assert [each.step for each in scores] == [0, 2, 3, 4, 5, 6, 7, 8, 9]
    best = client.get_metric_history(runs["tree"], "best_score")
    assert [each.value for each in best] == sorted(each.value for each in best)
    trials = json.loads(_artifact(client, runs["tree"], "trials.json", tmp_path))
    assert [trial["state"] for trial in trials][:2] == ["complete", "pruned"]


def test_the_parent_knows_the_best(store, run):
    client, experiment = store
    runs = tracking.log_search(client, experiment, run, _search(_candidate("tree")))
    parent = client.get_run(run)
    assert parent.data.params["candidate"] == "tree"
    assert parent.data.params["best.max_depth"] == "3"
    assert parent.data.metrics["cv_accuracy"] == 0.9
    assert parent.data.tags["evergreen.challenger_run"] == runs["tree"]


def test_a_loss_improves_downwards(store, run):
    client, experiment = store
    search = _search(_candidate("tree")).model_copy(update={"greater_is_better": False})
    runs = tracking.log_search(client, experiment, run, search)
    best = [each.value for each in client.get_metric_history(runs["tree"], "best_score")]
    assert best == [0.5] * 9


def test_a_failed_candidate_is_a_failed_run(store, run):
    client, experiment = store
    failed = _candidate("lightgbm", None, 0, error="the library is missing")
    runs = tracking.log_search(client, experiment, run, _search(_candidate("tree"), failed))
    found = client.get_run(runs["lightgbm"])
    assert found.info.status == "FAILED"
    assert found.data.tags["evergreen.error"] == "the library is missing"
    assert "cv_accuracy" not in found.data.metrics


def test_more_than_one_call_takes(store, run):
    client, experiment = store
    wide = _candidate("wide", trials=900).model_copy(
        update={"params": {f"p{number}": number for number in range(250)}}
    )
    runs = tracking.log_search(client, experiment, run, _search(wide))
    found = client.get_run(runs["wide"])
    assert len(found.data.params) == 250
    assert len(client.get_metric_history(runs["wide"], "trial_score")) == 899


def _evaluation(**changes):
    parts = {
        "task": "classification",
        "rows": 40,
        "labels": ("a", "b"),
        "positive": None,
        "confidence": 0.95,
        "metrics": {"accuracy": Interval(estimate=0.9, low=0.8, high=0.95), "brier": NOT_MEASURED},
        "gain": Interval(estimate=12.5, low=-1, high=math.inf),
        "gain_unit": "EUR",
        "confusion": None,
        "calibration": (),
        "roc": (),
        "precision_recall": (),
        "residuals": None,
        "slices": (),
    }
    return Evaluation(**{**parts, **changes})


def test_evaluation_with_bounds_and_without_what_was_not_measured(store, run):
    client, _ = store
    tracking.log_evaluation(client, run, _evaluation())
    metrics = client.get_run(run).data.metrics
    assert metrics == {
        "holdout_accuracy": 0.9,
        "holdout_accuracy_low": 0.8,
        "holdout_accuracy_high": 0.95,
        "holdout_gain": 12.5,
        "holdout_gain_low": -1,
        "holdout_rows": 40,
    }


def test_another_arm_has_a_name_of_its_own(store, run):
    client, _ = store
    tracking.log_evaluation(client, run, _evaluation(gain=None), "champion")
    assert "champion_accuracy_low" in client.get_run(run).data.metrics


def test_slices_of_any_name(store, run):
    client, _ = store
    slices = tuple(
        SliceResult(
            column=column,
            value=value,
            rows=10,
            metrics={"accuracy": Interval(estimate=at / 10, low=None, high=None)},
        )
        for at, (column, value) in enumerate(
            [
                ("mast / height", "[1, 2)"),
                ("mast _ height", "[1, 2)"),
                ("..", "."),
                ("", "ü é"),
                ("c", "x" * 400),
                ("c", "x" * 399 + "y"),
            ],
            start=1,
        )
    )
    tracking.log_evaluation(client, run, _evaluation(slices=slices))
    metrics = client.get_run(run).data.metrics
    found = sorted(value for name, value in metrics.items() if "/" in name)
    assert found == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    assert metrics["holdout_accuracy/mast _ height/_1_ 2_"] == 0.1


def test_data_and_provenance(store, run):
    client, _ = store
    tracking.log_data(
        client,
        run,
        name="boats",
        fingerprint="f" * 64,
        source="boats.csv",
        rows=120,
        columns=["mast", "crew"],
    )
    tracking.log_provenance(client, run, environment(), {"evergreen.zenml_run": "train-1"})
    found = client.get_run(run)
    assert found.data.tags["evergreen.data_fingerprint"] == "f" * 64
    assert found.data.tags["evergreen.data_rows"] == "120"
    assert found.data.tags["evergreen.zenml_run"] == "train-1"
    assert "evergreen.version.scikit-learn" in found.data.tags
    (table,) = found.inputs.dataset_inputs
    assert table.dataset.name == "boats"
    assert json.loads(table.dataset.source) == {"source": "boats.csv"}


def test_figures_and_reports_are_artifacts(store, run, tmp_path):
    client, _ = store
    tracking.log_figures(client, run, {"roc": "<svg>é</svg>", "calibration": "<svg/>"})
    tracking.log_files(client, run, {"report.html": "<p>", "cards/card.md": "# Card"})
    assert {each.path for each in client.list_artifacts(run)} == {"figures", "report.html", "cards"}
    assert {each.path for each in client.list_artifacts(run, "figures")} == {
        "figures/roc.svg",
        "figures/calibration.svg",
    }
    assert _artifact(client, run, "figures/roc.svg", tmp_path) == "<svg>é</svg>"
