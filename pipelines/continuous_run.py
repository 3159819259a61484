"""``--pipeline continuous``: everything around one turn of the loop."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evergreen.alerts.alert import Kind
from evergreen.config import UseCase
from evergreen.errors import UnreachableError
from evergreen.monitoring.history import MonitoredWindow, MonitoringHistory
from evergreen.monitoring.lease import Held
from evergreen.monitoring.outcome import window_pages
from evergreen.monitoring.turn_display import show_turn
from evergreen.monitoring.turn_outcome import (
    TurnFacts,
    TurnOutcome,
    exit_code_of,
    message_of,
    status_of,
)
from evergreen.promotion.registry import Registry
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.alerting import telling
from pipelines.decision_session import open_registry
from pipelines.elsewhere import carry_out
from pipelines.monitoring_run import JUDGING, lock_name, reports_home
from pipelines.retraining_run import close_failed
from pipelines.training_run import conclude, reproduction

if TYPE_CHECKING:
    from zenml.models import PipelineRunResponse


def run_continuous(options: argparse.Namespace) -> int:
    """Take one turn: monitor, decide, and do what that asks for; return its exit code.

    What a killed turn left is finished instead.

    Raises
    ------
    InputError
        If the use case cannot be read, or has no champion yet.
    RefusedError
        If a quality check says no to the rows of a retraining.
    UnreachableError
        If another turn is under way, or something that is needed does not answer.
    """
    use_case = load_use_case(Path(options.config), options.overrides)
    with (
        session.running(options, f"continuous-{use_case.name}", use_case.name) as around,
        session.exclusive(around.home, lock_name(use_case), JUDGING),
    ):
        with (
            around.view as view,
            session.started(view, options.stack) as stack_name,
            session.leased(around.home, use_case) as held,
        ):
            run, champion = execute(use_case, options, around, held)
            facts = gather(use_case, run, around)
        status = status_of(facts)
        outcome = TurnOutcome(
            use_case=use_case.name,
            status=status,
            message=message_of(facts),
            exit_code=exit_code_of(status, facts),
            taken_up=facts.before.kind != "observe",
            champion=champion,
            guard=facts.guarded.verdict,
            window=facts.window,
            training=facts.training,
            serving=facts.serving,
            ways_back=facts.ways_back,
            reports=reports_of(facts),
            durations=around.view.durations,
            seconds=around.seconds,
            stack=stack_name,
            zenml_run=run.name,
            log=str(around.log),
        )
        if options.json:
            around.out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_turn(outcome, around.out, quiet=options.quiet)
    return outcome.exit_code


def execute(
    use_case: UseCase, options: argparse.Namespace, around: session.Session, held: Held
) -> tuple[PipelineRunResponse, str]:
    """Run the pipeline to its end; return the run, and the champion's version."""
    registry = open_registry(around.home)
    session.prepare_tracking(use_case)
    session.mend_stale_runs(use_case)

    from pipelines.continuous import continuous
    from steps.announcements import listening

    configured = session.configured(continuous, use_case, options, around.name)
    command = reproduction(options, "continuous")
    held.require()
    with (
        listening(around.view.show),
        closing(MonitoringHistory(around.home.database_url)) as history,
        failures_noted(history, registry, use_case, around),
        telling(use_case, lambda: failed_at(history, use_case, around), "A turn of the loop"),
    ):
        run = carry_out(configured, around.name, around.view, use_case, command)
    champion = registry.champion(use_case.name)
    return run, "" if champion is None else champion.version


@contextmanager
def failures_noted(
    history: MonitoringHistory, registry: Registry, use_case: UseCase, around: session.Session
) -> Iterator[None]:
    """Close the turn that fails in the block; what was interrupted stays open."""
    try:
        yield
    except Exception as error:
        begun = partial(turn_of, history, use_case, around)
        close_failed(history, registry, use_case, begun, error)
        raise


def failed_at(history: MonitoringHistory, use_case: UseCase, around: session.Session) -> Kind:
    """Return what kind of failure it is: of a retraining or rollback, or of what comes before."""
    try:
        begun = turn_of(history, use_case, around)
    except UnreachableError:
        begun = None
    return "pipeline_failed" if begun is None else "retraining_failed"


def turn_of(
    history: MonitoringHistory, use_case: UseCase, around: session.Session
) -> MonitoredWindow | None:
    """Return the window whose turn this run has begun and not concluded."""
    open_turns = history.open_turns(use_case.name)
    return next((window for window in open_turns if around.name in window.runs), None)


def gather(use_case: UseCase, run: PipelineRunResponse, around: session.Session) -> TurnFacts:
    """Return what the steps of a run gave."""
    steps = dict(run.steps)
    found: dict[str, Any] = {}
    for step, output in (
        ("guard_promotion", "guarded"),
        ("take_up_turn", "left_over"),
        ("begin_turn", "task"),
        ("decide_window", "window"),
        ("verify_serving", "serving"),
    ):
        if step in steps:
            found[output] = steps[step].regular_outputs[output].load()
    before = found.pop("left_over")
    if found.get("window") is not None:
        found["window"] = reports_home(found["window"], around.home)
    ways = [step for name, step in sorted(steps.items()) if name.startswith("roll_back_champion")]
    return TurnFacts(
        **{"task": before, **found},
        before=before,
        training=conclude(use_case, run, around) if "publish_challenger" in steps else None,
        ways_back=tuple(step.regular_outputs["way_back"].load() for step in ways),
    )


def reports_of(facts: TurnFacts) -> dict[str, str]:
    """Return the pages that a turn wrote, by name."""
    pages = {} if facts.window is None else window_pages(facts.window)
    return {**pages, **(facts.training.reports if facts.training is not None else {})}
