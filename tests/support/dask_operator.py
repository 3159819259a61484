"""The Dask Kubernetes operator in a pod of the test cluster.

Its own image is the libraries of `requirements/dask-operator.txt` on a bare Python; here they lie
in a folder of this machine, and the Python is that of an image which the cluster has.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tests.support.command_line import ROOT

NAMESPACE = "dask-operator"
CHART = "dask_kubernetes/operator/deployment/helm/dask-kubernetes-operator"


@contextmanager
def running_operator(folder: Path, image: str, kubectl: Callable[..., str]) -> Iterator[None]:
    """Install the operator's kinds of resource and the operator; take both away at the end."""
    libraries = folder / "libraries"
    lock = ROOT / "requirements" / "dask-operator.txt"
    uv = Path(sys.executable).with_name("uv")
    words = [uv, "pip", "install", "--quiet", "--python-version", "3.11", "--target", libraries]
    subprocess.run([*words, "--requirement", lock], check=True)
    for part in (folder, *list(folder.parents)[:3]):
        part.chmod(0o755)
    kinds = sorted((libraries / CHART / "crds").glob("*.yaml"))
    assert kinds, "the operator's package holds no kinds of resource"
    of_kinds = [f"--filename={file}" for file in kinds]
    kubectl("apply", "--server-side", *of_kinds)
    ours = yaml.safe_dump_all(_resources(libraries, image))
    kubectl("apply", "--filename", "-", stdin=ours)
    try:
        rollout = ("rollout", "status", "deployment/operator", "--timeout=300s")
        kubectl("--namespace", NAMESPACE, *rollout)
        yield
    finally:
        # Resources first: the operator takes its mark off them.
        kubectl("delete", "--ignore-not-found", "--timeout=120s", *of_kinds)
        kubectl("delete", "--ignore-not-found", "--wait=false", "--filename", "-", stdin=ours)


def _resources(libraries: Path, image: str) -> list[dict]:
    labels = {"app": "dask-operator"}
    container = {
        "name": "operator",
        "image": image,
        "command": [
            "python",
            "-m",
            "kopf",
            "run",
            "--module",
            "dask_kubernetes.operator.controller",
        ],
        "args": ["--all-namespaces", "--liveness=http://0.0.0.0:8080/healthz"],
        # Before the image's own libraries, of which some have other versions.
        "env": [{"name": "PYTHONPATH", "value": "/opt/operator"}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}},
        "volumeMounts": [{"name": "libraries", "mountPath": "/opt/operator", "readOnly": True}],
    }
    spec = {
        "serviceAccountName": "operator",
        "containers": [container],
        "volumes": [{"name": "libraries", "hostPath": {"path": str(libraries)}}],
    }
    account = {"name": "operator", "namespace": NAMESPACE}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "dask-operator"},
            "roleRef": {
                "apiGroup": "rbac.authorization.k8s.io",
                "kind": "ClusterRole",
                "name": "cluster-admin",
            },
            "subjects": [{"kind": "ServiceAccount", **account}],
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": account,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    ]
