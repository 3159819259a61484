"""What a run of the command line ended with: the object that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from evergreen.config import Choice, Task
from evergreen.promotion.verdict import Verdict
from evergreen.training.results import Interval
from evergreen.values import Value


class CandidateSummary(Value):
    """One line of the final table."""

    name: str
    title: str
    score: float | None
    score_std: float | None
    trials: int
    taken_over: int = 0  # of the trials: made by a search that was interrupted
    seconds: float
    params: Mapping[str, Choice]
    chosen: bool
    error: str | None


class TrainingOutcome(Value):
    """A finished training run, whatever the gate said."""

    pipeline: Literal["train", "retrain"] = "train"
    use_case: str
    task: Task
    status: Literal["promoted", "waiting", "ramping", "refused", "unchanged"]
    message: str
    exit_code: int
    version: str | None  # of the challenger; None where it was not registered
    champion: str | None  # the version that serves now
    verdict: Verdict
    metric: str
    metrics: Mapping[str, Interval]
    candidates: tuple[CandidateSummary, ...]
    rows: int
    train_rows: int
    holdout_rows: int
    data_fingerprint: str
    reports: Mapping[str, str]  # name: path
    artifacts: Mapping[str, str]  # name: address in the artifact store
    durations: Mapping[str, float]  # stage: seconds
    seconds: float
    steps: int
    cached_steps: int
    stack: str
    zenml_run: str
    mlflow_run: str | None
    mlflow_uri: str
    dashboard: str | None = None  # of the run, where a server shows it
    log: str
