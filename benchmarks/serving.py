"""Requests per second, latency, memory and start of Evergreen's API beside its peers'.

    python benchmarks/serving.py [--seconds 8] [--rounds 3] [--only mlflow,evergreen]
                                 [--write docs/benchmarks.md]

The same random forest of 100 trees on scikit-learn's wine, one worker each, on this machine, one
server after the other, in every round. Each peer has an environment of its own, made by uv from
`serving_peers/*/requirements.txt` and kept in --folder. Before anything is timed, each server must
give the expected probabilities for every row of the table. Figures are medians over the rounds.
It needs wrk (apt-get install wrk) and prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from load import CONNECTIONS, fixed_rate, full_load, memory, processes, processor_time
from serving_peers.forest import train
from serving_peers.server import Server
from serving_peers.servers import SERVERS
from sklearn.datasets import load_wine

BATCH = 10_000
OURS = "evergreen"
MARKS = ("<!-- serving: begin -->", "<!-- serving: end -->")


@dataclass(frozen=True)
class Figures:
    """What was measured of one server: times in ms, start in s, memory in MB.

    ``cost`` is processor time per request, of all its processes: it hardly depends on what else
    the machine does.
    """

    rate: float
    p50: float
    p99: float
    cost: float
    half_p50: float
    half_p99: float
    batch: float
    ready: float
    worker: float
    total: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path.home() / ".cache/evergreen-benchmarks")
    parser.add_argument("--seconds", type=float, default=8, help="of each load")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default=",".join(server.name for server in SERVERS))
    parser.add_argument("--write", type=Path, help="document whose table is to be replaced")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    names = options.only.split(",")
    if unknown := set(names) - {server.name for server in SERVERS}:
        raise SystemExit(f"No such server: {', '.join(unknown)}")
    servers = [server for server in SERVERS if server.name in names]
    options.folder.mkdir(parents=True, exist_ok=True)
    for server in servers:
        progress(f"preparing {server.name}")
        server.prepare(options.folder)
    options.load = os.getloadavg()[0]
    found: dict[str, list[Figures]] = {server.name: [] for server in servers}
    for number in range(options.rounds):
        for server in servers:
            progress(f"round {number + 1}: {server.name}")
            found[server.name].append(measure(server, options.folder, options.seconds))
            progress(f"  {found[server.name][-1]}")
    text = report(servers, {name: medians(rounds) for name, rounds in found.items()}, options)
    print(text)
    if options.write:
        put_into(options.write, text)


def measure(server: Server, cache: Path, seconds: float) -> Figures:
    """Start a server, check its answers, put load on it, stop it."""
    rows, expected = wine()
    bodies = [json.dumps(server.body([row])).encode() for row in rows]
    port = free_port()
    log = cache / f"{server.name}.log"
    before = time.perf_counter()
    process = server.start(cache, port, log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            ready = wait(client, server, bodies[0], process, log) - before
            check(client, server, bodies, expected)
            full_load(port, server.path, bodies, max(seconds / 4, 1))  # warms up
            computed = processor_time(process.pid)
            full = full_load(port, server.path, bodies, seconds)
            computed = processor_time(process.pid) - computed
            half = fixed_rate(port, server.path, bodies, full.rate / 2, seconds)
            worker, total = memory(process.pid)
            batch = time_batch(client, server, rows, expected)
    finally:
        stop(process)
    return Figures(
        *(full.rate, full.p50, full.p99, 1000 * computed / (full.rate * seconds)),
        *(half.p50, half.p99),
        *(batch, ready, worker, total),
    )


def wine() -> tuple[list[dict[str, float]], np.ndarray]:
    """Return the rows and the probabilities that every server must give for them."""
    table = load_wine(as_frame=True).data
    table.columns = [name.replace("/", "_") for name in table]  # as the use case's source does
    return table.to_dict("records"), train().predict_proba(table.to_numpy())


def wait(
    client: httpx.Client,
    server: Server,
    body: bytes,
    process: subprocess.Popen[bytes],
    log: Path,
) -> float:
    """Return the moment of the first good answer."""
    deadline, said = time.monotonic() + 60, ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = post(client, server.path, body)
            if answer.status_code == 200:
                return time.perf_counter()
            said = answer.text[:1000]
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.01)
    raise SystemExit(f"{server.name} does not answer: {said}\n{log.read_text()[-3000:]}")


def check(
    client: httpx.Client, server: Server, bodies: Sequence[bytes], expected: np.ndarray
) -> None:
    """Exit unless the server gives the expected probabilities for every row."""
    answers = [server.answer(post(client, server.path, body).json()) for body in bodies]
    if server.name != "empty":
        compare(server, [answer[0] for answer in answers], expected)


def compare(server: Server, found: Sequence[Sequence[float]], expected: np.ndarray) -> None:
    probabilities = np.array(found, dtype=float)
    if probabilities.shape != expected.shape or not np.allclose(
        probabilities, expected, rtol=0, atol=1e-6
    ):
        raise SystemExit(f"{server.name} gives other probabilities than the forest")


def time_batch(
    client: httpx.Client, server: Server, rows: list[dict[str, float]], expected: np.ndarray
) -> float:
    """Return the best of three times in ms for one request of 10,000 rows."""
    if server.name == "empty":
        return float("nan")
    many = (rows * (BATCH // len(rows) + 1))[:BATCH]
    body = json.dumps((server.batch_body or server.body)(many)).encode()
    path = server.batch_path or server.path
    times = []
    for _ in range(3):
        before = time.perf_counter()
        answer = post(client, path, body)
        times.append(1000 * (time.perf_counter() - before))
    if answer.status_code != 200:
        raise SystemExit(f"{server.name} refused {BATCH} rows: {answer.text[:500]}")
    found = (server.batch_answer or server.answer)(answer.json())
    compare(server, found, np.resize(expected, (BATCH, expected.shape[1])))
    return min(times)


def post(client: httpx.Client, path: str, body: bytes) -> httpx.Response:
    return client.post(path, content=body, headers={"Content-Type": "application/json"})


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and all its processes."""
    family = processes(process.pid)
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for child in family:
        try:
            os.kill(child, signal.SIGKILL)
        except ProcessLookupError:
            continue


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def medians(rounds: Sequence[Figures]) -> Figures:
    each = [asdict(figures) for figures in rounds]
    return Figures(**{key: statistics.median(one[key] for one in each) for key in each[0]})


def report(servers: Sequence[Server], found: Mapping[str, Figures], options: Any) -> str:
    """Return the tables, in Markdown."""
    lines = [
        f"One worker, {CONNECTIONS} connections, single rows, {options.seconds:.0f} s per load, "
        f"medians of {options.rounds} round(s); {os.cpu_count()} cores ({processor()}), "
        f"Python {platform.python_version()}, {time.strftime('%Y-%m-%d')}; load average before: "
        f"{options.load:.1f}.",
        "",
        "| server | requests/s | ours ÷ it | p50 ms | p99 ms | p99 ms at half load "
        "| processor ms per request |",
        "| --- |" + " ---: |" * 6,
    ]
    ranked = sorted(servers, key=lambda server: found[server.name].rate)
    ours = found.get(OURS)
    for server in ranked:
        figures = found[server.name]
        ratio = f"{ours.rate / figures.rate:.3g}" if ours else "–"
        lines.append(
            f"| {server.title} | {figures.rate:,.0f} | {ratio} | {figures.p50:.2f} "
            f"| {figures.p99:.2f} | {figures.half_p99:.2f} | {figures.cost:.3f} |"
        )
    lines += [
        "",
        f"| server | {BATCH:,} rows in one request, ms | first answer after s "
        "| MB, largest process | MB, all processes |",
        "| --- |" + " ---: |" * 4,
    ]
    for server in ranked:
        figures = found[server.name]
        batch = "–" if np.isnan(figures.batch) else f"{figures.batch:,.0f}"
        lines.append(
            f"| {server.title} | {batch} | {figures.ready:.1f} "
            f"| {figures.worker:.0f} | {figures.total:.0f} |"
        )
    return "\n".join(lines)


def put_into(document: Path, text: str) -> None:
    """Replace what stands between the marks in a document."""
    content = document.read_text(encoding="utf-8")
    start, end = content.index(MARKS[0]) + len(MARKS[0]), content.index(MARKS[1])
    document.write_text(f"{content[:start]}\n{text}\n{content[end:]}", encoding="utf-8")


def processor() -> str:
    names = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return names[0].split(": ")[1] if names else platform.machine()


def progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
