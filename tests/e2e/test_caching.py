"""What a second training computes anew, and what it takes from the cache."""

from __future__ import annotations

from tests.e2e.conftest import IRIS, QUICK
from tests.support import records

# They look at the world outside: the source, the registry.
ALWAYS = {"load_table", "find_champion", "publish_challenger", "link_lineage"}


def computed(home, outcome) -> set[str]:
    """The steps that were not served from the cache."""
    statuses = records.step_statuses(home, outcome["zenml_run"])
    assert len(statuses) == outcome["steps"]
    fresh = {name for name, status in statuses.items() if status == "completed"}
    assert len(statuses) - len(fresh) == outcome["cached_steps"]
    return fresh


def test_what_did_not_change_is_not_computed_again(home):
    same = home.run(*IRIS, *QUICK, "--json").check().json
    assert computed(home, same) == ALWAYS
    assert same["status"] == "unchanged"
    assert same["version"] == same["champion"] == "1"

    looser = home.run(*IRIS, *QUICK, "--set", "gate.thresholds.accuracy=0.5", "--json")
    looser = looser.check().json
    assert computed(home, looser) == {*ALWAYS, "judge_challenger", "assemble_bundle"}
    assert looser["status"] == "unchanged"

    stricter = home.run(*IRIS, *QUICK, "--set", "gate.thresholds.accuracy=0.9999", "--json")
    stricter = stricter.check(1).json
    assert computed(home, stricter) == {*ALWAYS, "judge_challenger", "assemble_bundle"}
    assert (stricter["status"], stricter["champion"]) == ("refused", "1")
    assert "accuracy at least 0.9999" in stricter["message"]

    afresh = home.run(*IRIS, *QUICK, "--no-cache", "--json").check().json
    assert afresh["cached_steps"] == 0
    assert afresh["status"] == "unchanged"

    assert records.versions(home, "iris") == ["1"]
    assert [action for action, _ in records.decisions(home, "iris")] == [
        *("intent", "promoted", "refused")
    ]
