"""The CronJob that takes turns in a cluster is one that Kubernetes takes, and says all it needs."""

from __future__ import annotations

import base64
from dataclasses import replace

import kubernetes_validate
import pytest

from evergreen.errors import InputError
from evergreen.schedule import named_days
from evergreen.use_case import load_use_case
from pipelines.options import parse
from stacks.cron_job import LONGEST_NAME, ClusterSchedule, cron_job, secret
from tests.support.command_line import ROOT

CURRENT = "1.37"
CASES = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
SCHEDULE = ClusterSchedule(
    pipeline="continuous",
    use_case="wine_of_ours",
    cron="*/15 * * * *",
    document='{"name": "wine_of_ours"}',
    stack="kubernetes",
    image="registry.example.org/evergreen-train@sha256:0",
    zenml_url="https://zenml.example.org",
    zenml_key="ZENKEY_hush",
)


@pytest.mark.parametrize("resource", [cron_job(SCHEDULE), secret(SCHEDULE)])
def test_current_kubernetes_takes_it(resource):
    kubernetes_validate.validate(resource, CURRENT, strict=True)


def test_it_runs_the_command_one_turn_at_a_time():
    job = cron_job(SCHEDULE)
    assert (job["spec"]["concurrencyPolicy"], job["spec"]["timeZone"]) == ("Forbid", "Etc/UTC")
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    command = container["command"]
    assert command[:2] == ["python", "run.py"]
    options = parse(command[2:])
    assert (options.pipeline, options.stack) == ("continuous", "kubernetes")
    [mount] = [each for each in container["volumeMounts"] if each["name"] == "use-case"]
    assert options.config == f"{mount['mountPath']}/wine_of_ours.yaml"
    # The key is in the secret alone, and the secret has what the pod mounts.
    assert "ZENKEY" not in str(job)
    data = secret(SCHEDULE)["data"]
    assert base64.b64decode(data["ZENML_STORE_API_KEY"]).decode() == "ZENKEY_hush"
    assert pod["volumes"][0]["secret"]["items"][0]["key"] in data


def test_older_clusters_get_what_they_know():
    job = cron_job(SCHEDULE, "v1beta1")
    assert job["apiVersion"] == "batch/v1beta1"
    assert "timeZone" not in job["spec"]


def test_long_names_stay_apart_and_short_enough():
    long = [replace(SCHEDULE, use_case="a" * 48 + last).name for last in ("bb", "bc")]
    assert len(set(long)) == 2
    assert max(map(len, long)) <= LONGEST_NAME
    assert SCHEDULE.name == "continuous-wine-of-ours"


@pytest.mark.parametrize("name", CASES)
def test_the_use_case_arrives_as_it_was(name, tmp_path, monkeypatch):
    use_case = load_use_case(ROOT / "configs" / f"{name}.yaml", ("training.trials=3",))
    file = tmp_path / f"{name}.yaml"
    file.write_text(use_case.model_dump_json(exclude_unset=True, by_alias=True, indent=2))
    monkeypatch.chdir(tmp_path)
    assert load_use_case(file) == use_case


def test_days_of_the_week_are_named_as_kubernetes_knows_no_day_7():
    assert named_days("30 2 * * 5-7") == "30 2 * * fri,sat,sun"
    assert named_days("*/15 * * * *") == "*/15 * * * *"


def test_the_options_go_with_what_can_be_done_again_and_again():
    options = parse(["--pipeline", "continuous", "--cron", "*/15 * * * *"])
    assert (options.cron, options.schedule) == ("*/15 * * * *", None)
    for words in (
        ["--pipeline", "train", "--cron", "* * * * *"],
        ["--pipeline", "continuous", "--cron", "* * * * *", "--every", "15m"],
        ["--pipeline", "continuous", "--unschedule"],
    ):
        with pytest.raises(InputError):
            parse(words)
