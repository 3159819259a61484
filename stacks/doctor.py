"""``--doctor``: what is wrong with this installation, and the command that mends each thing."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.text import Text

from evergreen.errors import ExitCode
from evergreen.paths import Home
from evergreen.values import Value

ROOT = Path(__file__).resolve().parents[1]
INSTALL = f"{sys.executable} -m uv pip install --require-hashes -r requirements.txt"
LEAST_FREE_GIB = 1.0
DASHBOARD_PORT = 8237
MLFLOW_PORT = 5000


Examination = Callable[[], Iterator["Diagnosis"]]


class Diagnosis(Value):
    """What one examination found. ``mend`` is the command that mends it."""

    name: str
    state: Literal["ok", "warning", "wrong"]
    detail: str
    mend: str | None = None


def examine(*, as_json: bool = False) -> int:
    """Run every examination, print what it found, and return the exit code."""
    findings = [finding for examination in EXAMINATIONS for finding in _examined(examination)]
    wrong = any(finding.state == "wrong" for finding in findings)
    code = ExitCode.BAD_INPUT if wrong else ExitCode.DONE
    if as_json:
        told = [finding.model_dump() for finding in findings]
        print(json.dumps({"findings": told, "exit_code": int(code)}, indent=2))
    else:
        _show(findings)
    return code


def _examined(examination: Examination) -> Iterator[Diagnosis]:
    """Carry out one examination; where it cannot be, that is what it finds."""
    try:
        yield from examination()
    except Exception as error:
        name = examination.__name__.strip("_").replace("_", " ").capitalize()
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        yield Diagnosis(name=name, state="wrong", detail=f"cannot be examined: {reason}")


def _show(findings: list[Diagnosis]) -> None:
    console = Console(highlight=False)
    marks = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "wrong": ("✗", "bold red")}
    for finding in findings:
        console.print(
            Text.assemble(
                "  ", marks[finding.state], f" {finding.name:<18} ", (finding.detail, "dim")
            )
        )
        if finding.mend:
            console.print(Text.assemble(" " * 23, "mend it:  ", (finding.mend, "bold")))


def _python() -> Iterator[Diagnosis]:
    running = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 12):
        yield Diagnosis(name="Python", state="ok", detail=f"{running} in {sys.prefix}")
    else:
        yield Diagnosis(
            name="Python",
            state="wrong",
            detail=f"{running}; Evergreen needs 3.11 or 3.12",
            mend="make clean install PYTHON=python3.11",
        )


def pinned_versions(requirements: str) -> dict[str, str]:
    """Return name: version of every pin that holds on this machine, from a lock file's text."""
    from packaging.markers import Marker

    pins = {}
    for line in requirements.splitlines():
        found = re.match(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\]+)(?: *; *([^\\]+))?", line)
        if found and (found[3] is None or Marker(found[3].strip()).evaluate()):
            pins[found[1]] = found[2]
    return pins


def _packages() -> Iterator[Diagnosis]:
    pins = pinned_versions((ROOT / "requirements.txt").read_text(encoding="utf-8"))
    different = []
    for name, pinned in pins.items():
        try:
            installed = version(name)
        except PackageNotFoundError:
            installed = "missing"
        if installed != pinned:
            different.append(f"{name} {installed} (pinned {pinned})")
    if different:
        shown = ", ".join(different[:5]) + (" …" if len(different) > 5 else "")
        yield Diagnosis(name="Packages", state="wrong", detail=shown, mend=INSTALL)
    else:
        yield Diagnosis(name="Packages", state="ok", detail=f"{len(pins)} as pinned")


def _imports() -> Iterator[Diagnosis]:
    """Some wheels need libraries of the system, or break with a neighbour's version."""
    mends = {"lightgbm": "apt-get install libgomp1", "evidently": INSTALL, "xgboost": INSTALL}
    for name, mend in mends.items():
        try:
            __import__(name)
        except (ImportError, OSError, AttributeError) as error:
            yield Diagnosis(name=name, state="wrong", detail=f"does not import: {error}", mend=mend)
        else:
            yield Diagnosis(name=name, state="ok", detail=f"{name} imports")


def _state_folder() -> Iterator[Diagnosis]:
    home = Home.locate()
    place = home.root
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        yield Diagnosis(
            name="State folder",
            state="wrong",
            detail=f"{home.root} cannot be written to ({error.strerror})",
            mend="export EVERGREEN_HOME=/a/folder/of/yours",
        )
        return
    free = shutil.disk_usage(place).free / 2**30
    if free < LEAST_FREE_GIB:
        yield Diagnosis(
            name="State folder",
            state="wrong",
            detail=f"{home.root}: only {free:.2f} GiB free",
            mend=f"du -sh {home.root}/* | sort -h",
        )
    else:
        yield Diagnosis(name="State folder", state="ok", detail=f"{home.root}, {free:.0f} GiB free")


def _stack() -> Iterator[Diagnosis]:
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    os.environ.setdefault("ZENML_LOGGING_VERBOSITY", "ERROR")
    from zenml.client import Client

    from stacks.apply import plan
    from stacks.spec import read_stack

    stack = Client().active_stack_model
    if stack.name == "default" and not Client().list_stacks(name="local").total:
        detail = "none yet; the first run makes 'local' and activates it"
        yield Diagnosis(name="Active stack", state="ok", detail=detail)
        return
    kinds = {kind.value for kind in stack.components}
    missing = sorted({"experiment_tracker", "model_registry"} - kinds)
    if missing:
        yield Diagnosis(
            name="Active stack",
            state="wrong",
            detail=f"{stack.name!r} has no {' and no '.join(missing)}",
            mend=f"{sys.executable} -m stacks apply stacks/local.yaml --set",
        )
        return
    file = ROOT / "stacks" / f"{stack.name}.yaml"
    changes = plan(read_stack(file)) if file.exists() else []
    if changes:
        yield Diagnosis(
            name="Active stack",
            state="warning",
            detail=f"{stack.name!r} differs from {file.name}: {changes[0]}",
            mend=f"{sys.executable} -m stacks apply stacks/{file.name}",
        )
    else:
        yield Diagnosis(name="Active stack", state="ok", detail=f"{stack.name!r}")


def _servers() -> Iterator[Diagnosis]:
    """ZenML's dashboard daemon leaves its records behind when the machine goes down."""
    from zenml.zen_server.deploy.deployer import LocalServerDeployer
    from zenml.zen_server.deploy.exceptions import ServerDeploymentNotFoundError

    try:
        server = LocalServerDeployer().get_server()
    except ServerDeploymentNotFoundError:
        taken = _listens(DASHBOARD_PORT)
        yield Diagnosis(
            name="Dashboard",
            state="warning" if taken else "ok",
            detail=f"not started; port {DASHBOARD_PORT} is {'taken' if taken else 'free'}",
            mend=f"zenml login --local --port {DASHBOARD_PORT + 1}" if taken else None,
        )
    else:
        if server.is_running and server.status is not None:
            yield Diagnosis(name="Dashboard", state="ok", detail=f"runs at {server.status.url}")
        else:
            yield Diagnosis(
                name="Dashboard",
                state="wrong",
                detail="registered, but it does not answer (stale)",
                mend="zenml logout --local && zenml login --local",
            )
    if _listens(MLFLOW_PORT):
        yield Diagnosis(
            name="MLflow UI",
            state="warning",
            detail=f"port {MLFLOW_PORT}, its default, is taken",
            mend=f"mlflow ui --port {MLFLOW_PORT + 1} "
            f"--backend-store-uri {Home.locate().mlflow_uri}",
        )
    else:
        yield Diagnosis(name="MLflow UI", state="ok", detail=f"port {MLFLOW_PORT} is free")


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.3)
        return probe.connect_ex(("127.0.0.1", port)) == 0


EXAMINATIONS: tuple[Examination, ...] = (
    _python,
    _packages,
    _imports,
    _state_folder,
    _stack,
    _servers,
)
