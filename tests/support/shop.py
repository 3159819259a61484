"""A small shop's table, and its use case in ten lines."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROWS = 60
Row = dict[str, Any]
Change = Callable[[list[Row]], list[Row]]


def rows(change: Change | None = None) -> list[Row]:
    """A small table that trains; ``change`` edits it."""
    table: list[Row] = [
        {
            "size": round(10 + math.sin(i) * 3 + i / 10, 3),
            "weight": round(5 + math.cos(i * 1.7) * 2, 3),
            "kind": "abc"[i % 3],
            "sold": "yes" if math.sin(i) + math.cos(i * 1.7) > 0 else "no",
        }
        for i in range(ROWS)
    ]
    return table if change is None else change(table)


def blank(column: str, every: int) -> Change:
    """Empty every so many cells of a column."""
    return lambda table: [
        row | {column: ""} if number % every == 0 else row for number, row in enumerate(table)
    ]


def constant(column: str, value: object) -> Change:
    """Give a column one value throughout."""
    return lambda table: [row | {column: value} for row in table]


def write_csv(path: Path, table: list[Row], delimiter: str = ",") -> Path:
    """Write the rows; of no rows, only a header."""
    header = list(table[0]) if table else ["size", "weight", "kind", "sold"]
    lines = [delimiter.join(header)]
    lines += [delimiter.join(str(row[name]) for name in header) for row in table]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_config(folder: Path, source: str = "table.csv", more: str = "") -> Path:
    """Write the use case ``shop``."""
    path = folder / "shop.yaml"
    path.write_text(
        f"""\
name: shop
task: classification
data:
  source: {source}
  target: sold
training:
  candidates: [decision_tree]
  trials: 1
{more}""",
        encoding="utf-8",
    )
    return path
