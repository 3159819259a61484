"""A training of which nothing changed is served from the cache."""

from __future__ import annotations

from tests.e2e.conftest import QUICK

IRIS = ("--pipeline", "train", "--config", "configs/iris.yaml", *QUICK, "--json")


def test_what_did_not_change_is_not_computed_again(home):
    home.run(*IRIS).check()  # the copied home has another artifact store, so nothing is cached
    again = home.run(*IRIS).check().json
    assert again["status"] == "unchanged"
    assert again["version"] == again["champion"] == "1"
    assert again["cached_steps"] >= 8
    anew = home.run(*IRIS, "--no-cache").check().json
    assert anew["cached_steps"] == 0
    assert anew["metrics"] == again["metrics"]
