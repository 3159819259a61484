"""Install Evergreen into a cluster, or take it out again.

    python -m deploy.kubernetes.install install --overlay production --registry ghcr.io/me --tag 1.0
    python -m deploy.kubernetes.install environment --registry ghcr.io/me
    python -m deploy.kubernetes.install uninstall --overlay production

`make cluster-install`, `cluster-env` and `cluster-uninstall` call it; docs/cluster.md explains it.
All may be called again at any time.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Final

from deploy.kubernetes.client_environment import SERVERS, as_shell, environment
from deploy.kubernetes.kubectl import Kubectl, Resource, images, render
from deploy.kubernetes.secrets_needed import NAMESPACE, command_for, made, only_you_can_make
from deploy.kubernetes.waiting import wait_for_api, wait_for_servers
from evergreen.errors import EvergreenError, ExitCode, InputError

OURS: Final = ("app.kubernetes.io/part-of", "evergreen")  # the label of all that is ours
DATA: Final = ("Namespace", "PersistentVolumeClaim", "Secret")  # what uninstall leaves


def install(cluster: Kubectl, resources: list[Resource], patience: int) -> None:
    """Make the cluster match, wait until it answers, and say where.

    Nothing is changed where something is missing.

    Raises
    ------
    InputError
        If images have no registry, the cluster lacks a kind, secrets are missing, or a namespace
        belongs to somebody else.
    UnreachableError
        If the cluster does not answer, or the servers do not come up in ``patience`` seconds.
    """
    _check_images(resources)
    _check_kinds(cluster, resources)
    _check_namespaces(cluster, resources)
    present = cluster.names("secrets", NAMESPACE)
    if missing := only_you_can_make(resources, present):
        commands = "\n".join(f"  {command_for(name)}" for name in missing)
        raise InputError(
            "PostgreSQL and S3 are not part of this overlay; say where yours are:\n"
            f"  kubectl create namespace {NAMESPACE} --dry-run=client --output yaml | "
            "kubectl label --local --filename - "
            f"{OURS[0]}={OURS[1]} --output yaml | kubectl apply --filename -\n{commands}\n"
            "or add their components to its kustomization.yaml. docs/cluster.md has examples."
        )
    cluster.apply(one for one in resources if one["kind"] == "Namespace")
    for secret in made(resources, present):
        cluster.apply([secret])
        print(f"Made the secret {secret['metadata']['name']}.")
    changes = cluster.apply(resources).splitlines()
    changed = [line for line in changes if not line.endswith(" unchanged")]
    print(f"Applied {len(changes)} resources, {len(changed)} of them new or changed.", flush=True)
    wait_for_servers(cluster, resources, patience)
    _tell_addresses(wait_for_api(cluster, patience))


def uninstall(cluster: Kubectl, resources: list[Resource], *, purge: bool) -> None:
    """Take out what was installed; volumes and secrets stay, unless ``purge`` is given.

    Raises
    ------
    InputError
        If a namespace belongs to somebody else.
    UnreachableError
        If the cluster does not answer.
    """
    _check_namespaces(cluster, resources)
    there = cluster.names("namespaces")
    known = cluster.api_versions()
    gone = [
        one
        for one in resources
        if one["apiVersion"] in known and one["metadata"].get("namespace") in there
    ]
    if purge:
        cluster.delete([one for one in gone if one["kind"] not in DATA])
        cluster.delete([one for one in resources if one["kind"] == "Namespace"])
        print("Everything is gone, data and secrets included.")
        return
    deleted = cluster.delete([one for one in gone if one["kind"] not in DATA]).splitlines()
    print(
        f"Deleted {len(deleted)} resources. Volumes and secrets stay (ARGS=--purge deletes them)."
    )


def _check_images(resources: Iterable[Resource]) -> None:
    homeless = sorted(image for image in images(resources) if "/" not in image)
    if homeless:
        raise InputError(
            f"Where are the images {', '.join(homeless)}? Push them (make images-push) and name "
            "their registry: make cluster-install REGISTRY=ghcr.io/you TAG=1.0"
        )


def _check_kinds(cluster: Kubectl, resources: Iterable[Resource]) -> None:
    known = cluster.api_versions()
    missing = sorted(
        {
            f"{one['kind']} ({one['apiVersion']})"
            for one in resources
            if one["apiVersion"] not in known
        }
    )
    if missing:
        operator = "monitoring.coreos.com" in " ".join(missing)
        advice = (
            "Install the Prometheus operator, or take components/monitoring out of the overlay."
            if operator
            else "It is older or newer than the overlay is for (docs/cluster.md)."
        )
        raise InputError(f"The cluster does not know {', '.join(missing)}. {advice}")


def _check_namespaces(cluster: Kubectl, resources: Iterable[Resource]) -> None:
    """Refuse to touch a namespace that somebody else made."""
    wanted = {one["metadata"]["name"] for one in resources if one["kind"] == "Namespace"}
    for one in cluster.get("namespaces"):
        name, labels = one["metadata"]["name"], one["metadata"].get("labels", {})
        if name in wanted and labels.get(OURS[0]) != OURS[1]:
            raise InputError(
                f"The namespace {name!r} is there and not ours. If it is meant for Evergreen: "
                f"kubectl label namespace {name} {OURS[0]}={OURS[1]}"
            )


def _tell_addresses(waiting: str | None) -> None:
    inside, forward = (
        f"{NAMESPACE}.svc.cluster.local",
        f"kubectl -n {NAMESPACE} port-forward service",
    )
    read = f"kubectl -n {NAMESPACE} get secret"
    print(
        f"  API     http://api.{inside}    here: {forward}/api 8000:80\n"
        f"  MLflow  http://mlflow.{inside}:5000    here: {forward}/mlflow 5000\n"
        f"  ZenML   http://zenml.{inside}:8080    here: {forward}/zenml 8080\n"
        f"  A key of the API:         {read} client-key -o 'go-template="
        '{{index .data "api-key" | base64decode}}' + "'\n"
        f"  ZenML's password (admin): {read} zenml -o 'go-template="
        "{{.data.password | base64decode}}'\n"
        '  For pipelines:            eval "$(make cluster-env REGISTRY=…)" and docs/kubernetes.md'
    )
    print(waiting or "The API answers.", flush=True)


def _addresses(given: Iterable[str]) -> dict[str, str]:
    found = dict(one.split("=", 1) for one in given if "=" in one)
    if unknown := sorted(set(found) - set(SERVERS)):
        raise InputError(f"--address {unknown[0]}: choose from {', '.join(SERVERS)}.")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.kubernetes.install", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("command", choices=["install", "environment", "uninstall"])
    parser.add_argument("--overlay", default="production", help="name or folder")
    parser.add_argument("--registry", help="where our images are, such as ghcr.io/you")
    parser.add_argument("--tag", help="their tag")
    parser.add_argument("--context", help="of kubectl's configuration (default: the current one)")
    parser.add_argument(
        "--patience", type=int, default=600, metavar="SECONDS", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="SERVER=ADDRESS",
        help="environment: where zenml, mlflow, s3 or postgres answers pods and this machine",
    )
    parser.add_argument("--purge", action="store_true", help="uninstall: data and secrets as well")
    options = parser.parse_args(arguments)
    cluster = Kubectl(options.context or None)
    try:
        if options.command == "environment":
            given = _addresses(options.address)
            print(as_shell(environment(cluster, options.registry or None, given)), end="")
            return ExitCode.DONE
        resources = render(options.overlay, options.registry or None, options.tag or None)
        if options.command == "install":
            install(cluster, resources, options.patience)
        else:
            uninstall(cluster, resources, purge=options.purge)
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped; the cluster keeps what it got. Call this again to go on.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    return ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(main())
