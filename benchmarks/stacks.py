"""What a cluster adds to a training: seconds per step, on this machine and as pods.

    python benchmarks/stacks.py [--config configs/wine.yaml | --rows 1000000] [--stack kubernetes]

Both runs start from the same table with nothing cached, one after the other; the local one in a
state folder of its own. ``--rows`` makes a table of ten columns and puts it where both can read
it (below EVERGREEN_S3_PATH). It needs the environment of docs/kubernetes.md, a stack that was
applied, and a cluster to look at its pods.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
OWN_POD = ""  # the run's, which has no step's label
OWN = ("ZENML_", "EVERGREEN_", "MLFLOW_")  # what the local run must not see
LARGE = """\
name: million
task: classification
data: {{source: "{address}", target: label}}
training: {{candidates: [logistic_regression, xgboost], trials: 3}}
"""
TIMES = """
import json, sys
from zenml.client import Client
run = Client().get_pipeline_run(sys.argv[1])
steps = Client().list_run_steps(pipeline_run_id=run.id, size=100, hydrate=True)
print(json.dumps({"run": str(run.id), "steps": [
    [step.name, step.start_time.timestamp(), step.end_time.timestamp()] for step in steps
]}))
"""


@dataclass(frozen=True)
class Step:
    """When a step ran, and the pod around it (POSIX times)."""

    name: str
    start: float
    end: float
    created: float | None = None  # the pod
    began: float | None = None  # its container
    gone: float | None = None  # its container


@dataclass(frozen=True)
class Run:
    """A training: what it told, when it began, how long it took, and its pods and steps."""

    told: dict
    began: float
    seconds: float
    steps: list[Step]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="configs/wine.yaml")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--stack", default="kubernetes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        config = large_table(options.rows, Path(folder)) if options.rows else options.config
        here, there = local_environment(Path(folder)), dict(os.environ)
        train(config, there, "--stack", options.stack, warm=True)
        here_run, there_run = train(config, here), train(config, there, "--stack", options.stack)
    if here_run.told["metrics"] != there_run.told["metrics"]:
        raise SystemExit(
            f"The models differ: {here_run.told['metrics']} and {there_run.told['metrics']}"
        )
    report(here_run, there_run)


def large_table(rows: int, folder: Path) -> str:
    """Write a table whose target a model can learn; return the use case's file."""
    from pyarrow import fs

    rng = np.random.default_rng(7)
    columns = {f"x{at}": rng.normal(size=rows) for at in range(10)}
    logit = columns["x0"] - 0.8 * columns["x1"] + 0.5 * columns["x2"] * columns["x3"]
    chance = 1 / (1 + np.exp(-logit))
    columns["label"] = np.where(rng.random(rows) < chance, "yes", "no")
    address = f"{os.environ['EVERGREEN_S3_PATH']}/tables/{rows}.parquet"
    store, path = fs.FileSystem.from_uri(address)
    pq.write_table(pa.table(columns), path, filesystem=store)
    config = folder / "million.yaml"
    config.write_text(LARGE.format(address=address), encoding="utf-8")
    return str(config)


def local_environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(OWN)}
    (folder / "repository").mkdir()
    return {
        **kept,
        "EVERGREEN_HOME": str(folder / "evergreen"),
        "ZENML_CONFIG_PATH": str(folder / "zenml"),
        "ZENML_REPOSITORY_PATH": str(folder / "repository"),
    }


def train(config: str, environment: dict[str, str], *options: str, warm: bool = False) -> Run:
    """Train and return what the command printed, its seconds, and the times of its steps.

    ``warm`` only brings image and node to where later runs find them.
    """
    command = [sys.executable, "run.py", "--pipeline", "train", "--config", config, "--json"]
    if warm:
        command += ["--set", "training.candidates=[decision_tree]", "--set", "training.trials=1"]
    else:
        command += ["--no-cache"]
    began, begun = time.time(), time.perf_counter()
    outcome = json.loads(_run([*command, *options], environment))
    seconds = time.perf_counter() - begun
    told = json.loads(_run([sys.executable, "-c", TIMES, outcome["zenml_run"]], environment))
    pods = {} if not options else pods_of(told["run"])
    steps = [Step(name, start, end, *pods.get(name, ())) for name, start, end in told["steps"]]
    steps.sort(key=lambda step: step.start)
    if OWN_POD in pods:
        steps.insert(0, Step("run", steps[0].start, steps[-1].end, *pods[OWN_POD]))
    return Run(outcome, began, seconds, steps)


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def pods_of(run: str) -> dict[str, tuple[float, float, float]]:
    """Return when each step's pod was created, and when its container began and was gone."""
    namespace = os.environ.get("KUBERNETES_NAMESPACE", "evergreen-runs")
    words = ["kubectl", "-n", namespace, "get", "pods", "-l", f"run_id={run}", "-o", "json"]
    found = {}
    for pod in json.loads(_run(words, dict(os.environ)))["items"]:
        name = pod["metadata"]["labels"].get("step_name", "").replace("-", "_")
        ended = pod["status"]["containerStatuses"][0]["state"].get("terminated")
        if ended:
            stamps = (pod["metadata"]["creationTimestamp"], ended["startedAt"], ended["finishedAt"])
            found[name] = tuple(datetime.fromisoformat(each).timestamp() for each in stamps)
    return found


def report(local: Run, remote: Run) -> None:
    """Print the table, in Markdown. The seconds of a step in a pod of its own are with that pod."""
    here = {step.name: step.end - step.start for step in local.steps}
    print("| step | local | on the cluster | of its pod: placed | until Python ran | after it |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in sorted(here.keys() - {step.name for step in remote.steps}):
        print(f"| {name} | {here[name]:.1f} | | | | |")
    for step in remote.steps:
        cells = [here.get(step.name), step.end - step.start]
        if step.created is not None and step.began is not None and step.gone is not None:
            cells += [step.began - step.created]
            # ZenML takes a step as begun as soon as it asks for the step's pod.
            cells += [step.start - step.began if step.name == "run" else None]
            cells += [step.gone - step.end]
        shown = ["" if value is None else f"{value:.1f}" for value in cells]
        shown += [""] * (5 - len(shown))
        print(f"| {step.name} | " + " | ".join(shown) + " |")
    steps = [step for step in remote.steps if step.name != "run"]
    added = (remote.seconds - local.seconds) / len(steps)
    print(
        f"\nThe command: {local.seconds:.1f} s here, {remote.seconds:.1f} s on the cluster, which "
        f"adds {added:.1f} s per step. From the command to its first step: "
        f"{steps[0].start - remote.began:.1f} s."
    )


if __name__ == "__main__":
    main()
