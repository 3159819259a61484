"""Overrides from the command line: ``--set training.trials=5``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evergreen.data.source_config import source_from_shorthand
from evergreen.errors import InputError
from evergreen.use_case.document import Document, Mistake, Place, parse_yaml
from evergreen.use_case.key_path import KeyPath, read_path, show_path


def apply_overrides(document: Document, overrides: Sequence[str]) -> None:
    """Write each ``key.path=value`` into the document; later ones win.

    A value is YAML. Keys that hold dots are quoted (``contract."a.b".unit=mm``), a number names
    an item of a list (``gate.slices[0].floor=0.8``), missing mappings are made. Mistakes that
    only the whole use case shows, such as an unknown key, stay for its validation.

    Raises
    ------
    InputError
        If an override is not of that form or its value is not YAML.
    """
    for override in overrides:
        path, text = parse_override(override)
        value = parse_yaml(text, f"--set {show_path(path)}")
        value.require()
        _place_value(document, path, value.data)


def parse_override(override: str) -> tuple[KeyPath, str]:
    """Split ``key.path=value`` into the path's parts and the value's text.

    Raises
    ------
    InputError
        If there is no key or no equals sign.
    """
    if found := read_path(override, "="):
        return found
    raise InputError(
        f"--set {override}: expected key.path=value, such as training.trials=5; "
        'quote a key that holds a dot or a space: contract."a.b".unit=mm'
    )


def _place_value(document: Document, path: KeyPath, value: Any) -> None:
    """Put a value at a path, making the mappings on the way."""
    if document.data is None:
        document.data = {}
    holder: Any = document.data
    for depth, part in enumerate(path):
        here = path[:depth]
        key = _key_into(holder, part)
        if key is None:
            document.mistakes.append(Mistake(here, _no_way_down(holder, path)))
            document.places.setdefault(here, Place(f"--set {show_path(path)}"))
            return
        path = (*here, key, *path[depth + 1 :])
        if depth == len(path) - 1:
            break
        if isinstance(holder, dict) and holder.get(key) is None:
            holder[key] = {}
        holder[key] = _expand_shorthand(path[: depth + 1], holder[key])
        holder = holder[key]
    holder[path[-1]] = value
    for known in [known for known in document.places if known[: len(path)] == path]:
        del document.places[known]
    document.places[path] = Place("--set")


def _key_into(holder: Any, part: str | int) -> str | int | None:
    """Return ``part`` as a key of ``holder``; None where it leads nowhere."""
    if isinstance(holder, dict) and isinstance(part, str):
        return part
    if isinstance(holder, list) and str(part).isdecimal() and int(part) < len(holder):
        return int(part)
    return None


def _no_way_down(holder: Any, path: KeyPath) -> str:
    target = show_path(path)
    if isinstance(holder, list):
        allowed = f"an index from 0 to {len(holder) - 1}" if holder else "no index: it is empty"
        return f"is a list of {len(holder)}; --set {target} needs {allowed}"
    kind = "list" if isinstance(holder, dict) else "mapping"
    return f"is no {kind}, so that --set {target} leads nowhere; set the key as a whole"


def _expand_shorthand(path: KeyPath, value: Any) -> Any:
    """Write a shorthand out as the mapping that it stands for, so that a path can lead into it."""
    match path, value:
        case ("training", "candidates"), list() if all(isinstance(name, str) for name in value):
            return {name: {} for name in value}
        case ("quality", _), str():
            return {"severity": value}
        case ("data", "source"), str():
            try:
                return source_from_shorthand(value)
            except ValueError:
                return value
    return value
