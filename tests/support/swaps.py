"""Versions coming and going under load: swaps, rollbacks and broken versions, and who answered.

Two kinds of clients ask all the while: wrk as fast as it is answered, counting failures and the
versions that answered; and a few patient ones that note for each answer when it was asked for, when
it came, and which version it names. What they noted is held against the time in which each version
can have been live.
"""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from evergreen.promotion.bundle import Bundle
from tests.support.stores import BROKEN, Store
from tests.support.verdicts import verdict

PATIENCE = 60.0  # seconds until a server must have followed
WRK = """
wrk.method, wrk.body = "POST", [==[%s]==]
wrk.headers["Content-Type"] = "application/json"
local threads = {}
function setup(thread) table.insert(threads, thread) end
function init() versions = {} end
function response(status, headers)
  local version = headers["x-model-version"] or "none"
  versions[version] = (versions[version] or 0) + 1
end
function done(summary)
  local errors, counted = summary.errors, {}
  for version, count in pairs(threads[1]:get("versions")) do
    table.insert(counted, string.format('"%%s": %%d', version, count))
  end
  io.write(string.format('{"requests": %%d, "failed": %%d, "versions": {%%s}}', summary.requests,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    table.concat(counted, ", ")))
end
"""


@dataclass
class Live:
    """When each version can have answered: from its alias being set, to its successor's answer."""

    spans: list[list[Any]] = field(default_factory=list)  # version, from, until (None: still)

    def may_come(self, version: str) -> None:
        self.spans.append([version, time.monotonic(), None])

    def has_come(self, version: str) -> None:
        """Note that a version answers: no earlier one does any more."""
        for span in self.spans[:-1]:
            span[2] = span[2] or time.monotonic()
        assert self.spans[-1][0] == version

    def was(self, version: str | None, began: float, ended: float) -> bool:
        return any(
            version == live and since <= ended and (until is None or began <= until)
            for live, since, until in self.spans
        )


@dataclass
class Answers:
    """What the patient clients noted: began, ended, status and version of each answer."""

    noted: list[tuple[float, float, int, str | None]] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


@contextmanager
def asking(
    port: int,
    row: Mapping[str, Any],
    clients: int = 2,
    host: str = "127.0.0.1",
    pause: float = 0.002,
    **more: str,
) -> Iterator[Answers]:
    """Ask all the while that the block takes; ``more`` are headers."""
    answers, stopping, body = Answers(), threading.Event(), json.dumps(row)
    headers = {"content-type": "application/json", **more}

    def ask() -> None:
        with closing(http.client.HTTPConnection(host, port, timeout=30)) as connection:
            while not stopping.wait(pause):
                began = time.monotonic()
                try:
                    connection.request("POST", "/predict", body, headers)
                    answer = connection.getresponse()
                    version = json.loads(answer.read()).get("model_version")
                except (OSError, http.client.HTTPException, ValueError) as error:
                    answers.failed.append(repr(error))
                    return
                ended = time.monotonic()
                if answer.headers["x-model-version"] != version:
                    answers.failed.append(f"head and body disagree on {version}")
                answers.noted.append((began, ended, answer.status, version))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


@contextmanager
def wrk(port: int, row: Mapping[str, Any], script: Path, connections: int = 8) -> Iterator[dict]:
    """Run wrk all the while that the block takes; then the dictionary holds what it found."""
    script.write_text(WRK % json.dumps(row))
    command = ["wrk", "-t1", f"-c{connections}", "-d1h", "--timeout", "30s", "-s", str(script)]
    url = f"http://127.0.0.1:{port}/predict"
    found: dict[str, Any] = {}
    process = subprocess.Popen([*command, url], stdout=subprocess.PIPE, text=True)
    try:
        yield found
        process.send_signal(signal.SIGINT)  # it counts together, and ends
        said, _ = process.communicate(timeout=60)
        match = re.search(r"\{.*\}", said, re.DOTALL)
        assert match, said
        found |= json.loads(match[0])
    finally:
        process.kill()
        process.communicate()


class Rehearsal:
    """A server that follows the champion of a store, and what is done to it."""

    def __init__(self, store: Store, url: str, bundles: Mapping[str, Bundle]) -> None:
        self.store, self.url, self.bundles = store, url, bundles
        self.live = Live()
        self.present = str(store.client.get_model_version_by_alias("boats", "champion").version)
        self.live.may_come(self.present)
        self.refused: dict[str, str] = {}  # by way of being broken, what the server said

    def register(self, which: str) -> str:
        return self.store.add(self.bundles[which], alias=None)

    def swap(self, version: str) -> None:
        """Promote a version and wait until it answers."""
        self.live.may_come(version)
        self.store.registry.promote("boats", version, verdict(self.present), "ada")
        self._await_live(version)

    def roll_back(self) -> None:
        """Make the version before champion again, and wait until it answers.

        After `refuse` the version before is the broken one.
        """
        previous = self.store.client.get_model_version_by_alias("boats", "previous").version
        self.live.may_come(str(previous))
        self.store.registry.roll_back("boats", "ada")
        self._await_live(str(previous))

    def refuse(self, how: str, version: str) -> None:
        """Promote a broken version, wait until it is refused, and take it back."""
        self.store.registry.promote("boats", version, verdict(self.present), "ada")
        failure = self._await(lambda info: (info["swap_failure"] or {}).get("version") == version)
        assert failure["version"] == self.present
        self.refused[how] = failure["swap_failure"]["reason"]
        assert httpx.get(f"{self.url}/health").json()["status"] == "degraded"
        self.store.registry.roll_back("boats", "ada")
        self._await(lambda info: info["swap_failure"] is None)

    def broken(self) -> dict[str, str]:
        """Register a version for each of five ways of being broken; return their numbers."""
        versions = {}
        for how in ("a corrupt file", "a wrong checksum", "other answers", "a missing file"):
            versions[how] = self.register("second")
            BROKEN[how][0](self.store.files(versions[how]))
        versions["another contract"] = self.register("regression")
        return versions

    def check(self, answers: Answers, hammered: Mapping[str, Any]) -> Counter[str | None]:
        """Assert that nothing failed and that each answer names what was live; count those."""
        assert not answers.failed, answers.failed[:3]
        assert hammered["failed"] == 0, hammered
        for began, ended, status, version in answers.noted:
            assert status == 200
            assert self.live.was(version, began, ended), (version, began, ended, self.live.spans)
        assert set(hammered["versions"]) <= {version for version, *_ in self.live.spans}
        assert sum(hammered["versions"].values()) >= hammered["requests"]
        return Counter(version for *_, version in answers.noted)

    def _await_live(self, version: str) -> None:
        self._await(lambda info: info["version"] == version)
        self.live.has_come(version)
        self.present = version

    def _await(self, reached: Any) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while not reached(info := httpx.get(f"{self.url}/model/info", timeout=30).json()):
            assert time.monotonic() < end, info
            time.sleep(0.02)
        return info
