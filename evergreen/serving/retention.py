"""Retention: the prediction log forgets rows after the time that the use case names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa

from evergreen.serving.log_tables import FEEDBACK, PREDICTIONS, moment

BATCH: Final = 2000  # rows per transaction, so that writers wait for milliseconds only

logger = logging.getLogger(__name__)


def delete_older(
    engine: sa.Engine, model: str, before: float, stopping: threading.Event | None = None
) -> int:
    """Delete a model's predictions and feedback from before a time; return how many rows.

    ``before`` is in Unix seconds. It goes in small transactions, and ends early when ``stopping``
    is set. Other models' rows stay.
    """
    deleted = 0
    for table in (PREDICTIONS, FEEDBACK):
        key: sa.ColumnElement[Any] = sa.literal_column(
            "ctid" if engine.dialect.name == "postgresql" else "rowid"
        )
        old = (
            sa.select(key)
            .select_from(table)
            .where(table.c.model == model, table.c.time < moment(before, engine))
            .limit(BATCH)
        )
        # PostgreSQL finds rows by ctid only where the list comes as an array.
        found = (
            key.in_(old)
            if engine.dialect.name == "sqlite"
            else key == sa.func.any(sa.func.array(old.scalar_subquery()))
        )
        statement = sa.delete(table).where(found)
        count = BATCH
        while count == BATCH and not (stopping is not None and stopping.is_set()):
            with engine.begin() as connection:
                count = connection.execute(statement).rowcount
            deleted += count
    if deleted:
        logger.info("Deleted %d row(s) of %r that the log keeps no longer", deleted, model)
    return deleted


def delete_old_files(paths: Iterable[Path], before: float) -> int:
    """Delete files last written before a time (Unix seconds); return how many."""
    deleted = 0
    for path in paths:
        try:
            if path.stat().st_mtime < before:
                path.unlink()
                deleted += 1
        except FileNotFoundError:
            continue  # another process deleted it
    return deleted
