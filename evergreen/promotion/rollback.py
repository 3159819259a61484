"""The way back to a version that served before."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from evergreen.errors import InputError, RefusedError
from evergreen.promotion.decisions import MOVES
from evergreen.promotion.registration import PREVIOUS, RegisteredModel, Registration

if TYPE_CHECKING:
    from evergreen.promotion.registry import Registry


def roll_back(
    registry: Registry, name: str, who: str, reason: str = "", to: str | None = None
) -> Registration:
    """Make the version that served before champion again, or the version (or alias) ``to``.

    Its bundle is fetched and verified first. Rolling back to the champion changes nothing.

    Raises
    ------
    InputError
        If there is no previous version, no such model or version, or its bundle is damaged.
    RefusedError
        If the version never served; or none is named, and the champion came by a rollback: the
        previous version is the one that was left then.
    UnreachableError
        If registry, promotion log or the bundle's files do not answer.
    """
    registry.resume(name)
    champion = registry.champion(name)
    if champion is None:
        raise InputError(f"{name!r} has no champion, so there is nothing to roll back.")
    target = _target(registry, name, to)
    if target.version == champion.version:
        return Registration(
            status="unchanged",
            version=champion.version,
            champion=champion.version,
            previous=_version(registry.aliased(name, PREVIOUS)),
            run_id=champion.run_id,
            message=f"Version {champion.version} of {name!r} is champion already; nothing changes.",
        )
    if target.decision not in MOVES:
        raise RefusedError(
            f"Version {target.version} of {name!r} never served, so there is no way back to it "
            f"(what became of it: {target.decision or 'nothing yet'})."
        )
    if to is None:
        _require_not_back_already(registry, name, champion.version, target.version)
    with tempfile.TemporaryDirectory(prefix="evergreen-rollback-") as folder:
        registry.fetch_bundle(name, target.version, Path(folder, "bundle"))
    return registry.roll_back(name, who, reason, target.version)


def _target(registry: Registry, name: str, to: str | None) -> RegisteredModel:
    if to is not None:
        return registry.aliased(name, to) or registry.version(name, to)
    previous = registry.aliased(name, PREVIOUS)
    if previous is None:
        raise InputError(f"{name!r} has no previous version to roll back to.")
    return previous


def _require_not_back_already(registry: Registry, name: str, champion: str, previous: str) -> None:
    """Refuse to toggle: who asks twice in a hurry must not get back what was left."""
    for entry in registry.log.entries(name):
        if entry.action in ("promoted", "approved"):
            return
        if entry.action == "rolled_back" and entry.to_version == champion:
            raise RefusedError(
                f"{name!r} was rolled back to version {champion} already, by {entry.who}; nothing "
                f"changes. To make version {previous} champion again: "
                f"python run.py --rollback --to {previous}"
            )


def _version(model: RegisteredModel | None) -> str | None:
    return None if model is None else model.version
