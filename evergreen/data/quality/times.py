"""What timestamps show: a table that is too old, dates that a model could not know."""

from __future__ import annotations

from datetime import UTC, timedelta

import numpy as np
import pandas as pd

from evergreen.data.quality.observation import (
    Observation,
    Observations,
    SplitTable,
    Table,
    counted,
    first_rows,
    percent,
    these_rows,
)

CLOCK_TOLERANCE = timedelta(days=1)  # time zones that were never written down


def freshness(table: Table, limit: float) -> Observations:
    """Find a newest timestamp older than ``data.expires_after``, in the future, or unreadable."""
    oldest_allowed = table.use_case.data.expires_after
    name = table.use_case.data.timestamp
    if oldest_allowed is None or name is None:
        return
    newest = table.conformed[name].max()
    if pd.isna(newest):
        yield Observation(
            f"No timestamp in {name!r} can be read, so the table's age is unknown. Write dates as "
            "ISO 8601 (2024-01-31), or check data.timestamp.",
            columns=(name,),
            count=len(table.raw),
        )
        return
    moment = newest.to_pydatetime().replace(tzinfo=UTC)
    age = table.now - moment
    if age > oldest_allowed:
        yield Observation(
            f"The newest timestamp in {name!r} is {moment:%Y-%m-%d %H:%M} UTC, {_span(age)} ago; "
            f"data.expires_after allows {_span(oldest_allowed)}. Refresh the source, or raise "
            "data.expires_after.",
            columns=(name,),
        )
    elif age < -CLOCK_TOLERANCE:
        yield Observation(
            f"The newest timestamp in {name!r} is {moment:%Y-%m-%d %H:%M} UTC, {_span(-age)} in "
            "the future, so the table's age is unknown. Mend the source.",
            columns=(name,),
        )


def dates_after_their_row(table: Table, limit: float) -> Observations:
    """Find date features that lie after the moment their row was observed."""
    name = table.use_case.data.timestamp
    if name is None:
        return
    observed = table.conformed[name]
    for column in table.columns("feature"):
        if column.type != "timestamp":
            continue
        later = (table.conformed[column.name] > observed).to_numpy()
        count = int(later.sum())
        if count:
            rows = first_rows(later)
            share = count / len(later)
            yield Observation(
                f"Column {column.name!r} is later than {name!r} in {counted(count, 'row')} "
                f"({percent(share)}; {these_rows(rows, count)}). If it is known only afterwards, "
                "it leaks the future: list it under data.ignore.",
                columns=(column.name, name),
                count=count,
                share=share,
                rows=rows,
                worst="warning",  # a planned date may well lie ahead
            )


def training_rows_after_split(table: SplitTable, limit: float) -> Observations:
    """Find training rows that are not older than the boundary of a split by time."""
    if table.split.boundary is None:
        return
    name = next(column.name for column in table.contract.columns if column.role == "timestamp")
    moments = table.frame[name].to_numpy(dtype="datetime64[us]")[table.split.train]
    boundary = np.datetime64(table.split.boundary)
    late = ~(moments < boundary)  # a moment that is missing is not older either
    count = int(late.sum())
    if count:
        rows = table.name_rows(table.split.train[np.flatnonzero(late)[:5]])
        yield Observation(
            f"{counted(count, 'training row')} ({these_rows(rows, count)}) "
            f"{'is' if count == 1 else 'are'} not older than the split at {table.split.boundary} "
            f"in {name!r}: the model would know the future. Split anew, by time.",
            columns=(name,),
            count=count,
            share=count / len(moments),
            rows=rows,
        )


def _span(span: timedelta) -> str:
    if span >= timedelta(days=2):
        return counted(span.days, "day")
    if span >= timedelta(hours=2):
        return counted(int(span.total_seconds() // 3600), "hour")
    return counted(int(span.total_seconds() // 60), "minute")
