"""What the values themselves show: too few rows, holes, infinities, copies, outliers."""

from __future__ import annotations

from evergreen.data.hashes import count_distinct, first_repeats
from evergreen.data.quality.observation import (
    FIRST_ROWS,
    Observation,
    Observations,
    Table,
    counted,
    first_rows,
    percent,
    quoted,
    these_rows,
)


def minimum_rows(table: Table, limit: float) -> Observations:
    """Find a table with fewer rows than the limit."""
    rows = len(table.raw)
    if rows < limit:
        yield Observation(
            f"The table has only {counted(rows, 'row')}; at least {limit:g} are needed to train "
            "and judge a model. Get more data, or lower quality.minimum_rows.limit.",
            count=rows,
        )


def infinities(table: Table, limit: float) -> Observations:
    """Find columns with infinite numbers."""
    for column in table.columns("feature", "target"):
        count = table.infinite(column)
        if count:
            rows = first_rows(table.infinite_in(column))
            yield Observation(
                f"Column {column.name!r} holds {counted(count, 'infinite number')} "
                f"({these_rows(rows, count)}), mostly left by a division by zero. Mend the "
                "source; with quality.infinities: warning they count as missing.",
                columns=(column.name,),
                count=count,
                share=count / len(table.raw),
                rows=rows,
            )


def empty_columns(table: Table, limit: float) -> Observations:
    """Find columns without any value, unless the use case ignores them."""
    names = [
        column.name
        for column in table.columns()
        if table.missing(column) == len(table.raw) and column.name not in table.use_case.data.ignore
    ]
    if names:
        one = len(names) == 1
        yield Observation(
            f"{'Column' if one else 'Columns'} {quoted(names)} {'holds' if one else 'hold'} no "
            "value at all. Mend the source, or list the name under data.ignore.",
            columns=tuple(names),
            count=len(names),
        )


def missing(table: Table, limit: float) -> Observations:
    """Find columns (other than the target) with a greater share of missing values than allowed."""
    for column in table.columns("feature", "timestamp", "group"):
        count = table.missing(column)
        share = count / len(table.raw) if count else 0.0
        if limit < share < 1:
            yield Observation(
                f"Column {column.name!r} misses {counted(count, 'value')} "
                f"({percent(share)}, more than {percent(limit)}). Mend the source, list it under "
                "data.ignore, or raise quality.missing.limit.",
                columns=(column.name,),
                count=count,
                share=share,
                rows=first_rows(table.missing_in(column)),
            )


def constant_columns(table: Table, limit: float) -> Observations:
    """Find features that have the same value in every row (of at least two)."""
    if len(table.raw) < 2:
        return
    names = [
        column.name for column in table.columns("feature") if table.statistics(column).constant
    ]
    if names:
        one = len(names) == 1
        yield Observation(
            f"{'Column' if one else 'Columns'} {quoted(names)} "
            f"{'has' if one else 'have'} the same value in every row, so no model can learn from "
            f"{'it' if one else 'them'}. List {'it' if one else 'them'} under data.ignore.",
            columns=tuple(names),
            count=len(names),
        )


def duplicates(table: Table, limit: float) -> Observations:
    """Find a greater share of fully repeated rows than allowed."""
    hashes = table.row_hashes
    count = len(hashes) - count_distinct(hashes)
    share = count / len(hashes) if len(hashes) else 0.0
    if share > limit:
        rows = tuple(first_repeats(hashes, FIRST_ROWS).tolist())
        yield Observation(
            f"{counted(count, 'row')} ({percent(share)}, more than {percent(limit)}) "
            f"{'repeats' if count == 1 else 'repeat'} an earlier row in every column "
            f"({these_rows(rows, count)}). Remove copies, or raise quality.duplicates.limit where "
            "they are observations of their own.",
            count=count,
            share=share,
            rows=rows,
        )


def outliers(table: Table, limit: float) -> Observations:
    """Find features with a greater share of values beyond Tukey's far fences than allowed.

    A column whose middle half is one value has no fences.
    """
    for column in table.columns("feature"):
        if column.type not in {"number", "integer"}:
            continue
        spread = table.statistics(column).spread
        if spread is None or spread.fences is None:
            continue
        (low, high), count = spread.fences, spread.far
        share = count / spread.present
        if share > limit:
            values = table.conformed[column.name].to_numpy(dtype="float64")
            yield Observation(
                f"Column {column.name!r} has {counted(count, 'value')} ({percent(share)}) below "
                f"{low:.4g} or above {high:.4g}, far from the rest. Check its "
                "unit, or state its range under contract.",
                columns=(column.name,),
                count=count,
                share=share,
                rows=first_rows((values < low) | (values > high)),
            )
