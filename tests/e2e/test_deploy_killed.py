"""A deployment cut off at any step leaves the earlier version serving; the next one mends it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.e2e.test_deploy import TRAIN_ANEW
from tests.support.command_line import ROOT
from tests.support.deployments import Deployed, deployable, served_registry
from tests.support.mlflow_servers import tracking_server
from tests.support.server_process import kill

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]

STEPS = (
    "resolve_champion",
    "verify_bundle",
    "deploy_everywhere",
    "smoke_test",
    "record_deployment",
)


@pytest.fixture
def deployed(home) -> Deployed:
    """A home in which version 1 is deployed and version 2 was trained, with a tracking server."""
    with deployable(home) as found, tracking_server(home.state / "mlflow") as (url, registry):
        served = replace(found, stack=served_registry(home, url))
        served.deploy("--quiet").check()
        served.home.run(*TRAIN_ANEW, "--stack", "local", "--quiet").check()
        kill(registry)
        yield replace(served, registry=url)


def test_cut_off_at_each_step_in_turn(deployed):
    """The registry is away at first, and once more after the bundle was verified."""
    first, second = deployed.ports[1:]
    deployed.deploy().check(3, f"{deployed.registry} cannot be reached")
    assert deployed.mlflow_answers() == {first: True, second: False}
    assert deployed.predict() in ("1", "2")  # it may have swapped before
    with deployed.registry_back() as registry:
        for step in STEPS:
            with deployed.deploying() as run:
                run.wait_for_log(f"Step `{step}` has started")
            assert deployed.mlflow_answers()[first], step  # version 1 goes on
            assert deployed.predict() in ("1", "2"), step
        deployed.wait_for_version("2")
        with deployed.deploying("--json") as run:
            run.wait_for_log("Step `deploy_everywhere` has started")
            kill(registry)
            done = run.finish().check().json
    assert done["version"] == "2"
    assert deployed.mlflow_answers() == {first: False, second: True}
    assert deployed.logged_version() == "2"
    log = deployed.log()
    assert log.unfinished("iris") == ()
    assert next(row.action for row in log.entries("iris")) == "deployed"
    assert any("cut short" in str(row.note) for row in log.entries("iris"))
    log.close()


def test_a_full_disk(home, tmp_path):
    """For this test's commands alone, the state folder lies on a small file system."""
    with small_disk(home.state, tmp_path) as inside, deployable(home) as found:
        found.deploy("--quiet", prefix=inside).check()
        home.run(*TRAIN_ANEW, "--quiet", prefix=inside).check()
        before = found.processes()
        with filled(home.state, inside):
            found.deploy(prefix=inside).check(3, "space", str(home.state))
            assert found.processes() == before
            assert found.mlflow_answers()[found.ports[1]]
            assert found.predict() in ("1", "2")  # the API may have swapped by itself
        done = found.deploy("--json", prefix=inside).check().json
        assert (done["version"], done["former"]) == ("2", "1")


@contextmanager
def small_disk(state: Path, folder: Path) -> Iterator[tuple[str, ...]]:
    """Put a copy of a state folder on 128 MB in its place; yield what lets a command see it."""
    script = (
        'mount -t tmpfs -o size=128m tmpfs "$1" && cp -a "$0/." "$1" && mount --bind "$1" "$0" && '
        "echo && exec sleep 3600"
    )
    folder = folder / "small"
    folder.mkdir()
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, str(state), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n"
            enter = ("nsenter", "--user", "--mount", "--preserve-credentials")
            yield (*enter, f"--wd={ROOT}", "--target", str(holder.pid))
        finally:
            holder.kill()


@contextmanager
def filled(folder: Path, inside: tuple[str, ...]) -> Iterator[None]:
    """Take all space but 16 kB from a small disk."""
    file = str(folder / "filler")
    script = 'dd if=/dev/zero of="$0" bs=4k 2>/dev/null; truncate -s -16k "$0"'
    subprocess.run([*inside, "sh", "-c", script, file], check=True)
    yield
    subprocess.run([*inside, "rm", file], check=True)
