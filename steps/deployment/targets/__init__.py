"""Where a stack can deploy to: one target for each serving component that it has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from zenml.client import Client

from evergreen.errors import InputError
from evergreen.paths import Home
from steps.deployment.targets.base import Place, Target, open_log

__all__ = ["Place", "Target", "find_targets", "open_log"]


def _mlflow(component: Any, place: Place) -> Target:
    from steps.deployment.targets.mlflow_server import MLflowServer

    return MLflowServer(component, place)


def _local(component: Any, place: Place) -> Target:
    from steps.deployment.targets.contract_api import HostedApi

    return HostedApi(component, place)


def _docker(component: Any, place: Place) -> Target:
    from steps.deployment.targets.docker_api import ContainerApi

    return ContainerApi(component, place)


def _kubernetes(component: Any, place: Place) -> Target:
    from steps.deployment.targets.kubernetes_api import ClusterApi

    return ClusterApi(component, place)


def _seldon(component: Any, place: Place) -> Target:
    from steps.deployment.targets.seldon import SeldonServer

    return SeldonServer(component, place)


# Kind of component, flavor: what makes the target of such a component.
TARGETS: Final[dict[tuple[str, str], Callable[[Any, Place], Target]]] = {
    ("model_deployer", "mlflow"): _mlflow,
    ("model_deployer", "seldon"): _seldon,
    ("deployer", "local"): _local,
    ("deployer", "docker"): _docker,
    ("deployer", "kubernetes"): _kubernetes,
}


def find_targets(name: str) -> list[Target]:
    """Return a target for every serving component of the active stack.

    Raises
    ------
    InputError
        If it has none, or one of a flavor that we cannot deploy to.
    """
    stack = Client().active_stack
    row = open_log().deployed(name)
    place = Place(name, Home.locate(), row.version if row else None)
    components = {"model_deployer": stack.model_deployer, "deployer": stack.deployer}
    present = {kind: each for kind, each in components.items() if each is not None}
    if not present:
        raise InputError(
            f"The active stack {stack.name!r} has nothing to deploy to: neither a model deployer "
            "nor a deployer. Use one that has: zenml stack set local"
        )
    for kind, component in present.items():
        if (kind, component.flavor) not in TARGETS:
            known = ", ".join(flavor for other, flavor in TARGETS if other == kind)
            raise InputError(
                f"The active stack {stack.name!r} has a {kind.replace('_', ' ')} of flavor "
                f"{component.flavor!r}, which cannot be deployed to. Flavors that can: {known}."
            )
    return [
        TARGETS[kind, component.flavor](component, place) for kind, component in present.items()
    ]
