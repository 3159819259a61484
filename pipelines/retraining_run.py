"""``--pipeline retrain``: everything around one retraining."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from evergreen.config import UseCase
from evergreen.errors import ExitCode, UnreachableError
from evergreen.faults import as_product_error
from evergreen.monitoring.decision import Outcome
from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.monitoring.lease import Held, Leases
from evergreen.monitoring.turns import Settled, open_turn, request_of, run_name, settled
from evergreen.outcome import TrainingOutcome
from evergreen.paths import Home
from evergreen.promotion.registry import Registry
from evergreen.terminal import LiveView, redirected_output, show_training
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.alerting import telling
from pipelines.decision_session import open_registry
from pipelines.guarding import guard
from pipelines.training_run import conclude, reproduction

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse


def run_retraining(options: argparse.Namespace) -> int:
    """Retrain one use case and return the exit code that the gate's verdict calls for.

    What the newest monitored window asks for is done; without one, the newest labelled rows of
    all are taken. A turn that a killed process left is taken up, or merely concluded where the
    gate had its say already.
    """
    started = time.monotonic()
    use_case = load_use_case(Path(options.config), options.overrides)
    home = Home.locate()
    session.prepare_environment()
    session.prepare_home(home)
    with ExitStack() as stack:
        stack.enter_context(session.exclusive(home, use_case.name))
        held = stack.enter_context(leased(home, use_case))
        stack.callback(session.sweep_scratch, home)
        history = stack.enter_context(closing(MonitoringHistory(home.database_url)))
        log = home.logs / f"retrain-{use_case.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}.log"
        out, err = stack.enter_context(redirected_output(None if options.verbose else log))
        view = LiveView(err, enabled=not (options.quiet or options.json or options.verbose))
        with view:
            view.show("Start ZenML")
            session.start_zenml()
            stack_name = session.ensure_stack(options.stack)
            registry = open_registry(home)
            registry.reconcile(use_case.name)
            guard(registry, use_case, home)
            window, concluded = next_turn(history, registry, use_case)
            if window is None and concluded is not None:
                return show_concluded(concluded, use_case, out, as_json=options.json)
            with recorded(history, registry, use_case, window) as turn:
                held.require()
                with telling(use_case, "retraining_failed", "The retraining"):
                    run = execute(use_case, options, view, window)
                turn.append(conclude(use_case, run, view, home, log))
        seconds = time.monotonic() - started
        outcome = turn[0].model_copy(
            update={"pipeline": "retrain", "stack": stack_name, "seconds": seconds}
        )
        if options.json:
            out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_training(outcome, out, quiet=options.quiet)
    return outcome.exit_code


@contextmanager
def leased(home: Home, use_case: UseCase) -> Iterator[Held]:
    """Hold the lease of a use case's retraining, which also keeps other machines away.

    Raises
    ------
    UnreachableError
        If another run holds it.
    """
    with closing(Leases(home.database_url)) as leases:
        name = f"retrain-{use_case.name}"
        with leases.held(name, f"A retraining of {use_case.name!r}") as held:
            yield held


def next_turn(
    history: MonitoringHistory, registry: Registry, use_case: UseCase
) -> tuple[MonitoredWindow | None, Settled | None]:
    """Return the window to retrain for, and what was concluded because the promotion log knows it.

    Raises
    ------
    UnreachableError
        If the challenger of the turn before waits for a person or a canary still.
    """
    entries, concluded = registry.log.entries(use_case.name), None
    while (window := open_turn(history, use_case.name)) is not None and window.id is not None:
        found = settled(entries, use_case.name, window.id)
        if found is None:
            return window, concluded
        if found.outcome == "waiting":
            raise UnreachableError(_waits(use_case, found))
        history.record_turn(window.id, found.outcome, version=found.version, note=found.note)
        concluded = found
    return None, concluded


def show_concluded(found: Settled, use_case: UseCase, out: TextIO, *, as_json: bool) -> int:
    """Tell what became of a turn that was cut short after the gate had its say."""
    promoted = found.outcome == "promoted"
    version = f" (version {found.version})" if found.version else ""
    message = (
        f"The retraining of {use_case.name!r} before was cut short after the gate had its say: "
        f"{found.outcome}{version}. Nothing else is asked for, so nothing was trained."
    )
    code = ExitCode.DONE if promoted else ExitCode.REFUSED
    if as_json:
        content: dict[str, object] = {"pipeline": "retrain", "use_case": use_case.name}
        content |= {"status": found.outcome, "version": found.version, "message": message}
        content["exit_code"] = int(code)
        out.write(json.dumps(content, indent=2) + "\n")
    else:
        out.write(f"{message}\n")
    return code


@contextmanager
def recorded(
    history: MonitoringHistory,
    registry: Registry,
    use_case: UseCase,
    window: MonitoredWindow | None,
) -> Iterator[list[TrainingOutcome]]:
    """Write the beginning and the end of a window's turn; the list is given the outcome.

    A refusal of the data counts as failed: the gate was never asked. Open stays what was
    interrupted, what something unreachable broke off, and what waits for a person: the next turn
    takes it up.
    """
    done: list[TrainingOutcome] = []
    if window is None or window.id is None:
        yield done
        return
    history.record_turn(window.id, "started")
    try:
        yield done
    except Exception as error:
        known = as_product_error(error, str(Home.locate().root))
        decided = settled(registry.log.entries(use_case.name), use_case.name, window.id)
        if decided is None and not isinstance(known, UnreachableError):
            history.record_turn(window.id, "failed", note=str(known or error))
        raise
    (outcome,) = done
    if outcome.status in ("promoted", "refused", "unchanged"):
        turn: Outcome = "promoted" if outcome.status == "promoted" else "refused"
        history.record_turn(window.id, turn, version=outcome.version, note=outcome.message)


def execute(
    use_case: UseCase,
    options: argparse.Namespace,
    view: LiveView,
    window: MonitoredWindow | None,
) -> PipelineRunResponse:
    """Run the pipeline to its end."""
    session.prepare_tracking(use_case)
    session.mend_stale_runs(use_case)

    from pipelines.retrain import retrain
    from steps.announcements import listening

    now = datetime.now(UTC)
    with listening(view.show):
        configured = retrain.with_options(
            run_name=run_name(use_case.name, None if window is None else window.id, now),
            enable_cache=False if options.no_cache else None,
            settings=session.tracking_settings(use_case),
            tags=[use_case.name],
        )
        return configured(
            use_case, request_of(window, use_case, now), reproduction(options, "retrain")
        )


def _waits(use_case: UseCase, found: Settled) -> str:
    return (
        f"Version {found.version} of {use_case.name!r}, from the retraining before, waits. Decide "
        f"on it first (python run.py --approve {use_case.name}, or --reject), or let its canary "
        "end."
    )
