"""What a window breaks of the contract, judged by the masks that API and batch scoring go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final

import numpy as np

from evergreen.batch.columns import ReadColumn
from evergreen.data.contract import Column, Contract
from evergreen.data.quality_config import QualityConfig
from evergreen.monitoring.history import QualityFinding
from evergreen.serving.parsing.fields import MISSING, OUT_OF_RANGE, UNKNOWN_CATEGORY

Broken = Counter[tuple[str, str]]  # rows by check and column
SERIOUS: Final = 0.01  # share of rows; broken promises in fewer are shown, and alarm nobody
_CHECKS: Final = {OUT_OF_RANGE: "ranges", UNKNOWN_CATEGORY: "categories", MISSING: "nulls"}
_WORDS: Final = {
    "types": "cannot be read as {type}",
    "infinities": "are infinite",
    "ranges": "lie outside the range of the contract",
    "categories": "hold categories that the contract does not allow",
    "nulls": "are missing, which the contract does not allow",
}


class QualityTally:
    """Counts broken promises piece by piece."""

    def __init__(self, contract: Contract) -> None:
        self._columns = {column.name: column for column in contract.features}
        self.broken: Broken = Counter()
        self.unfit: Counter[str] = Counter()  # rows by column that cannot be read

    def add(self, columns: Mapping[str, ReadColumn]) -> None:
        """Count a piece."""
        for name, read in columns.items():
            infinite = 0
            if read.unfit and read.values.dtype == np.float64:
                infinite = int(np.isinf(read.values).sum())
            self.broken["infinities", name] += infinite
            unfit = len(read.unfit) - infinite
            self.unfit[name] += unfit
            self.broken["types", name] += unfit
            for breach in read.breaches:
                check = _CHECKS.get(breach.name)
                if check is not None and _promised(self._columns[name], check):
                    self.broken[check, name] += int(breach.rows.sum())


def findings(
    broken: Broken, contract: Contract, quality: QualityConfig, rows: int
) -> tuple[QualityFinding, ...]:
    """Return what is broken in a window of so many rows, the gravest first."""
    columns = {column.name: column for column in contract.features}
    found = []
    for (check, name), count in broken.items():
        severity = getattr(quality, check).severity
        if not count or severity == "off":
            continue
        words = _WORDS[check].format(type=columns[name].type)
        found.append(
            QualityFinding(
                check=check,
                column=name,
                severity=severity,
                rows=count,
                share=count / rows,
                reason=f"{name}: {count} of {rows} values ({count / rows:.1%}) {words}",
            )
        )
    order = {"error": 0, "warning": 1, "info": 2}
    return tuple(sorted(found, key=lambda one: (order[one.severity], -one.share)))


def is_serious(finding: QualityFinding) -> bool:
    """Tell whether a person must look at it: an error, in more than a few rows."""
    return finding.severity == "error" and finding.share >= SERIOUS


def _promised(column: Column, check: str) -> bool:
    """Tell whether the use case wrote it down; what training merely saw is the tests' matter."""
    return check != "nulls" or "nullable" in column.declared
