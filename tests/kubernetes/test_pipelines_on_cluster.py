"""Every pipeline as pods of a real cluster: spread, in parts, by the cluster's own clock."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pandas as pd
import pytest

from evergreen.data.sources import read_source
from evergreen.use_case import load_use_case
from tests.kubernetes.conftest import NAMESPACE, kubectl
from tests.support.command_line import ROOT
from tests.support.s3 import S3

pytestmark = [pytest.mark.timeout(3600), pytest.mark.long]

# A busy machine gives next to nothing to pods that ask for nothing.
QUICK = (
    *("--set", "training.candidates=[logistic_regression, decision_tree]"),
    *("--set", "training.trials=1"),
    *("--set", 'resources.default={"cpu": 0.2}'),
)


@pytest.fixture(scope="module")
def trained(cluster_home):
    """Train wine with a pod for each candidate; return what it told, and its log."""
    done = cluster_home.run("--pipeline", "train", "--json", *QUICK, timeout=3000).check()
    told = json.loads(done.out)
    return told, Path(told["log"]).read_text(encoding="utf-8")


def steps_of(run: str) -> list[str]:
    """The steps of a run that had pods."""
    names = "jsonpath={.items[*].metadata.labels.step_name}"
    return kubectl("-n", NAMESPACE, "get", "pods", "-l", f"run_name={run}", "-o", names).split()


def test_candidates_have_pods_of_their_own_and_what_they_print_is_in_the_log(trained):
    told, log = trained
    steps = {step for step in steps_of(told["zenml_run"]) if step.startswith("search_candidate")}
    names = {candidate["name"] for candidate in told["candidates"]}
    assert names == {"baseline", "logistic_regression", "decision_tree"}
    assert steps == {f"search_candidate_{name}" for name in names}
    for name in names:
        assert f"[search_candidate_{name}] " in log
    assert "Fit the challenger" in log


def test_what_is_unchanged_comes_from_the_cache(trained, cluster_home):
    told = json.loads(cluster_home.run("--pipeline", "train", "--json", *QUICK).check().out)
    assert told["status"] == "unchanged"
    assert told["version"] == trained[0]["version"]
    # The table is read anew, the champion looked up, the model registered and its lineage linked.
    assert told["cached_steps"] == told["steps"] - 4
    assert steps_of(told["zenml_run"]) == []


def test_a_batch_in_parts_reads_from_s3_and_writes_there(trained, cluster_home, servers):
    s3 = S3(servers["AWS_ENDPOINT_URL"]).client()
    bucket = servers["EVERGREEN_S3_PATH"].removeprefix("s3://").partition("/")[0]
    table = wine_table()
    body = io.BytesIO()
    table.to_parquet(body, index=False)
    s3.put_object(Bucket=bucket, Key="in/wine.parquet", Body=body.getvalue())

    words = ("--pipeline", "batch", "--source", f"s3://{bucket}/in/wine.parquet", *QUICK[4:])
    here = cluster_home.run(*words, "--output", str(cluster_home.folder / "scored.parquet"))
    here.check(2, "batch.output: pods of a cluster do not reach")
    parts = ("--set", "batch.partitions=2", "--set", "batch.chunk_rows=50")
    output = f"s3://{bucket}/out/scored.parquet"
    done = cluster_home.run(*words, *parts, "--output", output, "--json", timeout=1800).check()
    told = json.loads(done.out)
    assert (told["result"]["rows"], told["result"]["output"]) == (len(table), output)
    assert {"score_partition_1", "score_partition_2"} <= set(steps_of(told["zenml_run"]))
    found = s3.get_object(Bucket=bucket, Key="out/scored.parquet")["Body"].read()
    scored = pd.read_parquet(io.BytesIO(found))
    assert scored["row"].tolist() == list(range(len(table)))
    assert set(scored["model_version"]) == {trained[0]["version"]}


def test_a_cron_job_takes_a_turn(trained, cluster_home, servers):
    key = {"ZENML_STORE_API_KEY": servers["ZENML_STORE_API_KEY"]}
    quiet = ("--set", "monitoring.source=sklearn:wine")  # what it was trained on
    words = ("--pipeline", "continuous", "--json", *QUICK[4:], *quiet, "--cron")
    cluster_home.run(*words, "0 0 1 2 *", timeout=900, **key).check()
    made = cluster_home.run(*words, "0 0 1 1 *", timeout=900, **key).check().json
    assert (made["name"], made["namespace"]) == ("continuous-wine", NAMESPACE)
    listed = cluster_home.run("--schedules", "--json").check().json["schedules"]
    assert [(each["name"], each["cron"]) for each in listed] == [("continuous-wine", "0 0 1 1 *")]

    begin("continuous-wine", "one-turn")
    try:
        ended = ("--for=condition=complete", "job/one-turn", "--timeout=1500s")
        kubectl("-n", NAMESPACE, "wait", *ended)
    finally:
        log = kubectl("-n", NAMESPACE, "logs", "job/one-turn", check=False)
    assert "NOTHING TO DO" in log, log
    config = ("--config", str(ROOT / "configs" / "wine.yaml"))
    cluster_home.run("--unschedule", *config).check(0)
    assert cluster_home.run("--schedules", "--json").check().json["schedules"] == []
    cluster_home.run("--unschedule", *config).check(2, "has no CronJob")
    left = kubectl("-n", NAMESPACE, "get", "secret", "continuous-wine", "--ignore-not-found")
    assert left == ""


def begin(cron_job: str, name: str) -> None:
    """Begin a job of a CronJob's now; not every kubectl can do so with what older clusters have."""
    found = json.loads(kubectl("-n", NAMESPACE, "get", "cronjob", cron_job, "-o", "json"))
    spec = found["spec"]["jobTemplate"]["spec"]
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": spec}
    kubectl("-n", NAMESPACE, "create", "-f", "-", stdin=json.dumps(job))


def wine_table() -> pd.DataFrame:
    return read_source(load_use_case(ROOT / "configs" / "wine.yaml").data.source)
