"""Waiting until what was installed answers, and saying what keeps it from that."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Final

from deploy.kubernetes.kubectl import Kubectl, Resource
from deploy.kubernetes.secrets_needed import NAMESPACE
from evergreen.errors import UnreachableError

INTERVAL: Final = 2.0  # seconds between looks
API: Final = "api"


def wait_for_servers(cluster: Kubectl, resources: Iterable[Resource], patience: int) -> None:
    """Return once every server but the API is rolled out.

    Raises
    ------
    UnreachableError
        If one is not in ``patience`` seconds; the message says what its pods wait for.
    """
    deadline = time.monotonic() + patience
    for one in resources:
        name = one["metadata"]["name"]
        if one["kind"] not in ("Deployment", "StatefulSet") or name == API:
            continue
        left = max(1, int(deadline - time.monotonic()))
        done = cluster.run(
            *("rollout", "status", f"{one['kind']}/{name}", "--namespace", NAMESPACE),
            *("--timeout", f"{left}s"),
            check=False,
        )
        if done.returncode:
            raise UnreachableError(f"{name} did not come up: {troubles(cluster, name)}")
        print(f"{name} is up.", flush=True)


def wait_for_api(cluster: Kubectl, patience: int) -> str | None:
    """Wait until the API is rolled out, or waits for its first model; then return why.

    Raises
    ------
    UnreachableError
        If neither happens in ``patience`` seconds.
    """
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if _rolled_out(cluster):
            return None
        pods = _pods(cluster, API)
        if pods and not any(map(_ready, pods)) and (said := _waits_for_model(cluster, pods)):
            return f"The API starts as soon as there is a model. {said}"
        time.sleep(INTERVAL)
    raise UnreachableError(f"The API did not come up: {troubles(cluster, API)}")


def _rolled_out(cluster: Kubectl) -> bool:
    """Ask as kubectl does: every pod is of the newest version and available."""
    done = cluster.run(
        *("rollout", "status", f"deployment/{API}", "--namespace", NAMESPACE, "--watch=false"),
        check=False,
    )
    return "successfully rolled out" in done.stdout


def _pods(cluster: Kubectl, name: str) -> list[Resource]:
    pods = cluster.get("pods", NAMESPACE, "--selector", f"app.kubernetes.io/name={name}")
    return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def _ready(pod: Resource) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _waits_for_model(cluster: Kubectl, pods: list[Resource]) -> str:
    """Return what the newest pod's init container waits for; nothing where it does not wait."""
    newest = max(pods, key=lambda pod: pod["metadata"]["creationTimestamp"])
    for status in newest["status"].get("initContainerStatuses", ()):
        if "running" in status["state"]:
            name = newest["metadata"]["name"]
            said = cluster.run(
                "logs", name, "--container", status["name"], "--namespace", NAMESPACE, check=False
            ).stdout.splitlines()
            # A registry that is just starting is no reason to give up yet.
            return said[-1] if said and said[-1].startswith("Waiting for a model") else ""
    return ""


def troubles(cluster: Kubectl, name: str) -> str:
    """Return what the pods of a server wait for, and their last words."""
    found = []
    for pod in _pods(cluster, name):
        title = pod["metadata"]["name"]
        statuses = [
            *pod["status"].get("initContainerStatuses", ()),
            *pod["status"].get("containerStatuses", ()),
        ]
        reasons = [reason for status in statuses if (reason := _reason(status))]
        reasons += [
            one.get("message", "")
            for one in pod["status"].get("conditions", ())
            if one["type"] == "PodScheduled" and one["status"] != "True"
        ]
        words = cluster.run(
            *("logs", title, "--namespace", NAMESPACE, "--all-containers", "--tail", "3"),
            check=False,
        ).stdout.strip()
        if not reasons and pod["status"].get("phase") == "Pending":
            reasons = [_last_warning(cluster, title) or "Pending"]
        found.append(f"{title}: {', '.join(reasons) or pod['status'].get('phase')}. {words}")
    return (
        "\n".join(found) or _last_warning(cluster, name) or "it has no pods, and no event says why."
    )


def _reason(status: dict[str, Any]) -> str:
    waiting = status["state"].get("waiting") or status["state"].get("terminated") or {}
    if waiting.get("reason") in (None, "PodInitializing", "Completed"):
        return ""
    return f"{waiting['reason']} {waiting.get('message', '')}".strip()


def _last_warning(cluster: Kubectl, name: str) -> str:
    """Return the last warning about what has this name, or a name that begins so."""
    events = cluster.get("events", NAMESPACE, "--field-selector", "type=Warning")
    about = [one for one in events if one["involvedObject"]["name"].startswith(name)]
    return about[-1]["message"] if about else ""
