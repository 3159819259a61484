"""Runs the command line as a user types it, in a home of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RUN = (sys.executable, str(ROOT / "run.py"))


@dataclass(frozen=True)
class Home:
    """A user's machine in small: ZenML's configuration and Evergreen's state; empty at first."""

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
        # Without its byte code, every process would compile 4,000 modules anew: 8 s.
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return {**inherited, **own, **extra}

    def run(
        self, *arguments: str, prefix: Sequence[str] = (), timeout: float = 600, **extra: str
    ) -> Finished:
        """Run ``python run.py`` with the arguments and wait for its end.

        ``prefix`` goes before the command, as in ``nice python run.py``.
        """
        return self.command(*prefix, *RUN, *arguments, timeout=timeout, **extra)

    def command(self, *words: str, timeout: float = 600, **extra: str) -> Finished:
        """Run any command in this home and wait for its end."""
        done = subprocess.run(
            words,
            env=self.environment(**extra),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def running(self, *arguments: str, **extra: str) -> Iterator[Running]:
        """Start ``python run.py``; whatever of it still runs at the block's end is killed."""
        process = subprocess.Popen(
            [*RUN, *arguments],
            env=self.environment(**extra),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started = Running(process, self)
        try:
            yield started
        finally:
            started.kill()

    def copy(self, folder: Path) -> Home:
        """Return a home with the same history in another place, as if it had always been there."""
        shutil.copytree(self.folder, folder)
        settings = folder / "zenml" / "config.yaml"
        text = settings.read_text(encoding="utf-8")
        settings.write_text(text.replace(str(self.folder), str(folder)), encoding="utf-8")
        for database in (*folder.rglob("zenml.db"), *folder.rglob("mlflow.db")):
            _replace_everywhere(database, str(self.folder), str(folder))
        return Home(folder)


@dataclass(frozen=True)
class Running:
    """A command that is under way, in a process group of its own."""

    process: subprocess.Popen[str]
    home: Home

    def wait_until(self, happens: Callable[[], bool], timeout: float = 600) -> None:
        """Wait for something that the command does; fail where it ends before."""
        deadline = time.monotonic() + timeout
        while not happens():
            if self.process.poll() is not None:
                out, err = self.process.communicate()
                raise AssertionError(f"ended too early, exit {self.process.returncode}\n{out}{err}")
            assert time.monotonic() < deadline, "did not happen"
            time.sleep(0.02)

    def wait_for_log(self, text: str) -> None:
        """Wait until the run's log holds a text."""
        known = {path: path.stat().st_size for path in self.home.state.glob("logs/*-*-*.log")}

        def logged() -> bool:
            for path in self.home.state.glob("logs/*-*-*.log"):
                with path.open(encoding="utf-8", errors="replace") as file:
                    file.seek(known.get(path, 0))
                    if text in file.read():
                        return True
            return False

        self.wait_until(logged)

    def kill(self) -> None:
        """Kill the process and its children as the machine's power switch does."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate()

    def finish(self, timeout: float = 600) -> Finished:
        """Wait for the end."""
        out, err = self.process.communicate(timeout=timeout)
        return Finished(self.process.returncode, out, err)


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on standard output."""
        found = json.loads(self.out)
        assert isinstance(found, dict), found
        return found

    def check(self, code: int = 0, *words: str) -> Finished:
        """Assert the exit code, and words of the message; show all that was said where not."""
        said = f"exit {self.code}\n--- out\n{self.out}\n--- err\n{self.err}"
        assert self.code == code, said
        assert "Traceback" not in self.out + self.err, said
        for word in words:
            assert word in self.out + self.err, f"lacks {word!r}; {said}"
        return self


def _replace_everywhere(database: Path, old: str, new: str) -> None:
    """Replace a text in every column of every table of a SQLite database."""
    with closing(sqlite3.connect(database)) as connection, connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            for column in connection.execute(f"PRAGMA table_info('{table}')").fetchall():
                name = column[1]
                connection.execute(
                    f'UPDATE "{table}" SET "{name}" = replace("{name}", ?, ?) '
                    f'WHERE typeof("{name}") = \'text\' AND instr("{name}", ?)',
                    (old, new, old),
                )
