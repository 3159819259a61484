"""Where Evergreen keeps its state. Nothing is created until somebody asks for it.

One folder holds it all, unless ``EVERGREEN_DATABASE_URL`` names a database: that one then holds
every table, so that processes on several machines share them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

HOME_VARIABLE = "EVERGREEN_HOME"
DATABASE_VARIABLE = "EVERGREEN_DATABASE_URL"


@dataclass(frozen=True)
class Home:
    """The state folder and the places inside it.

    ``root`` is an absolute path; the folders need not exist.
    """

    root: Path

    @classmethod
    def locate(cls) -> Home:
        """Return the folder named by ``EVERGREEN_HOME``, else ``.evergreen`` beside the package."""
        named = os.environ.get(HOME_VARIABLE)
        return cls(
            Path(named).expanduser().resolve()
            if named
            else Path(__file__).resolve().parents[1] / ".evergreen"
        )

    @property
    def mlflow_database(self) -> Path:
        """File of MLflow's SQLite store."""
        return self.root / "mlflow" / "mlflow.db"

    @property
    def mlflow_uri(self) -> str:
        """Tracking and registry address of MLflow's SQLite store."""
        return f"sqlite:///{self.mlflow_database}"

    @property
    def mlflow_artifacts(self) -> Path:
        """Root of MLflow's artifacts."""
        return self.root / "mlflow" / "artifacts"

    @property
    def database_url(self) -> str:
        """SQLAlchemy address of Evergreen's own tables: decisions, windows, leases, alerts."""
        return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{self.root / 'evergreen.db'}"

    @property
    def prediction_log_url(self) -> str:
        """SQLAlchemy address of the prediction log, unless the use case names one."""
        return os.environ.get(DATABASE_VARIABLE) or f"sqlite:///{self.root / 'predictions.db'}"

    @property
    def reports(self) -> Path:
        """Folder of the HTML reports."""
        return self.root / "reports"

    def run_reports(self, use_case: str, run: str) -> Path:
        """Folder of one run's reports."""
        return self.reports / use_case / run

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.root / "logs"

    @property
    def locks(self) -> Path:
        """Folder of the lock files."""
        return self.root / "locks"

    @property
    def batch(self) -> Path:
        """Folder of batch predictions that were given no other place."""
        return self.root / "batch"

    @property
    def tables(self) -> Path:
        """Folder of tables that were fetched from object stores."""
        return self.root / "tables"

    @property
    def streams(self) -> Path:
        """Folder of the rows that were read from streams of messages."""
        return self.root / "streams"

    @property
    def scratch(self) -> Path:
        """Folder of files that only the present run needs."""
        return self.root / "tmp"
