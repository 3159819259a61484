"""Training as pods of a real cluster gives what it gives on one machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.kubernetes.conftest import NAMESPACE, kubectl
from tests.support.command_line import Home

pytestmark = pytest.mark.timeout(3600)  # the first run builds the image, and the node pulls it


@pytest.mark.long
def test_wine_is_the_same_on_both_stacks(cluster_home, tmp_path):
    # A name of its own: whatever ran before, there is no champion yet on either stack.
    train = ("--pipeline", "train", "--json", "--set", "name=wine_on_both")
    there = json.loads(cluster_home.run(*train, timeout=3500).check().out)
    here = json.loads(Home(tmp_path / "local").run(*train).check().out)

    assert (there["stack"], here["stack"]) == ("kubernetes", "local")
    for same in ("metrics", "verdict", "status", "exit_code", "version", "data_fingerprint"):
        assert there[same] == here[same], same
    assert [one["score"] for one in there["candidates"]] == [
        one["score"] for one in here["candidates"]
    ]
    assert set(there["reports"]) == set(here["reports"])
    for path in there["reports"].values():
        assert Path(path).stat().st_size > 0, path
    assert all(uri.startswith("s3://") for uri in there["artifacts"].values())
    of_run = ("-l", f"run_name={there['zenml_run']}")
    phases = "jsonpath={.items[*].status.phase}"
    pods = kubectl("-n", NAMESPACE, "get", "pods", *of_run, "-o", phases)
    assert set(pods.split()) == {"Succeeded"}


def test_what_a_check_says_in_a_pod_is_said_here(cluster_home):
    option = ("--set", "quality.class_rows={severity: error, limit: 100000}")
    done = cluster_home.run("--pipeline", "train", *option, timeout=1800)
    done.check(1, "class")
    assert "data.html" in done.err
    (named,) = [word for word in done.err.split() if word.endswith("data.html")]
    assert "data" in Path(named).name
