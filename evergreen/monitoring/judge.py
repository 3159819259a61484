"""The verdict over a window: `judge_window` brings all tests together."""

from __future__ import annotations

import numpy as np

from evergreen.monitoring import univariate
from evergreen.monitoring.columns import judge_columns, unmeasured
from evergreen.monitoring.multivariate import classifier_test, correlation_test, mean_test
from evergreen.monitoring.performance import Change, estimated_error, loss_test
from evergreen.monitoring.profile import Profile
from evergreen.monitoring.reference import Comparison, comparison_of
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.verdict import Family, Finding, Performance, WindowVerdict
from evergreen.monitoring.window import WindowProfile

CONFIDENCE = 0.95  # of the intervals shown
COPIES = 0.1  # share of repeated rows, above what chance gives, that no test allows for


def judge_window(
    reference: Profile, window: WindowProfile, config: MonitoringConfig
) -> WindowVerdict:
    """Judge a window that was counted by this reference.

    With nothing changed, the chance of an alarm is at most the sum of `MonitoringConfig.levels`.
    What cannot be judged is named in ``unmeasurable``, never passed over.

    Raises
    ------
    InputError
        If the reference lacks what windows are compared with (an older format).
    """
    comparison = comparison_of(reference)
    if window.key != comparison.key:
        return _refused(window, "The window was counted by another reference; count it anew.")
    if not window.rows:
        return _refused(window, "The window is empty: no row arrived.")
    notes = _notes(window)
    odd = _unmeasurable(comparison, window, config)
    if window.rows < config.window.min_rows:
        text = f"{window.rows} rows are too few to judge; {config.window.min_rows} are needed."
        return WindowVerdict(
            rows=window.rows,
            labelled=window.predictions.loss.rows,
            alarm=False,
            families=(),
            too_few=True,
            unmeasurable=odd,
            notes=notes,
            reasons=(*odd, text),
        )
    compared = tuple(
        column
        for column in comparison.columns
        if column.name not in {*config.ignore, *window.absent}
    )
    columns = judge_columns(compared, dict(window.columns), config)
    multivariate = _multivariate(comparison, window, config)
    predictions = _predictions(comparison, window, config)
    performance = _performance(comparison, window, config)
    alarms: dict[Family, list[str]] = {
        "performance": [found.reason for found in performance if found.alarm],
        "columns": [column.reason for column in columns if column.alarm],
        "multivariate": [found.reason for found in multivariate if found.alarm],
        "predictions": [found.reason for found in predictions if found.alarm],
    }
    families: tuple[Family, ...] = tuple(name for name, texts in alarms.items() if texts)
    reasons = [text for texts in alarms.values() for text in texts]
    quiet = f"No drift in {window.rows} rows and {len(columns)} columns."
    return WindowVerdict(
        rows=window.rows,
        labelled=window.predictions.loss.rows,
        alarm=bool(families),
        families=families,
        columns=columns,
        multivariate=multivariate,
        predictions=predictions,
        performance=performance,
        unmeasurable=odd,
        notes=notes,
        reasons=(*odd, *(reasons or ([] if odd else [quiet]))),
    )


def _refused(window: WindowProfile, text: str) -> WindowVerdict:
    return WindowVerdict(
        rows=window.rows,
        labelled=0,
        alarm=False,
        families=(),
        unmeasurable=(text,),
        reasons=(text,),
    )


def _notes(window: WindowProfile) -> tuple[str, ...]:
    notes = []
    if window.unknown:
        notes.append(f"Columns that training did not know are left out: {_list(window.unknown)}.")
    made = window.predictions
    if not made.rows and not made.missing:
        notes.append("The window holds no predictions: their drift is not judged.")
    if made.unknown:
        notes.append(f"{made.unknown} predictions are of labels that training did not know.")
    return tuple(notes)


def _unmeasurable(
    comparison: Comparison, window: WindowProfile, config: MonitoringConfig
) -> tuple[str, ...]:
    found = []
    absent = [name for name in window.absent if name not in config.ignore]
    if absent:
        found.append(f"The window lacks columns that the model takes: {_list(tuple(absent))}")
    for column in comparison.columns:
        if column.name in absent or column.name in config.ignore:
            continue
        text = unmeasured(column, window.columns[column.name])
        if text is not None:
            found.append(text)
    made = window.predictions
    if made.missing and not made.rows:
        found.append(f"None of {made.missing} predictions can be read")
    copies = window.sample.duplicates
    expected = _expected_duplicates(comparison, window.rows)
    if copies > expected + COPIES:
        found.append(
            f"{copies:.0%} of the rows repeat another row (at most {expected:.0%} by chance): "
            "copies are no evidence of their own"
        )
    return tuple(found)


def _expected_duplicates(comparison: Comparison, rows: int) -> float:
    """Return the share of repeated rows that as many draws as the reference's would give.

    Pairs of equal rows grow with the square of the rows (the birthday problem); three pairs more
    than were seen are allowed for.
    """
    n = comparison.rows
    pairs = comparison.duplicates * n + 3
    mean = rows * 2 * pairs / max(1.0, float(n) * n)
    chance = 1 - float(-np.expm1(-mean)) / mean
    return max(chance, comparison.duplicates)


def _multivariate(
    comparison: Comparison, window: WindowProfile, config: MonitoringConfig
) -> tuple[Finding, ...]:
    level, effects = config.levels.multivariate / 4, config.effects
    found = []
    structure = comparison.structure
    left_out = frozenset({*config.ignore, *window.absent})
    change = moved = None
    if structure is not None:
        change = correlation_test(structure, window.scores, left_out)
        moved = mean_test(structure, window.scores, left_out)
    if moved is not None:
        words = f"the columns' means moved together, {moved.column} most"
        effect = ("greatest shift of a mean score", moved.effect, effects.mean)
        found.append(_finding("means", moved.statistic, moved.p, effect, level, words))
    if change is not None:
        a, b = change.pair
        words = f"the correlation of {a} and {b} went from {change.before:.2f} to {change.now:.2f}"
        found.append(
            _finding(
                "correlation",
                change.statistic,
                change.p,
                ("change of a correlation", change.effect, effects.correlation),
                level,
                words,
            )
        )
    whole = structure is not None and not left_out & set(structure.columns)
    if structure is not None and structure.errors is not None and whole and window.errors.sum():
        before = structure.errors.counts.array()
        ks = univariate.ks_test(before, window.errors)
        ranks = univariate.rank_test(before, window.errors)
        words = f"rows fit the columns' common pattern otherwise (KS distance {ks.statistic:.3f})"
        p = min(1.0, 2 * min(ks.p, ranks.p))
        effect = ("KS distance", ks.statistic, effects.distance)
        found.append(_finding("reconstruction", ks.statistic, p, effect, level, words))
    names = tuple(column.name for column in comparison.columns)
    kept = [place for place, name in enumerate(names) if name not in left_out]
    separation = classifier_test(comparison.sample, window.sample, kept)
    if separation is not None:
        names = tuple(names[place] for place in separation.columns)
        words = f"a classifier tells these rows from training rows (area {separation.area:.3f})"
        words += f", mostly by {_list(names)}" if names else ""
        effect = ("area above 0.5", separation.area - 0.5, effects.classifier)
        found.append(_finding("classifier", separation.area, separation.p, effect, level, words))
    return tuple(found)


def _predictions(
    comparison: Comparison, window: WindowProfile, config: MonitoringConfig
) -> tuple[Finding, ...]:
    made, reference = window.predictions, comparison.predictions
    if not made.rows:
        return ()
    tests: list[tuple[str, univariate.Tested, float, str]] = []
    if reference.labels:
        before = np.array([*reference.label_rows, 0], dtype=np.int64)
        now = np.append(made.labels, made.unknown)
        distance = univariate.total_variation(before, now)
        words = f"predicted labels moved by {distance:.3f} (total variation)"
        tests.append(("labels", univariate.level_test(before, now), distance, words))
    grids = dict(reference.probabilities)
    if reference.values is not None:
        grids[""] = reference.values
    for name, grid in grids.items():
        before, now = grid.counts.array(), made.bins[name]
        if not now.sum() or not before.sum():
            continue
        ks, ranks = univariate.ks_test(before, now), univariate.rank_test(before, now)
        subject = f"the probability of {name!r}" if name else "predicted values"
        words = f"{subject} moved by {ks.statistic:.3f} (KS distance)"
        best = univariate.Tested(ks.statistic, min(1.0, 2 * min(ks.p, ranks.p)))
        tests.append((f"probability {name}" if name else "values", best, ks.statistic, words))
    level, least = config.levels.predictions / len(tests), config.effects.distance
    return tuple(
        _finding(name, tested.statistic, tested.p, ("distance", distance, least), level, words)
        for name, tested, distance, words in tests
    )


def _performance(
    comparison: Comparison, window: WindowProfile, config: MonitoringConfig
) -> tuple[Performance, ...]:
    found = []
    loss = comparison.loss
    labelled = window.predictions.loss.rows
    measured = loss is not None and labelled >= config.window.min_labelled
    level = config.levels.performance
    if loss is not None and measured:
        change = loss_test(loss, window.predictions.loss, CONFIDENCE)
        alarm = change.p <= level and change.effect >= config.effects.loss
        found.append(_performed("measured", loss.metric, labelled, change, alarm))
    if comparison.calibration is not None:
        counts = window.predictions.sureness
        estimate = estimated_error(comparison.calibration, counts, CONFIDENCE)
        if estimate is not None:
            sure = estimate.p <= level and estimate.effect >= config.effects.estimate
            rows = int(counts.sum())
            alarm = sure and not measured
            found.append(_performed("estimated", "error_rate", rows, estimate, alarm))
    return tuple(found)


def _performed(kind: str, metric: str, rows: int, change: Change, alarm: bool) -> Performance:
    words = {"brier": "Brier score", "error_rate": "error rate", "absolute_error": "absolute error"}
    source = "by true labels" if kind == "measured" else "estimated without labels"
    return Performance(
        kind="measured" if kind == "measured" else "estimated",
        metric=metric,
        rows=rows,
        value=change.value,
        before=change.before,
        change=change.change,
        low=change.low,
        high=change.high,
        confidence=CONFIDENCE,
        p=change.p,
        alarm=alarm,
        reason=(
            f"{words[metric]} {change.value:.4g}, was {change.before:.4g} ({change.change:+.3g}, "
            f"{CONFIDENCE:.0%} interval {change.low:+.3g} to {change.high:+.3g}; {rows} rows, "
            f"{source})"
        ),
    )


def _finding(
    name: str,
    statistic: float,
    p: float,
    effect: tuple[str, float, float],
    level: float,
    words: str,
) -> Finding:
    effect_name, size, minimum = effect
    return Finding(
        name=name,
        statistic=statistic,
        p=p,
        effect=size,
        effect_name=effect_name,
        minimum=minimum,
        level=level,
        alarm=p <= level and size >= minimum,
        reason=f"{words}, p = {p:.2g}" if p <= 0.05 else words,
    )


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return f"{shown}, … ({len(names)} in all)" if len(names) > 10 else shown
