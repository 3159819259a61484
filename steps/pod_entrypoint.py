"""How a step's pod starts: ZenML's entrypoint, without what no step of ours needs.

ZenML imports every installed integration before a step, a third of the pod's time until it begins;
all materializers and components that steps need are named by their sources, and imported then.
"""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path

import importlib_metadata

COMMAND = ("python", "-m", "steps.pod_entrypoint")


def know_packages() -> None:
    """Look up once which packages are installed; that does not change under a running process.

    ZenML asks at every step, MLflow (by the backport) for every model, and it reads every installed
    package's metadata: 0.7 s each time.
    """
    listed = cache(importlib.metadata.packages_distributions)
    importlib.metadata.packages_distributions = listed
    importlib_metadata.packages_distributions = listed


def main() -> None:
    """Run the step that the arguments name."""
    know_packages()

    from zenml.integrations.registry import integration_registry

    integration_registry.activate_integrations = lambda: None

    from zenml.utils import source_utils

    # Else ZenML takes this file's folder, and writes down materializers by names that only such
    # a pod knows.
    source_utils.set_custom_source_root(str(Path(__file__).resolve().parents[1]))

    from zenml.entrypoints.entrypoint import main as run_entrypoint

    run_entrypoint()


if __name__ == "__main__":
    main()
