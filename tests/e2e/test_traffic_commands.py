"""Traffic, rollback, history and comparison as typed."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.conftest import IRIS, QUICK
from tests.support import records
from tests.support.command_line import Home

USE = ("--config", "configs/iris.yaml")
CANARY = ("--set", "gate.approval=canary", "--set", "gate.champion=null")


def test_a_challenger_ramps_shares_is_approved_and_rolled_back(home):
    ramping = home.run(*IRIS, *QUICK, *CANARY, "--set", "training.seed=7").check()
    assert "RAMPING AS A CANARY" in ramping.out
    assert "5 %, 25 %, 50 %, then champion" in " ".join(ramping.out.split())
    assert "python run.py --approve iris" in ramping.out
    assert records.aliases(home, "iris") == {"champion": "1", "challenger": "2"}

    split = home.run("--traffic", "challenger=10", *USE, "--json").check().json
    assert (split["status"], split["plan"]["mode"], split["plan"]["percent"]) == (
        *("changed", "split"),
        10,
    )
    again = home.run("--traffic", "challenger=10", *USE).check().out
    assert "UNCHANGED" in again
    assert "answers 10 % of the requests" in again

    compared = home.run("--compare", *USE, "--json").check().json
    assert compared["verdict"] == "not_enough_labels"
    assert "it takes 50 of each" in Path(compared["report"]).read_text(encoding="utf-8")

    home.run("--approve", "iris").check()
    ended = home.run("--traffic", "off", *USE).check().out
    assert "No traffic plan of 'iris' is in force" in ended

    back = home.run("--rollback", "--reason", "worse in service", *USE).check()
    assert "ROLLED BACK" in back.out
    assert records.aliases(home, "iris") == {"champion": "1", "previous": "2"}
    home.run("--rollback", *USE).check(1, "was rolled back to version 1 already", "--to 2")
    same = home.run("--rollback", "--to", "1", *USE, "--json").check().json
    assert (same["decision"], same["champion"]) == ("unchanged", "1")

    shown = home.run("--history", *USE).check().out
    assert "rolled back" in shown
    assert "worse in service" in shown
    decisions = home.run("--history", *USE, "--json").check().json["decisions"]
    assert [each["action"] for each in decisions] == [
        *("rolled_back", "approved", "traffic", "waiting", "promoted"),
    ]
    assert decisions[3]["plan"]["mode"] == "canary"
    assert decisions[0]["who"]


def test_mistakes_get_one_message(shared_home):
    home = shared_home
    for wish in ("challenger", "challenger=ten", "champion=10", "challenger=101", "challenger=-1"):
        home.run(f"--traffic={wish}", *USE).check(2, f"--traffic {wish}")
    home.run("--traffic", "shadow", *USE).check(2, "No version of 'iris' is challenger")
    home.run("--rollback", *USE).check(2, "'iris' has no previous version")
    home.run("--rollback", "--to", "7", *USE).check(2, "no version or alias '7'", "there are: 1")
    home.run("--to", "7", "--history").check(2, "--to goes with --rollback")
    home.run("--compare", *USE).check(2, "was given traffic beside a champion")
    assert records.aliases(home, "iris") == {"champion": "1"}


def test_before_any_training(tmp_path):
    home = Home(tmp_path)
    home.run("--rollback").check(2, "No model was trained", "--pipeline train")
    assert "Nothing was ever decided on 'wine'" in home.run("--history").check().out
    assert not (home.state / "evergreen.db").exists()
