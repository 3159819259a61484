"""The ceilings within which the benchmarks of scale run a program."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def run_within(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    from scale_process import run_within

    def run(code, ceiling=300_000_000, timeout=60.0):
        words = [sys.executable, "-c", code]
        limits = {"ceiling": ceiling, "timeout": timeout}
        return run_within(words, cwd=ROOT, environment=os.environ, **limits)

    return run


def test_a_program_within_its_limits_is_done(run_within):
    ended = run_within("import time; a = bytearray(100_000_000); time.sleep(0.5); print('well')")

    assert (ended.outcome, ended.out) == ("done", "well\n")
    assert 100e6 < ended.peak < 300e6


def test_one_that_takes_too_much_memory_is_ended(run_within):
    takes = "import time; a = bytearray({}); time.sleep(60)"
    started = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{takes}'])"

    for code in (takes, started):
        ended = run_within(code.format(400_000_000))
        assert ended.outcome == "out of memory"
        assert ended.peak > 300e6


def test_one_that_is_refused_memory_ran_out_of_it(run_within):
    assert run_within("raise MemoryError").outcome == "out of memory"


def test_one_that_takes_too_long_is_ended(run_within):
    assert run_within("import time; time.sleep(60)", timeout=0.5).outcome == "timed out"


def test_another_failure_is_none_of_these(run_within):
    ended = run_within("raise ValueError('no')")

    assert ended.outcome == "failed"
    assert "no" in ended.err
