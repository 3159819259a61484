"""A step's pod starts without importing what its step does not need."""

from __future__ import annotations

import subprocess
import sys

from tests.support.command_line import ROOT

LOOK = """\
import sys
sys.argv = ["step", *sys.argv[1:]]
from steps.pod_entrypoint import main
try:
    main()
except SystemExit as end:
    from zenml.integrations.registry import integration_registry
    integration_registry.activate_integrations()
    from zenml.utils.source_utils import get_source_root
    print(end.code, sorted({"evidently", "mlflow", "sklearn"} & set(sys.modules)), get_source_root())
"""


def start(*arguments):
    return subprocess.run(
        [sys.executable, "-c", LOOK, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_is_zenml_s_entrypoint_without_integrations():
    done = start("--help")
    assert "--entrypoint_config_source" in done.stdout
    assert done.stdout.splitlines()[-1] == f"0 [] {ROOT}"
    assert "required: --entrypoint_config_source" in start().stderr
