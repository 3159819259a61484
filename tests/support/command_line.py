"""Runs the command line as a user types it, in a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Home:
    """A user's machine in small: ZenML's configuration and Evergreen's state, both empty at first."""

    folder: Path

    @property
    def state(self) -> Path:
        return self.folder / "evergreen"

    def environment(self, **extra: str) -> dict[str, str]:
        """Return the environment of a process that lives in this home."""
        own = {
            "EVERGREEN_HOME": str(self.state),
            "ZENML_CONFIG_PATH": str(self.folder / "zenml"),
            "ZENML_REPOSITORY_PATH": str(self.folder / "repository"),
            "ZENML_ANALYTICS_OPT_IN": "false",
            "COLUMNS": "140",
        }
        (self.folder / "repository").mkdir(parents=True, exist_ok=True)
        return {**os.environ, **own, **extra}

    def run(self, *arguments: str, timeout: float = 240, **extra: str) -> Finished:
        """Run ``python run.py`` with the arguments and wait for its end."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            env=self.environment(**extra),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Start ``python run.py`` and do not wait."""
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run.py"), *arguments],
            env=self.environment(**extra),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def copy(self, folder: Path) -> Home:
        """Return a home with the same history in another place."""
        shutil.copytree(self.folder, folder)
        return Home(folder)


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        return json.loads(self.out)

    def check(self, code: int = 0) -> Finished:
        """Assert the exit code, showing everything that was said where it differs."""
        assert self.code == code, f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        assert "Traceback" not in self.out + self.err
        return self
