"""The version that is to be served, fetched and verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from zenml import step

from evergreen.deployment.values import Release
from evergreen.errors import InputError
from evergreen.paths import Home
from evergreen.promotion.bundle import open_bundle
from evergreen.serving.artifacts import bundle_folder
from evergreen.serving.registry_reader import Located
from evergreen.serving.registry_reader import open_registry as open_reader
from evergreen.values import Value
from steps.announcements import announce
from steps.promotion.champion import open_registry


class Champion(Value):
    """The version that the alias names, and the address of its bundle."""

    name: str
    version: str
    source: str


@step(enable_cache=False)
def resolve_champion(name: str) -> Annotated[Champion, "champion"]:
    """Look the champion up.

    Raises
    ------
    InputError
        If there is none yet.
    UnreachableError
        If the registry does not answer.
    """
    announce("Look up the champion")
    found = open_registry().champion(name)
    if found is None:
        raise InputError(
            f"{name!r} has no champion to deploy. Train one: python run.py --pipeline train, or "
            "do both at once: make deploy"
        )
    return Champion(name=name, version=found.version, source=found.bundle_uri)


@step(enable_cache=False)
def verify_bundle(champion: Champion) -> Annotated[Release, "release"]:
    """Fetch the champion's files, compare their checksums, and replay the golden rows offline.

    Raises
    ------
    InputError
        If the bundle is missing or damaged, of another use case, or answers otherwise than at
        training.
    UnreachableError
        If it cannot be fetched.
    """
    announce("Verify the bundle")
    folder = fetch_bundle(champion)
    title = f"The bundle of version {champion.version} of {champion.name!r} ({champion.source})"
    bundle = open_bundle(folder, title)
    if bundle.manifest.use_case != champion.name:
        raise InputError(f"{title} is of {bundle.manifest.use_case!r}; nothing was deployed.")
    replay = bundle.replay()
    if not replay.passed:
        raise InputError(f"{title} is no good; nothing was deployed. {replay.message}")
    return Release(
        name=champion.name,
        version=champion.version,
        folder=str(folder),
        source=champion.source,
        runtime=bundle.manifest.runtime,
        replay=replay,
    )


def fetch_bundle(champion: Champion | Release) -> Path:
    """Return a folder with a version's files on this machine. Raises as `bundle_folder` does."""
    return bundle_folder(
        open_reader(open_registry().tracking_uri),
        Located(champion.name, champion.version, champion.source),
        Home.locate().root / "serving" / "bundles",
    )
