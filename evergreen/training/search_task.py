"""What a search works on, and what its processes tell each other, as JSON lines."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from evergreen.config import FeaturesConfig, SplitConfig, Task, TrainingConfig
from evergreen.data.contract import Contract
from evergreen.training.metrics import Metric, default_metric, metric_named
from evergreen.training.progress import Progress
from evergreen.training.results import CandidateResult, TrialOutcome
from evergreen.values import Value


class SearchTask(Value):
    """The training rows (a file) and how to search; the same in every process."""

    path: Path
    contract: Contract
    features: FeaturesConfig
    training: TrainingConfig
    split: SplitConfig
    threads: int

    @property
    def metric(self) -> Metric:
        """The metric that drives the search."""
        return metric_of(self.training, self.contract.task)


def metric_of(training: TrainingConfig, task: Task) -> Metric:
    """Return the metric that drives a search; raise `InputError` if it does not suit the task."""
    return metric_named(training.metric or default_metric(task), task)


class Order(Value):
    """What a helper process is to search, and the trials of it that were made before."""

    candidate: str
    kept: tuple[TrialOutcome, ...] = ()


class Message(Value):
    """What a helper process says: ready for an order, how it goes, the result, or a fault."""

    kind: Literal["ready", "progress", "trial", "result", "fault"]
    progress: Progress | None = None
    trial: TrialOutcome | None = None
    result: CandidateResult | None = None
    error: str | None = None  # the class of an error that is part of the product
    text: str = ""
