"""From a registered version to a model that is ready: fetched, verified, replayed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from evergreen.errors import InputError
from evergreen.serving.artifacts import bundle_folder

if TYPE_CHECKING:
    from evergreen.serving.registry_reader import Located, RegistryReader
    from evergreen.serving.runtime import Runtime

# Verifies a bundle folder, replays its golden rows and returns its runtime.
Load: TypeAlias = "Callable[[Path, str | None], Runtime]"


def load_version(registry: RegistryReader, located: Located, load: Load, cache: Path) -> Runtime:
    """Return the runtime of a registered version.

    Raises
    ------
    InputError
        If its bundle is no good, or of another model than it was registered as.
    UnreachableError
        If its files cannot be reached.
    """
    runtime = load(bundle_folder(registry, located, cache), located.version)
    if runtime.contract.use_case != located.name:
        raise InputError(
            f"Version {located.version} of {located.name!r} holds a model of "
            f"{runtime.contract.use_case!r}: it was registered under the wrong name."
        )
    return runtime
