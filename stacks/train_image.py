"""The image of ZenML's steps: built once per state of code and dependencies, named by its digest.

Its tag is the fingerprint of all that goes into it, so one look into the registry tells whether
it is there. Runs name it by digest: a tag that was pushed again is noticed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from evergreen.errors import InputError, UnreachableError
from stacks.image_registry import Credentials, digest_of

if TYPE_CHECKING:
    from zenml.config import DockerSettings
    from zenml.container_registries import BaseContainerRegistry
    from zenml.image_builders import BuildContext
    from zenml.stack import Stack

ROOT: Final = Path(__file__).resolve().parents[1]
DOCKERFILE: Final = ROOT / "deploy" / "Dockerfile.train"
IMAGE_VARIABLE: Final = "EVERGREEN_TRAIN_IMAGE"  # an image of the user's own
REPOSITORY: Final = "evergreen-train"


def train_image(stack: Stack, say: Callable[[str], None]) -> str:
    """Return the reference of the image that holds this code, after building it if need be.

    Where the stack has a registry, that is ``registry/evergreen-train@sha256:…``.

    Raises
    ------
    UnreachableError
        If the registry does not answer, or the image cannot be built.
    InputError
        If ``EVERGREEN_TRAIN_IMAGE`` names an image that is not there.
    """
    registry = stack.container_registry
    credentials = registry.credentials if registry is not None else None
    if named := os.environ.get(IMAGE_VARIABLE):
        return _by_digest(named, credentials)
    context = build_context()
    tag = fingerprint(context)
    if registry is None:
        return _local_image(f"localhost/{REPOSITORY}:{tag}", context, stack, say)
    image = f"{registry.config.uri}/{REPOSITORY}:{tag}"
    if (digest := digest_of(image, credentials)) is None:
        say("Build the image of the steps")
        _build(stack, image, context, registry)
        digest = digest_of(image, credentials)
    if digest is None:
        raise UnreachableError(f"{image} was pushed, and the registry does not have it.")
    return f"{registry.config.uri}/{REPOSITORY}@{digest}"


def settings_of(image: str, *, reuse: bool = True) -> DockerSettings:
    """Return the settings by which steps run in an image as it is.

    ``reuse`` is whether ZenML may take its own record of a build that had equal settings.
    """
    from zenml.config import DockerSettings

    return DockerSettings(
        parent_image=image,
        skip_build=True,
        prevent_build_reuse=not reuse,
        install_stack_requirements=False,
        # The code is in the image: none is to be uploaded, and to take its place.
        allow_download_from_artifact_store=False,
        allow_download_from_code_repository=False,
    )


def build_context() -> BuildContext:
    """Return the files of which the image is made, the Dockerfile among them."""
    from zenml.image_builders import BuildContext

    context = BuildContext(root=str(ROOT), dockerignore_file=str(ROOT / ".dockerignore"))
    context.add_file(source=DOCKERFILE.read_text(encoding="utf-8"), destination="Dockerfile")
    return context


def fingerprint(context: BuildContext) -> str:
    """Return 16 hexadecimal digits that change with any file of the image."""
    found = hashlib.sha256(DOCKERFILE.read_bytes())
    for name, path in sorted(context.get_files().items()):
        file = Path(path)
        if file.is_file():
            found.update(f"\0{name}\0{file.stat().st_mode & 0o111}\0".encode())
            found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:16]


def _by_digest(image: str, credentials: Credentials | None) -> str:
    """Return the user's own image by digest, so that steps of one run see one image."""
    name, at, _ = image.partition("@")
    if at or "/" not in name or name.startswith("localhost/"):
        return image
    digest = digest_of(name, credentials)
    if digest is None:
        raise InputError(f"{IMAGE_VARIABLE}={image}: the registry has no such image.")
    host, _, rest = name.partition("/")
    return f"{host}/{rest.partition(':')[0]}@{digest}"


def _local_image(
    image: str, context: BuildContext, stack: Stack, say: Callable[[str], None]
) -> str:
    """Return an image of this machine's engine."""
    import subprocess

    from zenml.container_engines import get_container_engine

    engine = get_container_engine().engine_type.value
    there = subprocess.run([engine, "image", "inspect", image], capture_output=True, check=False)  # noqa: S603
    if there.returncode != 0:
        say("Build the image of the steps")
        _build(stack, image, context, None)
    return image


def _build(
    stack: Stack, image: str, context: BuildContext, registry: BaseContainerRegistry | None
) -> None:
    from zenml.config.docker_settings import DockerBuildOptions

    builder = stack.image_builder
    if builder is None:
        raise InputError(f"The stack {stack.name!r} has no image builder, and {image} is missing.")
    options = DockerBuildOptions()
    if builder.is_building_locally and _is_podman():
        # OCI images cannot hold what the Dockerfile says of health checks.
        options = DockerBuildOptions(format="docker")
    try:
        builder.build(image, context, options, registry)
    except Exception as error:  # engines and builders have no common error
        raise UnreachableError(f"{image} cannot be built or pushed: {error}") from error


def _is_podman() -> bool:
    from zenml.container_engines import get_container_engine

    return get_container_engine().engine_type.value == "podman"
