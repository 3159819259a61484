"""The training key changes with what changes a model, and with nothing else."""

from __future__ import annotations

import subprocess

import pytest

from evergreen.config import UseCase
from evergreen.provenance import (
    PACKAGE,
    TRAINING_CODE,
    code_fingerprint,
    environment,
    git_state,
    library_versions,
    training_key,
)

BASE = {
    "name": "boats",
    "task": "classification",
    "data": {"source": "boats.csv", "target": "wind"},
}


def _use_case(**changes):
    return UseCase.model_validate({**BASE, **changes})


def _key(fingerprint="f1", code="c1", **changes):
    return training_key(fingerprint, _use_case(**changes), code)


def test_the_same_training_has_the_same_key():
    assert _key() == _key()
    assert len(_key()) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"description": "Another word"},
        {"gate": {"thresholds": {"accuracy": 0.9}}},
        {"evaluation": {"bootstrap": 500}},
        {"quality": {"duplicates": {"severity": "off"}}},
        {"training": {"jobs": 1}},
        {"data": {"source": "moved/boats.csv", "target": "wind"}},
        {"name": "ships"},
    ],
)
def test_what_only_judges_or_describes_does_not_count(changes):
    assert _key(**changes) == _key()


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"source": "boats.csv", "target": "wind", "ignore": ["crew"]}},
        {"training": {"trials": 3}},
        {"training": {"seed": 1}},
        {"split": {"folds": 3}},
        {"features": {"derive": {"a": "b / c"}}},
        {"contract": {"crew": {"type": "category"}}},
        {"task": "regression"},
    ],
)
def test_what_changes_a_model_counts(changes):
    assert _key(**changes) != _key()


def test_data_and_code_count():
    assert len({_key(), _key(fingerprint="f2"), _key(code="c2")}) == 3


def test_code_fingerprint_is_a_digest_of_the_sources():
    assert len(code_fingerprint()) == 64
    of_training = code_fingerprint(*TRAINING_CODE)
    assert of_training != code_fingerprint()
    assert training_key("f1", _use_case()) == training_key("f1", _use_case(), of_training)


def test_every_part_that_decides_a_training_exists():
    assert all((PACKAGE / part).exists() for part in TRAINING_CODE)


def test_environment_is_known():
    found = environment()
    assert found.versions == library_versions()
    assert {"numpy", "scikit-learn", "skops"} <= set(found.versions)
    assert found.user
    assert found.host
    assert "cores" in found.machine


def test_git_state_of_a_repository(tmp_path):
    def git(*arguments):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "a.txt").write_text("a")
    git("add", ".")
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-m", "Begin")
    commit, dirty = git_state(tmp_path)
    assert len(commit) == 40
    assert dirty is False
    (tmp_path / "a.txt").write_text("b")
    assert git_state(tmp_path) == (commit, True)


def test_git_state_where_there_is_no_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) == (None, None)


def test_git_state_without_git(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(tmp_path) == (None, None)
