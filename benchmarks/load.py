"""Two ways to put load on a server: as fast as it answers, and at a fixed rate.

`full_load` is wrk: eight connections, each sends its next request when its last one is answered.
`fixed_rate` sends by the clock, and counts each answer's time from the moment at which its request
was due, not from when it could be sent: a server that stalls cannot hide it (wrk2's correction of
"coordinated omission"). Where this generator itself is late, that counts against the server.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import re
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 8
# wrk's script: the bodies one after the other, written out once; other answers than 200 counted.
SCRIPT = """
local bodies = %s
local requests, next = {}, 0
function init()
  for index, body in ipairs(bodies) do
    requests[index] = wrk.format("POST", nil, {["Content-Type"] = "application/json"}, body)
  end
end
function request()
  next = next %% #requests + 1
  return requests[next]
end
function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '{"requests": %%d, "seconds": %%f, "p50": %%f, "p99": %%f, "failed": %%d}',
    summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""


@dataclass(frozen=True)
class Load:
    """What a load run found; times in milliseconds."""

    rate: float  # answers per second
    p50: float
    p99: float


def full_load(port: int, path: str, bodies: Sequence[bytes], seconds: float) -> Load:
    """Run wrk with one thread and eight connections; exit where any answer was not 200."""
    lua = "{" + ",".join(f"[==[{body.decode()}]==]" for body in bodies) + "}"
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(SCRIPT % lua)
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", "--timeout", "30s"]
        done = subprocess.run(
            [*command, "-s", script.name, f"http://127.0.0.1:{port}{path}"],
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(re.search(r"\{.*\}\s*$", done.stdout)[0])
    if found["failed"]:
        raise SystemExit(f"{found['failed']} of {found['requests']} requests to {path} failed")
    return Load(found["requests"] / found["seconds"], found["p50"], found["p99"])


def fixed_rate(port: int, path: str, bodies: Sequence[bytes], rate: float, seconds: float) -> Load:
    """Send ``rate`` requests per second over eight connections, evenly spaced."""
    requests = [_request(path, body) for body in bodies]
    total = max(int(rate * seconds), 1)
    with selectors.DefaultSelector() as selector:
        gc.disable()  # its pauses would look like the server's
        try:
            times, elapsed = _send_by_the_clock(selector, port, requests, rate, total)
        finally:
            gc.enable()
            for key in list(selector.get_map().values()):
                key.fileobj.close()
    times.sort()
    return Load(total / elapsed, *(1000 * times[int(len(times) * q)] for q in (0.5, 0.99)))


def _send_by_the_clock(selector, port, requests, rate, total):
    # A place in ``idle`` is an open connection, or None: it is opened when it is needed, because
    # a server that closes after every answer may wait for the request of an idle one.
    idle: list[socket.socket | None] = [None] * CONNECTIONS
    times, due_at, received = [], {}, {}
    sent, start = 0, time.perf_counter()
    while len(times) < total:
        now = time.perf_counter()
        while sent < total and idle and start + sent / rate <= now:
            connection = idle.pop() or _connect(selector, port)
            due_at[connection], received[connection] = start + sent / rate, b""
            connection.sendall(requests[sent % len(requests)])
            sent += 1
        # Polling, because a sleep would wake up to a millisecond late.
        for key, _ in selector.select(0 if idle and sent < total else 0.05):
            connection = key.fileobj
            received[connection] += connection.recv(65536)
            if _complete(received[connection]):
                times.append(time.perf_counter() - due_at[connection])
                idle.append(_kept(selector, connection, received[connection]))
    return times, time.perf_counter() - start


def _kept(selector, connection: socket.socket, answer: bytes) -> socket.socket | None:
    if not re.search(rb"\r\nconnection: *close", answer, re.IGNORECASE):
        return connection
    selector.unregister(connection)
    connection.close()
    return None


def _connect(selector, port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(connection, selectors.EVENT_READ)
    return connection


def _request(path: str, body: bytes) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _complete(answer: bytes) -> bool:
    if not answer:
        raise SystemExit("the server closed a connection under load")
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    if b" 200 " not in head[:16]:
        raise SystemExit(f"the server answered under load: {answer[:300]!r}")
    if length := re.search(rb"content-length: *(\d+)", head, re.IGNORECASE):
        return len(body) >= int(length[1])
    return body.endswith(b"0\r\n\r\n")  # chunked


def processes(root: int) -> list[int]:
    """Return a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
            parents.setdefault(parent, []).append(int(stat.parent.name))
    found = [root]
    for process in found:
        found.extend(parents.get(process, []))
    return found


def memory(root: int) -> tuple[float, float]:
    """Return MB: resident in the largest process, and in all (what they share counted once)."""
    resident, shared_once = [], []
    for process in processes(root):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
            resident.append(int(re.search(r"^Rss:\s+(\d+)", text, re.MULTILINE)[1]))
            shared_once.append(int(re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)[1]))
    return max(resident) / 1024, sum(shared_once) / 1024


def processor_time(root: int) -> float:
    """Return the seconds that a process and its descendants have been computing."""
    ticks = 0
    for process in processes(root):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # in its own code, and in the system's
    return ticks / os.sysconf("SC_CLK_TCK")
