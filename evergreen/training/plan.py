"""What a training will take: the engine, and for each stage its rows, seconds and memory.

Rough on purpose: a few figures per value, measured once (see ``docs/scale.md``). It tells minutes
from hours, and what fits from what does not; the report of a run holds it against what came true.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from pydantic import computed_field

from evergreen.config import Task, TrainingConfig, UseCase
from evergreen.costs import StageCost
from evergreen.data.engine import Engine, EngineName
from evergreen.data.size import TableSize, engine_for, memory_limit, table_size
from evergreen.data.sources import describe_source
from evergreen.training.bounds import (
    EVALUATION_ROWS,
    PREPROCESSING_ROWS,
    PROFILE_ROWS,
    bounded,
    search_rows,
)
from evergreen.training.candidates import (
    BASELINE,
    BY_NAME,
    LINEAR,
    can_be_fitted,
    candidates_for,
)
from evergreen.values import Value

STARTED: Final = 700_000_000  # bytes of a process that has imported everything
ROUNDS: Final = 400  # boosting rounds of a fit, where nothing else is said


class StagePlan(Value):
    """What one stage is expected to take; ``memory`` in bytes, the process's own included."""

    stage: str  # as the run announces it, or its first word
    rows: int
    seconds: float
    memory: int


class TrainingPlan(Value):
    """What a training will take, before it begins. No stages: the table's size is not known."""

    use_case: str
    source: str
    engine: Engine
    size: TableSize | None
    memory_limit: int
    stages: tuple[StagePlan, ...]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def seconds(self) -> float:
        """Of all stages."""
        return sum(stage.seconds for stage in self.stages)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def memory(self) -> int:
        """At its highest, in bytes."""
        return max((stage.memory for stage in self.stages), default=0)


class Comparison(Value):
    """One stage, as it was planned and as it went; ``fact`` None where it did not run here."""

    plan: StagePlan
    fact: StageCost | None


# Per stage: seconds per million values, and bytes of memory per byte of the rows at hand.
Figures = Mapping[str, tuple[float, float]]
IN_MEMORY: Final[Figures] = {
    "Load": (0.02, 1.5),
    "Settle the data contract": (0.015, 1.5),
    "Check the data": (0.04, 2.0),
    "Set the holdout aside": (0.03, 2.0),
}
ON_DISK: Final[Figures] = {
    "Load": (0.05, 0.0),
    "Settle the data contract": (0.02, 0.0),
    "Check the data": (0.05, 0.0),
    "Set the holdout aside": (0.06, 0.0),
}
FOR_DASK: Final[Figures] = {stage: (seconds, 0.0) for stage, (seconds, _) in IN_MEMORY.items()}
FIGURES: Final[Mapping[EngineName, Figures]] = {
    "memory": IN_MEMORY,
    "external": ON_DISK,
    "dask": FOR_DASK,
}
FIT_SECONDS: Final = 0.0025  # of XGBoost per million values and round
SEARCH_SECONDS: Final = 0.01  # the same, of the few rows of a fold
FIT_LINEAR_SECONDS: Final = 0.6  # of a linear model per million values; many levels take longer
# Per million values: preprocessing in pieces, beyond what it takes at once.
PREPARE_SECONDS: Final[Mapping[EngineName, float]] = {"memory": 0.0, "external": 0.05, "dask": 0.03}
FIT_COPIES: Final = 2.5  # of the rows that preprocessing looks at together
EVALUATE_SECONDS: Final = 2.5  # per million rows and model
PROFILE_SECONDS: Final = 0.1  # per million values
JUDGED_COPIES: Final[Mapping[EngineName, float]] = {"memory": 6.0, "external": 3.0, "dask": 3.0}
PIECES: Final = 500_000_000  # bytes that pieces of a table on disk take, over all columns
PER_ROW: Final = 45  # bytes per row that an engine on disk keeps
FIT_SLOWER: Final[Mapping[EngineName, float]] = {"memory": 1.0, "external": 1.2, "dask": 1.0}
WORKER_STARTED: Final = 400_000_000  # bytes of a Dask worker that has imported what it needs
WORKER_VALUE: Final = 8  # bytes that Dask workers take for each value of the features


def plan_training(use_case: UseCase, environ: Mapping[str, str] | None = None) -> TrainingPlan:
    """Return what a training of the use case will take; nothing but a few rows is read.

    Raises
    ------
    InputError, UnreachableError
        As reading the source does.
    """
    source = use_case.data.source
    size, limit = table_size(source, environ), memory_limit()
    engine = engine_for(use_case.training.engine, size, limit)
    stages: tuple[StagePlan, ...] = ()
    if size is not None:
        stages = plan_stages(size.rows, size.columns, size.bytes, engine, use_case)
    return TrainingPlan(
        use_case=use_case.name,
        source=describe_source(source),
        engine=engine,
        size=size,
        memory_limit=limit,
        stages=stages,
    )


def plan_stages(
    rows: int, columns: int, table_bytes: int, engine: Engine, use_case: UseCase
) -> tuple[StagePlan, ...]:
    """Return what each stage takes for a table of so many rows, columns and bytes."""
    return tuple(_stages(rows, columns, table_bytes, engine, use_case))


def compare(plan: tuple[StagePlan, ...], costs: tuple[StageCost, ...]) -> tuple[Comparison, ...]:
    """Hold each planned stage against what it took."""
    return tuple(
        Comparison(
            plan=stage,
            fact=next((cost for cost in costs if cost.stage.startswith(stage.stage)), None),
        )
        for stage in plan
    )


def _stages(
    rows: int, columns: int, table_bytes: int, engine: Engine, use_case: UseCase
) -> Iterator[StagePlan]:
    millions = rows * columns / 1e6
    row_bytes = table_bytes / max(1, rows)
    external = engine.external

    def memory(taken: int, copies: float) -> int:
        """Return the memory of a stage that holds some rows whole, in so many copies."""
        held = bounded(taken, columns) if external else taken
        on_disk = PIECES * min(1.0, table_bytes / 1e9) + PER_ROW * rows if external else 0.0
        return int(STARTED + held * row_bytes * copies + on_disk)

    for stage, (seconds, copies) in FIGURES[engine.name].items():
        yield StagePlan(
            stage=stage,
            rows=rows,
            seconds=seconds * millions,
            memory=memory(0 if external else rows, copies),
        )
    training = use_case.training
    train = round(rows * (1 - use_case.split.holdout))
    holdout = rows - train
    searched = search_rows(train, engine, training)
    yield StagePlan(
        stage="Search the candidates",
        rows=searched,
        seconds=_search_seconds(searched * columns / 1e6, use_case, engine),
        memory=memory(searched, 4.0),
    )
    fitted = min(train, PREPROCESSING_ROWS) if external else train
    yield StagePlan(
        stage="Fit the challenger",
        rows=train,
        seconds=_fit_seconds(train * columns / 1e6, use_case, engine),
        memory=memory(fitted, FIT_COPIES) + _workers_memory(train * columns, engine, training),
    )
    judged = min(holdout, bounded(EVALUATION_ROWS, columns))
    yield StagePlan(
        stage="Evaluate on the holdout",
        rows=judged,
        seconds=EVALUATE_SECONDS * 2 * judged / 1e6,
        memory=memory(judged, JUDGED_COPIES[engine.name]) + (0 if external else table_bytes),
    )
    profiled = min(train, bounded(PROFILE_ROWS, columns))
    yield StagePlan(
        stage="Assemble the bundle",
        rows=profiled,
        seconds=PROFILE_SECONDS * profiled * columns / 1e6,
        memory=memory(profiled, JUDGED_COPIES[engine.name]),
    )


def _workers_memory(values: int, engine: Engine, training: TrainingConfig) -> int:
    """Return what Dask workers take that are processes of this machine."""
    if engine.name != "dask" or training.dask.workers is None:
        return 0
    return training.dask.workers * WORKER_STARTED + WORKER_VALUE * values


def _search_seconds(millions: float, use_case: UseCase, engine: Engine) -> float:
    """Return how long all candidates' folds take together, XGBoost's cost being the measure."""
    measure = BY_NAME["xgboost"].cost
    folds, training = use_case.split.folds, use_case.training
    seconds = 0.0
    for name in _competing(use_case.task, training, engine):
        relative = BY_NAME[name].cost / measure
        fits = folds * training.trials
        one = SEARCH_SECONDS * _rounds(training) * relative * millions
        limit = training.timeout.total_seconds() if training.timeout else float("inf")
        seconds += min(fits * one, limit)
    return seconds


def _fit_seconds(millions: float, use_case: UseCase, engine: Engine) -> float:
    """Return how long the challenger's fit takes: XGBoost's, where not only linear models compete.

    Which candidate wins is known after the search only.
    """
    training = use_case.training
    named = _competing(use_case.task, training, engine)
    if all(BY_NAME[name].from_disk in LINEAR for name in named):
        seconds = FIT_LINEAR_SECONDS
    else:
        seconds = FIT_SECONDS * _rounds(training) * FIT_SLOWER[engine.name]
    return (seconds + PREPARE_SECONDS[engine.name]) * millions


def _rounds(training: TrainingConfig) -> float:
    xgboost = training.candidates.get("xgboost")
    fixed = xgboost.params.get("n_estimators") if xgboost else None
    return float(fixed) if isinstance(fixed, int | float) else ROUNDS


def _competing(task: Task, training: TrainingConfig, engine: Engine) -> list[str]:
    names = [plan.candidate.name for plan in candidates_for(task, training)]
    return [name for name in names if name != BASELINE and can_be_fitted(name, engine)]
