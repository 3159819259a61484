"""Where the time of a request goes, stage by stage, in one process without a network.

    python benchmarks/request_time.py BUNDLE

BUNDLE is a folder that training wrote, of a model whose fields are all numbers. Times are processor
time of the calling thread, the best of many short runs, so that other work on the machine shows as
little as possible. It prints Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from uvicorn.server import ServerState

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from evergreen.data.conform import model_frame
from evergreen.paths import Home
from evergreen.serving.api.batch import _write_json
from evergreen.serving.api.operation import Call
from evergreen.serving.api.plan import Plan, require_answer
from evergreen.serving.assembly import load, make_app
from evergreen.serving.options import ServerOptions
from evergreen.serving.records import PredictionBatch, PredictionRecord
from evergreen.serving.redaction import Redaction
from evergreen.serving.row_encoding import encode
from evergreen.serving.server import _config

TIMES, RUNS = 100, 30
BATCH = 10_000  # rows


class Wire:
    """A transport that forgets what is written."""

    def write(self, data: bytes) -> None:
        self.last = data

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name in ("peername", "sockname") else default

    def __getattr__(self, name: str) -> Any:
        return lambda *_: False


def microseconds(work: Callable[[], object], times: int = TIMES) -> float:
    best = float("inf")
    for _ in range(RUNS):
        before = time.thread_time()
        for _ in range(times):
            work()
        best = min(best, time.thread_time() - before)
    return 1e6 * best / times


def stages(plan: Plan, runtime: Any, body: bytes) -> dict[str, float]:
    row = plan.read_plain_row(body)
    outputs = runtime.predict(row.inputs)
    call = SimpleNamespace(request_id="a1b2c3d4e5f600000001")
    served = SimpleNamespace(name="model", version="1")
    write = msgspec.json.Encoder().encode
    scope = {"type": "http", "client": None}

    def record() -> PredictionRecord:
        return PredictionRecord(
            request_id="a1b2c3d4e5f600000001",
            version="1",
            inputs=row.logged,
            prediction=outputs.predictions[0],
            probabilities=None
            if outputs.probabilities is None
            else outputs.probabilities[0].tolist(),
        )

    one, redaction = record(), Redaction({})
    return {
        "request id, headers": microseconds(lambda: Call(scope, 0.0, {})),
        "parse and validate": microseconds(lambda: plan.read_plain_row(body)),
        "the model (ONNX Runtime) and its label": microseconds(lambda: runtime.predict(row.inputs)),
        "is the answer finite?": microseconds(lambda: require_answer(outputs)),
        "write the answer": microseconds(lambda: write(plan.answer(call, served, outputs, ()))),
        "record for the log": microseconds(record),
        "(log's thread: encode a row for the spool)": microseconds(
            lambda: encode(one, "model", redaction)
        ),
    }


def batch_stages(plan: Plan, runtime: Any, bodies: Sequence[bytes]) -> dict[str, float]:
    """Return in ms what each part of one request for many rows takes."""
    body = b"[" + b",".join(bodies) + b"]"
    values = plan.fast.read_many(body)
    inputs = plan.fast.columns(values)
    outputs = runtime.predict(inputs)
    served = SimpleNamespace(name="model", version="1")
    result = SimpleNamespace(
        inputs=inputs, outputs=outputs, served=served, findings=SimpleNamespace(flags={})
    )
    call = SimpleNamespace(request_id="a1b2c3d4e5f600000001")
    record = PredictionBatch(
        request_id="a1b2c3d4e5f600000001",
        version="1",
        inputs={name: values.tolist() for name, values in inputs.items()},
        predictions=outputs.predictions.tolist(),
        probabilities=None if outputs.probabilities is None else outputs.probabilities.tolist(),
    )
    works: dict[str, Callable[[], object]] = {
        "parse and validate": lambda: plan.fast.columns(plan.fast.read_many(body)),
        "the model (ONNX Runtime) and its labels": lambda: runtime.predict(inputs),
        "are the answers finite?": lambda: require_answer(outputs),
        "write the answer": lambda: _write_json(call, plan, result, 0, len(bodies)),
        "(log's thread: encode the rows for the spool)": lambda: encode(
            record, "model", Redaction({})
        ),
    }
    return {name: microseconds(work, times=1) / 1000 for name, work in works.items()}


async def whole(app: Any, request: bytes) -> tuple[float, float]:
    """Return the time of a request in place, and by uvicorn's way."""
    config = _config(app)
    config.load()
    loop = asyncio.get_running_loop()
    protocol = config.http_protocol_class(config, ServerState(), {}, loop)
    protocol.connection_made(Wire())

    async def ordinary() -> None:
        protocol._heads.clear()
        protocol.data_received(request)
        while not protocol.cycle.response_complete:
            await asyncio.sleep(0)

    best = float("inf")
    for _ in range(RUNS):
        before = time.thread_time()
        for _ in range(TIMES):
            await ordinary()
        best = min(best, time.thread_time() - before)
    await ordinary()
    return microseconds(lambda: protocol.data_received(request)), 1e6 * best / TIMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = ServerOptions(bundle=options.bundle, home=Home(Path(folder)), log_server="timed")
        loaded = load(server)
        runtime = loaded.served.runtime
        table = model_frame(runtime.bundle.golden, runtime.contract)
        body = json.dumps(json.loads(table.to_json(orient="records"))[0]).encode()
        plan = Plan(runtime, server.settings)
        found = stages(plan, runtime, body)
        many = batch_stages(plan, runtime, [body] * BATCH)
        head = "POST /predict HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        in_place, ordinary = asyncio.run(whole(make_app(server, loaded), request))
    print("| stage | µs |\n| --- | ---: |")
    for name, took in found.items():
        print(f"| {name} | {took:.1f} |")
    print(f"| **a whole request, answered in place** (without the socket) | {in_place:.1f} |")
    print(f"| the same by uvicorn's ordinary way | {ordinary:.1f} |")
    print(f"\n| {BATCH:,} rows in one request | ms |\n| --- | ---: |")
    for name, took in many.items():
        print(f"| {name} | {took:.1f} |")


if __name__ == "__main__":
    main()
