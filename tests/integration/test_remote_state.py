"""Training with every kind of state on a server: S3, MLflow's server, PostgreSQL."""

from __future__ import annotations

import json
import sys

import pytest
import sqlalchemy as sa

from evergreen.paths import DATABASE_VARIABLE
from evergreen.promotion.promotion_log import PromotionLog
from tests.support.command_line import Home
from tests.support.mlflow_servers import tracking_server
from tests.support.s3 import running_s3

STACK = """\
name: remote
components:
  orchestrator: {name: remote, flavor: local}
  artifact_store:
    name: remote
    flavor: s3
    config:
      path: s3://evergreen/store
      authentication_secret: remote-s3
      client_kwargs: {endpoint_url: "${AWS_ENDPOINT_URL}"}
  experiment_tracker:
    name: remote
    flavor: mlflow
    config: {tracking_uri: "${REMOTE_MLFLOW}", tracking_token: none}
  model_registry: {name: remote, flavor: mlflow}
environment: {EVERGREEN_NOTE: "kept with the stack"}
secrets:
  remote-s3:
    aws_access_key_id: ${AWS_ACCESS_KEY_ID}
    aws_secret_access_key: ${AWS_SECRET_ACCESS_KEY}
  remote-database:
    EVERGREEN_DATABASE_URL: ${EVERGREEN_DATABASE_URL}
step_secrets: [remote-database]
"""
TRAIN = (
    *("--pipeline", "train", "--json"),
    *("--set", "training.candidates=[logistic_regression]", "--set", "training.trials=1"),
)


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("servers")
    with running_s3(folder) as s3, tracking_server(folder) as (mlflow, _):
        s3.make_bucket("evergreen")
        yield s3, {**s3.environment(), "REMOTE_MLFLOW": mlflow}


@pytest.mark.timeout(1800)
@pytest.mark.long
def test_nothing_stays_here_but_the_reports(servers, postgres, tmp_path):
    s3, environment = servers
    home = Home(tmp_path / "home")
    file = tmp_path / "remote.yaml"
    file.write_text(STACK, encoding="utf-8")
    apply = (sys.executable, "-m", "stacks", "apply", str(file))
    known = environment | {DATABASE_VARIABLE: postgres.url}
    done = home.command(*apply, "--set", **known).check(0, "+ stack 'remote'")
    assert postgres.password not in done.out
    # All is kept in ZenML's secrets: without the environment, there is nothing to change.
    told = home.command(*apply, "--dry-run", **environment).check(0, "nothing to change")
    assert "***" not in told.out

    # Where the database is, the stack knows.
    outcome = json.loads(home.run(*TRAIN, AWS_DEFAULT_REGION="us-east-1").check().out)
    assert outcome["stack"] == "remote"
    assert outcome["status"] == "promoted"
    assert all(uri.startswith("s3://evergreen/store") for uri in outcome["artifacts"].values())
    kept = {key.rsplit("/", 1)[-1] for key in s3.keys("evergreen", "store/reports/wine/")}
    assert kept == {"training.html", "data.html", "card.md"}
    assert set(outcome["reports"]) == {"training", "data", "card"}
    assert not list(home.state.rglob("*.db"))
    log = PromotionLog(postgres.url)
    assert "promoted" in {entry.action for entry in log.entries("wine")}
    log.close()

    # A local run gives the same figures, and knows nothing of that one.
    local = Home(tmp_path / "local")
    here = json.loads(local.run(*TRAIN).check().out)
    assert here["metrics"] == outcome["metrics"]
    assert (local.state / "evergreen.db").exists()

    # What was predicted is looked for in the same database.
    home.run("--pipeline", "retrain").check(1, "0 labelled rows")
    tables = set(sa.inspect(sa.create_engine(postgres.url)).get_table_names())
    assert {"promotion_log", "leases", "monitoring_windows"} <= tables
