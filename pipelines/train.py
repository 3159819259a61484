"""From one YAML file to a registered, judged model."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from zenml import pipeline
from zenml.enums import ExecutionMode

from evergreen.config import UseCase
from steps.data.tables import check_quality, define_contract, load_table, split_table
from steps.promotion.champion import find_champion
from steps.promotion.lineage import link_lineage
from steps.promotion.publication import assemble_bundle, publish_challenger
from steps.training.candidates import fit_challenger, search_candidates
from steps.training.evaluation import evaluate_on_holdout, judge_challenger


@pipeline(
    name="train",
    enable_step_logs=False,
    enable_pipeline_logs=False,
    enable_heartbeat=False,
    execution_mode=ExecutionMode.FAIL_FAST,
)
def train(use_case: UseCase, command: str) -> None:
    """Train, evaluate, judge and register a challenger for one use case."""
    today = str(datetime.now(UTC).date()) if use_case.data.expires_after else None

    raw_table = load_table(use_case.data)
    contract = define_contract(raw_table, use_case)
    table_quality, data_report = check_quality(raw_table, contract, use_case, today)
    training_rows, holdout_rows, data = split_table(
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
    training = {
        "features": use_case.features,
        "training": use_case.training,
        "split": use_case.split,
    }
    seed = use_case.training.seed

    search = search_candidates(training_rows, data, **training)
    challenger, baseline = fit_challenger(training_rows, data, search, **training)

    champion = find_champion(data, use_case)
    predictions, evaluations, explanation = evaluate_on_holdout(
        challenger, baseline, champion, holdout_rows, data, search, use_case.evaluation, seed
    )
    verdict = judge_challenger(
        predictions, evaluations, champion, data, search, use_case.gate, use_case.evaluation, seed
    )

    bundle, facts = assemble_bundle(
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
    registration, _ = publish_challenger(bundle, facts, data_report)
    link_lineage(registration, facts)
    return registration
