"""What a run does when the machine gets in its way: full or read-only disks, rivals, Ctrl-C."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import QUICK
from tests.support.command_line import ROOT, Finished, Home

TRAIN = ("--pipeline", "train", "--config", "configs/iris.yaml", *QUICK, "--set", "training.seed=3")


def train_on(home: Home, folder: Path, options: str) -> Finished:
    """Train with the state folder on a small file system that exists for this process only."""
    folder.mkdir()
    words = shlex.join([sys.executable, "run.py", *TRAIN])
    script = f"mount -t tmpfs -o {options} tmpfs {shlex.quote(str(folder))} && exec {words}"
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env=home.environment(EVERGREEN_HOME=str(folder)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("size", ["64k", pytest.param("2500k", marks=pytest.mark.long)])
def test_a_full_disk(home, tmp_path, size):
    """Too small for the log, and for what a training leaves."""
    folder = tmp_path / "small"
    done = train_on(home, folder, f"size={size}").check(3)
    assert "space" in done.err
    assert str(folder) in done.err


@pytest.mark.long
def test_after_a_full_disk_the_next_run_succeeds(home, tmp_path):
    train_on(home, tmp_path / "small", "size=2500k").check(3)
    assert home.run(*TRAIN, "--quiet").code in (0, 1)


def test_a_read_only_state_folder(home, tmp_path):
    folder = tmp_path / "sealed"
    done = train_on(home, folder, "ro").check(3)
    assert str(folder) in done.err
    assert "EVERGREEN_HOME" in done.err


def test_two_runs_at_once(home):
    with home.running(*TRAIN, "--no-cache") as first:
        first.wait_for_log("has started")
        second = home.run(*TRAIN).check(3)
        assert f"process {first.process.pid}" in second.err
        assert first.finish().code in (0, 1)


def test_control_c(home):
    slow = ("--set", "training.candidates=[random_forest, xgboost]", "--set", "training.trials=500")
    with home.running(*TRAIN, *slow) as run:
        run.wait_for_log("`search_candidates` has started")
        os.killpg(run.process.pid, signal.SIGINT)  # as a terminal does
        done = run.finish(timeout=60)
    assert done.code == 130, done.err
    assert "Interrupted" in done.err
    assert "Traceback" not in done.err
    listed = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
    assert str(home.state) not in listed.stdout
    assert home.run(*TRAIN, "--quiet").code in (0, 1)
