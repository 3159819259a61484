"""``--every`` and ``--schedule``: one turn after the other, in the foreground.

Each turn is a process of its own, the very command without its schedule. So memory and state of
ZenML do not pile up, and a turn that dies takes nobody along.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor as ThreadPool
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType

from apscheduler.events import EVENT_JOB_MAX_INSTANCES, JobSubmissionEvent
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

from evergreen.alerts.alert import Alert
from evergreen.alerts.sending import send
from evergreen.config import UseCase
from evergreen.errors import ExitCode
from evergreen.paths import Home
from evergreen.schedule import cron_trigger, interval_trigger
from evergreen.use_case import load_use_case
from pipelines import session

MAIN = session.ROOT / "run.py"
_MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.REFUSED: "somebody should look",
    ExitCode.BAD_INPUT: "bad input or configuration",
    ExitCode.UNREACHABLE: "something needed does not answer, or another turn is under way",
    ExitCode.INTERNAL: "an internal fault",
    ExitCode.INTERRUPTED: "interrupted",
}


def run_scheduled(options: argparse.Namespace) -> int:
    """Take turns until SIGINT (exit code 130) or SIGTERM (0) ends it.

    A turn that fails is told, and the next one is taken as if nothing had been. The turn that is
    under way at the end is interrupted; the next one, whenever it comes, takes it up.

    Raises
    ------
    InputError
        If span, cron expression or use case cannot be read.
    UnreachableError
        If the state folder cannot be written to.
    """
    at_once = options.every is not None
    trigger = interval_trigger(options.every) if at_once else cron_trigger(options.schedule)
    use_case = load_use_case(Path(options.config), options.overrides)
    session.prepare_environment()
    session.prepare_home(Home.locate())
    loop = Loop([sys.executable, str(MAIN), *without_schedule(options.words)], use_case)
    with stopping(loop.kill) as stop:
        loop.start(trigger, at_once=at_once)
        stop.wait()
        loop.stop()
    return ExitCode.INTERRUPTED if stop.by == signal.SIGINT else ExitCode.DONE


def without_schedule(words: Sequence[str]) -> list[str]:
    """Return the words of a command without those that say how often."""
    kept, skip = [], False
    for word in words:
        name, _, value = word.partition("=")
        if skip:
            skip = False
        elif name in ("--every", "--schedule"):
            skip = not value and "=" not in word
        else:
            kept.append(word)
    return kept


class Stop:
    """Set by a signal; ``by`` says which. At the second one, ``again`` is called."""

    def __init__(self, again: Callable[[], None]) -> None:
        self.by: signal.Signals | None = None
        self._again = again
        self._event = threading.Event()

    def wait(self) -> None:
        """Wait for it."""
        self._event.wait()

    def ask(self, number: int, _: FrameType | None) -> None:
        """Take a signal."""
        if self.by is not None:
            self._again()
        self.by = self.by or signal.Signals(number)
        self._event.set()


@contextmanager
def stopping(again: Callable[[], None]) -> Iterator[Stop]:
    """Let SIGINT and SIGTERM ask for the end inside the block, and call ``again`` if repeated."""
    stop = Stop(again)
    before = {number: signal.signal(number, stop.ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Loop:
    """Takes turns by a trigger, one at a time; what was missed meanwhile is made up for once."""

    def __init__(self, command: Sequence[str], use_case: UseCase) -> None:
        self._command = list(command)
        self._use_case = use_case
        self._process: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        self._scheduler = BackgroundScheduler(
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
            timezone=UTC,
        )
        self._alerts = ThreadPool(1, thread_name_prefix="alerts")
        self._job: Job | None = None

    def start(self, trigger: BaseTrigger, *, at_once: bool) -> None:
        """Begin: with a turn now, or when the trigger says so first."""
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # what it says is said here
        self._scheduler.add_listener(self._late, EVENT_JOB_MAX_INSTANCES)
        first = {"next_run_time": datetime.now(UTC)} if at_once else {}
        self._job = self._scheduler.add_job(self._turn, trigger, id="turn", **first)
        self._scheduler.start()
        say(f"Turns of {self._use_case.name!r} until Ctrl-C. {self._next()}")

    def stop(self) -> None:
        """Interrupt the turn under way as Ctrl-C does, and wait for its end."""
        self._ending.set()
        if self._process is not None and self._process.poll() is None:
            say("Ending the turn under way; the next one takes it up.")
        self._signal(signal.SIGINT)
        self._scheduler.shutdown(wait=True)
        self._alerts.shutdown(wait=True)
        say("Ended.")

    def kill(self) -> None:
        """End the turn under way at once."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        """Send a signal to the turn under way and its processes."""
        process = self._process
        if process is not None and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    def _turn(self) -> None:
        """Take one turn, and say how it ended and when the next one begins."""
        if self._ending.is_set():
            return
        began = datetime.now(UTC)
        try:
            # A session of its own: Ctrl-C reaches it by `stop` alone, once.
            self._process = subprocess.Popen(  # noqa: S603  (our own command)
                self._command, start_new_session=True
            )
            if self._ending.is_set():  # asked to end in this very moment
                self._signal(signal.SIGINT)
            code = self._process.wait()
        except OSError as error:
            say(f"The turn could not be started: {error}. {self._next()}")
            return
        seconds = (datetime.now(UTC) - began).total_seconds()
        if code < 0 and not self._ending.is_set():
            self._tell(died(self._use_case.name, signal.Signals(-code)))
        say(f"The turn ended after {seconds:.0f} s: {meaning(code)}. {self._next()}")

    def _late(self, event: JobSubmissionEvent) -> None:
        """A turn was due while the one before was still under way."""
        due = event.scheduled_run_times[0]
        say(f"The turn of {due:%H:%M:%S} UTC is left out: the one before is still under way.")
        self._tell(late(self._use_case.name, due))

    def _next(self) -> str:
        if self._ending.is_set() or self._job is None or self._job.next_run_time is None:
            return ""
        due = self._job.next_run_time
        left = max(timedelta(0), due - datetime.now(UTC))
        return f"The next one begins at {due:%Y-%m-%d %H:%M:%S} UTC, in {in_words(left)}."

    def _tell(self, alert: Alert) -> None:
        """Send an alert beside the turns: a target that does not answer holds nothing up."""
        settings, url = self._use_case.alerts, Home.locate().database_url

        def deliver() -> None:
            for problem in send(alert, settings, url).problems:
                say(problem)

        self._alerts.submit(deliver)


def meaning(code: int) -> str:
    """Say what the exit code of a turn means."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    if code in iter(ExitCode):
        return f"exit code {code}, {_MEANINGS[ExitCode(code)]}"
    return f"exit code {code}"


def died(use_case: str, by: signal.Signals) -> Alert:
    """Return the alert that a turn's process was killed."""
    return Alert.of(
        "pipeline_failed",
        use_case,
        f"A turn of the loop was killed by {by.name}",
        "The next turn takes it up. Look whether the machine has enough memory.",
        key="pipeline_failed killed",
    )


def late(use_case: str, due: datetime) -> Alert:
    """Return the alert that a turn had to be left out."""
    return Alert.of(
        "pipeline_late",
        use_case,
        "A turn of the loop was left out: the one before is still under way",
        f"It was due at {due:%Y-%m-%d %H:%M:%S} UTC. Take turns less often, or look why they last.",
        facts={"due": due.isoformat(timespec="seconds")},
    )


def in_words(span: timedelta) -> str:
    """Write a time span in its two largest units: ``1 h 5 min``."""
    seconds = round(span.total_seconds())
    units = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    parts = []
    for size, unit in units:
        number, seconds = divmod(seconds, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


def say(text: str) -> None:
    """Tell on standard error, with the moment; standard output is the turns'."""
    print(f"{datetime.now(UTC):%H:%M:%S}  {text.strip()}", file=sys.stderr, flush=True)
