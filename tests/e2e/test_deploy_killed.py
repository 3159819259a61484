"""A deployment cut off at any step leaves the earlier version serving; the next one mends it."""

from __future__ import annotations

import shlex
import subprocess
import sys

import httpx
import pytest

from tests.e2e.test_deploy import TRAIN_ANEW
from tests.support.command_line import ROOT, Finished
from tests.support.deployments import Deployed, deployable

pytestmark = pytest.mark.timeout(3600)

STEPS = (
    "resolve_champion",
    "verify_bundle",
    "deploy_everywhere",
    "smoke_test",
    "record_deployment",
)


@pytest.fixture
def deployed(home) -> Deployed:
    """A home in which version 1 is deployed, and version 2 is champion."""
    with deployable(home) as found:
        found.deploy("--quiet").check()
        found.home.run(*TRAIN_ANEW, "--quiet").check()
        yield found


def test_killed_at_each_step_in_turn(deployed):
    first, second = deployed.ports[1:]
    for step in STEPS:
        with deployed.deploying() as run:
            run.wait_for_log(f"Step `{step}` has started")
        assert deployed.mlflow_answers()[first], step  # version 1 goes on
        assert httpx.get(f"{deployed.url}/health").json()["status"] == "ok", step
    done = deployed.deploy("--json").check().json
    assert (done["version"], done["former"]) == ("2", "1")
    assert any("cut short" in note for note in done["notes"])
    assert deployed.mlflow_answers() == {first: False, second: True}
    log = deployed.log()
    assert log.unfinished("iris") == ()
    assert log.deployed("iris").version == "2"
    log.close()


def test_a_full_disk(home, tmp_path):
    """The state folder lies on a small file system that exists for this process only."""
    with deployable(home) as found:
        done = deploy_on_a_full_disk(found, tmp_path / "small")
        done.check(3, "space", str(tmp_path / "small"))
        left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True)
        assert str(tmp_path / "small") not in left.stdout


def deploy_on_a_full_disk(deployed: Deployed, folder) -> Finished:
    folder.mkdir()
    state = shlex.quote(str(deployed.home.state))
    small = shlex.quote(str(folder))
    words = shlex.join([sys.executable, "run.py", "--pipeline", "deploy", *deployed.options])
    script = (
        f"mount -t tmpfs -o size=64m tmpfs {small} && cp -a {state}/. {small} && "
        f"{{ dd if=/dev/zero of={small}/filler bs=4k 2>/dev/null || true; }} && "
        f"truncate -s -16k {small}/filler && exec {words}"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        env=deployed.home.environment(EVERGREEN_HOME=str(folder)),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)
