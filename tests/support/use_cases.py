"""Use cases in few words, for tests of the data stage."""

from __future__ import annotations

from typing import Any

from evergreen.config import UseCase


def use_case(task: str = "classification", target: str = "y", **parts: Any) -> UseCase:
    """A use case on a table that is passed by hand; ``data`` adds to the columns with a role."""
    data = {"source": "table.csv", "target": target, **parts.pop("data", {})}
    return UseCase.model_validate({"name": "shop", "task": task, "data": data, **parts})
