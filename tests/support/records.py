"""What a home's databases hold, read without the libraries that write them."""

from __future__ import annotations

import base64
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.support.command_line import Home


def step_statuses(home: Home, run: str) -> dict[str, str]:
    """Return the steps of a ZenML run with their status, such as ``cached``."""
    query = (
        "SELECT step_run.name, step_run.status FROM step_run "
        "JOIN pipeline_run ON pipeline_run.id = step_run.pipeline_run_id "
        "WHERE pipeline_run.name = ?"
    )
    return dict(_rows(_zenml(home), query, run))


def run_statuses(home: Home) -> list[str]:
    """Return the status of every ZenML run, the oldest first."""
    query = "SELECT status FROM pipeline_run ORDER BY created"
    return [status for (status,) in _rows(_zenml(home), query)]


def active_stack(home: Home) -> str:
    """Return the name of the stack that ZenML's configuration says is active."""
    config = (home.folder / "zenml" / "config.yaml").read_text(encoding="utf-8")
    lines = dict(line.split(": ", 1) for line in config.splitlines() if ": " in line)
    number = lines["active_stack_id"].replace("-", "")
    ((name,),) = _rows(_zenml(home), "SELECT name FROM stack WHERE id = ?", number)
    return str(name)


def stacks(home: Home) -> set[str]:
    """Return the names of the stacks that ZenML knows."""
    return {name for (name,) in _rows(_zenml(home), "SELECT name FROM stack")}


def components(home: Home, stack: str) -> dict[str, dict[str, Any]]:
    """Return the configuration of each component of a stack, by its kind."""
    query = (
        "SELECT stack_component.type, stack_component.configuration FROM stack_component "
        "JOIN stack_composition ON stack_composition.component_id = stack_component.id "
        "JOIN stack ON stack.id = stack_composition.stack_id WHERE stack.name = ?"
    )
    found = _rows(_zenml(home), query, stack)
    return {kind: json.loads(base64.b64decode(config)) for kind, config in found}


def versions(home: Home, name: str) -> list[str]:
    """Return the numbers of a model's registered versions, the oldest first."""
    query = (
        "SELECT version FROM model_versions WHERE name = ? "
        "AND current_stage != 'Deleted_Internal' ORDER BY version"
    )
    return [str(number) for (number,) in _rows(_mlflow(home), query, name)]


def aliases(home: Home, name: str) -> dict[str, str]:
    """Return a registered model's aliases."""
    query = "SELECT alias, version FROM registered_model_aliases WHERE name = ?"
    return {alias: str(number) for alias, number in _rows(_mlflow(home), query, name)}


def logged_models(home: Home) -> list[str]:
    """Return the status of every model that MLflow keeps the files of: 2 is ready."""
    query = "SELECT status FROM logged_models WHERE lifecycle_stage = 'active'"
    return [str(status) for (status,) in _rows(_mlflow(home), query)]


def mlflow_runs(home: Home) -> list[str]:
    """Return the status of every MLflow run."""
    return [status for (status,) in _rows(_mlflow(home), "SELECT status FROM runs")]


def decisions(home: Home, name: str) -> list[tuple[str, str | None]]:
    """Return the promotion log: (action, version), the oldest first."""
    query = "SELECT action, to_version FROM promotion_log WHERE use_case = ? ORDER BY id"
    return _rows(home.state / "evergreen.db", query, name)


def _zenml(home: Home) -> Path:
    return home.folder / "zenml" / "local_stores" / "default_zen_store" / "zenml.db"


def _mlflow(home: Home) -> Path:
    return home.state / "mlflow" / "mlflow.db"


def _rows(database: Path, query: str, *values: str) -> list[Any]:
    with _connected(database) as connection:
        return connection.execute(query, values).fetchall()


@contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=20)) as connection:
        yield connection
