"""Open the holdout, once, and judge the challenger."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated

from sklearn.base import BaseEstimator
from zenml import step

from evergreen.config import EvaluationConfig, GateConfig
from evergreen.dask.settings import DaskConfig
from evergreen.dask.tables import goes_to_workers
from evergreen.data.dataset import Dataset
from evergreen.promotion.gate import judge
from evergreen.promotion.verdict import Verdict
from evergreen.reporting.facts import DataFacts
from evergreen.training.evaluation import evaluate
from evergreen.training.explanation import explain
from evergreen.training.judged_rows import Arm, rows_to_judge
from evergreen.training.parallel import threads_for
from evergreen.training.predictions import arms_from_frame, arms_to_frame
from evergreen.training.results import Evaluations, Explanation, SearchResult
from steps.announcements import announce
from steps.caching import CACHED
from steps.materializers import DatasetMaterializer
from steps.promotion.champion import ChampionReference, champion_bundle
from steps.workspace import scratch_file


@step(cache_policy=CACHED, output_materializers={"predictions": DatasetMaterializer})
def evaluate_on_holdout(
    challenger: BaseEstimator,
    baseline: BaseEstimator,
    champion: ChampionReference,
    holdout_rows: Dataset,
    data_facts: DataFacts,
    search_result: SearchResult,
    evaluation: EvaluationConfig,
    dask: DaskConfig,
    seed: int,
) -> tuple[
    # First: in a dynamic pipeline ZenML counts outputs with a materializer of their own first.
    Annotated[Dataset, "predictions"],
    Annotated[Evaluations, "evaluations"],
    Annotated[Explanation, "explanation"],
]:
    """Score challenger, baseline and champion, as whole pipelines, on the same rows."""
    on_dask = goes_to_workers(holdout_rows, dask)
    announce(f"Evaluate on the holdout{f', on {dask.title}' if on_dask else ''}")
    contract = data_facts.contract
    arms = {"challenger": Arm(challenger), "baseline": Arm(baseline)}
    if champion.version is not None:
        bundle = champion_bundle(champion)
        arms["champion"] = Arm(bundle.model(), bundle.contract)
    rows = rows_to_judge(holdout_rows, contract, arms, evaluation, dask, seed)
    measure = partial(evaluate, frame=rows.frame, contract=contract, config=evaluation, seed=seed)
    with ThreadPoolExecutor(threads_for(1, rows.frame.size)) as pool:
        measured = {name: pool.submit(measure, said) for name, said in rows.predictions.items()}
        explained = pool.submit(
            explain,
            challenger,
            rows.explained,
            contract,
            metric=search_result.metric,
            config=evaluation,
            seed=seed,
        )
        results = {name: figures.result() for name, figures in measured.items()}
        explanation = explained.result()
    predictions = Dataset.write(
        arms_to_frame(rows.predictions), scratch_file("predictions.parquet"), "holdout predictions"
    )
    return (
        predictions,
        Evaluations(
            challenger=results["challenger"],
            baseline=results["baseline"],
            champion=results.get("champion"),
        ),
        explanation,
    )


@step(cache_policy=CACHED)
def judge_challenger(
    predictions: Dataset,
    evaluations: Evaluations,
    champion: ChampionReference,
    data_facts: DataFacts,
    search_result: SearchResult,
    gate: GateConfig,
    evaluation: EvaluationConfig,
    seed: int,
) -> Annotated[Verdict, "verdict"]:
    """Ask every rule of the gate."""
    announce("Judge the challenger")
    arms = arms_from_frame(predictions.read(), data_facts.contract)
    return judge(
        gate,
        metric=search_result.metric,
        challenger=arms["challenger"],
        baseline=arms["baseline"],
        champion=arms.get("champion"),
        champion_version=champion.version,
        evaluation=evaluations.challenger,
        seed=seed,
        bootstrap=evaluation.bootstrap,
    )
