"""Parameter settings to try, one after the other: a grid's, or Optuna's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evergreen.config import Choice, Span, TrainingConfig
from evergreen.training.candidates import Plan, Space

PRUNING_STARTS_AFTER = 3  # trials
PRUNING_NEEDS_FOLDS = 2
SAMPLING_STARTS_AFTER = 5  # trials; until then Optuna draws at random


class Proposal(Protocol):
    """One setting. ``params`` are those that are searched."""

    params: Mapping[str, Choice]

    def report(self, fold: int, mean: float) -> bool:
        """Tell the mean score of the folds so far; return whether the setting is hopeless."""

    def finish(self, score: float | None) -> None:
        """Tell the mean score of all folds; None: given up or failed."""


@dataclass
class GridProposal:
    """A setting that is tried whatever the others gave."""

    params: Mapping[str, Choice]

    def report(self, fold: int, mean: float) -> bool:
        """A grid gives nothing up."""
        return False

    def finish(self, score: float | None) -> None:
        """A grid learns nothing."""


@dataclass
class OptunaProposal:
    """A setting that a study asked for."""

    study: Any
    trial: Any
    params: Mapping[str, Choice]

    def report(self, fold: int, mean: float) -> bool:
        """Let the study's pruner decide."""
        self.trial.report(mean, fold)
        return bool(self.trial.should_prune())

    def finish(self, score: float | None) -> None:
        """Tell the study."""
        from optuna.trial import TrialState

        if score is None:
            self.study.tell(self.trial, state=TrialState.PRUNED)
        else:
            self.study.tell(self.trial, score)


@dataclass
class DefaultsProposal:
    """The estimator's own defaults, which may lie outside of the space that is searched."""

    study: Any
    space: Mapping[str, Any]  # Optuna's distributions
    params: Mapping[str, Choice]
    means: dict[int, float] = field(default_factory=dict)

    def report(self, fold: int, mean: float) -> bool:
        """Never hopeless: something must be there to compare with."""
        self.means[fold] = mean
        return False

    def finish(self, score: float | None) -> None:
        """Let the study learn from it, as far as its space reaches."""
        import optuna

        if score is None:
            return
        inside = {
            name: value for name, value in self.params.items() if contains(self.space[name], value)
        }
        self.study.add_trial(
            optuna.create_trial(
                value=score,
                params=inside,
                distributions={name: self.space[name] for name in inside},
                intermediate_values=self.means,
            )
        )


def propose(
    plan: Plan,
    defaults: Mapping[str, Any],
    training: TrainingConfig,
    *,
    greater_is_better: bool,
    seed: int,
) -> tuple[int, Iterator[Proposal]]:
    """Return how many settings there are, and the settings; seeded, so always the same ones.

    ``defaults`` are the estimator's parameters before the search. Settings must be finished one
    by one, for Optuna learns from those before.
    """
    if plan.grid is not None:
        from sklearn.model_selection import ParameterGrid

        grid = ParameterGrid({name: list(values) for name, values in plan.grid.items()})
        return len(grid), (GridProposal(params) for params in grid)
    if not plan.search:
        return 1, iter([GridProposal({})])
    study = _new_study(greater_is_better, seed, prune=training.prune)
    return training.trials, _sampled(study, distributions_of(plan), defaults, training.trials)


def distributions_of(plan: Plan) -> dict[str, Any]:
    """Return Optuna's distributions of the parameters that a plan searches, a grid's, too."""
    space: Space = plan.search if plan.grid is None else plan.grid
    return {name: _distribution(span) for name, span in space.items()}


def _new_study(greater_is_better: bool, seed: int, *, prune: bool) -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    median = optuna.pruners.MedianPruner(
        n_startup_trials=PRUNING_STARTS_AFTER, n_warmup_steps=PRUNING_NEEDS_FOLDS - 1
    )
    return optuna.create_study(
        direction="maximize" if greater_is_better else "minimize",
        sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=SAMPLING_STARTS_AFTER),
        pruner=median if prune else optuna.pruners.NopPruner(),
    )


def _sampled(
    study: Any, distributions: Mapping[str, Any], defaults: Mapping[str, Any], trials: int
) -> Iterator[Proposal]:
    yield DefaultsProposal(study, distributions, {name: defaults[name] for name in distributions})
    for _ in range(trials - 1):
        trial = study.ask(distributions)
        yield OptunaProposal(study, trial, dict(trial.params))


def _distribution(span: Span | tuple[Choice, ...]) -> Any:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if not isinstance(span, Span):
        return CategoricalDistribution(span)
    if span.integer:
        return IntDistribution(int(span.low), int(span.high), log=span.log)
    return FloatDistribution(span.low, span.high, log=span.log)


def contains(distribution: Any, value: Any) -> bool:
    """Tell whether a value lies in one of Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    return isinstance(value, int | float) and distribution.low <= value <= distribution.high
