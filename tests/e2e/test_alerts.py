"""What is told while the command line works: to a webhook, and to the stack's alerter."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from tests.e2e.conftest import IRIS, QUICK
from tests.support.command_line import Home
from tests.support.receivers import telling, webhook


@pytest.fixture
def receiver():
    with webhook() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def fresh(tmp_path_factory) -> Home:
    """A home without any model."""
    return Home(tmp_path_factory.mktemp("fresh"))


def test_a_table_that_fails_its_checks_is_told(fresh, receiver):
    rule = ("--set", "contract.petal_length_cm.maximum=2")
    fresh.run(*IRIS, *QUICK, *telling(receiver), *rule).check(1)
    [post] = receiver.posts
    assert post.content["kind"] == "data_quality_failed"
    assert post.content["severity"] == "critical"
    assert "petal_length_cm" in post.content["text"]


def test_a_refusal_is_told_once_and_slowness_where_it_is_asked_about(fresh, receiver):
    refused = (*IRIS, *QUICK, *telling(receiver), "--set", "gate.thresholds={log_loss: 0.001}")
    fresh.run(*refused, "--set", "alerts.slow_after=1h").check(1)
    fresh.run(*refused, "--set", "alerts.slow_after=1s").check(1)
    [post, slow] = receiver.posts
    assert post.content["kind"] == "gate_refused"
    assert post.content["use_case"] == "iris"
    assert "log_loss" in post.content["text"]
    assert slow.content["kind"] == "pipeline_slow"
    assert slow.content["title"].startswith("The training took ")
    assert slow.content["facts"]["seconds"] > slow.content["facts"]["limit"] == 1
    log = (fresh.state / "logs" / "alerts.log").read_text(encoding="utf-8")
    assert log.count("The gate refused a challenger") == 1


def test_a_deployment_that_fails_is_told(home, receiver):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        arguments = ("--pipeline", "deploy", "--config", "configs/iris.yaml")
        done = home.run(*arguments, *telling(receiver), "--set", f"deploy.port={port}", timeout=300)
    done.check(3)
    [post] = receiver.posts
    assert post.content["kind"] == "deployment_failed"
    assert str(port) in post.content["text"]
