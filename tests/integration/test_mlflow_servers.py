"""A bundle works in MLflow's own servers, without Evergreen being installed there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import httpx
import pytest

from evergreen.data.conform import model_frame
from evergreen.errors import UnreachableError
from evergreen.promotion.golden import PREDICTION, golden_inputs
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.promotion.settlement import settle
from evergreen.promotion.store import ensure_experiment, open_client
from tests.support.mlflow_servers import scoring_server, tracking_server
from tests.support.models import small_contract, small_table, write_small_bundle
from tests.support.server_process import kill
from tests.support.verdicts import verdict


@pytest.mark.parametrize(
    "candidate", ["logistic_regression", pytest.param("xgboost", marks=pytest.mark.long)]
)
def test_mlflow_loads_a_bundle_far_from_the_checkout(tmp_path, candidate):
    bundle = write_small_bundle(tmp_path / "bundle", "classification", candidate)
    golden_inputs(bundle.golden, bundle.contract).to_parquet(tmp_path / "rows.parquet")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    script = (
        "import json, sys, mlflow.pyfunc, pandas\n"
        f"model = mlflow.pyfunc.load_model({str(bundle.folder)!r})\n"
        f"found = model.predict(pandas.read_parquet({str(tmp_path / 'rows.parquet')!r}))\n"
        "import evergreen\n"
        "print(json.dumps([evergreen.__file__, list(found)]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=elsewhere,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    origin, found = json.loads(done.stdout)
    assert origin.startswith(str(bundle.folder))
    assert found == bundle.golden[PREDICTION].tolist()
    assert list(elsewhere.iterdir()) == []


def test_mlflows_scoring_server_gives_the_golden_answers(tmp_path):
    bundle = write_small_bundle(tmp_path / "bundle")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    rows = golden_inputs(bundle.golden, bundle.contract)
    split = json.loads(rows.to_json(orient="split", date_format="iso"))
    assert None in [value for row in split["data"] for value in row]
    split["data"] = [[_as_a_client_writes(value) for value in row] for row in split["data"]]
    with scoring_server(bundle.folder, elsewhere) as url:
        answer = httpx.post(f"{url}/invocations", json={"dataframe_split": split}, timeout=30)
        records = httpx.post(
            f"{url}/invocations",
            json={
                "dataframe_records": [dict(zip(split["columns"], split["data"][0], strict=True))]
            },
            timeout=30,
        )
    assert answer.is_success, answer.text
    assert answer.json()["predictions"] == bundle.golden[PREDICTION].tolist()
    assert records.json()["predictions"] == bundle.golden[PREDICTION].tolist()[:1]


def _as_a_client_writes(value):
    """Write whole numbers without a decimal point, as JSON clients do."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def test_the_registry_on_a_tracking_server(tmp_path):
    """Over HTTP, with the server keeping the files: as on Kubernetes."""
    served = tmp_path / "served"
    served.mkdir()
    bundle = write_small_bundle(tmp_path / "bundle")
    log = PromotionLog(f"sqlite:///{tmp_path / 'log.db'}")
    with tracking_server(served) as (url, process):
        client = open_client(url)
        run = client.create_run(ensure_experiment(client, "boats")).info.run_id
        registry = Registry(url, log, tmp_path / "locks")

        outcome = settle(registry, bundle, verdict(), run_id=run, who="ada")

        assert outcome.status == "promoted"
        champion = registry.champion("boats")
        assert champion.training_key == "key-1"
        assert champion.bundle_uri.startswith("mlflow-artifacts:")
        fetched = registry.fetch_bundle("boats", "champion", tmp_path / "fetched")
        assert fetched.replay().passed
        again = settle(registry, bundle, verdict("1"), run_id=run, who="ada")
        assert again.status == "unchanged"
        assert registry.reconcile("boats") == ()

        kill(process)
        started = time.monotonic()
        for each in (registry, Registry(url, log, tmp_path / "locks")):
            with pytest.raises(UnreachableError, match=url):
                each.champion("boats")
        assert time.monotonic() - started < 10
    log.close()


def test_the_signature_takes_what_the_contract_calls_features():
    from evergreen.promotion.mlflow_model import signature

    inputs = signature(small_contract()).inputs
    assert inputs.input_names() == list(model_frame(small_table(), small_contract()).columns)
    assert [kind.name for kind in inputs.input_types()] == [
        "double",
        "double",
        "double",
        "string",
        "datetime",
    ]
