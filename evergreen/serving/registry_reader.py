"""Reading MLflow's registry without MLflow: which version an alias names, and where it lies.

MLflow takes seconds and hundreds of megabytes to import, so a server's processes read its tables
or its REST interface themselves. They only read: who moves aliases is `evergreen.promotion`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from evergreen.errors import InputError


@dataclass(frozen=True)
class Located:
    """A registered version, and the address of its bundle."""

    name: str
    version: str
    source: str


@dataclass(frozen=True)
class ModelState:
    """What a registry says of a model at one moment."""

    aliases: Mapping[str, str]  # to versions
    traffic: str | None = None  # the tag `evergreen.serving.traffic.TAG`, as it stands there


class RegistryReader(Protocol):
    """One MLflow registry.

    All methods raise `UnreachableError`, naming the address, where it does not answer.
    """

    address: str  # without a password

    def models(self) -> tuple[str, ...]:
        """Return the names of the registered models (of very many, the first ones)."""

    def state(self, name: str) -> ModelState | None:
        """Return a model's aliases and traffic plan, read at once, or None where it is unknown."""

    def source(self, name: str, version: str) -> str | None:
        """Return the address of a version's files, or None where it is unknown."""

    def download(self, source: str, folder: Path) -> Path:
        """Copy the files at an address into ``folder``; return where they are."""


def open_registry(tracking_uri: str) -> RegistryReader:
    """Return a reader for an MLflow address: http(s), SQLite or PostgreSQL.

    Raises
    ------
    InputError
        If the address is of another kind.
    """
    scheme = urlsplit(tracking_uri).scheme
    if scheme in ("http", "https"):
        from evergreen.serving.registry_rest import RestRegistry

        return RestRegistry(tracking_uri)
    if scheme.split("+")[0] in ("sqlite", "postgresql", "postgres"):
        from evergreen.serving.registry_tables import TableRegistry

        return TableRegistry(tracking_uri)
    raise InputError(
        f"{tracking_uri!r} is no address of an MLflow registry that can be used; use http(s)://, "
        "sqlite:/// or postgresql://"
    )


def look(registry: RegistryReader, name: str) -> ModelState:
    """Return what the registry says of a model.

    Raises
    ------
    InputError
        If there is no such model.
    UnreachableError
        If the registry does not answer.
    """
    state = registry.state(name)
    if state is None:
        raise InputError(_unknown_model(registry, name))
    return state


def locate(
    registry: RegistryReader,
    name: str,
    *,
    alias: str = "champion",
    version: str | None = None,
    state: ModelState | None = None,
) -> Located:
    """Return the version that an alias names, or the one with a number.

    ``state`` is what the registry said, where it was asked just now.

    Raises
    ------
    InputError
        If there is no such model, alias or version.
    UnreachableError
        If the registry does not answer.
    """
    aliases = (look(registry, name) if state is None else state).aliases
    number = aliases.get(alias) if version is None else version
    if number is None:
        raise InputError(_unknown_alias(name, alias, aliases))
    source = registry.source(name, number)
    if source is None:
        raise InputError(f"{name!r} has no version {number!r} in the registry {registry.address}.")
    return Located(name, number, source)


def _unknown_model(registry: RegistryReader, name: str) -> str:
    known = registry.models()
    text = f"There is no model {name!r} in the registry {registry.address}"
    if not known:
        return f"{text}, which is empty. Train one first: python run.py --pipeline train"
    return f"{text}.{_suggestion(name, known)} It has: {_listed(known)}."


def _unknown_alias(name: str, alias: str, aliases: Mapping[str, str]) -> str:
    text = f"No version of {name!r} is {alias!r}"
    if alias == "champion":
        text += " yet: none passed the gate. Train again, or serve one by its number: --version 1"
        return f"{text}."
    has = f"It has: {_listed(aliases)}." if aliases else "It has no aliases."
    return f"{text}.{_suggestion(alias, aliases)} {has}"


def _suggestion(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _listed(names: Iterable[str]) -> str:
    names = sorted(names)
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
