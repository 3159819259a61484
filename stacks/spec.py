"""A stack file as a value."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML, YAMLError

from evergreen.errors import InputError
from evergreen.paths import HOME_VARIABLE, Home
from evergreen.values import Value

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}")


class ComponentSpec(Value):
    """One component: its name in ZenML, its flavor and its settings."""

    name: str
    flavor: str
    config: dict[str, Any] = {}


class StackSpec(Value):
    """A stack: a name and one component per kind."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_-]*$")
    description: str = ""
    components: dict[str, ComponentSpec]
    environment: dict[str, str] = Field({}, description="Variables of every step.")
    secrets: dict[str, dict[str, str | None]] = Field(
        {},
        description="ZenML secrets by name, with their values; None: not in the environment, so "
        "the secret must be there.",
    )
    step_secrets: tuple[str, ...] = Field(
        (), description="Secrets whose values are variables of every step."
    )


def read_stack(path: Path, environ: Mapping[str, str] = os.environ) -> StackSpec:
    """Read a stack file and resolve its ``${NAME}`` and ``${NAME:-default}`` references.

    Three always resolve: ``${EVERGREEN_HOME}`` to the variable, else to the default state folder;
    ``${DOCKER_SOCKET}`` and ``${DOCKER_GROUP}`` to the container engine's. A setting that an empty
    default leaves empty is left out, and so is a component whose ``only_if`` is empty.

    Raises
    ------
    InputError
        If the file is missing, malformed, or refers to variables that are not set.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(sorted(str(file) for file in Path(__file__).parent.glob("*.yaml")))
        raise InputError(
            f"{path}: cannot be read ({error.strerror}). Stack files: {known}"
        ) from None
    known_values = {**environ, HOME_VARIABLE: str(Home.locate().root), **_engine(environ)}
    try:
        raw = YAML(typ="safe").load(text)
        secrets = raw.pop("secrets", {}) if isinstance(raw, dict) else {}
        _leave_out(raw, known_values)
        if missing := sorted(_unset(raw, known_values)):
            raise InputError(f"{path}: set these environment variables first: {', '.join(missing)}")
        spec = _resolve(raw, known_values)
        if secrets:
            spec["secrets"] = _resolve_secrets(secrets, known_values)
        return StackSpec.model_validate(spec)
    except YAMLError as error:
        raise InputError(f"{path}: is not YAML: {error}") from None
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in error.errors()
        )
        raise InputError(f"{path}: {mistakes}") from None


def _engine(environ: Mapping[str, str]) -> dict[str, str]:
    """Return where the container engine of this machine listens, and the group that may ask it."""
    scheme, _, path = environ.get("DOCKER_HOST", "").partition("://")
    socket = Path(path if scheme == "unix" else "/var/run/docker.sock")
    group = socket.stat().st_gid if socket.exists() else 0
    return {"DOCKER_SOCKET": str(socket), "DOCKER_GROUP": str(group)}


def _leave_out(raw: Any, values: Mapping[str, str]) -> None:
    """Take out the components that need what is not there."""
    components = raw.get("components") if isinstance(raw, dict) else None
    if not isinstance(components, dict):
        return  # the model says what is wrong
    for kind, component in list(components.items()):
        wanted = component.pop("only_if", True) if isinstance(component, dict) else True
        if not _resolve(wanted, values):
            del components[kind]


def _unset(value: Any, values: Mapping[str, str]) -> set[str]:
    """Return the names that a file refers to, that have no default and are not set."""
    if isinstance(value, str):
        found = _REFERENCE.finditer(value)
        return {match[1] for match in found if match[2] is None and match[1] not in values}
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        return {name for item in value for name in _unset(item, values)}
    return set()


def _resolve(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: values.get(match[1]) or match[3] or "", value)
    if isinstance(value, dict):
        pairs = [
            (_resolve(key, values), _resolve(item, values), item) for key, item in value.items()
        ]
        return {key: new for key, new, old in pairs if new != "" or old == ""}
    if isinstance(value, list):
        return [_resolve(item, values) for item in value]
    return value


def _resolve_secrets(secrets: Any, values: Mapping[str, str]) -> Any:
    """Leave a value that the environment does not have to the secret that ZenML keeps."""
    if not isinstance(secrets, dict) or not all(isinstance(v, dict) for v in secrets.values()):
        return secrets  # the model says what is wrong
    return {
        name: {
            key: None if _unset(item, values) else _resolve(item, values)
            for key, item in content.items()
        }
        for name, content in secrets.items()
    }
