"""Figures of a classifier on the holdout."""

from __future__ import annotations

from collections.abc import Sequence

from evergreen.reporting.figures.canvas import NAME_LENGTH, WIDTH, Sheet, say, square_sheet
from evergreen.reporting.numbers import plural, share, shorten
from evergreen.reporting.style import CHALLENGER, INK, MUTED, PAPER, SERIES, Drawing
from evergreen.training.results import CalibrationBin, Curve, Evaluation

MAX_LABELLED_CLASSES = 12
MAX_CURVES = len(SERIES)


def draw_confusion(evaluation: Evaluation) -> Drawing | None:
    """Actual classes by predicted ones: counts, shaded by the share of the actual class."""
    matrix = evaluation.confusion
    if not matrix or evaluation.labels is None:
        return None
    labels = [shorten(str(label), NAME_LENGTH // 2) for label in evaluation.labels]
    classes = len(labels)
    legible = classes <= MAX_LABELLED_CLASSES
    left = (34 + 6.4 * max(len(label) for label in labels)) if legible else 34
    side = min(WIDTH - left - 12, max(44.0, 300 / classes) * classes)
    below = 48 if legible else 30
    tilted = legible and 6.4 * max(len(label) for label in labels) > side / classes - 6
    below += 34 if tilted else 0
    sheet = Sheet(WIDTH, side * 0.8 + below + 8)
    axes = sheet.axes(left=left, right=WIDTH - left - side, top=8, bottom=below)
    axes.set_xlim(-0.5, classes - 0.5)
    axes.set_ylim(classes - 0.5, -0.5)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.tick_params(length=0)
    _cells(axes, matrix, min(12.0, 0.42 * side / classes) if legible else None)
    ticks = range(classes) if legible else []
    axes.set_yticks(ticks, labels if legible else [])
    axes.set_xticks(
        ticks,
        labels if legible else [],
        rotation=35 if tilted else 0,
        ha="right" if tilted else "center",
    )
    axes.set_xlabel("Predicted class")
    axes.set_ylabel("Actual class")
    right = sum(matrix[each][each] for each in range(classes))
    total = sum(sum(row) for row in matrix)
    return sheet.drawing(
        "confusion",
        f"{right:,} of {plural(total, 'holdout row')} on the diagonal: predicted right",
        "Actual classes by predicted ones, shaded by the share of the actual class.",
        _in_words(matrix, labels[:MAX_LABELLED_CLASSES]),
    )


def _in_words(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> str:
    rows = []
    for label, row in zip(labels, matrix, strict=False):
        cells = zip(labels, row, strict=False)
        counts = ", ".join(f"{count} as {predicted}" for predicted, count in cells if count)
        rows.append(f"actual {label}: {counts}")
    return f"{'; '.join(rows)}."


def _cells(axes: object, matrix: Sequence[Sequence[int]], size: float | None) -> None:
    from matplotlib.axes import Axes
    from matplotlib.patches import Rectangle

    assert isinstance(axes, Axes)  # noqa: S101 (Matplotlib is imported late)
    for i, row in enumerate(matrix):
        total = sum(row)
        for j, cell in enumerate(row):
            part = cell / total if total else 0.0
            if cell:
                axes.add_patch(
                    Rectangle(
                        (j - 0.49, i - 0.49),
                        0.98,
                        0.98,
                        lw=0,
                        alpha=0.08 + 0.82 * part,
                        color=CHALLENGER if i == j else SERIES[1],
                    )
                )
            if size is not None:
                colour = PAPER if part > 0.55 else INK if cell else MUTED
                axes.text(j, i, f"{cell:,}", ha="center", va="center", color=colour, fontsize=size)


def draw_roc(evaluation: Evaluation) -> Drawing | None:
    """True positives against false positives, over all thresholds."""
    return _curves(
        evaluation.roc,
        "roc",
        ("False positive rate", "True positive rate"),
        "ROC curve",
        diagonal=True,
    )


def draw_precision_recall(evaluation: Evaluation) -> Drawing | None:
    """Precision against recall, over all thresholds."""
    return _curves(
        evaluation.precision_recall,
        "precision_recall",
        ("Recall", "Precision"),
        "Precision and recall",
        diagonal=False,
    )


def _curves(
    curves: Sequence[Curve], name: str, axis_names: tuple[str, str], title: str, *, diagonal: bool
) -> Drawing | None:
    shown = [curve for curve in curves if curve.x][:MAX_CURVES]
    if not shown:
        return None
    sheet, axes = square_sheet()
    if diagonal:
        axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (3, 3)))
    single = len(shown) == 1
    for place, (curve, colour) in enumerate(zip(shown, SERIES, strict=False)):
        axes.plot(
            curve.x,
            curve.y,
            color=CHALLENGER if single else colour,
            lw=1.5
            + 1.8 * (len(shown) - 1 - place) / len(shown),  # curves on top of each other all show
            label=shorten(curve.label, 22),
        )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(axis_names[0])
    axes.set_ylabel(axis_names[1])
    if not single:
        axes.legend(loc="lower right" if diagonal else "lower left", labelcolor=INK)
    hidden = len(curves) - len(shown)
    which = (
        f" of class {shown[0].label}" if single else f" of {plural(len(shown), 'class', 'classes')}"
    )
    more = f" ({hidden} more classes not drawn)" if hidden > 0 else ""
    note = " The dashed line is guessing." if diagonal else ""
    return sheet.drawing(
        name,
        f"{title}{which} on the holdout{more}",
        f"{axis_names[1]} against {axis_names[0].lower()}, over all thresholds.{note}",
    )


def draw_calibration(evaluation: Evaluation) -> Drawing | None:
    """Observed frequencies against predicted probabilities."""
    bins = evaluation.calibration
    if not bins:
        return None
    sheet, axes = square_sheet()
    axes.plot([0, 1], [0, 1], color=MUTED, lw=1, ls=(0, (3, 3)))
    for each in bins:
        axes.plot([each.predicted] * 2, [each.low, each.high], color=CHALLENGER, lw=1.4, alpha=0.6)
    axes.plot(
        [each.predicted for each in bins],
        [each.observed for each in bins],
        "o",
        ms=6,
        color=CHALLENGER,
    )
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel("Predicted probability")
    axes.set_ylabel("Observed frequency")
    if len(bins) < 3:
        say(axes, 0.98, 0.06, "few distinct probabilities", ha="right")
    values = "; ".join(
        f"{share(each.predicted)} predicted, {share(each.observed)} observed in "
        f"{plural(each.rows, 'row')}"
        for each in bins
    )
    return sheet.drawing(
        "calibration",
        _calibration_title(bins),
        "Rows grouped by predicted probability, with intervals; on the dashed line both agree.",
        f"{values}.",
    )


def _calibration_title(bins: Sequence[CalibrationBin]) -> str:
    off = [each for each in bins if not each.low <= each.predicted <= each.high]
    if not off:
        return "Predicted probabilities agree with what happened, within the intervals"
    return (
        f"Predicted probabilities miss what happened in {len(off)} of "
        f"{plural(len(bins), 'group')} of rows"
    )
