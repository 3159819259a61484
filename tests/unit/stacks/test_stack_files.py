"""Stack files as values: references, defaults, secrets."""

from __future__ import annotations

import os

import pytest

from evergreen.errors import InputError
from evergreen.paths import DATABASE_VARIABLE, Home
from stacks.spec import read_stack
from tests.support.command_line import ROOT

ADDRESSES = {
    "EVERGREEN_S3_PATH": "s3://bucket/store",
    "EVERGREEN_REGISTRY": "ghcr.io/ada",
    "MLFLOW_TRACKING_URI": "http://mlflow",
}


def config(environ, kind):
    return (
        read_stack(ROOT / "stacks" / "kubernetes.yaml", ADDRESSES | environ).components[kind].config
    )


def test_a_setting_is_left_out_where_its_default_is_nothing():
    assert "kubernetes_context" not in config({}, "orchestrator")
    assert config({"KUBERNETES_CONTEXT": "moon"}, "orchestrator")["kubernetes_context"] == "moon"
    assert config({}, "artifact_store")["client_kwargs"] == {}
    assert config({}, "orchestrator")["kubernetes_namespace"] == "evergreen-runs"


def test_a_component_is_left_out_where_what_it_needs_is_not_there():
    def components(environ):
        return read_stack(ROOT / "stacks" / "kubernetes.yaml", ADDRESSES | environ).components

    assert "model_deployer" not in components({})
    seldon = components({"SELDON_URL": "http://ingress"})["model_deployer"]
    assert (seldon.flavor, seldon.config["base_url"]) == ("seldon", "http://ingress")
    assert seldon.config["secret"] is None  # which ZenML wants written out


def test_keys_of_settings_are_resolved_too_and_the_engines_socket(monkeypatch, tmp_path):
    monkeypatch.setenv("EVERGREEN_HOME", "/somewhere")

    def run_args(environ):
        stack = read_stack(ROOT / "stacks" / "docker.yaml", environ)
        return stack.components["orchestrator"].config["run_args"]

    state = {"/somewhere": {"bind": "/somewhere", "mode": "rw"}}
    engine = {"bind": "/var/run/docker.sock", "mode": "rw"}
    assert run_args({})["volumes"] == {**state, "/var/run/docker.sock": engine}
    socket = tmp_path / "podman.sock"
    socket.touch()
    os.chown(socket, -1, group := os.getgid())
    given = run_args({"DOCKER_HOST": f"unix://{socket}"})
    assert given["volumes"] == {**state, str(socket): engine}
    assert given["group_add"] == [str(group)]


def test_a_value_that_the_environment_lacks_is_left_to_the_secret():
    secrets = read_stack(ROOT / "stacks" / "kubernetes.yaml", ADDRESSES).secrets
    assert secrets["evergreen-database"] == {DATABASE_VARIABLE: None}
    assert secrets["evergreen-mlflow"]["MLFLOW_TRACKING_USERNAME"] == "evergreen"
    given = ADDRESSES | {DATABASE_VARIABLE: "postgresql://db"}
    secrets = read_stack(ROOT / "stacks" / "kubernetes.yaml", given).secrets
    assert secrets["evergreen-database"] == {DATABASE_VARIABLE: "postgresql://db"}


def test_an_address_without_a_default_must_be_set():
    with pytest.raises(InputError, match="EVERGREEN_REGISTRY, EVERGREEN_S3_PATH, MLFLOW_TRACKING"):
        read_stack(ROOT / "stacks" / "kubernetes.yaml", {})


def test_one_variable_moves_every_table(monkeypatch):
    home = Home.locate()
    assert home.database_url.startswith("sqlite:///")
    assert home.database_url != home.prediction_log_url
    monkeypatch.setenv(DATABASE_VARIABLE, "postgresql://db")
    assert home.database_url == home.prediction_log_url == "postgresql://db"
