"""What the metrics and the report's own words mean, one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from evergreen.training.metrics import METRICS

METRIC_MEANINGS: Mapping[str, str] = {
    "accuracy": "Share of rows whose class was predicted right.",
    "balanced_accuracy": "Accuracy within each class, averaged: rare classes count as much as "
    "frequent ones.",
    "f1": "Harmonic mean of precision and recall: of the positive class where there are two "
    "classes, averaged over the classes where there are more.",
    "roc_auc": "Chance that a row of a class gets a higher probability of it than a row of "
    "another class; 0.5 is guessing.",
    "pr_auc": "Precision averaged over all levels of recall; guessing gives the class's share "
    "of the rows.",
    "log_loss": "How surprised the predicted probabilities are by what happened; 0 is perfect, "
    "and sure but wrong predictions cost most.",
    "brier": "Mean squared distance between the predicted probabilities and what happened; 0 is "
    "perfect.",
    "mae": "Mean absolute error: how far off a prediction is on average, in units of the target.",
    "rmse": "Root of the mean squared error: like MAE, but large errors weigh more.",
    "r2": "Share of the target's variance that is explained; 0 is as good as always predicting "
    "the mean.",
    "median_absolute_error": "Half of the predictions are closer than this, in units of the "
    "target.",
}

TERMS: Mapping[str, str] = {
    "Champion": "The version in use.",
    "Challenger": "The best candidate of this run, which wants to replace the champion.",
    "Baseline": "A model that ignores every input: what can be had for nothing.",
    "Holdout": "Rows kept aside before training and looked at once, by the final evaluation.",
    "Cross-validation": "Each candidate is trained and scored once per fold, on training rows "
    "only; the holdout takes no part.",
    "Interval": "Where the figure would likely lie on other rows of the same kind, from "
    "resampling the holdout (bootstrap), or what that comes to for many rows.",
    "Permutation importance": "How much the metric suffers when one column is shuffled.",
    "SHAP": "How far a column moves single predictions away from the average one.",
}


def metric_title(name: str) -> str:
    """Return how a metric is called in prose; unknown names stay as they are."""
    return METRICS[name].title if name in METRICS else name


def metric_prose(name: str) -> str:
    """Return how a metric is called within a sentence: "log loss", but "ROC AUC"."""
    title = metric_title(name)
    is_name = title.startswith("Brier") or title[1:2].isupper() or not title[1:2].isalpha()
    return title if is_name else title[:1].lower() + title[1:]


def greater_is_better(name: str) -> bool | None:
    """Return a metric's direction; None where it is unknown."""
    return METRICS[name].greater_is_better if name in METRICS else None


def meanings(metrics: Iterable[str]) -> dict[str, str]:
    """Return title and meaning of the given metrics, then of the report's own terms."""
    known = {
        metric_title(name): METRIC_MEANINGS[name] for name in metrics if name in METRIC_MEANINGS
    }
    return known | dict(TERMS)
