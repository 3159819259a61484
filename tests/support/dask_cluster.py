"""A Dask scheduler and workers that run already, each a process, as others start them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.command_line import ROOT
from tests.support.waiting import wait_until


@dataclass
class DaskCluster:
    """The processes of one cluster; ``folder`` holds their files and what they say."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return str(json.loads((self.folder / "scheduler.json").read_text())["address"])

    def start_worker(self, name: str, path: str = str(ROOT), nanny: bool = False) -> None:
        """Start a worker with one thread that finds modules in ``path`` first.

        With a nanny, the worker is a process of its own that the nanny replaces.
        """
        self._start(
            name,
            "worker",
            *("--nthreads", "1", "--name", name, "--death-timeout", "60"),
            "--nanny" if nanny else "--no-nanny",
            *("--local-directory", str(self.folder)),
            path=path,
        )

    def said(self, name: str) -> str:
        """Return what a process has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self, name: str) -> None:
        """End a process, and wait until it is gone."""
        process = self.processes.pop(name)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, name: str, kind: str, *options: str, path: str = str(ROOT)) -> None:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        command += ["--scheduler-file", str(self.folder / "scheduler.json")]
        command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*command, "--host", "127.0.0.1"],
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )


@contextmanager
def dask_cluster(folder: Path, *workers: str, nanny: bool = False) -> Iterator[DaskCluster]:
    """Yield a cluster with workers of these names; all its processes end with the block."""
    cluster = DaskCluster(folder)
    try:
        cluster._start("scheduler", "scheduler", "--port", "0")
        wait_until(lambda: _is_written(folder / "scheduler.json"), 60)
        for name in workers:
            cluster.start_worker(name, nanny=nanny)
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.stop(name)


def _is_written(file: Path) -> bool:
    """Return whether a file exists and is whole: the scheduler does not write it at once."""
    try:
        return bool(json.loads(file.read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
