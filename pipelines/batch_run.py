"""``--pipeline batch``: everything around one run of batch scoring."""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

from evergreen.batch.display import show_batch
from evergreen.batch.outcome import BatchOutcome, BatchResult
from evergreen.batch.settings import CsvOutput, Output, ParquetOutput, output_of
from evergreen.config import UseCase
from evergreen.data.source_config import CsvSource, ParquetSource, Source
from evergreen.errors import InputError
from evergreen.object_stores import is_remote
from evergreen.paths import Home
from evergreen.terminal import LiveView
from evergreen.use_case import load_use_case
from pipelines import session
from pipelines.elsewhere import carry_out
from pipelines.pods import in_cluster


def run_batch_scoring(options: argparse.Namespace) -> int:
    """Score one table and return the exit code that its refused rows call for."""
    use_case = load_use_case(Path(options.config), [*options.overrides, *overrides(options)])
    folder = Home.locate().batch / use_case.name
    output = output_of(use_case.batch, folder).model_dump_json()
    # Two runs of one use case may score at once, into different outputs.
    tag = f"batch-{use_case.name}-{hashlib.sha256(output.encode()).hexdigest()[:8]}"
    why = "two at once would write one output."
    with session.running(options, f"batch-{use_case.name}", tag, why) as around:
        with around.view as view:
            result, stack_name = execute(use_case, options, view, around.name, tag)
        outcome = BatchOutcome.of(
            result,
            use_case.batch.max_rejected,
            stack=stack_name,
            zenml_run=around.name,
            log=str(around.log),
            total_seconds=around.seconds,
        )
        if options.json:
            around.out.write(outcome.model_dump_json(indent=2) + "\n")
        else:
            show_batch(outcome, around.out, quiet=options.quiet)
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

    require_reachable(use_case)
    from pipelines.in_pods import pipeline_called
    from steps.announcements import listening

    with listening(view.show):
        configured = pipeline_called("batch").with_options(
            run_name=run_name, enable_cache=False, tags=[tag]
        )
        run = carry_out(configured, run_name, view, use_case)
    last = "join_partitions" if use_case.batch.in_steps else "score_table"
    result: BatchResult = run.steps[last].regular_outputs["batch_result"].load()
    return result, stack_name


def require_reachable(use_case: UseCase) -> None:
    """Raise `InputError` where pods would look for files of this machine, or leave theirs there."""
    from zenml.client import Client

    if not in_cluster(Client().active_stack):
        return
    batch = use_case.batch
    places: list[tuple[str, Source | Output]] = [
        ("batch.source" if batch.source else "data.source", batch.source or use_case.data.source),
        ("batch.output", output_of(batch, Home.locate().batch / use_case.name)),
    ]
    for key, place in places:
        address = getattr(place, "path", None) or getattr(place, "url", "")
        files = isinstance(place, CsvSource | ParquetSource | CsvOutput | ParquetOutput)
        if (files and not is_remote(address)) or address.startswith("sqlite"):
            raise InputError(
                f"{key}: pods of a cluster do not reach {address}, a place of this machine. Name "
                "one in an object store (s3://…) or in a database, or run it here: --stack local"
            )
