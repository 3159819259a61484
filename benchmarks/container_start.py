"""How long a serving container takes from ``podman run`` until it answers ``/health/ready``.

    python benchmarks/container_start.py [--image localhost/evergreen-serve] [--starts 6] [--first]

The model is a random forest of 30 trees on wine, in a bundle that is mounted. ``--first`` gives the
containers and this program the largest share of the processors, so that other work on the machine
hardly counts; that needs root, and control groups of version 1. Prints Markdown.
"""

from __future__ import annotations

import argparse
import http.client
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support.containers import Container, podman, running  # noqa: E402
from tests.support.served import bundle_of  # noqa: E402

CONTAINERS = Path("/sys/fs/cgroup/cpu/libpod_parent/cpu.shares")
LARGEST = "262144"  # shares; 1024 are usual
HOME = "/var/lib/evergreen"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image", default="localhost/evergreen-serve")
    parser.add_argument("--starts", type=int, default=6)
    parser.add_argument("--first", action="store_true", help="let other work wait")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        bundle = bundle_of("wine.yaml", "random_forest", folder / "wine", {"n_estimators": 30})
        subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
        with volume() as name, before_others(options.first) as more:
            mounts = ("--volume", f"{name}:{HOME}", "--volume", f"{bundle.folder}:/bundle:ro")
            make_key(options.image, mounts)
            starts = [start(options.image, (*mounts, *more)) for _ in range(options.starts)]
    print(f"{len(starts)} starts of {options.image}, load {os.getloadavg()[0]:.1f}\n")
    print("| s | median | least | most |\n| --- | ---: | ---: | ---: |")
    titles = ("until `podman run` returns", "until it is ready", "processor time in the container")
    for title, values in zip(titles, zip(*starts, strict=True), strict=True):
        figures = (statistics.median(values), min(values), max(values))
        print(f"| {title} |", " | ".join(f"{figure:.2f}" for figure in figures), "|")


@contextmanager
def volume() -> Iterator[str]:
    """Make a volume for the block."""
    name = f"evergreen-benchmark-{os.getpid()}"
    podman("volume", "create", name)
    try:
        yield name
    finally:
        podman("volume", "rm", "--force", name)


@contextmanager
def before_others(wanted: bool) -> Iterator[tuple[str, ...]]:
    """Let containers that are given the options go before other work, if that is wanted."""
    if not wanted:
        yield ()
        return
    Path("/proc/self/autogroup").write_text("-15")
    former = CONTAINERS.read_text()
    CONTAINERS.write_text(LARGEST)
    try:
        yield ("--cpu-shares", LARGEST)
    finally:
        CONTAINERS.write_text(former)


def make_key(image: str, mounts: tuple[str, ...]) -> None:
    command = ("-m", "evergreen.serving.keys", "create", "--name", "benchmark")
    podman("run", "--rm", "--tmpfs", "/tmp", *mounts, "--entrypoint", "python", image, *command)


def start(image: str, options: tuple[str, ...]) -> tuple[float, float, float]:
    """Start a container; return seconds until podman is back and until it is ready, and its CPU."""
    with running(image, "--bundle", "/bundle", options=options) as container:
        back = time.monotonic() - container.started
        while not is_ready(container):
            time.sleep(0.02)
        ready = time.monotonic() - container.started
        usage = container.exec("cat", "/sys/fs/cgroup/cpuacct/cpuacct.usage").stdout
    return back, ready, int(usage) / 1e9


def is_ready(container: Container) -> bool:
    connection = http.client.HTTPConnection(container.url.removeprefix("http://"), timeout=2)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False  # not listening yet
    finally:
        connection.close()


if __name__ == "__main__":
    main()
