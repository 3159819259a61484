"""What the prediction log's promise costs: the API with and without ``durable``.

    python benchmarks/prediction_log.py BUNDLE [--seconds 8] [--rounds 3]

One worker, eight connections, single rows, SQLite; figures are medians over the rounds. It needs
wrk (apt-get install wrk) and prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from load import Load, full_load

from evergreen.data.conform import model_frame
from evergreen.promotion.bundle import open_bundle

ROOT = Path(__file__).resolve().parents[1]
CONFIG = """\
name: {name}
task: classification
data: {{source: "sklearn:wine", target: class}}
serving: {{log: {{durable: {durable}}}}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    rows = model_frame(bundle.golden, bundle.contract).to_json(orient="records", date_format="iso")
    bodies = [json.dumps(row).encode() for row in json.loads(rows)]
    found: dict[str, list[Load]] = {"default": [], "durable": []}
    for _ in range(options.rounds):
        for mode, loads in found.items():
            with served(options.bundle, bundle.contract.use_case, mode == "durable") as port:
                full_load(port, "/predict", bodies, 1)
                loads.append(full_load(port, "/predict", bodies, options.seconds))
    print("| prediction log | requests/s | median ms | p99 ms |")
    print("| --- | ---: | ---: | ---: |")
    for mode, loads in found.items():
        rate, p50, p99 = (
            statistics.median(getattr(load, name) for load in loads)
            for name in ("rate", "p50", "p99")
        )
        print(f"| {mode} | {rate:,.0f} | {p50:.2f} | {p99:.2f} |")


@contextmanager
def served(bundle: Path, name: str, durable: bool) -> Iterator[int]:
    """Serve the bundle with a fresh log; yield the port."""
    with tempfile.TemporaryDirectory(dir=Path.home(), prefix=".evergreen-benchmark-") as folder:
        config = Path(folder, f"{name}.yaml")
        config.write_text(CONFIG.format(name=name, durable=str(durable).lower()))
        options = ["--config", str(config), "--bundle", str(bundle.absolute()), "--port", "0"]
        process = subprocess.Popen(
            [sys.executable, "-m", "evergreen.serving", *options],
            cwd=ROOT,
            env={**os.environ, "EVERGREEN_HOME": folder},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            said = ""
            while "Health" not in said:
                line = process.stdout.readline()
                if not line:
                    raise SystemExit("the server ended")
                said += line
            yield int(re.findall(r"http://[^:]+:(\d+)", said)[0])
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        finally:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
