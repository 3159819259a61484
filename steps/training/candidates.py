"""Search the candidates on the training rows, and fit the best."""

from __future__ import annotations

from typing import Annotated

from sklearn.base import BaseEstimator
from zenml import step

from evergreen.config import FeaturesConfig, SplitConfig, TrainingConfig
from evergreen.data.dataset import Dataset
from evergreen.paths import Home
from evergreen.reporting.facts import DataFacts
from evergreen.training import search
from evergreen.training.bounds import search_table
from evergreen.training.candidates import BY_NAME, fitted_on_dask
from evergreen.training.kept_trials import forget_trials
from evergreen.training.results import CandidateResult, SearchResult
from evergreen.training.search_task import metric_of
from steps.announcements import announce
from steps.caching import CACHED
from steps.materializers import ModelMaterializer
from steps.workspace import scratch_file


@step(cache_policy=CACHED)
def search_candidates(
    training_rows: Dataset,
    data_facts: DataFacts,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
) -> Annotated[SearchResult, "search"]:
    """Tune every candidate by cross-validation on the training rows."""
    announce("Search the candidates")
    return search.search_candidates(
        search_table(training_rows, data_facts.contract, training, scratch_file("search.parquet")),
        data_facts.contract,
        features=features,
        training=training,
        split=split,
        on_progress=announce,
        keep_in=Home.locate().database_url,
    )


@step(cache_policy=CACHED)
def search_candidate(
    candidate: str,
    training_rows: Dataset,
    data_facts: DataFacts,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
) -> Annotated[CandidateResult, "candidate_result"]:
    """Tune one candidate, of whose settings alone ``training`` tells, beside the others."""
    announce(f"Search {BY_NAME[candidate].title}")
    return search.search_candidate(
        candidate,
        search_table(training_rows, data_facts.contract, training, scratch_file("search.parquet")),
        data_facts.contract,
        features=features,
        training=training,
        split=split,
        on_progress=announce,
        keep_in=Home.locate().database_url,
    )


@step(cache_policy=CACHED)
def rank_candidates(
    results: list[CandidateResult],
    data_facts: DataFacts,
    training: TrainingConfig,
    split: SplitConfig,
) -> Annotated[SearchResult, "search"]:
    """Put together what the candidates' own steps found."""
    announce("Rank the candidates")
    metric = metric_of(training, data_facts.contract.task)
    return search.rank_candidates(results, metric, split)


@step(
    cache_policy=CACHED,
    enable_artifact_visualization=False,
    output_materializers={"challenger": ModelMaterializer, "baseline": ModelMaterializer},
)
def fit_challenger(
    training_rows: Dataset,
    data_facts: DataFacts,
    search_result: SearchResult,
    features: FeaturesConfig,
    training: TrainingConfig,
    split: SplitConfig,
) -> tuple[Annotated[BaseEstimator, "challenger"], Annotated[BaseEstimator, "baseline"]]:
    """Fit the best candidate, and the baseline that it must beat, on all training rows."""
    on_dask = fitted_on_dask(search_result.best, training_rows.engine)
    announce(f"Fit the challenger on {training.dask.title}" if on_dask else "Fit the challenger")
    forget_trials(Home.locate().database_url, data_facts.contract.use_case)  # the result is stored
    by_name = {candidate.name: candidate for candidate in search_result.candidates}
    challenger, baseline = search.fit_candidates(
        training_rows,
        data_facts.contract,
        [by_name[search_result.best], by_name["baseline"]],
        features=features,
        training=training,
        split=split,
    )
    return challenger, baseline
