"""A model that waits for a person's word."""

from __future__ import annotations

from tests.e2e.conftest import IRIS, QUICK
from tests.support import records
from tests.support.command_line import Home
from tests.support.receivers import telling, webhook

MANUAL = ("--set", "gate.approval=manual", "--set", "gate.champion=null")


def test_waiting_approving_and_rejecting(home):
    seven = (*IRIS, *QUICK, *MANUAL, "--set", "training.seed=7")
    with webhook() as receiver:
        shown = home.run(*seven, *telling(receiver)).check().out
    [post] = receiver.posts
    assert (post.content["kind"], post.content["severity"]) == ("approval_waiting", "warning")
    assert post.content["title"] == "Version 2 waits for approval"
    assert "WAITING FOR APPROVAL" in shown
    assert "python run.py --approve iris" in shown
    assert records.aliases(home, "iris") == {"champion": "1", "challenger": "2"}

    again = home.run(*seven, "--json").check().json
    assert (again["status"], again["version"], again["champion"]) == ("waiting", "2", "1")
    assert records.versions(home, "iris") == ["1", "2"]

    approved = home.run("--approve", "iris", "--json").check()
    assert approved.err == ""
    assert approved.json["decision"] == "approved"
    assert (approved.json["champion"], approved.json["previous"]) == ("2", "1")
    assert records.aliases(home, "iris") == {"champion": "2", "previous": "1"}

    home.run("--approve", "iris").check(2, "No version of 'iris' waits", "gate.approval: manual")
    home.run("--approve", "irs").check(2, "'irs'", "did you mean 'iris'")
    home.run("--approve", "configs/iris.yaml").check(2, "no name of a use case")

    home.run(*IRIS, *QUICK, *MANUAL, "--set", "training.seed=8").check()
    assert records.aliases(home, "iris")["challenger"] == "3"
    rejected = home.run("--reject", "iris", "--reason", "no better for the price").check()
    assert "REJECTED" in rejected.out
    assert "no better for the price" in rejected.out
    assert records.aliases(home, "iris") == {"champion": "2", "previous": "1"}
    assert [each for each in records.decisions(home, "iris") if each[0] != "intent"] == [
        *(("promoted", "1"), ("waiting", "2"), ("waiting", "2"), ("approved", "2")),
        *(("waiting", "3"), ("rejected", "3")),
    ]


def test_before_any_training(tmp_path):
    Home(tmp_path).run("--reject", "wine").check(2, "No model was trained", "--pipeline train")
