"""The command line: ``python run.py --pipeline train --config configs/wine.yaml``."""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

from evergreen import __version__
from evergreen.errors import ExitCode, InputError
from evergreen.paths import Home

PIPELINES = ("train", "deploy", "batch", "monitor", "retrain", "continuous")
EPILOG = """\
exit codes:
  0 done    1 a gate or quality check said no    2 bad input or configuration
  3 something needed does not answer             4 internal fault (see the log)

examples:
  python run.py --pipeline train
  python run.py --pipeline train --config configs/iris.yaml --set training.trials=5
  python run.py --pipeline train --json | jq .verdict
  python run.py --approve wine
  python run.py --traffic challenger=10 --config configs/wine.yaml
  python run.py --rollback --reason "worse in service"
  python run.py --pipeline deploy --config configs/wine.yaml
  python run.py --pipeline batch --source new.parquet --output scored.parquet
  python run.py --pipeline monitor --window new.parquet
  python run.py --simulate covariate_shift --rows 2000 --rate 50
  python run.py --pipeline retrain --config configs/wine.yaml
  python run.py --guard --config configs/wine.yaml
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        return dispatch(parse(words))
    except SystemExit:
        raise
    except BaseException as error:
        return explain_failure(error, as_json="--json" in words)


class Parser(argparse.ArgumentParser):
    """Raises `InputError` for a mistake, which is then told like any other."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where the options are explained."""
        raise InputError(f"{self.prog}: {message}. All options: python {self.prog} --help")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line; raise `InputError` for a mistake."""
    parser = Parser(
        prog="run.py",
        description="Keep a tabular model fresh: one YAML file in, a judged model out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    act = parser.add_argument_group("what to do").add_mutually_exclusive_group(required=True)
    act.add_argument("--pipeline", choices=PIPELINES, help="the pipeline to run")
    act.add_argument("--approve", metavar="NAME", help="make the waiting challenger champion")
    act.add_argument("--reject", metavar="NAME", help="turn the waiting challenger down")
    act.add_argument(
        "--traffic",
        metavar="PLAN",
        help="what the challenger of --config gets: challenger=PERCENT, shadow, canary or off",
    )
    act.add_argument(
        "--rollback", action="store_true", help="make the version before champion of --config again"
    )
    act.add_argument(
        "--compare", action="store_true", help="compare champion and challenger by their feedback"
    )
    act.add_argument(
        "--guard", action="store_true", help="roll the newest promotion back if it does worse"
    )
    act.add_argument("--history", action="store_true", help="show who decided what on --config")
    act.add_argument("--status", action="store_true", help="show what serves where")
    act.add_argument("--undeploy", action="store_true", help="stop what was deployed of --config")
    act.add_argument(
        "--doctor", action="store_true", help="check the installation; say how to mend"
    )
    act.add_argument("--list", action="store_true", help="list pipelines, use cases and stacks")
    act.add_argument("--version", action="version", version=f"evergreen {__version__}")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--config",
        default="configs/wine.yaml",
        metavar="FILE",
        help="use case (%(default)s)",
    )
    how.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="override one key of the use case, such as training.trials=5; repeatable",
    )
    how.add_argument("--stack", metavar="NAME", help="run on this ZenML stack, this time")
    how.add_argument("--no-cache", action="store_true", help="compute every step anew")
    how.add_argument(
        "--train-if-needed", action="store_true", help="deploy: train first if there is no champion"
    )
    how.add_argument("--source", metavar="TABLE", help="batch: score this instead of batch.source")
    how.add_argument("--output", metavar="PLACE", help="batch: path, or URL#TABLE, of predictions")
    how.add_argument("--overwrite", action="store_true", help="batch: replace an output")
    how.add_argument(
        "--window", metavar="TABLE", help="monitor: judge this, or log, instead of the config's"
    )
    how.add_argument("--since", metavar="SPAN", help="monitor: all that was logged in, such as, 6h")
    add_simulation(act, how)
    how.add_argument("--to", metavar="VERSION", help="rollback: to this version")
    how.add_argument(
        "--reason",
        default="",
        help="why, for --reject, --rollback and --traffic (kept in the promotion log)",
    )
    show = parser.add_argument_group("what to show")
    show.add_argument("--json", action="store_true", help="one JSON object on standard output")
    show.add_argument("--quiet", action="store_true", help="only the verdict")
    show.add_argument("--verbose", action="store_true", help="also what ZenML and MLflow say")
    options = parser.parse_args(words)
    require_fitting(options, parser)
    options.command = shlex.join(["python", "run.py", *words])
    return options


def require_fitting(options: argparse.Namespace, parser: Parser) -> None:
    """Raise `InputError` where options do not go together."""
    if options.reason and not (options.reject or options.rollback or options.traffic):
        parser.error("--reason goes with --reject, --rollback or --traffic")
    if options.to is not None and not options.rollback:
        parser.error("--to goes with --rollback")
    if options.train_if_needed and options.pipeline != "deploy":
        parser.error("--train-if-needed goes with --pipeline deploy")
    if options.pipeline != "batch":
        for name in ("source", "output", "overwrite"):
            if getattr(options, name):
                parser.error(f"--{name} goes with --pipeline batch")
    if options.pipeline != "monitor":
        for name in ("window", "since"):
            if getattr(options, name) is not None:
                parser.error(f"--{name} goes with --pipeline monitor")
    if options.quiet and options.verbose:
        parser.error("--quiet and --verbose exclude each other")


def add_simulation(act: argparse._ActionsContainer, how: argparse._ActionsContainer) -> None:
    """Add the options of simulated traffic."""
    act.add_argument(
        "--simulate", metavar="SCENARIO", help="send changed rows to the running API of --config"
    )
    how.add_argument("--rows", type=int, metavar="N", help="simulate: so many rows (1000)")
    how.add_argument("--rate", type=float, metavar="R", help="simulate: rows per second at most")
    how.add_argument("--url", help="simulate: the API (http://127.0.0.1 and deploy.port)")
    how.add_argument("--seed", type=int, metavar="N", help="simulate: makes it repeat (1)")


def check_simulation(options: argparse.Namespace) -> None:
    """Raise `InputError` for an unknown scenario, and for options that go with one alone."""
    if options.simulate is None:
        for name in ("rows", "rate", "url", "seed"):
            if getattr(options, name) is not None:
                raise InputError(f"--{name} goes with --simulate")
        return
    from evergreen.simulation import SCENARIOS

    if options.simulate not in SCENARIOS:
        raise InputError(f"--simulate {options.simulate}: choose from {', '.join(SCENARIOS)}")
    for name in ("rows", "rate"):
        value = getattr(options, name)
        if value is not None and not value > 0:
            raise InputError(f"--{name} must be above 0")
    if options.seed is not None and options.seed < 0:
        raise InputError("--seed must be 0 or more")


def dispatch(options: argparse.Namespace) -> int:
    """Carry out what the options ask for. Imports wait until they are needed."""
    check_simulation(options)
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
    return run_pipeline(options)


def run_pipeline(options: argparse.Namespace) -> int:
    """Run a pipeline that scores, judges or trains."""
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
