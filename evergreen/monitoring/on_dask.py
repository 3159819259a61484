"""A window whose parts the workers of a Dask cluster count, judged by the process that asked."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from evergreen.config import UseCase
from evergreen.dask.cluster import connected
from evergreen.dask.pieces import map_pieces
from evergreen.data.dataset import keeping
from evergreen.monitoring.parts import (
    CountedPart,
    WindowPlan,
    count_part,
    judge_parts,
    plan_window,
)
from evergreen.monitoring.window_check import CheckedWindow
from evergreen.paths import Home
from evergreen.scratch import working_folder

SECTION: Final = "monitoring.dask"


@dataclass(frozen=True)
class PartTask:
    """What a worker needs to count a part; it sees the folders ``bundle`` and ``parts``."""

    use_case: UseCase
    bundle: Path
    version: str
    home: Home
    plan: WindowPlan
    number: int
    parts: Path

    def count(self) -> CountedPart:
        """Count the part, and write it into a folder of its own.

        Raises
        ------
        InputError, UnreachableError
            As `evergreen.monitoring.parts.count_part` does, or if the folder cannot be written.
        """
        counted = count_part(
            self.use_case, self.bundle, self.version, self.home, self.plan, self.number
        )
        with keeping(self.parts):
            folder = Path(tempfile.mkdtemp(dir=self.parts, prefix=f"{self.number}-"))
            return CountedPart.write(counted, folder)


def observe_on_dask(
    use_case: UseCase,
    bundle: Path,
    version: str,
    home: Home,
    *,
    asked: timedelta | None = None,
    now: datetime | None = None,
) -> CheckedWindow:
    """Judge a window as `evergreen.monitoring.monitor.observe` does, by parts.

    What it finds is what the same number of parts gives as steps, to the last bit.

    Raises
    ------
    InputError
        As that does, or if the table's rows are not known beforehand, or the cluster does not suit.
    UnreachableError
        As that does, or if there is no cluster, or its workers are lost again and again.
    """
    plan = plan_window(use_case, bundle, version, home, asked=asked, now=now)
    with (
        working_folder("window-") as folder,
        connected(use_case.monitoring.dask, SECTION) as client,
    ):
        tasks = [
            PartTask(use_case, bundle, version, home, plan, number, folder)
            for number in range(use_case.monitoring.partitions)
        ]
        counted = [part.read() for part in map_pieces(client, PartTask.count, tasks)]
        return judge_parts(use_case, bundle, version, home, plan, counted)
