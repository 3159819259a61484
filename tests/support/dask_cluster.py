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

    def start_worker(self, name: str, path: str = str(ROOT)) -> subprocess.Popen[bytes]:
        """Start a worker with one thread that finds modules in ``path`` first."""
        return self._start(
            name,
            "worker",
            *("--nthreads", "1", "--no-nanny", "--name", name, "--death-timeout", "60"),
            *("--local-directory", str(self.folder)),
            path=path,
        )

    def said(self, name: str) -> str:
        """Return what a process has printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self, name: str) -> None:
        """Kill a process, and wait until it is gone."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def _start(
        self, name: str, kind: str, *options: str, path: str = str(ROOT)
    ) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *options]
        command += ["--scheduler-file", str(self.folder / "scheduler.json")]
        command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [*command, "--host", "127.0.0.1"],
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )
        self.processes[name] = process
        return process


@contextmanager
def dask_cluster(folder: Path, *workers: str) -> Iterator[DaskCluster]:
    """Yield a cluster with workers of these names; all its processes end with the block."""
    cluster = DaskCluster(folder)
    try:
        cluster._start("scheduler", "scheduler", "--port", "0")
        wait_until((folder / "scheduler.json").exists, 60)
        for name in workers:
            cluster.start_worker(name)
        yield cluster
    finally:
        for name in list(cluster.processes):
            cluster.stop(name)
