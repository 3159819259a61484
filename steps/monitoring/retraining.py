"""The table of a retraining: chosen from the prediction log, checked, and divided by time."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated

from zenml import log_metadata, step
from zenml.types import HTMLString

from evergreen.config import UseCase
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.quality_report import QualityReport
from evergreen.data.sources import describe_source, read_source
from evergreen.data.splits import Split, SplitRows
from evergreen.errors import InputError
from evergreen.monitoring.retraining import (
    Selection,
    logged_table,
    require_same_question,
    resolved,
    select_rows,
    widened,
)
from evergreen.monitoring.turns import RetrainRequest
from evergreen.paths import Home
from evergreen.reporting.facts import DataFacts
from evergreen.serving.log_tables import shown
from evergreen.serving.options import ServerOptions
from evergreen.serving.prediction_history import PredictionHistory
from steps.announcements import announce
from steps.caching import CACHED
from steps.data.tables import divide, require_quality
from steps.materializers import DatasetMaterializer
from steps.promotion.champion import open_registry
from steps.workspace import scratch_file


@step(
    enable_cache=False,
    enable_artifact_visualization=False,
    output_materializers={"raw_table": DatasetMaterializer},
)
def select_training_rows(
    use_case: UseCase, request: RetrainRequest
) -> tuple[
    Annotated[Dataset, "raw_table"],
    Annotated[Contract, "contract"],
    Annotated[Selection, "selection"],
]:
    """Choose the labelled rows of the log, and what of the original table goes with them.

    Raises
    ------
    InputError
        If there is no champion, it answers another question, or the log hides a feature.
    RefusedError
        If there are too few labelled rows.
    UnreachableError
        If registry, log or source do not answer.
    """
    announce("Choose the rows")
    registry = open_registry()
    champion = registry.champion(use_case.name)
    if champion is None:
        raise InputError(
            f"{use_case.name!r} has no champion yet. Train one first: python run.py --pipeline "
            "train"
        )
    contract = registry.contract(use_case.name, champion.version)
    require_same_question(contract, use_case)
    url = ServerOptions(settings=use_case.serving, home=Home.locate()).log_url
    with closing(PredictionHistory(url, contract)) as log:
        window = log.window(
            since=request.since, until=request.until, last=request.max_rows, labelled=True
        )
    which = resolved(use_case.monitoring.retrain, changed=request.changed)
    history = None if which == "recent" else read_source(use_case.data.source)
    table, selection = select_rows(
        logged_table(window, contract), history, contract, use_case, changed=request.changed
    )
    source = f"prediction log {shown(url)}"
    if selection.history_rows:
        source += f" and {describe_source(use_case.data.source)}"
    dataset = Dataset.write(table, scratch_file("raw.parquet"), source)
    announce(selection.reason)
    log_metadata({"fingerprint": dataset.fingerprint, **selection.model_dump(mode="json")})
    return dataset, widened(contract, table), selection


@step(
    cache_policy=CACHED,
    enable_artifact_visualization=False,
    output_materializers={
        "training_rows": DatasetMaterializer,
        "holdout_rows": DatasetMaterializer,
    },
)
def split_by_recency(
    raw_table: Dataset,
    contract: Contract,
    table_quality: QualityReport,
    table_report: HTMLString,
    selection: Selection,
    use_case: UseCase,
) -> tuple[
    Annotated[Dataset, "training_rows"],
    Annotated[Dataset, "holdout_rows"],
    Annotated[DataFacts, "data_facts"],
]:
    """Hold out the newest labelled rows. The run ends here where a quality check says no."""
    require_quality(table_quality, table_report, use_case)
    announce("Hold out the newest rows")

    def newest(rows: SplitRows) -> Split:
        return selection.split(len(rows.frame), contract)

    # ZenML counts outputs by the return statement: a tuple must stand there.
    training_rows, holdout_rows, facts = divide(
        newest, raw_table, contract, table_quality, use_case
    )
    facts = facts.model_copy(update={"split_method": "time", "split_boundary": selection.boundary})
    return training_rows, holdout_rows, facts
