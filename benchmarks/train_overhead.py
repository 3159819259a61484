"""What ZenML, MLflow and the reports add to the plain script, in seconds and as a ratio.

    python benchmarks/train_overhead.py [--config configs/wine.yaml] [--repeat 3]

Plain script and pipeline alternate in fresh processes on the same machine; the median of each
counts. `first` is a machine's very first run, which also creates ZenML's and MLflow's databases.
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
        times: dict[str, list[float]] = {"plain": [], "cold": [], "cached": []}
        for _ in range(options.repeat):
            seconds, plain_result = timed(plain, environment)
            times["plain"].append(seconds)
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
    plain = median["plain"]
    print("| run | seconds | added to the plain script | ratio |")
    print("| --- | ---: | ---: | ---: |")
    print(f"| plain script | {plain:.1f} | | 1.00 |")
    for name, seconds in (
        ("pipeline, nothing cached", median["cold"]),
        ("pipeline, nothing changed (cached)", median["cached"]),
        ("pipeline, a machine's first run", first),
    ):
        print(f"| {name} | {seconds:.1f} | {seconds - plain:+.1f} | {seconds / plain:.2f} |")


if __name__ == "__main__":
    main()
