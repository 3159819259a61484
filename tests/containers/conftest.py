"""Images are built once per session, from this checkout."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.containers import build, podman, require_podman
from tests.support.served import bundle_of


@pytest.fixture(scope="session", autouse=True)
def _podman():
    require_podman()


@pytest.fixture(scope="session")
def serve_image() -> str:
    return build("evergreen-serve:test", "Dockerfile.serve")


@pytest.fixture(scope="session")
def native_image() -> str:
    return build("evergreen-serve:test-native", "Dockerfile.serve", "--build-arg", "EXTRAS=native")


@pytest.fixture(scope="session")
def train_image() -> str:
    return build("evergreen-train:test", "Dockerfile.train")


@pytest.fixture(scope="session")
def readable(tmp_path_factory) -> Path:
    """A folder that another user, such as the one in a container, may read."""
    folder = tmp_path_factory.mktemp("readable")
    for part in (folder, *list(folder.parents)[:2]):
        part.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def wine(readable):
    """A bundle that runs on ONNX Runtime, and can be read in a container."""
    found = bundle_of("wine.yaml", "random_forest", readable / "wine", {"n_estimators": 30})
    assert found.manifest.runtime == "onnx"
    subprocess.run(["chmod", "-R", "a+rX", str(found.folder)], check=True)
    return found


@pytest.fixture(scope="session")
def server_images(serve_image, train_image) -> None:
    """Everything that compose.yaml and its test override name, under those names."""
    for image in (serve_image, train_image):
        podman("tag", image, image.removesuffix(":test"))
    for name in ("postgres", "s3", "prometheus"):
        build(f"evergreen-test-{name}", f"test/Dockerfile.{name}", context="deploy/test")
