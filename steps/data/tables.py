"""Load a table, settle its contract, check it and split it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated

import pandas as pd
from zenml import log_metadata, step
from zenml.logger import get_logger
from zenml.types import HTMLString

from evergreen.alerts.alert import Alert
from evergreen.config import DataConfig, UseCase
from evergreen.dask.cluster import require_cluster
from evergreen.dask.loading import ingest_on_dask
from evergreen.dask.settings import DaskConfig
from evergreen.dask.tables import passes_of
from evergreen.data.conform import conform
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.engine import EngineChoice
from evergreen.data.holdout import rows_to_split, write_sides
from evergreen.data.infer import infer_contract_by_columns
from evergreen.data.ingest import ingest
from evergreen.data.memory import keep_freed_memory
from evergreen.data.quality import (
    check,
    check_split,
    check_table_by_columns,
    merge,
    whole_table,
)
from evergreen.data.quality_report import QualityReport
from evergreen.data.size import choose_engine
from evergreen.data.source_config import ParquetSource
from evergreen.data.sources import describe_source, read_source
from evergreen.data.splits import Split, SplitRows, split_rows
from evergreen.reporting.data_report import Portrait, draw_portrait
from evergreen.reporting.facts import DataFacts
from evergreen.training.bounds import REPORT_ROWS, some_rows
from steps.alerting import tell
from steps.announcements import announce
from steps.caching import CACHED
from steps.materializers import DatasetMaterializer
from steps.workspace import keep_reports, report_folder, scratch_file

logger = get_logger(__name__)


@step(
    enable_cache=False,
    enable_artifact_visualization=False,
    output_materializers={"raw_table": DatasetMaterializer},
)
def load_table(
    data: DataConfig, engine: EngineChoice, dask: DaskConfig
) -> Annotated[Dataset, "raw_table"]:
    """Read the source anew in every run; what follows is cached by the table's fingerprint."""
    chosen = choose_engine(engine, data.source)
    if chosen.name == "dask":
        require_cluster(dask)
    if not chosen.exceeds_memory:
        keep_freed_memory()
    path = scratch_file("raw.parquet")
    stays = f" to disk, piece by piece: {chosen.reason}" if chosen.external else ""
    announce(f"Load {describe_source(data.source)}{stays}")
    logger.info("The engine is %s: %s", chosen.name, chosen.reason)
    quick = isinstance(data.source, ParquetSource)  # to read in pieces, too
    if chosen.name == "dask":
        dataset = ingest_on_dask(data.source, path, chosen, dask)
    elif chosen.external or quick:
        dataset = ingest(data.source, path, chosen)
    else:
        frame = read_source(data.source)
        dataset = Dataset.write(frame, path, describe_source(data.source), chosen)
    log_metadata(
        {
            "rows": dataset.rows,
            "fingerprint": dataset.fingerprint,
            "source": dataset.source,
            "engine": chosen.name,
            "engine_reason": chosen.reason,
        }
    )
    return dataset


@step(cache_policy=CACHED)
def define_contract(raw_table: Dataset, use_case: UseCase) -> Annotated[Contract, "contract"]:
    """Infer what the use case does not say about the columns."""
    announce("Settle the data contract")
    return infer_contract_by_columns(raw_table, use_case)


@step(cache_policy=CACHED)
def check_quality(
    raw_table: Dataset, contract: Contract, use_case: UseCase, today: str | None
) -> tuple[Annotated[QualityReport, "table_quality"], Annotated[HTMLString, "data_report"]]:
    """Check the table as it was read, and draw its portrait.

    ``today`` is given where the table can expire: an answer of yesterday is no answer then.
    """
    announce("Check the data")
    if raw_table.engine.external:
        dask, sample = use_case.training.dask, some_rows(raw_table, REPORT_ROWS, seed=0)
        with ThreadPoolExecutor(1) as pool, passes_of(raw_table, dask) as way:
            portrait = pool.submit(sample_portrait, sample, contract)
            if raw_table.engine.exceeds_memory:
                portrait.result()  # one after the other takes less memory
            quality = check_table_by_columns(raw_table, contract, use_case, None, way, sample)
        return quality, HTMLString(portrait.result().page(quality, raw_table.rows))
    table = whole_table(raw_table.read(), contract, use_case)
    found = {column.name: table.statistics(column) for column in table.columns()}
    with ThreadPoolExecutor(1) as pool:  # drawing needs Python's lock, hashing and sorting do not
        portrait = pool.submit(draw_portrait, table.conformed, contract, found)
        quality = check(table)
    return quality, HTMLString(portrait.result().page(quality))


def sample_portrait(sample: pd.DataFrame, contract: Contract) -> Portrait:
    """Draw some rows of a raw table that stays on disk."""
    return draw_portrait(conform(sample, contract).reset_index(drop=True), contract)


@step(
    cache_policy=CACHED,
    enable_artifact_visualization=False,
    output_materializers={
        "training_rows": DatasetMaterializer,
        "holdout_rows": DatasetMaterializer,
    },
)
def split_table(
    raw_table: Dataset,
    contract: Contract,
    table_quality: QualityReport,
    table_report: HTMLString,
    use_case: UseCase,
) -> tuple[
    Annotated[Dataset, "training_rows"],
    Annotated[Dataset, "holdout_rows"],
    Annotated[DataFacts, "data_facts"],
]:
    """Set the holdout aside; it is opened once, by the final evaluation.

    The run ends here where a quality check says no.
    """
    require_quality(table_quality, table_report, use_case)
    announce("Set the holdout aside")
    split = partial(split_rows, contract=contract, config=use_case.split)
    # ZenML counts outputs by the return statement: a tuple must stand there.
    training_rows, holdout_rows, facts = divide(split, raw_table, contract, table_quality, use_case)
    return training_rows, holdout_rows, facts


def divide(
    split_of: Callable[[SplitRows], Split],
    raw_table: Dataset,
    contract: Contract,
    table_quality: QualityReport,
    use_case: UseCase,
) -> tuple[Dataset, Dataset, DataFacts]:
    """Split the rows that have a target; raise `RefusedError` where both sides share rows."""
    with passes_of(raw_table, use_case.training.dask) as way:
        rows = rows_to_split(raw_table, contract, way)
        split = split_of(rows)
        checked = check_split(rows, split, contract, use_case)
    quality = merge(table_quality, checked)
    if quality.errors:
        sample = some_rows(raw_table, REPORT_ROWS, seed=0)
        page = sample_portrait(sample, contract).page(quality, raw_table.rows)
        require_quality(quality, page, use_case)
    training, holdout = split.train, split.holdout
    if len(rows.frame) < raw_table.rows:
        places = rows.frame.index.to_numpy()
        training, holdout = places[training], places[holdout]
    del rows  # with the hashes of all rows
    training_rows, holdout_rows = write_sides(
        raw_table,
        contract,
        training,
        holdout,
        (scratch_file("training.parquet"), scratch_file("holdout.parquet")),
    )
    facts = data_facts(raw_table, training_rows, holdout_rows, split, contract, quality)
    return training_rows, holdout_rows, facts


def data_facts(
    raw_table: Dataset,
    training_rows: Dataset,
    holdout_rows: Dataset,
    split: Split,
    contract: Contract,
    quality: QualityReport,
) -> DataFacts:
    """Gather what the later steps and the reports say of the table."""
    return DataFacts(
        source=raw_table.source,
        fingerprint=raw_table.fingerprint,
        rows=raw_table.rows,
        train_rows=training_rows.rows,
        holdout_rows=holdout_rows.rows,
        split_method=split.method,
        split_boundary=split.boundary,
        contract=contract,
        quality=quality,
        engine=raw_table.engine,
    )


def require_quality(quality: QualityReport, page: str, use_case: UseCase) -> None:
    """Raise `RefusedError` where a check says no, after writing the report that its text names."""
    if quality.errors:
        path = report_folder(use_case.name) / "data.html"
        path.write_text(page, encoding="utf-8")
        keep_reports(path.parent)
        tell(quality_alert(quality, use_case.name), use_case)
        quality.require(str(path))


def quality_alert(quality: QualityReport, use_case: str) -> Alert:
    """Return the alert on what a table fails; other checks, or other columns, are other news."""
    failed = sorted({" ".join((each.check, *each.columns)) for each in quality.errors})
    number = len(quality.errors)
    return Alert.of(
        "data_quality_failed",
        use_case,
        f"The table fails {number} quality check{'s' if number > 1 else ''}",
        "\n".join(each.message for each in quality.errors),
        key=f"data_quality_failed {', '.join(failed)}",
    )
