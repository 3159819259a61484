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

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


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


def read_stack(path: Path, environ: Mapping[str, str] = os.environ) -> StackSpec:
    """Read a stack file and resolve its ``${NAME}`` references.

    ``${EVERGREEN_HOME}`` always resolves: to the variable, else to the default state folder.

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
    known_values = {**environ, HOME_VARIABLE: str(Home.locate().root)}
    missing = sorted(
        {name for name in _REFERENCE.findall(_without_comments(text)) if name not in known_values}
    )
    if missing:
        raise InputError(f"{path}: set these environment variables first: {', '.join(missing)}")
    try:
        raw = YAML(typ="safe").load(text)
        return StackSpec.model_validate(_resolve(raw, known_values))
    except YAMLError as error:
        raise InputError(f"{path}: is not YAML: {error}") from None
    except ValidationError as error:
        mistakes = "; ".join(
            f"{'.'.join(map(str, mistake['loc']))}: {mistake['msg']}" for mistake in error.errors()
        )
        raise InputError(f"{path}: {mistakes}") from None


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _resolve(value: Any, values: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return _REFERENCE.sub(lambda match: values[match[1]], value)
    if isinstance(value, dict):
        return {key: _resolve(item, values) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve(item, values) for item in value]
    return value
