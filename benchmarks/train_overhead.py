"""What ZenML, MLflow and the reports add to the plain script, in seconds and as a ratio.

    python benchmarks/train_overhead.py [--config configs/wine.yaml] [--repeat 3]

Two plain scripts, one that trains and judges and one that also writes the bundle and the reports,
and the pipeline alternate in fresh processes on the same machine; the median of each counts. The
first run of a machine also creates ZenML's and MLflow's databases.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, dict]:
    """Run a command that prints one JSON object; return seconds and that object."""
    start = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - start
    if done.returncode not in (0, 1):
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr}")
    return seconds, json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", default="configs/wine.yaml")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "repository").mkdir()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "EVERGREEN_HOME": str(home / "evergreen"),
            "ZENML_CONFIG_PATH": str(home / "zenml"),
            "ZENML_REPOSITORY_PATH": str(home / "repository"),
            "ZENML_ANALYTICS_OPT_IN": "false",
        }
        plain = [sys.executable, "benchmarks/plain_train.py", options.config, f"{home}/plain"]
        train = [
            sys.executable,
            *("run.py", "--pipeline", "train", "--config", options.config, "--json"),
        ]
        timed(plain, environment)  # warms the disk cache for both
        first, _ = timed(train, environment)
        times: dict[str, list[float]] = {"plain": [], "reports": [], "cold": [], "cached": []}
        for _ in range(options.repeat):
            seconds, plain_result = timed(plain, environment)
            times["plain"].append(seconds)
            times["reports"].append(timed([*plain, "--reports"], environment)[0])
            seconds, train_result = timed([*train, "--no-cache"], environment)
            times["cold"].append(seconds)
            same = {name: value["estimate"] for name, value in train_result["metrics"].items()}
            if same != plain_result["metrics"]:
                raise SystemExit(f"The models differ: {same} and {plain_result['metrics']}")
            timed(train, environment)  # fills the cache
            times["cached"].append(timed(train, environment)[0])
    report(first, {name: statistics.median(values) for name, values in times.items()})


def report(first: float, median: dict[str, float]) -> None:
    """Print the table, in Markdown."""
    plain, reports = median["plain"], median["reports"]
    print("| run | seconds | beside the plain script | beside it with bundle and reports |")
    print("| --- | ---: | ---: | ---: |")
    for name, seconds in (
        ("plain script", plain),
        ("plain script that also writes bundle and reports", reports),
        ("pipeline, nothing cached", median["cold"]),
        ("pipeline, nothing changed (cached)", median["cached"]),
        ("pipeline, a machine's first run", first),
    ):
        beside = [f"{seconds - each:+.1f} s, {seconds / each:.2f}×" for each in (plain, reports)]
        print(f"| {name} | {seconds:.1f} | {beside[0]} | {beside[1]} |")


if __name__ == "__main__":
    main()
