"""The use case: everything a user says about a table, as frozen values.

One YAML file becomes one `UseCase`; `evergreen.use_case` reads it and words the mistakes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from evergreen.alerts.settings import AlertsConfig
from evergreen.batch.settings import BatchConfig
from evergreen.dask.settings import DaskConfig
from evergreen.data.engine import EngineChoice
from evergreen.data.quality_config import Check as Check  # noqa: PLC0414  (re-export)
from evergreen.data.quality_config import QualityConfig as QualityConfig  # noqa: PLC0414  (re-export)
from evergreen.data.quality_config import Severity as Severity  # noqa: PLC0414  (re-export)
from evergreen.data.source_config import Source, source_from_shorthand
from evergreen.deployment.settings import DeployConfig
from evergreen.durations import Duration
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.resources import ResourcesConfig
from evergreen.serving.settings import ServingConfig
from evergreen.values import Value

Task = Literal["classification", "regression"]
ColumnType = Literal["number", "integer", "boolean", "category", "timestamp", "identifier"]
Label = str | int | float | bool
Share = Annotated[float, Field(ge=0, le=1)]
NAME = r"^[a-z][a-z0-9_]{0,49}$"  # of a use case
PositiveInt = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1, description="Makes every random choice repeat.")]


class DataConfig(Value):
    """Where the table is and what its columns are for."""

    source: Annotated[
        Source, BeforeValidator(source_from_shorthand, json_schema_input_type=Source | str)
    ] = Field(
        description="sklearn:NAME, a path to CSV or Parquet, an http(s) address, or a mapping"
    )
    target: str = Field(min_length=1, description="The column to predict.")
    timestamp: str | None = Field(None, description="When a row was observed: splits go by time.")
    group: str | None = Field(
        None, description="Rows of one group stay on one side of every split."
    )
    ignore: tuple[str, ...] = Field((), description="Columns that no model may see.")
    positive: Label | None = Field(None, description="The class that counts as positive (binary).")
    expires_after: Duration | None = Field(
        None, description="Oldest acceptable age of the newest timestamp, such as 90d."
    )

    @model_validator(mode="after")
    def _roles_are_distinct(self) -> DataConfig:
        if self.target in {self.timestamp, self.group, *self.ignore}:
            raise ValueError(f"target {self.target!r} also has another role")
        if self.expires_after is not None and self.timestamp is None:
            raise ValueError("expires_after needs data.timestamp, which tells a row's age")
        return self


class ColumnRule(Value):
    """What the contract says of one column; what is not written is inferred."""

    type: ColumnType | None = Field(None, description="What the column holds.")
    unit: str | None = Field(None, description="Unit of the values, such as mg/l.")
    description: str | None = Field(None, description="What the column means.")
    minimum: float | None = Field(None, description="Least acceptable value.")
    maximum: float | None = Field(None, description="Greatest acceptable value.")
    categories: tuple[Label, ...] | None = Field(
        None, min_length=1, description="The only acceptable values."
    )
    nullable: bool | None = Field(None, description="Whether values may be missing.")

    @model_validator(mode="after")
    def _range_is_ordered(self) -> ColumnRule:
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum {self.minimum:g} is above maximum {self.maximum:g}")
        return self


class SplitConfig(Value):
    """How the holdout and the folds are made."""

    method: Literal["auto", "random", "stratified", "group", "time"] = Field(
        "auto",
        description="auto: by time or group where data names one, else stratified or random.",
    )
    holdout: float = Field(0.2, gt=0, lt=1, description="Share of the rows kept for the end.")
    folds: int = Field(5, ge=2, description="Cross-validation folds on the rest.")
    seed: Seed = 42


class ImputeConfig(Value):
    """How missing values are filled."""

    numbers: Literal["median", "mean", "zero"] = Field("median", description="For numbers.")
    categories: Literal["most_frequent", "own_level"] = Field(
        "own_level", description="For categories; own_level treats missing as a category."
    )
    indicator: bool = Field(False, description="Add a column that says where numbers were missing.")


class EncodeConfig(Value):
    """How categories become numbers."""

    method: Literal["one_hot", "ordinal"] = Field(
        "one_hot", description="A column of zeros and ones per category, or one of ranks."
    )
    min_frequency: Share = Field(0.01, description="Rarer levels share one column.")
    max_levels: int = Field(30, ge=2, description="At most so many columns per category.")


class SelectionConfig(Value):
    """Automatic choice of features, inside the pipeline and so inside every fold."""

    method: Literal["mutual_information", "rfe"] = Field(
        description="rfe: recursive feature elimination."
    )
    max_features: PositiveInt = Field(description="Features kept at most.")


class FeaturesConfig(Value):
    """What is made of the columns before an estimator sees them."""

    derive: dict[str, str] = Field(
        {}, description="Name: expression; backticks quote odd column names."
    )
    drop: tuple[str, ...] = Field((), description="Columns that only serve derived ones.")
    impute: ImputeConfig = Field(ImputeConfig(), description="How missing values are filled.")
    encode: EncodeConfig = Field(EncodeConfig(), description="How categories become numbers.")
    date_parts: tuple[
        Literal["year", "month", "day", "weekday", "hour", "day_of_year", "epoch_days"], ...
    ] = Field(("year", "month", "weekday"), description="What a timestamp column turns into.")
    selection: SelectionConfig | None = Field(None, description="Automatic choice of features.")


class Span(Value):
    """A range that a parameter is searched over."""

    low: float = Field(description="Least value.")
    high: float = Field(description="Greatest value.")
    log: bool = Field(False, description="Search evenly over orders of magnitude.")
    integer: bool = Field(False, description="Whole numbers only.")

    @model_validator(mode="after")
    def _is_ordered(self) -> Span:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError("a logarithmic range must start above 0")
        if self.integer and (self.low != int(self.low) or self.high != int(self.high)):
            raise ValueError("an integer range needs whole bounds")
        return self


Choice = str | int | float | bool | None


class CandidateConfig(Value):
    """One candidate estimator: fixed parameters, and a search or a grid over the others."""

    params: dict[str, Choice] = Field({}, description="Fixed parameters of the estimator.")
    search: dict[str, Span | tuple[Choice, ...]] | None = Field(
        None, description="Ranges or choices for Optuna, replacing the candidate's own."
    )
    grid: dict[str, tuple[Choice, ...]] | None = Field(
        None, description="Every combination is tried."
    )

    @model_validator(mode="after")
    def _search_or_grid(self) -> CandidateConfig:
        if self.search is not None and self.grid is not None:
            raise ValueError("has both a search and a grid; keep one")
        return self


def _candidates(value: Any) -> Any:
    """Read a plain list of names as candidates with their own search spaces."""
    if isinstance(value, list | tuple):
        if not all(isinstance(name, str) for name in value):
            raise ValueError("needs a list of names, or a mapping from names to settings")
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if settings is None else settings for name, settings in value.items()}
    return value


class TrainingConfig(Value):
    """Which estimators compete, and how hard each is tuned."""

    candidates: Annotated[
        dict[str, CandidateConfig],
        BeforeValidator(
            _candidates,
            json_schema_input_type=dict[str, CandidateConfig | None] | list[str],
        ),
    ] = Field({}, description="Empty: all that suit the task.")
    metric: str | None = Field(
        None, description="Drives the search and the gate. Default: log_loss or rmse."
    )
    trials: PositiveInt = Field(10, description="Optuna trials per candidate.")
    timeout: Duration | None = Field(None, description="Longest search per candidate.")
    prune: bool = Field(True, description="Give up hopeless trials after a few folds.")
    early_stopping: PositiveInt = Field(
        20, description="Boosting rounds without improvement before stopping."
    )
    balance: bool = Field(False, description="Weigh classes by the inverse of their frequency.")
    jobs: PositiveInt | None = Field(
        None, description="Processes, or pods at once, at most. Default: all cores, all pods."
    )
    spread: Literal["auto", "cores", "pods", "dask"] = Field(
        "auto",
        description="Candidates share one step's cores, have a step each, or go to the workers of "
        "training.dask. auto: cores or pods, as the stack.",
    )
    engine: EngineChoice = Field(
        "auto",
        description="memory: the table is read as a whole. external: it stays on disk, and XGBoost "
        "and linear models learn from there. dask: the same, and XGBoost learns on a cluster. "
        "auto: external where the table takes a tenth of the memory.",
    )
    dask: DaskConfig = Field(DaskConfig(), description="The cluster of engine or spread dask.")
    search_rows: PositiveInt | None = Field(
        None,
        description="Training rows that candidates are searched on. Default: all, or 100,000 with "
        "the engines external and dask; the best candidate is fitted on all.",
    )
    seed: Seed = 42

    @model_validator(mode="after")
    def _dask_has_a_cluster(self) -> TrainingConfig:
        for key in ("engine", "spread"):
            if getattr(self, key) == "dask" and not self.dask.chosen:
                raise ValueError(f"{key} dask needs dask.scheduler or dask.workers")
        return self


class Outcome(Value):
    """What one combination of actual and predicted class is worth, per row."""

    actual: Label = Field(description="The class that came true.")
    predicted: Label = Field(description="The class that the model said.")
    gain: float = Field(description="Negative for a cost.")


class ErrorCost(Value):
    """What a regression error costs, per unit of the target."""

    too_low: float = Field(ge=0, description="Cost per unit where the prediction is too low.")
    too_high: float = Field(ge=0, description="Cost per unit where the prediction is too high.")


class EvaluationConfig(Value):
    """How the final evaluation looks at the holdout."""

    slices: tuple[str, ...] = Field((), description="Columns whose groups are measured apart.")
    slice_bins: int = Field(4, ge=2, description="Quantile bins of a numeric slice column.")
    bootstrap: int = Field(
        1000, ge=100, description="Resamples behind every interval of at most 5,000 rows."
    )
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the two-sided intervals.")
    outcomes: tuple[Outcome, ...] = Field((), description="Gain of each outcome (classification).")
    error_cost: ErrorCost | None = Field(None, description="Cost of errors (regression).")
    unit: str | None = Field(None, description="Unit of gains and costs, such as EUR.")
    importance_rows: PositiveInt = Field(
        500, description="Rows that importance and SHAP are computed on."
    )


class BaselineRule(Value):
    """The challenger must beat the baseline by more than ``min_gain``, surely."""

    min_gain: float = Field(0.0, ge=0, description="In units of the metric.")


class ChampionRule(Value):
    """How the challenger must compare with the champion, on the same holdout rows."""

    mode: Literal["better", "not_worse"] = Field(
        "better", description="better: by min_gain, surely. not_worse: by less than margin, surely."
    )
    min_gain: float = Field(0.0, ge=0, description="In units of the metric.")
    margin: float = Field(0.0, ge=0, description="Non-inferiority margin, in units of the metric.")


class SliceRule(Value):
    """Every slice with enough rows must reach the floor (or stay under it, for an error)."""

    metric: str = Field(description="The metric measured in every slice.")
    floor: float = Field(description="Least acceptable value (for errors and losses: greatest).")
    min_rows: PositiveInt = Field(20, description="Smaller slices are not judged.")


class GateConfig(Value):
    """What a challenger must show before it may become champion. Not measurable means no."""

    thresholds: dict[str, float] = Field(
        {}, description="Metric: least acceptable value (for errors and losses: greatest)."
    )
    baseline: BaselineRule | None = Field(
        BaselineRule(), description="Compare with the dummy model; null leaves the rule out."
    )
    champion: ChampionRule | None = Field(
        ChampionRule(), description="Compare with the present model; null leaves the rule out."
    )
    slices: tuple[SliceRule, ...] = Field((), description="Floors within evaluation.slices.")
    confidence: float = Field(0.95, gt=0.5, lt=1, description="Of the one-sided bounds.")
    approval: Literal["automatic", "manual", "canary"] = Field(
        "automatic",
        description="manual: a passing model waits for --approve or --reject. canary: it ramps "
        "as serving.traffic.canary says, and then is champion.",
    )


class UseCase(Value):
    """One table, what to predict, and what counts as good enough."""

    name: str = Field(
        pattern=NAME,
        description="Lower-case letters, digits, underscores: the name of the model, too.",
    )
    description: str = Field("", description="What the model is for, in a sentence or two.")
    task: Task = Field(description="Predict a class or a number.")
    data: DataConfig = Field(description="Where the table is and what its columns are for.")
    contract: dict[str, ColumnRule] = Field(
        {}, description="Column: what it promises. What is not written is inferred."
    )
    quality: QualityConfig = Field(QualityConfig(), description="The quality checks.")
    split: SplitConfig = Field(SplitConfig(), description="How the holdout and folds are made.")
    features: FeaturesConfig = Field(FeaturesConfig(), description="What is made of the columns.")
    training: TrainingConfig = Field(TrainingConfig(), description="Which estimators compete.")
    evaluation: EvaluationConfig = Field(
        EvaluationConfig(), description="How the holdout is looked at."
    )
    gate: GateConfig = Field(GateConfig(), description="What a challenger must show.")
    serving: ServingConfig = Field(ServingConfig(), description="What the API takes and limits.")
    batch: BatchConfig = Field(BatchConfig(), description="What is scored as a table.")
    deploy: DeployConfig = Field(
        DeployConfig(), description="Where servers listen, and what they get in a cluster."
    )
    monitoring: MonitoringConfig = Field(
        MonitoringConfig(), description="What counts as drift, and what is done about it."
    )
    alerts: AlertsConfig = Field(AlertsConfig(), description="Who is told, and how often.")
    resources: ResourcesConfig = Field(
        ResourcesConfig(), description="What steps get where they run in containers."
    )

    @model_validator(mode="after")
    def _parts_agree(self) -> UseCase:
        if self.split.method == "time" and self.data.timestamp is None:
            raise ValueError("split.method 'time' needs data.timestamp")
        if self.split.method == "group" and self.data.group is None:
            raise ValueError("split.method 'group' needs data.group")
        if self.split.method == "stratified" and self.task == "regression":
            raise ValueError("split.method 'stratified' is for classification")
        if self.data.target in self.features.drop:
            raise ValueError(f"features.drop names the target {self.data.target!r}")
        if self.evaluation.outcomes and self.task == "regression":
            raise ValueError("evaluation.outcomes is for classification; use error_cost")
        if self.evaluation.error_cost and self.task == "classification":
            raise ValueError("evaluation.error_cost is for regression; use outcomes")
        return self
