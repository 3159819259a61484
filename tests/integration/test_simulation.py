"""Simulated traffic reaches a real server, its log, and the labels their predictions."""

from __future__ import annotations

import argparse
import json
import socket
import time
from contextlib import closing

import pytest

from evergreen.errors import InputError, RefusedError, UnreachableError
from evergreen.serving.prediction_history import PredictionHistory
from pipelines.simulation_run import run_simulation
from tests.support.served import bundle_of, serving


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return bundle_of("wine.yaml", "logistic_regression", tmp_path_factory.mktemp("b") / "wine", {})


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def url(bundle, home):
    with serving(bundle.folder, home) as address:
        yield address


def options(scenario, url, **changed):
    plain = {
        "config": "configs/wine.yaml",
        "overrides": [],
        "simulate": scenario,
        "url": url,
        "rows": 250,
        "rate": None,
        "seed": 1,
        "quiet": False,
        "json": True,
    }
    return argparse.Namespace(**{**plain, **changed})


def test_every_row_is_answered_and_every_label_joined(url, bundle, home, capsys):
    assert run_simulation(options("none", url)) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["sent"], told["answered"], told["labelled"], told["refused"]) == (250, 250, 250, 0)
    assert told["correct"] > 225
    database = f"sqlite:///{home / 'evergreen' / 'predictions.db'}"
    history = PredictionHistory(database, bundle.contract)
    for _ in range(200):  # the log is written in the background
        window = history.window(last=1000, labelled=True)
        if len(window.predictions) >= 250:
            break
        time.sleep(0.1)
    assert len(window.predictions) == 250
    right = sum(a == p for a, p in zip(window.actual, window.predictions, strict=True))
    assert right == told["correct"]


def test_a_changed_concept_shows_in_the_answers(url, capsys):
    assert run_simulation(options("concept_change", url, json=False, rate=500.0)) == 0
    said = capsys.readouterr().out
    share = float(said.splitlines()[1].split("%")[0])
    assert share < 20
    assert "250 true labels" in said


def test_refused_rows_are_counted_with_the_reason(url, capsys):
    assert run_simulation(options("missingness", url, json=False)) == 0
    assert "rows were refused, most for: alcohol" in capsys.readouterr().out


def test_what_cannot_be_simulated_or_reached_is_said(url):
    with pytest.raises(InputError, match="no column of categories"):
        run_simulation(options("new_category", url))
    with closing(socket.create_server(("127.0.0.1", 0))) as probe:
        free = probe.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"No API answers at http://127.0.0.1:{free}"):
        run_simulation(options("none", f"http://127.0.0.1:{free}"))


def test_an_api_of_another_table_refuses_every_row(url):
    with pytest.raises(RefusedError, match="refused every row"):
        run_simulation(options("none", url, config="configs/iris.yaml", rows=5))
