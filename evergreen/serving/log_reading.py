"""A connection for reading the prediction log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from evergreen.errors import UnreachableError
from evergreen.serving.log_tables import PREDICTIONS


@contextmanager
def reading(engine: sa.Engine, address: str) -> Iterator[sa.Connection | None]:
    """Yield a connection, or None where nothing was ever logged.

    ``address`` is what messages call the log, without a password.

    Raises
    ------
    UnreachableError
        If the database cannot be read.
    """
    try:
        url = engine.url
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
            yield None
            return
        with engine.execution_options(reading=True).connect() as connection:
            known = sa.inspect(connection).has_table(PREDICTIONS.name)
            yield connection if known else None
    except (DBAPIError, OSError) as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise UnreachableError(
            f"The prediction log at {address} cannot be read: {reason}"
        ) from error
