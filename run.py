"""The command line: ``python run.py --pipeline train --config configs/wine.yaml``."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from evergreen.errors import ExitCode
from evergreen.paths import Home
from pipelines.interruption import persistent_ctrl_c
from pipelines.options import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        with persistent_ctrl_c():
            return dispatch(parse(words))
    except SystemExit:
        raise
    except BaseException as error:
        return explain_failure(error, as_json="--json" in words)
    finally:
        gc.enable()


def dispatch(options: argparse.Namespace) -> int:
    """Carry out what the options ask for. Imports wait until they are needed."""
    if options.list or options.doctor or options.history or options.compare:
        return show(options)
    if options.simulate is not None:
        from pipelines.simulation_run import run_simulation

        return run_simulation(options)
    decides = options.approve or options.reject or options.rollback or options.guard
    if decides or options.traffic is not None:
        return decide(options)
    if options.status or options.undeploy or options.pipeline == "deploy":
        return deploy(options)
    by_the_clock = (options.every, options.schedule, options.cron)
    if options.schedules or options.unschedule or any(each is not None for each in by_the_clock):
        return schedule(options)
    return run_pipeline(options)


def run_pipeline(options: argparse.Namespace) -> int:
    """Run a pipeline that scores, judges or trains."""
    gc.disable()  # until it runs: a quarter of the start would go into imports without garbage
    if options.pipeline == "batch":
        from pipelines.batch_run import run_batch_scoring

        return run_batch_scoring(options)
    if options.pipeline == "monitor":
        from pipelines.monitoring_run import run_monitoring

        return run_monitoring(options)
    if options.pipeline == "retrain":
        from pipelines.retraining_run import run_retraining

        return run_retraining(options)
    if options.pipeline == "continuous":
        from pipelines.continuous_run import run_continuous

        return run_continuous(options)
    if options.plan:
        from pipelines.plan_run import run_plan

        return run_plan(options)
    from pipelines.training_run import run_training

    return run_training(options)


def decide(options: argparse.Namespace) -> int:
    """Carry out a decision, a person's or the guard's, on which version answers what."""
    if options.traffic is not None:
        from pipelines.traffic import change

        return change(options)
    if options.guard:
        from pipelines.guarding import run_guard

        return run_guard(options)
    if options.rollback:
        from pipelines.rollback import run_rollback

        return run_rollback(options)
    from pipelines import approval

    return approval.decide(options)


def schedule(options: argparse.Namespace) -> int:
    """Take turns here, or make, list or delete the CronJobs that take them in a cluster."""
    if options.every is not None or options.schedule is not None:
        from pipelines.scheduling import run_scheduled

        return run_scheduled(options)
    from pipelines import cluster_schedule

    if options.schedules:
        return cluster_schedule.run_schedules(options)
    if options.unschedule:
        return cluster_schedule.run_unschedule(options)
    return cluster_schedule.run_cron(options)


def show(options: argparse.Namespace) -> int:
    """Show what there is, what is wrong, what was decided, or what came of it."""
    if options.list:
        from pipelines.overview import overview

        return emit(overview(), options)
    if options.doctor:
        from stacks.doctor import examine

        return examine(as_json=options.json)
    if options.history:
        from pipelines.history import run_history

        return run_history(options)
    from pipelines.comparison import run_comparison

    return run_comparison(options)


def deploy(options: argparse.Namespace) -> int:
    """Deploy, take down, or show what serves."""
    from pipelines import deployment_run as deployment

    if options.status:
        return deployment.run_status(options)
    if options.undeploy:
        return deployment.run_undeploy(options)
    return deployment.run_deployment(options)


def emit(content: dict[str, dict[str, str]], options: argparse.Namespace) -> int:
    """Print a result as text, or as the one JSON object that was asked for."""
    if options.json:
        print(json.dumps(content, indent=2, default=str))
    else:
        from evergreen.terminal import show_overview

        show_overview(content)
    return ExitCode.DONE


def explain_failure(error: BaseException, *, as_json: bool) -> int:
    """Print the one message that a failure deserves and return its exit code."""
    code, message = failure(error)
    if as_json:
        print(json.dumps({"error": message, "exit_code": int(code)}, indent=2))
    print(f"\n{message}", file=sys.stderr)
    return code


def failure(error: BaseException) -> tuple[ExitCode, str]:
    """Return what a failure means: its exit code, and one message."""
    from evergreen.faults import as_product_error

    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED, "Interrupted; nothing half-written was kept."
    home = Home.locate()
    known = as_product_error(error, str(home.root))
    if known is not None:
        return known.exit_code, str(known)
    return ExitCode.INTERNAL, internal_fault(error, home)


def internal_fault(error: BaseException, home: Home) -> str:
    """Keep the trace of a fault that is ours and say where it lies."""
    trace = "".join(traceback.format_exception(error))
    log = home.logs / f"fault-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(trace, encoding="utf-8")
    except OSError:
        return f"Internal fault, and its trace could not be kept in {log}:\n{trace}"
    return (
        f"Internal fault: {type(error).__name__}: {error}\n"
        f"That is Evergreen's mistake, not yours. The trace is in {log}"
    )


if __name__ == "__main__":
    logging.captureWarnings(True)
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    raise SystemExit(main())
