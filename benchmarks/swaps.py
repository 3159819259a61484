"""Versions coming and going under load: not one failed request, and who answered when.

    python benchmarks/swaps.py [--swaps 20] [--rollbacks 5] [--seconds 60]

A server with one worker follows a registry of its own while wrk asks over eight connections as fast
as it is answered, and two patient clients note for each answer when it came and which version it
names. Meanwhile versions are promoted and rolled back, and five broken ones are promoted (a corrupt
file, a wrong checksum, other answers than at training, a missing file, another contract), each once
the one before was taken over or refused. It ends with an error if a request failed, or if an answer
names a version that cannot have been live. It needs wrk (apt-get install wrk), prints Markdown, and
takes as long as the server needs to follow: it looks every three seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--rollbacks", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="of load, at least")
    found = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="evergreen-swaps-") as folder:
        os.environ["EVERGREEN_HOME"] = folder
        os.environ.pop("MLFLOW_TRACKING_URI", None)
        _run(Path(folder), found.swaps, found.rollbacks, found.seconds)


def _run(root: Path, swaps: int, rollbacks: int, seconds: float) -> None:
    from evergreen.paths import Home
    from evergreen.promotion.store import prepare_store
    from tests.support.models import write_small_bundle
    from tests.support.serving import BOAT, serving
    from tests.support.stores import Store
    from tests.support.swaps import Rehearsal, asking, wrk

    home = Home(root)
    experiment = prepare_store(home, "boats")
    log = home.database_url.removeprefix("sqlite:///")
    store = Store(home.mlflow_uri, experiment, log, home.locks)
    bundles = {
        "first": write_small_bundle(root / "first", seed=1, training_key="key-1"),
        "second": write_small_bundle(root / "second", seed=2, training_key="key-2"),
        "regression": write_small_bundle(root / "regression", "regression"),
    }
    store.add(bundles["first"])
    with serving(root, "--model", "boats", "--registry", store.uri) as server:
        rehearsal = Rehearsal(store, server.url, bundles)
        port = urlsplit(server.url).port
        broken = list(rehearsal.broken().items())
        versions = [rehearsal.register(("second", "first")[n % 2]) for n in range(swaps)]
        began = time.monotonic()
        with wrk(port, BOAT, root / "load.lua") as hammered, asking(port, BOAT) as answers:
            # A rollback and a broken version after each few swaps.
            each = max(swaps // max(rollbacks, len(broken)), 1)
            left = rollbacks
            for number, version in enumerate(versions, 1):
                rehearsal.swap(version)
                if number % each == 0:
                    if left:
                        left -= 1
                        rehearsal.roll_back()
                    if broken:
                        rehearsal.refuse(*broken.pop(0))
            for how, version in broken:
                rehearsal.refuse(how, version)
            while time.monotonic() < began + seconds:
                time.sleep(0.1)
        elapsed = time.monotonic() - began
        counts = rehearsal.check(answers, hammered)
        server.stop()
    store.registry.log.close()
    print(_table(elapsed, swaps, rollbacks - left, rehearsal, hammered, counts))


def _table(elapsed, swaps, rollbacks, rehearsal, hammered, counts) -> str:
    lines = [
        "| what | how many |",
        "| --- | ---: |",
        f"| seconds under load | {elapsed:.0f} |",
        f"| swaps | {swaps} |",
        f"| rollbacks | {rollbacks} |",
        f"| broken versions, all refused | {len(rehearsal.refused)} |",
        f"| requests by wrk | {hammered['requests']:,} |",
        f"| failed requests | {hammered['failed']} |",
        f"| answers held against what was live | {sum(counts.values()):,} |",
        f"| answers by a version that was not | 0 (of {len(counts)} versions) |",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
