"""Run the checks that a use case asks for, and gather what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal, TypeVar

import pandas as pd

from evergreen.config import QualityConfig, UseCase
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.data.hashes import conformed_hashes
from evergreen.data.passes import Passes, over_all_rows
from evergreen.data.quality import leakage, promises, sharing, target, times, values
from evergreen.data.quality.observation import Observation, Observations, SplitTable, Table
from evergreen.data.quality_report import Finding, QualityReport
from evergreen.data.splits import Split, SplitRows
from evergreen.data.validation import Promise

T = TypeVar("T")
TableCheck = Callable[[Table, float], Observations]
SplitCheck = Callable[[SplitTable, float], Observations]
_Look = tuple[Set[str], Sequence[str | None]]  # checks, and the columns that they look at

_PROMISES: tuple[Promise, ...] = ("types", "ranges", "categories", "nulls")
TABLE_CHECKS: Mapping[str, TableCheck] = {
    "minimum_rows": values.minimum_rows,
    "infinities": values.infinities,
    "empty_columns": values.empty_columns,
    "missing": values.missing,
    "constant_columns": values.constant_columns,
    "duplicates": values.duplicates,
    "outliers": values.outliers,
    "freshness": times.freshness,
    "target_missing": target.target_missing,
    "target_constant": target.target_constant,
    "class_rows": target.class_rows,
    "class_balance": target.class_balance,
    "leakage": leakage.leakage,
    "identifiers": leakage.identifiers,
    "future_rows": times.dates_after_their_row,
}
SPLIT_CHECKS: Mapping[str, SplitCheck] = {
    "shared_rows": sharing.shared_rows,
    "future_rows": times.training_rows_after_split,
}
_OF_THE_TARGET = frozenset(  # or of the number of rows, or of their moments
    {"minimum_rows", "freshness"}
    | {"target_missing", "target_constant", "class_rows", "class_balance"}
)
_OF_A_COLUMN = frozenset(
    {*_PROMISES, "infinities", "empty_columns", "missing", "constant_columns", "outliers"}
    | {"identifiers"}
)
LEAKAGE_ROWS = 200_000  # of which it looks at 20,000, of each class in turn
_ORDER = {"error": 0, "warning": 1, "info": 2}


def check_table(
    frame: pd.DataFrame, contract: Contract, use_case: UseCase, now: datetime | None = None
) -> QualityReport:
    """Check a table as it was read, before any cast and before any row is left out.

    Parameters
    ----------
    frame
        The raw table; findings name rows by their position in it.
    now
        What the table's age is measured against, with a time zone. Default: the present.

    Raises
    ------
    InputError
        If a feature column is absent.
    """
    return check(whole_table(frame, contract, use_case, now))


def whole_table(
    frame: pd.DataFrame, contract: Contract, use_case: UseCase, now: datetime | None = None
) -> Table:
    """Return a table as `check` takes it, all of whose columns have been looked at."""
    raw = frame.reset_index(drop=True)
    table = Table(raw, contract, use_case, now or datetime.now(UTC))
    table.look_at_all()
    return table


def check(table: Table) -> QualityReport:
    """Check a whole table as `check_table` does, which may have been looked at already."""
    use_case = table.use_case
    findings: list[Finding] = []
    ran: list[str] = []
    wanted = [name for name in _PROMISES if getattr(use_case.quality, name).severity != "off"]
    if wanted:
        broken = promises.broken_promises(table)
        for name in wanted:
            findings += _findings(name, broken.get(name, ()), use_case)
        ran += wanted
    found, names = _run(TABLE_CHECKS, table, use_case)
    return _report(len(table.raw), len(table.raw.columns), [*ran, *names], findings + found)


def check_table_by_columns(
    dataset: Dataset,
    contract: Contract,
    use_case: UseCase,
    now: datetime | None = None,
    way: Passes | None = None,
    sample: pd.DataFrame | None = None,
) -> QualityReport:
    """Check what `check_table` checks, with a column or two in memory at a time.

    What it finds is the same but for two things: columns that are empty or constant are named one
    by one, and leakage is looked for on a ``sample``: by default ``LEAKAGE_ROWS`` rows drawn
    evenly. ``way`` is who looks.

    Raises
    ------
    InputError
        If a feature column is absent.
    """
    now, way = now or datetime.now(UTC), way or Passes()
    wanted = {name for name in (*_PROMISES, *TABLE_CHECKS) if _asked_for(name, use_case)}
    when = use_case.data.timestamp
    looks: list[_Look] = [(wanted & _OF_THE_TARGET, [contract.target, when])]
    for column in contract.columns:
        if column.name in dataset.columns:
            looks.append((wanted & _OF_A_COLUMN, [column.name]))
        if column.type == "timestamp" and column.role == "feature" and when is not None:
            looks.append((wanted & {"future_rows"}, [column.name, when]))
    look = partial(_found_by, contract, use_case, now)
    findings = [found for each in way.each(look, dataset, looks) for found in each]
    if "duplicates" in wanted:
        hashes = over_all_rows(way, partial(conformed_hashes, contract=contract), dataset)
        target: _Look = ({"duplicates"}, [contract.target])
        findings += look(dataset, target, hashes=hashes)
        del hashes
    if "leakage" in wanted:
        if sample is None:
            sample = dataset.read_some(LEAKAGE_ROWS)
        table = Table(sample.reset_index(drop=True), contract, use_case, now)
        findings += _run({"leakage": TABLE_CHECKS["leakage"]}, table, use_case)[0]
    ran = [name for name in (*_PROMISES, *TABLE_CHECKS) if name in wanted]
    return _report(dataset.rows, len(dataset.columns), ran, findings)


def _found_by(
    contract: Contract, use_case: UseCase, now: datetime, dataset: Dataset, look: _Look, **more: Any
) -> list[Finding]:
    """Return what some checks find in some columns."""
    checks, names = look
    part = _part(contract, names)
    raw = dataset.read([column.name for column in part.columns])
    table = Table(raw, part, use_case, now, **more)
    promised = [name for name in _PROMISES if name in checks]
    broken = promises.broken_promises(table) if promised else {}
    findings: list[Finding] = []
    for name in promised:
        findings += _findings(name, broken.get(name, ()), use_case)
    asked = {name: check for name, check in TABLE_CHECKS.items() if name in checks}
    return findings + _run(asked, table, use_case)[0]


def _part(contract: Contract, names: Iterable[str | None]) -> Contract:
    """Return the contract of some columns alone."""
    wanted = set(names)
    kept = tuple(column for column in contract.columns if column.name in wanted)
    return contract.model_copy(update={"columns": kept})


def _asked_for(check: str, use_case: UseCase) -> bool:
    return bool(getattr(use_case.quality, check).severity != "off")


def check_split(
    rows: SplitRows, split: Split, contract: Contract, use_case: UseCase
) -> QualityReport:
    """Check that the holdout of a split is untouched by the training rows.

    Parameters
    ----------
    rows
        The rows that ``split`` holds positions of. Findings name rows by the index of their frame
        where that is of integers, as `conform` keeps it, else by position.
    """
    table = SplitTable(rows, split, contract)
    frame = rows.frame
    findings, ran = _run(SPLIT_CHECKS, table, use_case)
    return _report(len(frame), len(frame.columns), ran, findings)


def merge(*reports: QualityReport) -> QualityReport:
    """Return all findings of several reports on one table; the first one tells its size."""
    ran = [name for report in reports for name in report.checks]
    findings = [finding for report in reports for finding in report.findings]
    return _report(reports[0].rows, reports[0].columns, ran, findings)


def _run(
    checks: Mapping[str, Callable[[T, float], Observations]], table: T, use_case: UseCase
) -> tuple[list[Finding], list[str]]:
    findings: list[Finding] = []
    ran = []
    for name, check in checks.items():
        settings = getattr(use_case.quality, name)
        if settings.severity == "off":
            continue
        default = QualityConfig.model_fields[name].default.limit
        limit = settings.limit if settings.limit is not None else default or 0.0
        findings += _findings(name, check(table, limit), use_case)
        ran.append(name)
    return findings, ran


def _findings(name: str, observations: Iterable[Observation], use_case: UseCase) -> list[Finding]:
    severity: Literal["info", "warning", "error"] = getattr(use_case.quality, name).severity
    return [
        Finding(
            check=name,
            severity=max(severity, seen.worst, key=lambda level: _ORDER[level]),
            message=seen.message,
            columns=seen.columns,
            count=seen.count,
            share=seen.share,
            rows=seen.rows,
        )
        for seen in observations
    ]


def _report(
    rows: int, columns: int, ran: Iterable[str], findings: Iterable[Finding]
) -> QualityReport:
    return QualityReport(
        rows=rows,
        columns=columns,
        checks=tuple(dict.fromkeys(ran)),
        findings=tuple(sorted(findings, key=lambda finding: _ORDER[finding.severity])),
    )
