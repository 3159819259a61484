"""The section ``monitoring`` of a use case: what counts as drift, and what is done about it.

The defaults are the policy that `benchmarks/drift.py` measures; docs/monitoring.md has its table.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from evergreen.batch.settings import batch_source_from_shorthand
from evergreen.dask.settings import DaskConfig
from evergreen.data.source_config import Source
from evergreen.durations import Duration
from evergreen.values import Value

Level = Annotated[float, Field(gt=0, lt=0.5)]
Effect = Annotated[float, Field(ge=0, lt=1)]
Rows = Annotated[int, Field(ge=1)]
Selection = Literal["auto", "recent", "recent_and_history", "weighted"]


class WindowConfig(Value):
    """Which logged predictions a check looks at: a time span, a number of rows, or both."""

    span: Duration | None = Field(None, description="The newest time span, such as 6h.")
    rows: Rows | None = Field(
        500, description="The newest rows at most; null: all within the span."
    )
    min_rows: int = Field(50, ge=20, description="Smaller windows are not judged.")
    min_labelled: int = Field(
        50, ge=20, description="With fewer true labels the loss is not judged."
    )

    @model_validator(mode="after")
    def _bounded(self) -> WindowConfig:
        if self.span is None and self.rows is None:
            raise ValueError("span and rows cannot both be null: a window needs an end")
        if self.rows is not None and self.rows < self.min_rows:
            raise ValueError(f"rows ({self.rows}) is below min_rows ({self.min_rows})")
        return self


class LevelConfig(Value):
    """Probability of a false alarm per window, for each family of tests."""

    columns: Level = Field(
        0.002, description="False discovery rate over the columns (Benjamini-Hochberg)."
    )
    multivariate: Level = Field(
        0.002,
        description="Means, correlations, reconstruction and domain classifier together.",
    )
    predictions: Level = Field(0.001, description="The distribution of the predictions.")
    performance: Level = Field(0.008, description="Loss where labels came, else its estimate.")


class EffectConfig(Value):
    """What is too small to matter, however sure: an alarm needs the level and the effect."""

    distance: Effect = Field(
        0.05, description="Kolmogorov-Smirnov distance of numbers, total variation of categories."
    )
    mean: Effect = Field(
        0.1,
        description="Greatest shift of a mean normal score where all columns are judged at once.",
    )
    missing: Effect = Field(0.02, description="Change of the share of missing values.")
    new_category: Effect = Field(
        0.005, description="Share of rows with categories never seen in training."
    )
    correlation: Effect = Field(0.1, description="Change of a correlation of normal scores.")
    classifier: Effect = Field(
        0.05, description="Area under the domain classifier's ROC curve, above 0.5."
    )
    loss: Effect = Field(
        0.05, description="Rise of the mean loss, in standard deviations of a row."
    )
    estimate: Effect = Field(0.02, description="Rise of the estimated error rate.")


class RetrainConfig(Value):
    """Which rows a retraining takes, and when it is worth another turn."""

    rows: Selection = Field(
        "auto",
        description="Logged rows alone, with the original table, or with some of it (weighted). "
        "auto: alone after a change of what is right, else with the table.",
    )
    history_weight: float = Field(
        0.5, gt=0, le=1, description="weighted: of a row of the original table; a logged one's: 1."
    )
    min_rows: int = Field(
        1000, ge=20, description="Labelled rows after the change that are enough to train on."
    )
    max_rows: int = Field(50_000, ge=20, description="The newest labelled rows at most.")
    growth: float = Field(
        4.0, gt=1, description="Retrain once more when the rows after a change grew so many times."
    )
    recheck_rows: Rows = Field(
        1000, description="Newest labelled rows that the gate compares champion and challenger on."
    )


class MonitoringConfig(Value):
    """What counts as drift, and what is done about it."""

    source: (
        Annotated[
            Source,
            BeforeValidator(batch_source_from_shorthand, json_schema_input_type=Source | str),
        ]
        | None
    ) = Field(None, description="A table to judge, as data.source. Default: the prediction log.")
    window: WindowConfig = Field(WindowConfig(), description="What a check looks at.")
    partitions: Rows = Field(
        1, le=1000, description="Parts of a window that are counted by steps of their own."
    )
    dask: DaskConfig = Field(
        DaskConfig(), description="A Dask cluster whose workers count the parts instead of steps."
    )
    levels: LevelConfig = Field(LevelConfig(), description="How rare false alarms are.")
    effects: EffectConfig = Field(EffectConfig(), description="What is too small to matter.")
    ignore: tuple[str, ...] = Field((), description="Columns that are not compared.")
    segments: tuple[str, ...] = Field((), description="Columns whose groups are judged apart.")
    alarms: Rows = Field(
        2, description="Alarms needed within the last `of` windows, the newest included."
    )
    of: Rows = Field(3, description="How many windows are looked back at.")
    cool_down: int = Field(10, ge=0, description="Windows after a retraining without another one.")
    daily_cap: Rows = Field(4, description="Retrainings within 24 hours at most.")
    retrain: RetrainConfig = Field(RetrainConfig(), description="Which rows a retraining takes.")
    guard: Duration = Field(
        timedelta(hours=1), description="How long a promoted model is watched for a rollback."
    )
    guard_rows: Rows = Field(200, description="Labelled rows that judge it, at least.")

    @model_validator(mode="after")
    def _parts_agree(self) -> MonitoringConfig:
        if self.alarms > self.of:
            raise ValueError(f"alarms ({self.alarms}) exceeds of ({self.of})")
        both = sorted(set(self.ignore) & set(self.segments))
        if both:
            raise ValueError(f"{both[0]!r} is both ignored and a segment")
        if self.dask.chosen and self.partitions == 1:
            raise ValueError("dask shares the partitions of a window; say how many: partitions")
        return self

    @property
    def in_steps(self) -> bool:
        """Whether the parts are counted by steps of their own."""
        return self.partitions > 1 and not self.dask.chosen
