"""Servers that integration tests share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.postgres import Postgres, running_postgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a private PostgreSQL server."""
    with (
        tempfile.TemporaryDirectory(prefix="evergreen-postgres-") as folder,
        running_postgres(Path(folder)) as server,
    ):
        yield server
