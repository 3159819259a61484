"""Servers' answers against golden ones, and against each other: when they agree, and when not."""

from __future__ import annotations

import numpy as np
import pytest

from evergreen.deployment.agreement import check, compare_servers
from evergreen.deployment.servers import Answers, GoldenRows
from evergreen.promotion.golden import PREDICTION, PROBABILITY
from tests.support.models import small_contract

SHARES = {"calm": [0.8, 0.1, 0.45], "gale": [0.1, 0.7, 0.45], "storm": [0.1, 0.2, 0.1]}


def labels(*names: str):
    found = np.empty(len(names), dtype=object)
    found[:] = names
    return {PREDICTION: found}


def shares(**moved):
    return {f"{PROBABILITY}{name}": np.array(moved.get(name, SHARES[name])) for name in SHARES}


@pytest.fixture
def golden():
    return GoldenRows(small_contract(), {**labels("calm", "gale", "calm"), **shares()})


def regression(*values: float) -> dict:
    return {PREDICTION: np.array(values)}


def test_the_same_answers_pass(golden):
    found = check("API", "http://a", golden, Answers(golden.columns, "3"), "3", None)
    assert found.passed
    assert found.probabilities
    assert found.difference == 0


def test_other_probabilities_fail(golden):
    other = {**golden.columns, **shares(calm=[0.8001, 0.1, 0.45])}
    found = check("API", "http://a", golden, Answers(other, "3"), "3", None)
    assert not found.passed
    assert found.difference == pytest.approx(1e-4)


def test_labels_alone_are_compared_as_labels(golden):
    same = check(
        "MLflow", "http://m", golden, Answers(labels("calm", "gale", "calm"), None), "3", "3"
    )
    assert same.passed
    assert not same.probabilities
    assert same.difference is None
    other = Answers(labels("calm", "storm", "calm"), None)
    assert not check("MLflow", "http://m", golden, other, "3", "3").passed


def test_of_equally_probable_labels_either_will_do(golden):
    tied = Answers(labels("calm", "gale", "gale"), None)
    assert check("MLflow", "http://m", golden, tied, "3", "3").passed


@pytest.mark.parametrize(("said", "known"), [("2", "3"), (None, "2"), (None, None)])
def test_another_or_an_unknown_version_fails(golden, said, known):
    found = check("API", "http://a", golden, Answers(golden.columns, said), "3", known)
    assert not found.passed
    assert "not version 3" in found.message


def test_a_missing_number_fails():
    golden = GoldenRows(small_contract("regression"), regression(10.0, 20.0))
    ask = Answers(regression(10.0, np.nan), "3")
    found = check("API", "http://a", golden, ask, "3", None)
    assert not found.passed
    assert found.difference is None
    assert not check("API", "http://a", golden, Answers(regression(10.0), "3"), "3", None).passed
    right = check("API", "http://a", golden, Answers(regression(10.0, 20.00001), "3"), "3", None)
    assert right.passed
    assert right.difference == pytest.approx(5e-7)


def test_servers_are_compared_in_pairs(golden):
    bare = labels("calm", "gale", "calm")
    found = compare_servers({"A": golden.columns, "B": bare, "C": golden.columns}, golden)
    assert list(found) == ["A and B", "A and C", "B and C"]
    assert all(replay.passed for replay in found.values())


def test_servers_that_disagree_are_found_out(golden):
    moved = {**golden.columns, **shares(storm=[0.1, 0.2, 0.11])}
    found = compare_servers({"A": golden.columns, "B": moved}, golden)
    assert not found["A and B"].passed
    other = labels("gale", "gale", "calm")
    assert not compare_servers({"A": other, "B": golden.columns}, golden)["A and B"].passed
    assert not compare_servers({"A": other, "B": labels("calm", "gale", "calm")}, golden)[
        "A and B"
    ].passed


def test_one_server_has_nobody_to_agree_with(golden):
    assert compare_servers({"A": golden.columns}, golden) == {}
