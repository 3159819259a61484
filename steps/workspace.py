"""Where a step finds the run's folders."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from zenml import get_step_context

from evergreen.paths import Home


def scratch_file(name: str) -> Path:
    """Return a path for a file that lives until the artifact store has its copy."""
    folder = Home.locate().scratch / str(os.getpid())
    folder.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=folder)) / name


def run_name() -> str:
    """Return the name of the pipeline run that the calling step belongs to."""
    return get_step_context().pipeline_run.name


def report_folder(use_case: str) -> Path:
    """Return the (existing) folder of this run's reports."""
    folder = Home.locate().run_reports(use_case, run_name())
    folder.mkdir(parents=True, exist_ok=True)
    return folder
