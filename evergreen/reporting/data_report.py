"""The data report: what is in a table, what is wrong with it, what goes with the target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from evergreen.data.contract import Column, Contract
from evergreen.data.dataset import draw_evenly
from evergreen.data.quality_report import QualityReport
from evergreen.data.statistics import (
    ColumnStatistics,
    as_numbers,
    as_plain_numbers,
    is_numeric,
    table_statistics,
)
from evergreen.reporting.associations import (
    SPEARMAN,
    Association,
    cramers_matrix,
    spearman_matrix,
    target_associations,
)
from evergreen.reporting.column_summary import ColumnSummary, summarize_column
from evergreen.reporting.figures.canvas import drawing_style
from evergreen.reporting.figures.distributions import (
    draw_distribution,
    draw_relation,
    main_classes,
)
from evergreen.reporting.figures.table import (
    draw_associations,
    draw_correlations,
    draw_missing,
    draw_target,
)
from evergreen.reporting.numbers import plural
from evergreen.reporting.pages import html_page
from evergreen.reporting.sparks import bars
from evergreen.reporting.style import Drawing
from evergreen.reporting.wording import severities

MAX_DRAWN_ROWS = 20_000
MAX_LISTED_COLUMNS = 150
MAX_DRAWN_COLUMNS = 24
MAX_CORRELATED = 25
MAX_FINDINGS = 200


@dataclass(frozen=True)
class _Drawings:
    target: Drawing | None
    missing: Drawing | None
    associations: Drawing | None
    correlations: list[Drawing]
    distributions: list[Drawing]
    relations: list[Drawing]


@dataclass(frozen=True)
class Portrait:
    """The report on a table, but for what the checks have found: see `draw_portrait`."""

    contract: Contract
    summaries: Sequence[ColumnSummary]
    associations: Sequence[Association]
    classes: Sequence[str]
    chosen: Sequence[Column]
    drawings: _Drawings
    rows: int
    rows_drawn: int

    def page(self, quality: QualityReport, rows: int | None = None) -> str:
        """Return the report as one self-contained HTML page.

        ``rows`` is the number of rows of the table, where these are some of them, drawn evenly.
        """
        contract, summaries = self.contract, self.summaries
        measures = {each.column: each for each in self.associations}
        return html_page(
            "data.html.j2",
            contract=contract,
            quality=quality,
            headline=_headline(quality),
            summary=_summary(quality, contract),
            findings=quality.findings[:MAX_FINDINGS],
            rows=[
                (
                    each,
                    bars(() if each.column.type == "identifier" else each.counts),
                    measures.get(each.column.name),
                )
                for each in summaries[:MAX_LISTED_COLUMNS]
            ],
            hidden_columns=max(len(summaries) - MAX_LISTED_COLUMNS, 0),
            drawings=self.drawings,
            classes=self.classes,
            hidden_classes=max(len(contract.labels or ()) - len(self.classes), 0),
            chosen=len(self.chosen),
            features=len(contract.features),
            correlated=MAX_CORRELATED,
            rows_all=self.rows,
            rows_of_table=self.rows if rows is None else rows,
            rows_drawn=self.rows_drawn,
        )


def data_report(
    frame: pd.DataFrame, contract: Contract, quality: QualityReport, rows: int | None = None
) -> str:
    """Return the report on a conformed table as one self-contained HTML page.

    ``rows`` is the number of rows of the table, where the frame holds some of them, drawn evenly.
    """
    return draw_portrait(frame, contract).page(quality, rows)


def draw_portrait(
    frame: pd.DataFrame,
    contract: Contract,
    statistics: Mapping[str, ColumnStatistics] | None = None,
) -> Portrait:
    """Draw a conformed table.

    Counts, ranges and missing values come from all rows; drawings and associations from at most
    ``MAX_DRAWN_ROWS`` of them. Wide tables are cut, and the page says so. ``statistics`` are those
    of the frame's columns, where they are known.
    """
    known = [column for column in contract.columns if column.name in frame.columns]
    if statistics is None:
        statistics = table_statistics(frame, known)
    summaries = [summarize_column(statistics[column.name], column) for column in known]
    sample = _sample(frame)
    associations = target_associations(sample, contract)
    chosen = _drawn_columns(contract, associations)
    classes = main_classes(sample[contract.target]) if contract.task == "classification" else ()
    with drawing_style():
        target = draw_target(statistics[contract.target], contract)
        drawings = _draw(target, sample, contract, summaries, associations, chosen, classes)
    return Portrait(
        contract, summaries, associations, classes, chosen, drawings, len(frame), len(sample)
    )


def _sample(frame: pd.DataFrame) -> pd.DataFrame:
    """Return at most ``MAX_DRAWN_ROWS`` rows, drawn evenly."""
    if len(frame) > MAX_DRAWN_ROWS:
        drawn = draw_evenly(len(frame), MAX_DRAWN_ROWS, np.random.default_rng(0))
        frame = frame.iloc[np.flatnonzero(drawn)]
    return frame.reset_index(drop=True)


def _headline(quality: QualityReport) -> tuple[str, str]:
    """Return the tone and the sentence on top."""
    errors = len(quality.errors)
    warnings = sum(finding.severity == "warning" for finding in quality.findings)
    if errors:
        verb = "stops" if errors == 1 else "stop"
        return "bad", f"{plural(errors, 'error')} in the table {verb} the run."
    if warnings:
        return "wait", f"The table can be used; {plural(warnings, 'warning')} to look at."
    return "good", f"The table passes all {plural(len(quality.checks), 'check')}."


def _summary(quality: QualityReport, contract: Contract) -> str:
    return (
        f"{plural(quality.rows, 'row')}, {plural(quality.columns, 'column')}, "
        f"{plural(len(contract.features), 'input')} to predict {contract.target}; "
        f"{plural(len(quality.checks), 'check')}: {severities(quality.findings)}."
    )


def _drawn_columns(contract: Contract, associations: Sequence[Association]) -> list[Column]:
    """Return the features that are drawn: those that go most with the target."""
    return [contract.column(each.column) for each in associations[:MAX_DRAWN_COLUMNS]]


def _draw(
    drawn_target: Drawing | None,
    sample: pd.DataFrame,
    contract: Contract,
    summaries: Sequence[ColumnSummary],
    associations: Sequence[Association],
    chosen: Sequence[Column],
    classes: Sequence[str],
) -> _Drawings:
    target = sample[contract.target]
    regression = contract.task == "regression"
    numbers = as_plain_numbers(target) if regression else None
    distributions = [
        draw_distribution(
            sample[column.name], column, None if regression else target, classes, f"column-{n}"
        )
        for n, column in enumerate(chosen)
    ]
    relations = [
        draw_relation(sample[column.name], column, numbers, f"relation-{n}")
        for n, column in enumerate(chosen if numbers is not None else ())
        if numbers is not None
    ]
    return _Drawings(
        target=drawn_target,
        missing=draw_missing([(each.column.name, each.missing_share or 0.0) for each in summaries]),
        associations=draw_associations(associations, contract.target),
        correlations=_correlations(sample, contract, associations),
        distributions=[each for each in distributions if each is not None],
        relations=[each for each in relations if each is not None],
    )


def _correlations(
    sample: pd.DataFrame, contract: Contract, associations: Sequence[Association]
) -> list[Drawing]:
    order = [contract.column(each.column) for each in associations]
    numeric = [column for column in order if is_numeric(column)][:MAX_CORRELATED]
    levels = [column.name for column in order if not is_numeric(column)][:MAX_CORRELATED]
    values = pd.DataFrame(
        {n: as_numbers(sample[column.name], column) for n, column in enumerate(numeric)}
    )
    drawn = [
        draw_correlations(
            spearman_matrix(values), [each.name for each in numeric], "correlations", SPEARMAN
        ),
        draw_correlations(
            cramers_matrix(sample, levels), levels, "category-associations", "Cramér’s V"
        ),
    ]
    return [each for each in drawn if each is not None]
