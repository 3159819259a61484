"""``--pipeline retrain``: everything around one retraining."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from evergreen.config import UseCase
from evergreen.errors import ExitCode, UnreachableError
from evergreen.faults import as_product_error
from evergreen.monitoring.decision import Outcome
from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.monitoring.turns import Settled, next_turn, request_of, settled
from evergreen.outcome import TrainingOutcome
from evergreen.paths import Home
from evergreen.promotion.registry import Registry
from evergreen.reporting.monitoring.files import write_pages
from evergreen.terminal import LiveView, show_training
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.alerting import telling
from pipelines.decision_session import open_registry
from pipelines.elsewhere import carry_out
from pipelines.training_run import conclude, reproduction

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse


def run_retraining(options: argparse.Namespace) -> int:
    """Retrain one use case and return the exit code that the gate's verdict calls for.

    What the newest monitored window asks for is done; without one, the newest labelled rows of
    all are taken. A turn that a killed process left is taken up, or merely concluded where the
    gate had its say already.
    """
    use_case = load_use_case(Path(options.config), options.overrides)
    with session.running(options, f"retrain-{use_case.name}", use_case.name) as around:
        with (
            around.view as view,
            session.started(view, options.stack) as stack_name,
            session.leased(around.home, use_case) as held,
            closing(MonitoringHistory(around.home.database_url)) as history,
        ):
            from steps.monitoring.turn import guard

            registry = open_registry(around.home)
            registry.reconcile(use_case.name)
            guard(registry, use_case, around.home)
            entries = registry.log.entries(use_case.name)
            window, concluded = next_turn(history, entries, use_case.name)
            if window is None and concluded is not None:
                return show_concluded(concluded, use_case, around.out, as_json=options.json)
            with recorded(history, registry, use_case, window, around.name) as turn:
                held.require()
                with telling(use_case, "retraining_failed", "The retraining"):
                    run = execute(use_case, options, view, window, around.name)
                turn.append(conclude(use_case, run, around))
        outcome = turn[0].model_copy(
            update={"pipeline": "retrain", "stack": stack_name, "seconds": around.seconds}
        )
        if options.json:
            around.out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_training(outcome, around.out, quiet=options.quiet)
    return outcome.exit_code


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
    run: str,
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
    number = window.id
    history.record_turn(number, "started", note=run)
    window = window.model_copy(update={"runs": (*window.runs, run)})
    try:
        yield done
    except Exception as error:
        close_failed(history, registry, use_case, lambda: window, error)
        raise
    (outcome,) = done
    if outcome.status in ("promoted", "refused", "unchanged"):
        turn: Outcome = "promoted" if outcome.status == "promoted" else "refused"
        history.record_turn(number, turn, version=outcome.version, note=outcome.message)
    write_pages(Home.locate(), use_case.name)


def close_failed(
    history: MonitoringHistory,
    registry: Registry,
    use_case: UseCase,
    begun: Callable[[], MonitoredWindow | None],
    error: Exception,
) -> None:
    """Close the turn of the window that was begun where an error ended it before the gate's say.

    Open stays what something unreachable broke off: the next turn takes it up.
    """
    known = as_product_error(error, str(Home.locate().root))
    if isinstance(known, UnreachableError) or (window := begun()) is None or window.id is None:
        return
    if settled(registry.log.entries(use_case.name), window) is None:
        history.record_turn(window.id, "failed", note=str(known or error))
        write_pages(Home.locate(), use_case.name)


def execute(
    use_case: UseCase,
    options: argparse.Namespace,
    view: LiveView,
    window: MonitoredWindow | None,
    run_name: str,
) -> PipelineRunResponse:
    """Run the pipeline to its end."""
    session.prepare_tracking(use_case)
    session.mend_stale_runs(use_case)

    from pipelines.in_pods import pipeline_called
    from steps.announcements import listening

    now = datetime.now(UTC)
    with listening(view.show):
        configured = session.configured(pipeline_called("retrain"), use_case, options, run_name)
        return carry_out(
            configured,
            run_name,
            view,
            use_case,
            request_of(window, use_case, now),
            reproduction(options, "retrain"),
        )
