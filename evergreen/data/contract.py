"""The data contract: what every column of a table promises.

It validates training data, types the API's requests and tells the monitor what to compare.
This module stays free of pandas and Pandera, so that serving can read a contract quickly;
`evergreen.data.infer` makes contracts from tables, `evergreen.data.validation` checks tables.
"""

from __future__ import annotations

from typing import Literal

from evergreen.config import ColumnType, Label, Task
from evergreen.values import Value

Role = Literal["feature", "target", "timestamp", "group", "ignored"]


class Column(Value):
    """One column's promise.

    ``minimum``/``maximum`` and ``categories`` bind only where ``declared`` names them (they were
    written in the use case); otherwise they record what the training table held.
    """

    name: str
    type: ColumnType
    role: Role
    nullable: bool
    unit: str | None = None
    description: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[Label, ...] | None = None
    declared: tuple[str, ...] = ()
    example: Label | None = None
    format: str | None = None  # strptime format of dates that are not written as ISO 8601


class Contract(Value):
    """The promises of a whole table, in its column order."""

    use_case: str
    task: Task
    target: str
    labels: tuple[Label, ...] | None = None  # classes in sorted order; None for regression
    positive: Label | None = None  # binary only
    columns: tuple[Column, ...]

    @property
    def features(self) -> tuple[Column, ...]:
        """The columns that a model sees, in order."""
        return tuple(column for column in self.columns if column.role == "feature")

    def column(self, name: str) -> Column:
        """Return one column; raise ``KeyError`` where the contract does not know it."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(name)
