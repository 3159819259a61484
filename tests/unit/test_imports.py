"""What surrounds a run sets ZenML's environment, which ZenML reads when it is imported."""

from __future__ import annotations

import subprocess
import sys

from tests.support.command_line import ROOT

LOOK = """
import sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(f"pipelines.{name}")
    assert "zenml" not in sys.modules, name
"""


def test_what_surrounds_a_run_leaves_zenml_to_the_run():
    names = [path.stem for path in sorted((ROOT / "pipelines").glob("*_run.py"))]
    assert {"training_run", "continuous_run", "deployment_run"} <= set(names)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, *names, "session", "history", "scheduling"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
