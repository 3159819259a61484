"""What a run does not tell: its limits, each derived from a fact of the run itself."""

from __future__ import annotations

from evergreen.reporting.facts import TrainingFacts
from evergreen.reporting.glossary import greater_is_better, metric_prose, metric_title
from evergreen.reporting.numbers import interval, listing, measured, number, plural, share
from evergreen.training.results import Interval, SliceResult

FEW_ROWS = 100  # below, one row moves a share by more than a percentage point
FEW_CLASS_ROWS = 10
FEW_SLICE_ROWS = 20


def limits(facts: TrainingFacts) -> list[str]:
    """Return one sentence or two per limit, the most important first."""
    return [
        *_holdout(facts),
        *_metrics(facts),
        *_classes(facts),
        *_slices(facts),
        *_calibration(facts),
        *_split(facts),
        *_quality(facts),
        *_explanation(facts),
        *_candidates(facts),
        *_code(facts),
    ]


def _holdout(facts: TrainingFacts) -> list[str]:
    rows = facts.challenger.rows
    if rows >= FEW_ROWS:
        return []
    said = f"The holdout has only {plural(rows, 'row')}"
    if facts.challenger.task == "classification" and rows:
        return [
            f"{said}: a single row moves the accuracy by {number(100 / rows, 2)} percentage points."
        ]
    metric = facts.search.metric
    value = facts.challenger.metrics.get(metric)
    return [f"{said}, so the intervals are wide: {metric_prose(metric)} is {interval(value)}."]


def _metrics(facts: TrainingFacts) -> list[str]:
    missing = [
        metric_title(name)
        for name, value in facts.challenger.metrics.items()
        if not measured(value.estimate)
    ]
    return [f"Not measurable on this holdout: {listing(missing, 12)}."] if missing else []


def _classes(facts: TrainingFacts) -> list[str]:
    evaluation = facts.challenger
    few = [
        f"{label} ({plural(sum(row), 'row')})"
        for label, row in zip(evaluation.labels or (), evaluation.confusion or (), strict=False)
        if sum(row) < FEW_CLASS_ROWS
    ]
    return [f"Classes with few holdout rows, hardly judged: {listing(few)}."] if few else []


def _slices(facts: TrainingFacts) -> list[str]:
    slices, metric = facts.challenger.slices, facts.search.metric
    if not slices:
        return [
            "Whether the model is equally good for all groups of rows was not examined: the use "
            "case names no slices."
        ]
    blind = [each for each in slices if not measured(_estimate(each, metric))]
    few = [each for each in slices if each.rows < FEW_SLICE_ROWS and each not in blind]
    worse = [each for each in slices if _surely_worse(each, facts)]
    said = []
    if worse:
        said.append(
            f"Surely worse than overall ({metric_prose(metric)} "
            f"{number(_overall(facts))}) for {listing(map(_name, worse))}."
        )
    if blind:
        said.append(f"{metric_title(metric)} is not measurable for {listing(map(_name, blind))}.")
    if few:
        said.append(
            f"Groups with fewer than {FEW_SLICE_ROWS} holdout rows, hardly judged: "
            f"{listing(f'{_name(each)} ({each.rows})' for each in few)}."
        )
    return said


def _surely_worse(each: SliceResult, facts: TrainingFacts) -> bool:
    """Return whether even the slice's better bound is worse than the whole holdout."""
    overall, value = _overall(facts), each.metrics.get(facts.search.metric)
    upwards = greater_is_better(facts.search.metric)
    if overall is None or value is None or not measured(value.low) or not measured(value.high):
        return False
    return value.high < overall if upwards else upwards is False and value.low > overall


def _overall(facts: TrainingFacts) -> float | None:
    value: Interval | None = facts.challenger.metrics.get(facts.search.metric)
    return value.estimate if value is not None and measured(value.estimate) else None


def _estimate(each: SliceResult, metric: str) -> float | None:
    value = each.metrics.get(metric)
    return None if value is None else value.estimate


def _name(each: SliceResult) -> str:
    return f"{each.column} {each.value}"


def _calibration(facts: TrainingFacts) -> list[str]:
    bins = facts.challenger.calibration
    off = [each for each in bins if not each.low <= each.predicted <= each.high]
    if not off:
        return []
    worst = max(off, key=lambda each: abs(each.predicted - each.observed))
    return [
        f"Predicted probabilities miss the observed frequencies in {len(off)} of "
        f"{plural(len(bins), 'group')} of rows; most where {share(worst.predicted)} was predicted "
        f"and {share(worst.observed)} came true."
    ]


def _split(facts: TrainingFacts) -> list[str]:
    data = facts.data
    said = []
    if data.split_method != "time":
        dated = [column.name for column in data.contract.columns if column.type == "timestamp"]
        also = f", although the table holds dates ({listing(dated)})" if dated else ""
        said.append(
            f"The holdout was not taken from a later time than the training rows{also}: the "
            "figures say nothing about change over time."
        )
    left_out = data.rows - data.train_rows - data.holdout_rows
    if left_out > 0:
        said.append(f"{plural(left_out, 'row')} without a usable target took no part.")
    return said


def _quality(facts: TrainingFacts) -> list[str]:
    return [
        f"Data quality: {finding.message}"
        for finding in facts.data.quality.findings
        if finding.severity != "info"
    ]


def _explanation(facts: TrainingFacts) -> list[str]:
    explanation = facts.explanation
    if explanation is None:
        return ["Which columns matter was not computed."]
    if explanation.shap_method is None and explanation.shap_reason:
        return [f"SHAP values were not computed: {explanation.shap_reason}."]
    return []


def _candidates(facts: TrainingFacts) -> list[str]:
    failed = [each.title for each in facts.search.candidates if not measured(each.score)]
    return [f"Could not be trained and so took no part: {listing(failed)}."] if failed else []


def _code(facts: TrainingFacts) -> list[str]:
    if facts.provenance.git_commit is None:
        return ["The code's commit is not recorded."]
    if facts.provenance.git_dirty:
        return ["The code held changes that were not committed; the commit alone is not it."]
    return []
