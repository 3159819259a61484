"""Facts of real, small training runs, made with scikit-learn alone."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from evergreen.config import EvaluationConfig, UseCase
from evergreen.data.contract import Column, Contract
from evergreen.data.quality_report import Finding, QualityReport
from evergreen.promotion.verdict import RuleResult, Verdict
from evergreen.reporting.facts import (
    ChampionRecord,
    DataFacts,
    Link,
    Provenance,
    Registration,
    TrainingFacts,
)
from evergreen.training.evaluation import evaluate
from evergreen.training.predictions import Predictions
from evergreen.training.results import (
    CandidateResult,
    Evaluation,
    Explanation,
    Importance,
    Interval,
    SearchResult,
    Trial,
)

SEED = 7
METRICS = ("log_loss", "accuracy", "f1", "roc_auc", "rmse", "mae", "r2")


@functools.cache
def wine_facts() -> TrainingFacts:
    """Three classes, a champion that was beaten."""
    return _facts("wine", "Three cultivars of wine, told apart by chemical measurements")


@functools.cache
def cancer_facts() -> TrainingFacts:
    """Two classes."""
    return _facts("breast_cancer", "Tumours, benign or malignant")


@functools.cache
def diabetes_facts() -> TrainingFacts:
    """A regression."""
    return _facts("diabetes", "Progression of diabetes after one year")


def frame_and_contract(name: str) -> tuple[pd.DataFrame, Contract]:
    """One of scikit-learn's tables in canonical types, with its contract."""
    bunch = getattr(datasets, f"load_{name}")(as_frame=True)
    frame = bunch.frame.astype("float64")
    frame = frame[[*frame.columns[:-1][:13], "target"]]
    classes = hasattr(bunch, "target_names")
    if classes:
        frame["target"] = [str(bunch.target_names[int(each)]) for each in bunch.target]
        frame["target"] = frame["target"].astype(object)
    columns = tuple(
        Column(
            name=str(each),
            type="category" if classes and each == "target" else "number",
            role="target" if each == "target" else "feature",
            nullable=False,
            minimum=None if classes and each == "target" else float(frame[each].min()),
            maximum=None if classes and each == "target" else float(frame[each].max()),
        )
        for each in frame.columns
    )
    labels = tuple(sorted(set(frame["target"]))) if classes else None
    contract = Contract(
        use_case=name,
        task="classification" if classes else "regression",
        target="target",
        labels=labels,
        positive=labels[0] if labels and len(labels) == 2 else None,
        columns=columns,
    )
    return frame, contract


def _facts(name: str, description: str) -> TrainingFacts:
    frame, contract = frame_and_contract(name)
    classes = contract.task == "classification"
    inputs, target = frame.drop(columns="target"), frame["target"]
    fit, hold, fit_y, hold_y = train_test_split(
        inputs, target, test_size=0.2, random_state=SEED, stratify=target if classes else None
    )
    models = _models(classes)
    arms = {
        each: _evaluation(model.fit(fit, fit_y), hold, hold_y, contract)
        for each, (_, model) in models.items()
    }
    search = _search(models, fit, fit_y, classes)
    return TrainingFacts(
        use_case=_use_case(name, description, contract),
        data=DataFacts(
            source=f"scikit-learn's {name}",
            fingerprint="3f9a6c0d2b71e8455a90" * 3 + "abcd",
            rows=len(frame),
            train_rows=len(fit),
            holdout_rows=len(hold),
            split_method="stratified" if classes else "random",
            contract=contract,
            quality=_quality(frame),
        ),
        search=search,
        challenger=arms[search.best],
        baseline=arms["baseline"],
        champion=arms["forest"],
        explanation=_explanation(models[search.best][1], hold, hold_y, search.metric, classes),
        verdict=_verdict(search, arms),
        registration=Registration(status="promoted", version="4", champion_before="3"),
        previous=ChampionRecord(
            version="3",
            trained=datetime(2026, 1, 12, 8, 30, tzinfo=UTC),
            candidate="Random forest",
            params={"max_depth": 4, "n_estimators": 20},
            metrics={each: value.estimate for each, value in arms["forest"].metrics.items()},
            fingerprint="77aa01" * 10,
            rows=len(frame) - 12,
            features=tuple(str(each) for each in inputs.columns[1:]),
            git_commit="0c9d8e7f6a5b",
        ),
        provenance=Provenance(
            when=datetime(2026, 3, 7, 14, 3, tzinfo=UTC),
            command=f"python run.py --pipeline train --config configs/{name}.yaml",
            git_commit="d80bc49f10ab",
            git_dirty=True,
            python="3.11.9",
            versions={"scikit-learn": "1.9.1", "xgboost": "3.2.0", "pandas": "3.0.6"},
            seed=42,
            machine="Linux x86_64, 8 cores",
            durations={"load": 0.31, "quality": 0.22, "search": 14.8, "evaluate": 1.9},
        ),
        links=(
            Link(name="MLflow run", id="8c1f02ab", url="http://127.0.0.1:5000/#/experiments/1"),
            Link(name="ZenML run", id="train-2026_03_07"),
        ),
    )


def _models(classes: bool) -> dict[str, tuple[str, object]]:
    if classes:
        return {
            "logistic": (
                "Logistic regression",
                make_pipeline(StandardScaler(), LogisticRegression(C=0.5)),
            ),
            "forest": (
                "Random forest",
                RandomForestClassifier(8, max_depth=4, random_state=SEED),
            ),
            "baseline": ("Baseline (most frequent)", DummyClassifier(strategy="prior")),
        }
    return {
        "ridge": ("Ridge regression", make_pipeline(StandardScaler(), Ridge(5.0))),
        "forest": ("Random forest", RandomForestRegressor(8, max_depth=4, random_state=SEED)),
        "baseline": ("Baseline (mean)", DummyRegressor()),
    }


def _search(models, inputs, target, classes: bool) -> SearchResult:
    results = []
    for name, (title, model) in models.items():
        scoring = "neg_log_loss" if classes else "neg_root_mean_squared_error"
        scores = tuple(
            float(-each) for each in cross_val_score(model, inputs, target, cv=3, scoring=scoring)
        )
        mean, std = float(np.mean(scores)), float(np.std(scores))
        trial = Trial(
            number=0,
            params={"C": 0.5},
            score=mean,
            fold_scores=scores,
            seconds=0.4,
            state="complete",
        )
        pruned = trial.model_copy(update={"number": 1, "score": None, "state": "pruned"})
        results.append(
            CandidateResult(
                name=name,
                title=title,
                params={"C": 0.5, "max_iter": 1000} if name != "baseline" else {},
                score=mean,
                score_std=std,
                fold_scores=scores,
                rounds=None,
                trials=(trial, pruned),
                seconds=1.7,
            )
        )
    results.sort(key=lambda each: each.score)
    reason = "every trial failed: too few rows for early stopping"
    failed = CandidateResult.failed("lightgbm", "LightGBM", reason, seconds=0.2)
    best = next(each.name for each in results if each.name != "baseline")
    if best == "forest":  # the tests' champion
        best = next(each.name for each in results if each.name not in {"baseline", "forest"})
    return SearchResult(
        metric="log_loss" if classes else "rmse",
        greater_is_better=False,
        folds=3,
        candidates=(*results, failed),
        best=best,
        seconds=14.8,
    )


def _evaluation(model, inputs, target, contract: Contract) -> Evaluation:
    labels = contract.labels
    predictions = Predictions(
        actual=target.to_numpy(),
        predicted=model.predict(inputs),
        probabilities=model.predict_proba(inputs) if labels else None,
        labels=labels,
        positive=contract.positive,
    )
    config = EvaluationConfig(slices=(contract.columns[0].name,), slice_bins=3, bootstrap=100)
    frame = inputs.assign(target=target).reset_index(drop=True)
    found = evaluate(predictions, frame, contract, config, SEED)
    slices = tuple(
        each.model_copy(update={"value": value, "metrics": _some(each.metrics)})
        for each, value in zip(found.slices, ["low", "middle", "high"], strict=True)
    )
    gain = Interval(estimate=3.2, low=2.1, high=4.4) if labels else None
    return found.model_copy(
        update={
            "metrics": _some(found.metrics),
            "slices": slices,
            "gain": gain,
            "gain_unit": "EUR" if labels else None,
        }
    )


def _some(metrics: Mapping[str, Interval]) -> dict[str, Interval]:
    """Leave a few metrics: enough for every kind of line in a report."""
    return {name: metrics[name] for name in METRICS if name in metrics}


def _explanation(model, inputs, target, metric: str, classes: bool) -> Explanation:
    scoring = "neg_log_loss" if classes else "neg_root_mean_squared_error"
    found = permutation_importance(
        model, inputs, target, n_repeats=2, random_state=SEED, scoring=scoring
    )
    columns = [
        Importance(
            column=str(name),
            permutation=float(mean),
            permutation_std=float(std),
            shap=abs(mean) / 2,
        )
        for name, mean, std in zip(
            inputs.columns, found.importances_mean, found.importances_std, strict=True
        )
    ]
    columns.sort(key=lambda each: -each.permutation)
    return Explanation(
        metric=metric, rows=len(inputs), columns=tuple(columns), shap_method="linear"
    )


def _quality(frame: pd.DataFrame) -> QualityReport:
    return QualityReport(
        rows=len(frame),
        columns=frame.shape[1],
        checks=("types", "missing", "duplicates", "outliers", "class_balance"),
        findings=(
            Finding(
                check="duplicates",
                severity="warning",
                message="1 row is an exact copy of another; remove it or say why it is there.",
                count=1,
                share=1 / max(len(frame), 1),
                rows=(143,),
            ),
            Finding(
                check="outliers",
                severity="info",
                message=f"{frame.columns[1]} holds 3 values far from the others.",
                columns=(str(frame.columns[1]),),
                count=3,
                share=3 / max(len(frame), 1),
                rows=(25, 59, 121),
            ),
        ),
    )


def _verdict(search: SearchResult, arms: dict[str, Evaluation]) -> Verdict:
    metric = search.metric
    value = arms[search.best].metrics[metric]
    other = "accuracy" if metric == "log_loss" else "r2"
    absolute = arms[search.best].metrics[other]
    floor = 0.9 if other == "accuracy" else 0.3
    gain = arms["baseline"].metrics[metric].estimate - value.estimate
    return Verdict(
        passed=True,
        rules=(
            RuleResult(
                rule="threshold",
                name=f"{other} at least {floor}",
                metric=other,
                figure=absolute.estimate,
                low=absolute.low,
                high=absolute.high,
                bound=floor,
                passed=True,
                reason=f"{other} is {absolute.estimate:.3f}; at least {floor} is asked for.",
            ),
            RuleResult(
                rule="baseline",
                name="better than the baseline",
                metric=metric,
                figure=gain,
                low=gain * 0.9,
                high=gain * 1.1,
                bound=0.0,
                passed=True,
                reason=f"{metric} improves on the baseline by {gain:.3f}; surely more than 0.",
            ),
            RuleResult(
                rule="champion",
                name="better than champion 3",
                metric=metric,
                figure=0.05,
                low=0.01,
                high=0.09,
                bound=0.0,
                passed=True,
                reason=f"{metric} improves on champion 3 by 0.050 (at least 0.010).",
            ),
        ),
        champion="3",
        approval="automatic",
        summary="All 3 rules passed: the challenger is better than champion 3.",
    )


def _use_case(name: str, description: str, contract: Contract) -> UseCase:
    return UseCase.model_validate(
        {
            "name": name,
            "description": description,
            "task": contract.task,
            "data": {"source": f"sklearn:{name}", "target": contract.target},
            "evaluation": {"slices": [contract.columns[0].name]},
            "gate": {"thresholds": {"accuracy" if contract.labels else "r2": 0.3}},
        }
    )
