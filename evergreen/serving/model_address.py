"""Where a model is, in one address: a folder, a registered model, or an object store.

Address                         What it names
/mnt/models, file:///mnt/models a bundle in a folder
models:/wine@champion           what an alias names, now and later
models:/wine/3                  version 3
s3://bucket/folder, gs://…      a bundle in an object store, fetched once

``models:/`` is MLflow's notation; the registry is `ServerOptions.registry_uri`.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from evergreen.errors import InputError, UnreachableError
from evergreen.object_stores import SCHEMES, copy_folder
from evergreen.paths import Home
from evergreen.promotion.bundle import Bundle, open_bundle
from evergreen.serving.artifacts import bundle_folder
from evergreen.serving.options import ServerOptions
from evergreen.serving.registry_reader import locate, open_registry
from evergreen.serving.settings import ServingConfig

_REGISTERED: Final = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/@]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class Found:
    """A verified bundle, and what the registry calls its version."""

    bundle: Bundle
    version: str | None


def options_for(address: str, settings: ServingConfig, home: Home | None = None) -> ServerOptions:
    """Return the options that serve the model at an address, which is fetched if need be.

    Raises
    ------
    InputError
        If it is no address of a model, or no bundle is there.
    UnreachableError
        If its files cannot be fetched.
    """
    home = home or Home.locate()
    scheme = urlsplit(address).scheme
    if scheme == "models":
        match = _REGISTERED.fullmatch(address)
        if match is None:
            raise InputError(
                f"{address!r} names no registered model; write models:/NAME@ALIAS or "
                "models:/NAME/VERSION"
            )
        return ServerOptions(
            model=match["name"],
            alias=match["alias"] or "champion",
            version=match["version"],
            settings=settings,
            home=home,
        )
    if scheme in SCHEMES:
        folder = fetch_bundle(address, home.root / "serving" / "bundles")
    elif scheme in ("", "file"):
        folder = Path(unquote(urlsplit(address).path) if scheme else address)
    else:
        raise InputError(
            f"{address!r} is no address of a model that can be used. Name a folder, "
            f"models:/NAME@ALIAS, or an object store ({', '.join(SCHEMES)}://…)."
        )
    if not folder.is_dir():
        raise InputError(f"There is no bundle folder {folder}.")
    return ServerOptions(bundle=folder, settings=settings, home=home)


def find_bundle(options: ServerOptions) -> Found:
    """Return the bundle that is to be served, without loading its model.

    Raises as `evergreen.serving.assembly.load` does.
    """
    if options.bundle is not None:
        return Found(open_bundle(options.bundle), None)
    registry = open_registry(options.registry_uri)
    located = locate(registry, str(options.model), alias=options.alias, version=options.version)
    cache = options.home.root / "serving" / "bundles"
    return Found(open_bundle(bundle_folder(registry, located, cache)), located.version)


def fetch_bundle(address: str, cache: Path) -> Path:
    """Copy a bundle from an object store into ``cache``, where it appears whole or not at all.

    Credentials are those of the store's own clients, such as AWS_ACCESS_KEY_ID;
    AWS_ENDPOINT_URL names a store of your own.

    Raises
    ------
    InputError
        If there is no sound bundle.
    UnreachableError
        If the store does not answer, or the files cannot be kept.
    """
    target = cache / "fetched" / hashlib.sha256(address.encode()).hexdigest()[:16]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=".fetching-"))
        try:
            copy_folder(address, temporary, "The bundle")
            open_bundle(temporary, f"The bundle {address}")
            shutil.rmtree(target, ignore_errors=True)
            temporary.chmod(0o755)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise UnreachableError(f"The bundle {address} cannot be kept: {error}") from error
    return target
