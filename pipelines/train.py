"""From one YAML file to a registered, judged model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from zenml import pipeline

from evergreen.config import UseCase
from evergreen.training.search import alone
from pipelines.pipeline_options import OPTIONS
from pipelines.placement import Placement, candidate_step, spreads
from steps.data.tables import check_quality, define_contract, load_table, split_table
from steps.promotion.champion import find_champion
from steps.promotion.lineage import link_lineage
from steps.promotion.publication import assemble_bundle, publish_challenger
from steps.training.candidates import (
    fit_challenger,
    rank_candidates,
    search_candidate,
    search_candidates,
)
from steps.training.evaluation import evaluate_on_holdout, judge_challenger


@pipeline(name="train", **OPTIONS)
def train(use_case: UseCase, command: str) -> None:
    """Train, evaluate, judge and register a challenger for one use case."""
    today = str(datetime.now(UTC).date()) if use_case.data.expires_after else None

    at = Placement(use_case)
    raw_table = at(load_table)(use_case.data, use_case.training.engine, use_case.training.dask)
    contract = at(define_contract)(raw_table, use_case)
    table_quality, data_report = at(check_quality)(raw_table, contract, use_case, today)
    training_rows, holdout_rows, data = at(split_table)(
        raw_table, contract, table_quality, data_report, use_case
    )

    make_challenger(training_rows, holdout_rows, data, data_report, use_case, command)


def make_challenger(
    training_rows: Any,
    holdout_rows: Any,
    data: Any,
    data_report: Any,
    use_case: UseCase,
    command: str,
) -> Any:
    """Search, fit, evaluate, judge and register: what every training does with a split table.

    Returns the registration, as pipelines pass it between steps.
    """
    training: dict[str, Any] = {
        "features": use_case.features,
        "training": use_case.training,
        "split": use_case.split,
    }
    seed = use_case.training.seed
    at = Placement(use_case)

    search = search_all(training_rows, data, use_case, at)
    challenger, baseline = at(fit_challenger)(training_rows, data, search, **training)

    champion = at(find_champion)(data, use_case)
    predictions, evaluations, explanation = at(evaluate_on_holdout)(
        challenger,
        baseline,
        champion,
        holdout_rows,
        data,
        search,
        use_case.evaluation,
        use_case.training.dask,
        seed,
    )
    verdict = at(judge_challenger)(
        predictions, evaluations, champion, data, search, use_case.gate, use_case.evaluation, seed
    )

    bundle, facts = at(assemble_bundle)(
        challenger,
        training_rows,
        holdout_rows,
        predictions,
        champion,
        data,
        search,
        evaluations,
        explanation,
        verdict,
        use_case,
        command,
    )
    registration, _ = at(publish_challenger)(bundle, facts, data_report)
    at(link_lineage)(registration, facts)
    return registration


def search_all(training_rows: Any, data: Any, use_case: UseCase, at: Placement) -> Any:
    """Search the candidates, in one step or in one for each; return the ranked result."""
    training = use_case.training
    shared: dict[str, Any] = {"features": use_case.features, "split": use_case.split}
    if not spreads(use_case):
        return at(search_candidates)(training_rows, data, training=training, **shared)

    search = at.apart(search_candidate, "search_candidates")
    results: list[Any] = []
    for name, own in alone(use_case.task, training).items():
        # At most `jobs` at once: each waits for the one that began so many before it.
        jobs = training.jobs or len(results) + 1
        found = search(
            name,
            training_rows,
            data,
            training=own,
            **shared,
            id=candidate_step(name),
            after=results[-jobs] if len(results) >= jobs else None,
        )
        results.append(found)
    return at(rank_candidates)(results, data, training, use_case.split)
