"""Ctrl-C in a step is Python's own, not a handler of ZenML's that logs and asks its database."""

from __future__ import annotations

import signal

from zenml import pipeline, step
from zenml.client import Client
from zenml.utils import source_utils

from pipelines.elsewhere import interrupted_at_once
from tests.support.command_line import ROOT


@step(enable_cache=False)
def handler_of_ctrl_c() -> str:
    """Return what is called when Ctrl-C comes."""
    return getattr(signal.getsignal(signal.SIGINT), "__qualname__", "")


@pipeline
def one_step() -> None:
    """Run the step above."""
    handler_of_ctrl_c()


def said_by(run) -> str:
    return Client().get_pipeline_run(run.id).steps["handler_of_ctrl_c"].output.load()


def test_a_steps_ctrl_c_is_pythons_own(monkeypatch):
    # A test worker has no main module that ZenML could take for the root of all sources.
    monkeypatch.setattr(source_utils, "_CUSTOM_SOURCE_ROOT", str(ROOT))
    assert said_by(one_step()) == "SignalHandler._handle"  # or nothing need be done
    with interrupted_at_once():
        assert said_by(one_step()) == "default_int_handler"
