"""The search over one candidate's parameters, by cross-validation."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

from evergreen.config import Choice, TrainingConfig
from evergreen.data.threads import cores, in_threads
from evergreen.errors import EvergreenError
from evergreen.training.candidates import Plan, make_estimator
from evergreen.training.fitting import score_fold, steady
from evergreen.training.folds import FoldData, Folds
from evergreen.training.metrics import Metric
from evergreen.training.progress import OnProgress, Progress
from evergreen.training.proposals import Proposal, propose
from evergreen.training.results import CandidateResult, Trial, TrialOutcome, running_means

OnTrial = Callable[[TrialOutcome], None]

FEW_VALUES: Final = 5_000_000  # of a table whose folds are scored beside each other


class Tuning:
    """One candidate's search on given folds.

    ``threads`` is how many threads an estimator may use; the result does not depend on it.
    ``kept`` are the trials of the same search that was interrupted, which are not computed again;
    ``on_trial`` hears of those that end now. A setting is drawn from what was learned before, so
    one that differs from the kept one ends the taking over; as it is, the result is the same.
    """

    def __init__(
        self,
        plan: Plan,
        folds: Folds,
        *,
        training: TrainingConfig,
        metric: Metric,
        threads: int,
        on_progress: OnProgress,
        kept: Sequence[TrialOutcome] = (),
        on_trial: OnTrial | None = None,
    ) -> None:
        self.plan = plan
        self.folds = folds
        self.training = training
        self.metric = metric
        self.threads = threads
        self.on_progress = on_progress
        self.kept = {outcome.trial.number: outcome for outcome in kept}
        self.on_trial = on_trial
        self.taken_over = 0
        self.outcomes: list[TrialOutcome] = []
        self.tried: dict[tuple[tuple[str, Choice], ...], TrialOutcome] = {}
        self.started = time.monotonic()

    def run(self) -> CandidateResult:
        """Try one setting after the other; failures are recorded, not raised."""
        with steady(self.threads):
            try:
                defaults = self._estimator({}, self.threads).get_params()
            except Exception as error:  # such as a library that cannot be loaded
                return self._finish(planned=0, error=_reason(error))
            planned, proposals = propose(
                self.plan,
                defaults,
                self.training,
                greater_is_better=self.metric.greater_is_better,
                seed=self.training.seed,
            )
            for proposal in proposals:
                if self.outcomes and self._late():
                    break
                self.outcomes.append(self._try(proposal))
                self._tell(planned)
        return self._finish(planned)

    def _try(self, proposal: Proposal) -> TrialOutcome:
        key = tuple(sorted(proposal.params.items()))
        number, started = len(self.outcomes), time.monotonic()
        if key in self.tried:  # the same setting gives the same score
            known = self.tried[key]
            trial = known.trial.model_copy(update={"number": number, "seconds": 0.0})
            outcome = TrialOutcome(trial=trial, rounds=known.rounds)
        else:
            outcome = self._take_over(proposal, number) or self._compute(proposal, number, started)
            self.tried[key] = outcome
        proposal.finish(outcome.trial.score)
        return outcome

    def _take_over(self, proposal: Proposal, number: int) -> TrialOutcome | None:
        """Return the kept trial as if it had been computed; None where it must be."""
        known = self.kept.get(number)
        if known is None or known.trial.params != {**self.plan.params, **proposal.params}:
            self.kept.clear()
            return None
        if known.trial.state == "failed":  # which may have been for want of memory
            return None
        for fold, mean in enumerate(running_means(known.trial.fold_scores)):
            if fold < len(self.folds) - 1:
                proposal.report(fold, mean)
        self.taken_over += 1
        self.started -= known.trial.seconds
        return known

    def _compute(self, proposal: Proposal, number: int, started: float) -> TrialOutcome:
        outcome = self._evaluate(proposal, number, started)
        if outcome.trial.state != "failed":  # where a kept one has, it was another search
            self.kept.clear()
        cut_short = outcome.trial.state == "pruned" and self._late()
        if self.on_trial is not None and not cut_short:
            self.on_trial(outcome)
        return outcome

    def _evaluate(self, proposal: Proposal, number: int, started: float) -> TrialOutcome:
        scores: list[float] = []
        rounds: list[int] = []
        state, reason = "complete", None
        try:
            with closing(self._fold_scores(proposal)) as found:
                for fold, (score, best_rounds) in enumerate(found):
                    scores.append(score)
                    if best_rounds is not None:
                        rounds.append(best_rounds)
                    if self._give_up(fold, proposal, scores):
                        state = "pruned"
                        break
        except Exception as error:  # the estimator refuses the setting or the data
            state, reason = "failed", _reason(error)
        trial = Trial(
            number=number,
            params={**self.plan.params, **proposal.params},
            score=statistics.fmean(scores) if state == "complete" else None,
            fold_scores=tuple(scores),
            seconds=time.monotonic() - started,
            state=state,
            error=reason,
        )
        return TrialOutcome(trial=trial, rounds=tuple(rounds))

    def _fold_scores(self, proposal: Proposal) -> Generator[tuple[float, int | None]]:
        """Yield the score on each fold, and the best rounds.

        Folds of a small table are scored beside each other: many threads on so few rows mostly
        wait for each other. One fold more than is asked for may then be under way.
        """
        candidate = self.plan.candidate
        beside = (
            candidate.threads
            and self.threads > 1
            and self.threads == cores()
            and self.folds.values < FEW_VALUES
        )
        threads = 1 if beside else self.threads

        def of(fold: FoldData) -> tuple[float, int | None]:
            return score_fold(
                candidate,
                self._estimator(proposal.params, threads),
                fold,
                self.folds.contract,
                metric=self.metric,
                patience=self.training.early_stopping,
            )

        folds = (
            self.folds.fold(number, scale=candidate.scale, stops=candidate.stop is not None)
            for number in range(len(self.folds))
        )
        yield from in_threads(of, folds) if beside else map(of, folds)

    def _give_up(self, fold: int, proposal: Proposal, scores: Sequence[float]) -> bool:
        """Tell whether a setting is given up after a fold before the last."""
        if fold == len(self.folds) - 1:
            return False
        hopeless = proposal.report(fold, statistics.fmean(scores))
        return hopeless or (bool(self.outcomes) and self._late())

    def _estimator(self, params: Mapping[str, Choice], threads: int) -> Any:
        return make_estimator(
            self.plan.candidate,
            self.folds.contract.task,
            {**self.plan.params, **params},
            seed=self.training.seed,
            balance=self.training.balance,
            threads=threads,
        )

    def _late(self) -> bool:
        timeout = self.training.timeout
        return timeout is not None and time.monotonic() - self.started > timeout.total_seconds()

    def _best(self) -> TrialOutcome | None:
        """Return the best complete trial, of equal ones the first."""
        sign = 1 if self.metric.greater_is_better else -1
        complete = [outcome for outcome in self.outcomes if outcome.trial.score is not None]
        return max(complete, key=lambda found: sign * (found.trial.score or 0.0), default=None)

    def _tell(self, planned: int, *, done: bool = False, error: str | None = None) -> None:
        best = self._best()
        self.on_progress(
            Progress(
                candidate=self.plan.candidate.name,
                title=self.plan.candidate.title,
                trial=len(self.outcomes),
                trials=planned,
                score=self.outcomes[-1].trial.score if self.outcomes else None,
                best=best.trial.score if best else None,
                done=done,
                error=error,
            )
        )

    def _finish(self, planned: int, error: str | None = None) -> CandidateResult:
        best = self._best()
        if best is None and error is None:
            error = next((found.trial.error for found in self.outcomes if found.trial.error), None)
        self._tell(planned, done=True, error=error)
        scores = best.trial.fold_scores if best else ()
        return CandidateResult(
            name=self.plan.candidate.name,
            title=self.plan.candidate.title,
            params=best.trial.params if best else self.plan.params,
            score=best.trial.score if best else None,
            score_std=statistics.stdev(scores) if len(scores) > 1 else None,
            fold_scores=scores,
            rounds=round(statistics.median(best.rounds)) if best and best.rounds else None,
            trials=tuple(outcome.trial for outcome in self.outcomes),
            seconds=time.monotonic() - self.started,
            error=error,
            taken_over=self.taken_over,
        )


def _reason(error: Exception) -> str:
    """Return an exception as one line of text."""
    text = " ".join(str(error).split()) or "no reason given"
    return (text if isinstance(error, EvergreenError) else f"{type(error).__name__}: {text}")[:500]
