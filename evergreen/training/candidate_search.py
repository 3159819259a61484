"""One process's part of a search: its folds, and one candidate after the other on them."""

from __future__ import annotations

from collections.abc import Sequence

from evergreen.data.dataset import Dataset
from evergreen.training.candidates import candidates_for
from evergreen.training.folds import Folds
from evergreen.training.progress import OnProgress
from evergreen.training.results import CandidateResult, TrialOutcome
from evergreen.training.search_task import SearchTask
from evergreen.training.tuning import OnTrial, Tuning


class CandidateSearch:
    """Searches any candidate of a task; the folds and their features are shared by all.

    Raises
    ------
    InputError
        If the task's candidates, features or folds do not fit its table.
    """

    def __init__(self, task: SearchTask) -> None:
        self.task = task
        plans = candidates_for(task.contract.task, task.training)
        self.plans = {plan.candidate.name: plan for plan in plans}
        self.folds = Folds.read(
            Dataset.open(task.path),
            task.contract,
            features=task.features,
            split=task.split,
            seed=task.training.seed,
        )

    def search(
        self,
        name: str,
        on_progress: OnProgress,
        *,
        kept: Sequence[TrialOutcome] = (),
        on_trial: OnTrial | None = None,
    ) -> CandidateResult:
        """Search one candidate; see `Tuning`."""
        return Tuning(
            self.plans[name],
            self.folds,
            training=self.task.training,
            metric=self.task.metric,
            threads=self.task.threads,
            on_progress=on_progress,
            kept=kept,
            on_trial=on_trial,
        ).run()
