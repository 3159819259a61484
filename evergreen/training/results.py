"""What training and evaluation produce, as frozen values."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from evergreen.config import Choice, Label, Task
from evergreen.values import Value

LEFT_OUT: Final = "left out"  # so the error of a candidate begins that was not even tried


class Interval(Value):
    """An estimate with its confidence bounds; all None where it could not be measured."""

    estimate: float | None
    low: float | None
    high: float | None


class Trial(Value):
    """One tried parameter setting. ``score`` is None for a pruned or failed one."""

    number: int
    params: Mapping[str, Choice]
    score: float | None
    fold_scores: tuple[float, ...]
    seconds: float
    state: str  # complete, pruned, failed
    error: str | None = None  # why it failed


class TrialOutcome(Value):
    """A trial, and the boosting rounds that its folds chose."""

    trial: Trial
    rounds: tuple[int, ...] = ()


def running_means(scores: Sequence[float]) -> list[float]:
    """Return, after each fold, the mean of the scores so far."""
    return [statistics.fmean(scores[: count + 1]) for count in range(len(scores))]


class CandidateResult(Value):
    """A candidate's search: its best setting, scored by cross-validation on the training rows."""

    name: str
    title: str
    params: Mapping[str, Choice]
    score: float | None  # mean over folds of the training metric; None: every trial failed
    score_std: float | None
    fold_scores: tuple[float, ...]
    rounds: int | None  # boosting rounds chosen by early stopping
    trials: tuple[Trial, ...]
    seconds: float
    error: str | None = None
    taken_over: int = 0  # trials that a search had made that was interrupted

    @classmethod
    def failed(cls, name: str, title: str, error: str, seconds: float = 0.0) -> CandidateResult:
        """Return the result of a candidate that has no trials to show."""
        return cls(
            name=name,
            title=title,
            params={},
            score=None,
            score_std=None,
            fold_scores=(),
            rounds=None,
            trials=(),
            seconds=seconds,
            error=error,
        )


class SearchResult(Value):
    """All candidates, best first (failed ones last), and the one that becomes challenger."""

    metric: str
    greater_is_better: bool
    folds: int
    candidates: tuple[CandidateResult, ...]
    best: str
    seconds: float


class CalibrationBin(Value):
    """Rows of similar predicted probability: what was predicted, what came true."""

    predicted: float
    observed: float
    low: float
    high: float
    rows: int


class Curve(Value):
    """A ROC or precision-recall curve, thinned to at most 200 points."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class SliceResult(Value):
    """The metrics within one group of rows."""

    column: str
    value: str
    rows: int
    metrics: Mapping[str, Interval]


class PredictionInterval(Value):
    """Predictions plus and minus ``half_width`` hold the share ``confidence`` of new rows."""

    confidence: float
    half_width: float  # in units of the target
    rows: int  # whose errors it rests on; groups, where rows belong together


class Residuals(Value):
    """Actual against predicted values of at most 500 rows, evenly taken."""

    actual: tuple[float, ...]
    predicted: tuple[float, ...]


class Evaluation(Value):
    """One model on the holdout."""

    task: Task
    rows: int
    labels: tuple[Label, ...] | None
    positive: Label | None
    confidence: float
    metrics: Mapping[str, Interval]
    gain: Interval | None  # business value per row; None where the use case states none
    gain_unit: str | None
    confusion: tuple[tuple[int, ...], ...] | None  # rows: actual, columns: predicted
    calibration: tuple[CalibrationBin, ...]
    roc: tuple[Curve, ...]
    precision_recall: tuple[Curve, ...]
    residuals: Residuals | None
    slices: tuple[SliceResult, ...]
    prediction_interval: PredictionInterval | None = None


class Importance(Value):
    """How much one input column matters."""

    column: str
    permutation: float | None  # loss of the training metric when shuffled, mean
    permutation_std: float | None
    shap: float | None  # mean absolute SHAP value, summed over what is derived from the column


class Explanation(Value):
    """Importance per input column, greatest first."""

    metric: str
    rows: int
    columns: tuple[Importance, ...]
    shap_method: str | None  # None: not computed, ``shap_reason`` says why
    shap_reason: str | None = None


class Evaluations(Value):
    """All arms on the same holdout rows; ``champion`` is None where there was none."""

    challenger: Evaluation
    baseline: Evaluation
    champion: Evaluation | None
