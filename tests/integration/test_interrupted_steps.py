"""Ctrl-C in a step ends the run: no handler of ZenML's first logs and asks its database for it."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import pytest
from zenml import pipeline, step
from zenml.client import Client
from zenml.utils import source_utils

from pipelines.interruption import interrupted_at_once
from tests.support.command_line import ROOT


@step(enable_cache=False)
def handler_of_ctrl_c() -> str:
    """Return what is called when Ctrl-C comes."""
    return getattr(signal.getsignal(signal.SIGINT), "__qualname__", "")


@step(enable_cache=False)
def dropping_ctrl_c() -> None:
    """Be interrupted, drop that as libraries do, and go on."""
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    time.sleep(60)


@pipeline
def one_dropping_step() -> None:
    """Run the step above."""
    dropping_ctrl_c()


@pipeline
def one_step() -> None:
    """Run the step above."""
    handler_of_ctrl_c()


def said_by(run) -> str:
    return Client().get_pipeline_run(run.id).steps["handler_of_ctrl_c"].output.load()


def test_a_steps_ctrl_c_is_not_zenmls(monkeypatch):
    # A test worker has no main module that ZenML could take for the root of all sources.
    monkeypatch.setattr(source_utils, "_CUSTOM_SOURCE_ROOT", str(ROOT))
    assert said_by(one_step()) == "SignalHandler._handle"  # or nothing need be done
    with interrupted_at_once():
        assert said_by(one_step()) == "_CtrlC.raise_it"


def test_ctrl_c_that_a_step_drops_ends_the_run(monkeypatch):
    monkeypatch.setattr(source_utils, "_CUSTOM_SOURCE_ROOT", str(ROOT))
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), interrupted_at_once():
        one_dropping_step()
    assert time.monotonic() - began < 50
    (run,) = Client().list_pipeline_runs(pipeline="one_dropping_step").items
    assert run.steps["dropping_ctrl_c"].status == "failed"
