"""What the pods of a run say, line by line, as they say it.

Each line goes to this process's own output, with its step's name before it: to the run's log, or to
the screen with ``--verbose``. Steps' progress among them goes to the view.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from evergreen.terminal import LiveView

if TYPE_CHECKING:
    from kubernetes.client import CoreV1Api

LAST_WORDS: Final = 15  # lines of a step's log that a message shows
_SILENCE: Final = 60  # seconds without a line, after which the connection is made anew
_AGAIN: Final = 2.0  # seconds until then
_COLOURS: Final = re.compile(r"\x1b\[[0-9;]*m")


class PodLogs:
    """Follows pods, each in a thread of its own, until they end."""

    def __init__(self, core: CoreV1Api, namespace: str, view: LiveView) -> None:
        self._core, self._namespace, self._view = core, namespace, view
        self._threads: dict[str, threading.Thread] = {}
        self._last: defaultdict[str, deque[str]] = defaultdict(lambda: deque(maxlen=LAST_WORDS))
        self._writing = threading.Lock()
        self._ended = threading.Event()

    def follow(self, pods: Sequence[Any]) -> None:
        """Follow those of the pods that say something and are not followed yet."""
        for pod in pods:
            name = pod.metadata.name
            if name not in self._threads and pod.status.phase not in ("Pending", "Unknown"):
                step = (pod.metadata.labels or {}).get("step_name")
                thread = threading.Thread(
                    target=self._copy, args=(name, step), name=f"log-{name}", daemon=True
                )
                self._threads[name] = thread
                thread.start()

    def last_words(self, step: str) -> str:
        """Return the last lines of a step's log; empty where it said nothing."""
        with self._writing:
            return "\n".join(self._last[step])

    def drain(self, patience: float = 5.0) -> None:
        """Wait so many seconds for the end of what the pods say."""
        deadline = time.monotonic() + patience
        for thread in list(self._threads.values()):
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def end(self) -> None:
        """Listen no more."""
        with self._writing:
            self._ended.set()

    def _copy(self, pod: str, step: str | None) -> None:
        """Copy a pod's log to its end; after a broken connection from where it was."""
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        told = 0
        while not self._ended.is_set():
            try:
                for number, line in enumerate(self._lines(pod)):
                    if number >= told:
                        told = number + 1
                        self._take(line, step)
            except (ApiException, HTTPError, OSError) as error:
                if isinstance(error, ApiException) and error.status == 404:
                    return  # the pod is gone
                self._ended.wait(_AGAIN)
            else:
                return

    def _lines(self, pod: str) -> Iterator[str]:
        answer = self._core.read_namespaced_pod_log(
            pod,
            self._namespace,
            follow=True,
            _preload_content=False,
            _request_timeout=(_AGAIN * 5, _SILENCE),
        )
        with closing(answer):
            rest = b""
            for piece in answer.stream(4096, decode_content=True):
                *whole, rest = (rest + piece).split(b"\n")
                for line in whole:
                    yield line.decode(errors="replace")
            if rest:
                yield rest.decode(errors="replace")

    def _take(self, line: str, step: str | None) -> None:
        from steps.announcements import read_news

        plain = _COLOURS.sub("", line).rstrip()
        if (news := read_news(plain)) is not None:
            self._view.show(news)
            return
        # The run's own pod is copied by ZenML itself; of its log only the progress is new.
        if step is None:
            return
        with self._writing:
            if self._ended.is_set():
                return
            self._last[step].append(plain)
            sys.stderr.write(f"[{step}] {plain}\n")
            sys.stderr.flush()
