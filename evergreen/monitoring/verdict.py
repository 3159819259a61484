"""What a check found in one window: values that reports, the decision and the database share."""

from __future__ import annotations

from typing import Literal

from evergreen.values import Value

Family = Literal["columns", "multivariate", "predictions", "performance"]


class Finding(Value):
    """One test's outcome. An alarm needs ``p <= level`` and ``effect >= minimum``."""

    name: str  # such as "ks", "ranks", "chi_square", "new_category", "missing", "correlation"
    statistic: float
    p: float
    effect: float
    effect_name: str  # such as "KS distance"
    minimum: float
    level: float
    alarm: bool
    reason: str  # one sentence with the numbers


class ColumnVerdict(Value):
    """One column of the window beside the reference.

    ``p`` is the smallest p-value of the column's tests times their number (Bonferroni), ``q`` the
    same after Benjamini-Hochberg over all columns.
    """

    column: str
    kind: Literal["number", "timestamp", "category"]
    alarm: bool
    p: float | None  # None: not measurable, see ``reason``
    q: float | None
    distance: float | None = None  # KS distance; total variation of a category
    mean_difference: float | None = None  # in standard deviations of the reference; numbers only
    psi: float | None = None  # population stability index
    missing: float | None = None  # share of the window's rows
    missing_before: float | None = None
    infinite: int = 0  # rows
    unreadable: int = 0  # rows with a value of another type
    new_levels: tuple[str, ...] = ()  # the first few
    new_rows: int = 0
    tests: tuple[Finding, ...] = ()
    reason: str


class Performance(Value):
    """How good the model is in the window, beside its holdout at training.

    ``low`` and ``high`` bound ``change`` (positive: worse), two-sided at ``confidence``.
    """

    kind: Literal["measured", "estimated"]
    metric: str  # "brier", "error_rate", "absolute_error"; estimated: "error_rate"
    rows: int
    value: float
    before: float
    change: float
    low: float
    high: float
    confidence: float
    p: float  # one-sided: worse than before
    alarm: bool
    reason: str


class WindowVerdict(Value):
    """Everything that was found in one window.

    ``unmeasurable`` names what could not be judged though it should; the decision then says
    ``alert``. ``too_few`` says that the window is merely too small to judge.
    """

    rows: int
    labelled: int
    alarm: bool
    families: tuple[Family, ...]  # that alarm
    too_few: bool = False
    columns: tuple[ColumnVerdict, ...] = ()
    multivariate: tuple[Finding, ...] = ()
    predictions: tuple[Finding, ...] = ()
    performance: tuple[Performance, ...] = ()
    unmeasurable: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    reasons: tuple[str, ...]  # in words and numbers, the gravest first

    @property
    def drifted(self) -> tuple[str, ...]:
        """The columns that alarm."""
        return tuple(column.column for column in self.columns if column.alarm)

    @property
    def measured(self) -> Performance | None:
        """The performance by true labels, where enough came."""
        return next((found for found in self.performance if found.kind == "measured"), None)
