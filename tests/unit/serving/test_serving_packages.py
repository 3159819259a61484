"""The serving image's lock files hold what the server imports, in the versions of the whole."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[3]
REQUIREMENTS = ROOT / "requirements"
STARTED = """
import sys
import evergreen.serving.__main__, evergreen.serving.assembly, evergreen.serving.server
import evergreen.serving.api, evergreen.serving.keys_command, evergreen.serving.probe
import evergreen.serving.registry_rest, evergreen.serving.registry_tables
import evergreen.serving.log_loader, evergreen.serving.parsing.formats, evergreen.use_case
print("\\n".join({name.split(".")[0] for name, module in list(sys.modules.items()) if module}))
"""
# Used where they happen to be installed, by packages that do without them.
OPTIONAL = {"brotli", "pygments", "rich", "sniffio", "ujson", "watchfiles", "setuptools"}
OPTIONAL |= {"cloudpickle", "python-multipart", "orjson", "pyyaml", "zstandard", "brotlicffi"}


def locked(file: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", file.read_text(), re.MULTILINE)
    return {canonicalize_name(name): version for name, version in found}


def named(file: Path) -> set[str]:
    lines = (line.split("#")[0].strip() for line in file.read_text().splitlines())
    return {canonicalize_name(Requirement(line).name) for line in lines if line and line[0] != "-"}


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The distributions whose modules a started server holds."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED], cwd=ROOT, capture_output=True, text=True, check=True
    )
    owners = packages_distributions()
    modules = set(done.stdout.split()) - set(sys.stdlib_module_names)
    return {canonicalize_name(owner) for name in modules for owner in owners.get(name, ())}


def test_all_that_a_server_imports_is_locked(imported):
    assert {"numpy", "uvicorn", "msgspec", "sqlalchemy"} <= imported
    assert imported - OPTIONAL <= set(locked(REQUIREMENTS / "serve.txt"))


def test_nothing_that_a_server_does_without_is_locked():
    heavy = {"zenml", "mlflow", "scikit-learn", "pandas", "scipy", "shap", "xgboost-cpu"}
    assert not heavy & set(locked(REQUIREMENTS / "serve.txt"))
    assert heavy - {"zenml", "mlflow"} <= set(locked(REQUIREMENTS / "serve-native.txt"))


@pytest.mark.parametrize("name", ["serve", "serve-native"])
def test_versions_are_those_of_the_whole(name):
    whole, part = locked(ROOT / "requirements.txt"), locked(REQUIREMENTS / f"{name}.txt")
    assert named(REQUIREMENTS / f"{name}.in") <= set(part)
    assert {package: whole.get(package) for package in part} == part


@pytest.mark.parametrize("name", ["serve", "serve-native", "kubernetes"])
def test_every_package_is_pinned_by_hash(name):
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)[1:]
    assert all("--hash=sha256:" in entry for entry in entries)
    assert len(entries) >= len(locked(REQUIREMENTS / f"{name}.txt")) > 0
