"""``--pipeline batch``: everything around one run of batch scoring."""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from evergreen.batch.display import show_batch
from evergreen.batch.outcome import BatchOutcome, BatchResult
from evergreen.batch.settings import output_of
from evergreen.config import UseCase
from evergreen.paths import Home
from evergreen.terminal import LiveView, redirected_output
from evergreen.use_case import load_use_case
from pipelines import session


def run_batch_scoring(options: argparse.Namespace) -> int:
    """Score one table and return the exit code that its refused rows call for."""
    started = time.monotonic()
    use_case = load_use_case(Path(options.config), [*options.overrides, *overrides(options)])
    home = Home.locate()
    session.prepare_environment()
    session.prepare_home(home)
    output = output_of(use_case.batch, home.batch / use_case.name).model_dump_json()
    # Two runs of one use case may score at once, into different outputs.
    tag = f"batch-{use_case.name}-{hashlib.sha256(output.encode()).hexdigest()[:8]}"
    run_name = f"batch-{use_case.name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
    log = home.logs / f"{run_name}.log"
    with ExitStack() as stack:
        stack.enter_context(session.exclusive(home, tag, "two at once would write one output."))
        stack.callback(session.sweep_scratch, home)
        out, err = stack.enter_context(redirected_output(None if options.verbose else log))
        view = LiveView(err, enabled=not (options.quiet or options.json or options.verbose))
        with view:
            result, stack_name = execute(use_case, options, view, run_name, tag)
        outcome = BatchOutcome.of(
            result,
            use_case.batch.max_rejected,
            stack=stack_name,
            zenml_run=run_name,
            log=str(log),
            total_seconds=time.monotonic() - started,
        )
        if options.json:
            out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_batch(outcome, out, quiet=options.quiet)
    return outcome.exit_code


def overrides(options: argparse.Namespace) -> list[str]:
    """Return what the command line's own options say as overrides of the use case."""
    found = []
    for name in ("source", "output"):
        if (value := getattr(options, name)) is not None:
            found.append(f"batch.{name}={json.dumps(value)}")
    return [*found, "batch.overwrite=true"] if options.overwrite else found


def execute(
    use_case: UseCase, options: argparse.Namespace, view: LiveView, run_name: str, tag: str
) -> tuple[BatchResult, str]:
    """Prepare the stack, and run the pipeline to its end."""
    view.show("Start ZenML")
    session.start_zenml()
    stack_name = session.ensure_stack(options.stack)
    session.prepare_tracking(use_case)
    session.mend_stale_runs(use_case, tag)

    from pipelines.batch import batch
    from steps.announcements import listening

    with listening(view.show):
        run = batch.with_options(run_name=run_name, enable_cache=False, tags=[tag])(use_case)
    result: BatchResult = run.steps["score_table"].regular_outputs["batch_result"].load()
    return result, stack_name
