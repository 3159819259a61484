"""The search for the challenger: every candidate tuned, on the training rows alone."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from sklearn.pipeline import Pipeline

from evergreen.config import CandidateConfig, FeaturesConfig, SplitConfig, Task, TrainingConfig
from evergreen.dask.own_cluster import end_cluster
from evergreen.dask.tables import where_workers_see_it
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.engine import Engine
from evergreen.errors import InputError
from evergreen.features import build_features, check_features
from evergreen.training.candidate_search import CandidateSearch
from evergreen.training.candidates import (
    BASELINE,
    BY_NAME,
    CANDIDATES,
    can_be_fitted,
    candidates_for,
    fitted_on_dask,
    make_estimator,
)
from evergreen.training.external import fit_by_pieces
from evergreen.training.fitting import fit_in_memory, predict_in_one_thread, steady
from evergreen.training.kept_trials import KeptTrials
from evergreen.training.metrics import Metric
from evergreen.training.on_dask import await_learning
from evergreen.training.parallel import Crew, processes_for, threads_for
from evergreen.training.progress import OnProgress, Progress
from evergreen.training.results import LEFT_OUT, CandidateResult, SearchResult
from evergreen.training.search_on_dask import search_on_dask
from evergreen.training.search_task import SearchTask, metric_of


def search_candidates(
    train: Dataset,
    contract: Contract,
    *,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
    on_progress: OnProgress | None = None,
    keep_in: str | None = None,
) -> SearchResult:
    """Tune every candidate by cross-validation; the result does not depend on the machine's cores.

    Candidates run in up to ``training.jobs`` processes, or workers of ``training.dask``.
    ``on_progress`` is called from one thread at a time, which need not be the caller's.
    ``keep_in``: SQLAlchemy address of the database that keeps the trials that have ended; the same
    search, begun again after it was killed, takes them from there, and gives the same result.
    `forget_trials` deletes them.

    Raises
    ------
    InputError
        If the settings do not fit the table, or every candidate failed.
    UnreachableError
        If a process of the search was killed, or there is no Dask cluster where one is to search.
    """
    started = time.monotonic()
    check_features(contract, features)
    named = [name for name in alone(contract.task, training) if name != BASELINE]
    slowest_first = [name for name in named if can_be_fitted(name, train.engine)]
    if any(fitted_on_dask(name, train.engine) for name in named):
        await_learning(training.dask)
    on_dask = training.spread == "dask"
    processes = 1 if on_dask else processes_for(len(slowest_first), training.jobs)
    task = _task(train, contract, features, training, split, processes)
    report = on_progress or _say_nothing
    with KeptTrials(keep_in, task, train.fingerprint) as kept:
        if on_dask:
            found = _search_on_workers(task, slowest_first, train, report, kept)
        else:
            found = _search_on_cores(task, slowest_first, processes, report, kept)
    left_out = [_left_out(name, train.engine) for name in named if name not in slowest_first]
    results = [*found.values(), *left_out]
    ranked = rank_candidates(results, task.metric, split, seconds=time.monotonic() - started)
    if not fitted_on_dask(ranked.best, train.engine):
        end_cluster(training.dask)
    return ranked


def alone(task: Task, training: TrainingConfig) -> dict[str, TrainingConfig]:
    """Return, by candidate, the settings with which `search_candidate` searches it alone.

    The slowest ones come first, the baseline last.

    Raises
    ------
    InputError
        If a candidate or one of its parameters does not exist, or does not suit the task.
    """
    names = [plan.candidate.name for plan in candidates_for(task, training)]
    slowest_first = sorted(names, key=lambda name: (name == BASELINE, -BY_NAME[name].cost))
    configs = training.candidates
    return {
        name: training.model_copy(
            update={"candidates": {name: configs.get(name, CandidateConfig())}, "jobs": None}
        )
        for name in slowest_first
    }


def search_candidate(
    name: str,
    train: Dataset,
    contract: Contract,
    *,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
    on_progress: OnProgress | None = None,
    keep_in: str | None = None,
) -> CandidateResult:
    """Tune one candidate with all cores; it gets what it gets in `search_candidates`.

    Raises
    ------
    InputError
        If the settings do not fit the table. A candidate that fails is a result with an error.
    """
    check_features(contract, features)
    if not can_be_fitted(name, train.engine):
        return _left_out(name, train.engine)
    task = _task(train, contract, features, training, split, processes=1)
    with KeptTrials(keep_in, task, train.fingerprint) as kept:
        return _search_here(CandidateSearch(task), kept, name, on_progress or _say_nothing)


def rank_candidates(
    results: Sequence[CandidateResult],
    metric: Metric,
    split: SplitConfig,
    *,
    seconds: float | None = None,
) -> SearchResult:
    """Put the results of all candidates together; ``seconds`` is the longest one's by default.

    Raises
    ------
    InputError
        If every candidate failed.
    """
    ranked = _ranked(results, metric)
    longest = max(result.seconds for result in results)
    return SearchResult(
        metric=metric.name,
        greater_is_better=metric.greater_is_better,
        folds=split.folds,
        candidates=tuple(ranked),
        best=_best(ranked),
        seconds=longest if seconds is None else seconds,
    )


def fit_candidate(
    train: Dataset,
    contract: Contract,
    result: CandidateResult,
    *,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
) -> Pipeline:
    """Fit one candidate; see `fit_candidates`."""
    return fit_candidates(
        train, contract, [result], features=features, training=training, split=split
    )[0]


def fit_candidates(
    train: Dataset,
    contract: Contract,
    results: Sequence[CandidateResult],
    *,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
) -> list[Pipeline]:
    """Fit candidates with the parameters that their search chose, on all training rows.

    A boosted candidate takes the median of the rounds that its folds stopped at. Those that want
    the same features share the first half of their models, which is fitted once.

    Raises
    ------
    InputError
        If a library cannot be loaded, or the file cannot be read.
    """
    threads = threads_for(1, train.rows * len(contract.features))
    halves = {
        scale: build_features(contract, features, scale=scale, seed=training.seed)
        for scale in (False, True)
    }
    models = []
    with steady(threads):
        for result in results:
            candidate = BY_NAME[result.name]
            rounds = {} if result.rounds is None else {"n_estimators": result.rounds}
            estimator = make_estimator(
                candidate,
                contract.task,
                {**result.params, **rounds},
                seed=training.seed,
                balance=training.balance,
                threads=threads,
            )
            half = halves[candidate.scale]
            if train.engine.external:
                model = fit_by_pieces(train, contract, half, candidate, estimator, training)
            else:
                model = fit_in_memory(train, contract, half, candidate, estimator)
            predict_in_one_thread(candidate, estimator)
            models.append(model)
    return models


def _search_here(
    search: CandidateSearch, kept: KeptTrials, name: str, on_progress: OnProgress
) -> CandidateResult:
    return search.search(name, on_progress, kept=kept.of(name), on_trial=partial(kept.keep, name))


def _search_on_cores(
    task: SearchTask, names: Sequence[str], processes: int, report: OnProgress, kept: KeptTrials
) -> dict[str, CandidateResult]:
    """Search the baseline and these candidates in so many processes, of which this is one."""
    with Crew(task, names, helpers=processes - 1, on_progress=report, kept=kept) as crew:
        here = partial(_search_here, CandidateSearch(task), kept)
        baseline = here(BASELINE, crew.pass_on)
        crew.work(here)
    return {BASELINE: baseline, **crew.results}


def _search_on_workers(
    task: SearchTask, names: Sequence[str], train: Dataset, report: OnProgress, kept: KeptTrials
) -> dict[str, CandidateResult]:
    """Search the baseline here, and these candidates on a Dask cluster."""
    baseline = _search_here(CandidateSearch(task), kept, BASELINE, report)
    with where_workers_see_it(train) as table:
        shared = task.model_copy(update={"path": table.path})
        found = search_on_dask(shared, names, on_progress=report, kept=kept)
    return {BASELINE: baseline, **found}


def _left_out(name: str, engine: Engine) -> CandidateResult:
    """Return the result of a candidate that would need the table in memory."""
    reason = f"{LEFT_OUT}: it needs the whole table in memory, and training.engine is {engine.name}"
    return CandidateResult.failed(name, BY_NAME[name].title, reason)


def _task(
    train: Dataset,
    contract: Contract,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
    processes: int,
) -> SearchTask:
    """Return what each of so many processes works on; raise `InputError` for an unknown metric."""
    task = SearchTask(
        path=train.path,
        contract=contract,
        features=features,
        training=training,
        split=split,
        threads=threads_for(processes, train.rows * len(contract.features)),
    )
    metric_of(task.training, contract.task)
    return task


def _ranked(results: Sequence[CandidateResult], metric: Metric) -> list[CandidateResult]:
    """Sort the best first, of equal ones the simpler (by the registry), failed ones last."""
    places = {candidate.name: place for place, candidate in enumerate(CANDIDATES)}
    sign = -1 if metric.greater_is_better else 1

    def rank(result: CandidateResult) -> tuple[bool, float, int]:
        failed = result.score is None
        return failed, sign * (result.score or 0.0), places[result.name]

    return sorted(results, key=rank)


def _best(ranked: Sequence[CandidateResult]) -> str:
    """Return the best candidate's name; the baseline only where it stands alone."""
    competing = [result for result in ranked if result.name != BASELINE] or list(ranked)
    best = competing[0]
    if best.score is None:
        reasons = "\n".join(f"- {result.title}: {result.error}" for result in competing)
        raise InputError(
            "Every candidate failed, so there is no model. The reasons:\n"
            f"{reasons}\nChange the parameters or the metric, or look at the data."
        )
    return best.name


def _say_nothing(progress: Progress) -> None:
    """Take progress that nobody wants to see."""
