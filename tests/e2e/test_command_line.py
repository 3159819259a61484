"""What the command line shows, and what it leaves to the user."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from evergreen import __version__
from tests.e2e.conftest import IRIS, QUICK
from tests.support import records
from tests.support.command_line import Home

ZENML = str(Path(sys.executable).with_name("zenml"))


@pytest.fixture(scope="module")
def fresh_home(tmp_path_factory) -> Home:
    return Home(tmp_path_factory.mktemp("fresh"))


def test_version_and_help(fresh_home):
    assert fresh_home.run("--version").check().out == f"evergreen {__version__}\n"
    shown = fresh_home.run("--help").check().out
    for option in ("--pipeline", "--config", "--set", "--stack", "--no-cache", "--approve"):
        assert option in shown
    assert "exit codes" in shown
    assert not fresh_home.state.exists()


def test_list(fresh_home):
    shown = fresh_home.run("--list").check().out
    for word in ("train", "configs/wine.yaml", "stacks/local.yaml"):
        assert word in shown
    listed = fresh_home.run("--list", "--json").check().json
    assert set(listed) == {"pipelines", "use_cases", "stacks"}
    assert len(listed["use_cases"]) >= 5


def test_options_that_do_not_go_together(fresh_home):
    fresh_home.run("--pipeline", "trane").check(2, "trane", "train", "--help")
    fresh_home.run().check(2, "--pipeline", "--help")
    fresh_home.run(*IRIS, "--quiet", "--verbose").check(2, "--quiet", "--verbose")
    fresh_home.run("--approve", "wine", "--reason", "why").check(2, "--reason", "--reject")
    done = fresh_home.run("--frobnicate", "--list", "--json").check(2, "--frobnicate")
    assert done.json["exit_code"] == 2
    assert not fresh_home.state.exists()


def test_one_json_object_when_it_fails(fresh_home):
    done = fresh_home.run(*IRIS, "--set", "split.folds=1", "--json").check(2)
    assert set(done.json) == {"error", "exit_code"}
    assert "split.folds" in done.json["error"]
    assert done.json["exit_code"] == 2


def test_json_and_quiet_and_the_full_page(shared_home):
    found = shared_home.run(*IRIS, *QUICK, "--json").check()
    assert found.err == ""
    outcome = found.json
    assert outcome["pipeline"] == "train"
    assert outcome["verdict"]["passed"] is True
    assert outcome["champion"] == "1"
    assert {"accuracy", "log_loss"} <= set(outcome["metrics"])
    assert {candidate["name"] for candidate in outcome["candidates"]} == {
        *("baseline", "logistic_regression")
    }
    assert "Load sklearn:iris" in outcome["durations"]
    for path in (*outcome["reports"].values(), *outcome["artifacts"].values(), outcome["log"]):
        assert Path(path).exists()

    quiet = shared_home.run(*IRIS, *QUICK, "--quiet").check()
    assert quiet.out.startswith("UNCHANGED  Version 1 of 'iris'")
    assert (len(quiet.out.splitlines()), quiet.err) == (1, "")

    full = shared_home.run(*IRIS, *QUICK).check()
    for words in ("iris", "Logistic regression", "accuracy", "UNCHANGED", "training.html"):
        assert words in full.out
    assert "\x1b" not in full.out + full.err  # no colours and no progress in a file
    assert full.err == ""


def test_verbose_keeps_standard_output_clean(shared_home):
    done = shared_home.run(*IRIS, *QUICK, "--json", "--verbose").check()
    assert done.json["status"] == "unchanged"
    assert "Pipeline run has finished" in done.err


def test_an_unknown_stack(shared_home):
    words = ("--stack nowhere", "Registered: default, local")
    shared_home.run(*IRIS, "--stack", "nowhere").check(2, *words)
    assert records.active_stack(shared_home) == "local"


def test_a_stack_that_the_user_set_stays(home):
    home.command(ZENML, "stack", "set", "default").check()
    words = ("'default'", "experiment_tracker", "zenml stack set local")
    home.run(*IRIS, *QUICK).check(2, *words)
    assert records.active_stack(home) == "default"
    done = home.run(*IRIS, *QUICK, "--stack", "local", "--json").check()
    assert done.json["stack"] == "local"
    assert records.active_stack(home) == "default"


OWN_STACK = """
from zenml.client import Client
from zenml.enums import StackComponentType as Kind
client = Client()
default = {kind: parts[0].name for kind, parts in client.active_stack_model.components.items()}
client.create_stack("mine", default)
client.activate_stack("mine")
"""


def test_the_first_run_leaves_a_stack_of_the_users_own_active(tmp_path):
    home = Home(tmp_path)
    script = tmp_path / "own_stack.py"
    script.write_text(OWN_STACK)
    home.command(sys.executable, str(script)).check()
    home.run(*IRIS, *QUICK).check(2, "'mine'", "experiment_tracker", "zenml stack set local")
    assert records.active_stack(home) == "mine"
    home.command(ZENML, "stack", "set", "local").check()
    assert records.active_stack(home) == "local"


def test_the_doctor_finds_a_trained_home_healthy(shared_home):
    found = shared_home.run("--doctor", "--json").check().json
    states = {finding["name"]: finding["state"] for finding in found["findings"]}
    assert found["exit_code"] == 0
    assert "wrong" not in states.values()
    assert states["Packages"] == states["State folder"] == "ok"


def test_the_doctor_finds_a_fresh_machine_healthy(tmp_path):
    shown = Home(tmp_path).run("--doctor").check().out
    assert "the first run" in shown
    assert not (tmp_path / "evergreen").exists()


def test_the_doctor_finds_a_wrong_version(shared_home, tmp_path):
    fake = tmp_path / "rich-0.0.1.dist-info"
    fake.mkdir()
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: rich\nVersion: 0.0.1\n")
    done = shared_home.run("--doctor", PYTHONPATH=str(tmp_path))
    done.check(2, "rich 0.0.1 (pinned ", "mend it", "requirements.txt")


def test_the_doctor_finds_a_stack_that_training_cannot_use(home):
    home.command(ZENML, "stack", "set", "default").check()
    done = home.run("--doctor", "--json").check(2)
    (wrong,) = [finding for finding in done.json["findings"] if finding["state"] == "wrong"]
    assert wrong["name"] == "Active stack"
    assert "stacks apply stacks/local.yaml --set" in wrong["mend"]
    assert json.loads(done.out)["exit_code"] == 2
