"""An interruption right after a step was recorded leaves its files, which the cache refers to."""

from __future__ import annotations

from pathlib import Path

from zenml import save_artifact
from zenml.client import Client
from zenml.orchestrators import output_utils
from zenml.utils import source_utils

from steps.kept_artifacts import keep_published
from tests.support.command_line import ROOT


def test_only_what_was_not_recorded_is_deleted(monkeypatch):
    # A test worker has no main module that ZenML could take for the root of all sources.
    monkeypatch.setattr(source_utils, "_CUSTOM_SOURCE_ROOT", str(ROOT))
    monkeypatch.setattr(output_utils, "remove_artifact_dirs", output_utils.remove_artifact_dirs)
    recorded = Path(save_artifact({"rows": 3}, name="facts").uri)
    begun = Path(Client().active_stack.artifact_store.path) / "begun"
    begun.mkdir()
    keep_published()
    keep_published()  # once is enough
    output_utils.remove_artifact_dirs([str(recorded), str(begun)])
    assert list(recorded.iterdir())
    assert not begun.exists()
