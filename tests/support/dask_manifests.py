"""What deploy/kubernetes/dask holds, and its containers as processes of this machine."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.support.manifests import KUBERNETES, ROOT

DASK = KUBERNETES / "dask"
TLS = "/etc/dask-tls"


def dask_cluster_resource() -> dict[str, Any]:
    """Return the resource that the operator reads."""
    found: dict[str, Any] = yaml.safe_load((DASK / "cluster.yaml").read_text())
    return found


def plain_pods() -> dict[str, dict[str, Any]]:
    """Return the pods of the cluster without an operator, by component."""
    texts = [(DASK / "plain" / name).read_text() for name in ("scheduler.yaml", "workers.yaml")]
    resources = [one for text in texts for one in yaml.safe_load_all(text)]
    templates = [one["spec"]["template"] for one in resources if one["kind"] == "Deployment"]
    return {one["metadata"]["labels"]["dask.org/component"]: one["spec"] for one in templates}


def write_certificates(folder: Path) -> None:
    """Write what the secret `dask-tls` holds, by the command that docs/scale.md gives."""
    guide = (ROOT / "docs" / "scale.md").read_text()
    (command,) = re.findall(r"\$ (openssl req .*?tls\.crt)\n", guide, re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    (folder / "ca.crt").write_bytes((folder / "tls.crt").read_bytes())


def client_environment(folder: Path) -> dict[str, str]:
    """Return what a run's pod has, as docs/scale.md says."""
    return {
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / "ca.crt"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": str(folder / "tls.crt"),
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": str(folder / "tls.key"),
    }


def started(
    component: str, folder: Path, changed: dict[str, str], **environment: str
) -> subprocess.Popen[bytes]:
    """Start a component's container here; ``changed`` are arguments that others take the place of.

    ``folder`` stands for the secret, and gets what is printed.
    """
    pod = dask_cluster_resource()["spec"][component]["spec"]
    (container,) = pod["containers"]
    given = {one["name"]: str(one["value"]).replace(TLS, str(folder)) for one in container["env"]}
    environ = {**os.environ, **given, **environment, "PYTHONPATH": str(ROOT)}
    program, kind = container["command"]
    command = [str(Path(sys.executable).with_name(program)), kind]
    for argument in container["args"]:
        command.append(changed.get(argument, argument))
    with (folder / f"{component}.log").open("wb") as log:
        return subprocess.Popen(
            command, env=environ, cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
