"""Watching a run elsewhere: its steps as they begin, what they wait for, and what cannot mend."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from evergreen.errors import EvergreenError, UnreachableError
from evergreen.terminal import LiveView
from pipelines.placement import resources_of
from pipelines.pod_logs import PodLogs
from pipelines.pods import START, Pods, Trouble, in_cluster
from pipelines.run_records import (
    POLL,
    find_run,
    is_worth_another_try,
    raised_by,
    steps_of,
    title_of,
)

if TYPE_CHECKING:
    from uuid import UUID

    from zenml.models import PipelineRunResponse, StepRunResponse
    from zenml.stack import Stack

PLACE: Final = 600.0  # seconds for which a pod may wait for a place in the cluster
_LOOK: Final = 3.0  # seconds between two looks at the pods
_LOST: Final = 60.0  # seconds without any job, after which a run is not going on
_KEPT: Final = "What the steps before it made is kept."


class Watch:
    """Looks at a run until its end, and stops it where waiting any longer would not help.

    ``verdict`` is then why; else None.
    """

    def __init__(
        self, name: str, stack: Stack, view: LiveView, stop: Callable[[str, Stack], None]
    ) -> None:
        self.verdict: Exception | None = None
        self._name, self._stack, self._view, self._stop = name, stack, view, stop
        self._shown: set[tuple[str, int]] = set()
        self._since: dict[Trouble, float] = {}
        self._looked = 0.0
        self._alive: float | None = None
        self._logs: PodLogs | None = None
        self._ended = threading.Event()
        self._id: UUID | None = None
        self._thread = threading.Thread(target=self._follow, name="follow-run", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def end(self) -> None:
        """End it."""
        self._ended.set()
        self._thread.join(timeout=5)
        self._listen_to_the_end()
        if self._logs is not None:
            self._logs.end()

    def last_words(self, step: str) -> str:
        """Return the last lines of the log of a step that ended; empty where there is none."""
        self._listen_to_the_end()
        return "" if self._logs is None else self._logs.last_words(step)

    def _listen_to_the_end(self) -> None:
        with suppress(Exception):  # a log that cannot be had is no failure of the run
            if in_cluster(self._stack) and (run := self._run()) is not None:
                self._follow_logs(Pods(self._stack, run))
        if self._logs is not None:
            self._logs.drain()

    def _follow_logs(self, pods: Pods) -> None:
        self._logs = self._logs or pods.logs(self._view)
        self._logs.follow(pods.all())

    def _follow(self) -> None:
        while not self._ended.wait(POLL):
            with suppress(Exception):  # the next look may succeed; the run's end tells the truth
                run = self._run()
                if run is None or run.status.is_finished:
                    continue
                self.verdict = self._look_at_steps(run) or self._look_at_pods(run)
            if self.verdict is not None:
                self._stop(self._name, self._stack)
                return

    def _run(self) -> PipelineRunResponse | None:
        from zenml.client import Client

        if self._id is not None:
            return Client().get_pipeline_run(self._id)
        run = find_run(self._name)
        self._id = run.id if run is not None else None
        return run

    def _look_at_steps(self, run: PipelineRunResponse) -> Exception | None:
        """Show the steps that began, and return the error of one that no other try can mend."""
        steps = steps_of(run, hydrate=False)
        for step in steps:
            if (key := (step.name, step.version)) not in self._shown:
                self._shown.add(key)
                again = f" (try {step.version})" if step.version > 1 else ""
                self._view.show(title_of(step.name) + again)
        if any(step.status.value == "retrying" for step in steps):
            for step in steps_of(run):
                if step.status.value == "retrying" and not is_worth_another_try(step):
                    return _final(step)
        return None

    def _look_at_pods(self, run: PipelineRunResponse) -> EvergreenError | None:
        """Show what pods wait for, and return why one cannot go on."""
        now = time.monotonic()
        if not in_cluster(self._stack) or now - self._looked < _LOOK:
            return None
        self._looked = now
        self._alive = self._alive or now
        pods = Pods(self._stack, run)
        self._follow_logs(pods)
        for trouble in pods.ended():
            own = trouble.step == START
            which = "default" if own else f"steps.{resources_of(trouble.step)}"
            return UnreachableError(
                f"{'The run' if own else f'Step {trouble.step!r}'} was ended by the cluster: "
                f"{trouble.reason}. Give it more, such as "
                f"--set resources.{which}.memory_limit=4Gi. {_KEPT}"
            )
        waiting = pods.waiting()
        self._since = {one: self._since.get(one, now) for one in waiting}
        for trouble, since in self._since.items():
            self._tell(trouble, now == since)
            if now - since > PLACE:
                return UnreachableError(
                    f"{_title(trouble)} found no place in the cluster in {PLACE:g} s: "
                    f"{trouble.reason}. {_KEPT} Make room, and run the same command again."
                )
        if pods.go_on():
            self._alive = now
        elif now - self._alive > _LOST:
            return UnreachableError(
                f"The pods of the run {run.name!r} are gone, and it has not ended. {_KEPT} "
                "The same command takes it from there."
            )
        return None

    def _tell(self, trouble: Trouble, new: bool) -> None:
        from zenml.logger import get_logger

        if new:
            text = f"{_title(trouble)} waits: {trouble.reason}"
            self._view.show(text)
            get_logger(__name__).warning(text)


def _title(trouble: Trouble) -> str:
    return title_of(trouble.step) if trouble.step != START else "The run's own pod"


def _final(step: StepRunResponse) -> Exception:
    """Return what a step raised."""
    from pipelines.run_records import StepError

    told = step.exception_info
    text = told.traceback if told is not None else "it ended without a word"
    return raised_by(step) or StepError(f"Step {step.name!r} failed:\n{text}")
