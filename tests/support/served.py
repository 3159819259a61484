"""Bundles of whole use cases, and a server that serves one, for tests from outside."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
from sklearn.pipeline import Pipeline

from evergreen.data.conform import conform, model_frame, target_values
from evergreen.data.infer import infer_contract
from evergreen.data.sources import read_source
from evergreen.features import build_features
from evergreen.monitoring.profile import make_profile
from evergreen.promotion.bundle import Bundle, Figures, Origin, write_bundle
from evergreen.provenance import environment
from evergreen.training.candidates import BY_NAME, make_estimator
from evergreen.training.predictions import predict
from evergreen.training.results import Interval
from evergreen.use_case import load_use_case

ROOT = Path(__file__).resolve().parents[2]


def bundle_of(config: str, candidate: str, folder: Path, params: Mapping[str, int]) -> Bundle:
    """Write the bundle of a use case's file, with one candidate fitted on the whole table."""
    use_case = load_use_case(ROOT / "configs" / config)
    raw = read_source(use_case.data.source)
    contract = infer_contract(raw, use_case)
    table = conform(raw, contract)
    chosen = BY_NAME[candidate]
    model = Pipeline(
        [
            ("features", build_features(contract, use_case.features, scale=chosen.scale, seed=1)),
            (
                "estimator",
                make_estimator(chosen, use_case.task, params, seed=1, balance=False, threads=1),
            ),
        ]
    ).fit(model_frame(table, contract), target_values(table, contract))
    metric = "accuracy" if use_case.task == "classification" else "r2"
    interval = Interval(estimate=0.9, low=0.85, high=0.95)
    return write_bundle(
        folder,
        model=model,
        contract=contract,
        profile=make_profile(table, contract, predict(model, table, contract)),
        figures=Figures(metric=metric, rows=36, confidence=0.95, metrics={metric: interval}),
        card="# A model\n",
        inputs=model_frame(table, contract),
        origin=Origin(
            candidate=candidate,
            title=chosen.title,
            params=params,
            training_key="key-1",
            data_fingerprint="f" * 64,
            data_source=str(use_case.data.source),
            rows=len(table),
        ),
        environment=environment(),
    )


@contextmanager
def serving(bundle: Path, home: Path, *arguments: str) -> Iterator[str]:
    """Serve a bundle in a process of its own and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "evergreen.serving", "--bundle", str(bundle)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port), *arguments],
            cwd=ROOT,
            env={**os.environ, "EVERGREEN_HOME": str(home / "evergreen")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _await_ready(address, process, home / "server.log")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def _await_ready(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{address}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass  # not listening yet
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise AssertionError(f"the server did not become ready; it said:\n{log.read_text()}")
