"""The command line's options, and which of them go together."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import NoReturn

from evergreen import __version__
from evergreen.errors import InputError

PIPELINES = ("train", "deploy", "batch", "monitor", "retrain", "continuous")
TURNS = ("monitor", "retrain", "continuous")  # what can be done again and again
BELONGS = {
    "plan": ("train",),
    "train_if_needed": ("deploy",),
    "source": ("batch",),
    "output": ("batch",),
    "overwrite": ("batch",),
    "window": ("monitor",),
    "since": ("monitor",),
    "every": TURNS,
    "schedule": TURNS,
    "cron": TURNS,
}  # options: the pipelines that they go with
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
  python run.py --pipeline continuous --config configs/wine.yaml --every 15m
  python run.py --pipeline continuous --config configs/wine.yaml --schedule "0 */6 * * *"
  python run.py --pipeline continuous --config configs/wine.yaml --cron "*/15 * * * *"
"""


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
    how = parser.add_argument_group("how")
    add_acts(act)
    add_ways(how)
    add_turns(how)
    add_simulation(act, how)
    show = parser.add_argument_group("what to show")
    show.add_argument("--json", action="store_true", help="one JSON object on standard output")
    show.add_argument("--quiet", action="store_true", help="only the verdict")
    show.add_argument("--verbose", action="store_true", help="also what ZenML and MLflow say")
    options = parser.parse_args(words)
    require_fitting(options, parser)
    check_simulation(options)
    options.words = list(words)
    options.command = shlex.join(["python", "run.py", *words])
    return options


def add_acts(act: argparse._ActionsContainer) -> None:
    """Add what can be done."""
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
    act.add_argument("--schedules", action="store_true", help="list the cluster's CronJobs of ours")
    act.add_argument(
        "--unschedule", action="store_true", help="delete the CronJobs of --config (see --cron)"
    )
    act.add_argument("--status", action="store_true", help="show what serves where")
    act.add_argument("--undeploy", action="store_true", help="stop what was deployed of --config")
    act.add_argument(
        "--doctor", action="store_true", help="check the installation; say how to mend"
    )
    act.add_argument("--list", action="store_true", help="list pipelines, use cases and stacks")
    act.add_argument("--version", action="version", version=f"evergreen {__version__}")


def add_ways(how: argparse._ActionsContainer) -> None:
    """Add how it is done."""
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
        "--plan", action="store_true", help="train: show what it will take, and do nothing"
    )
    how.add_argument(
        "--train-if-needed", action="store_true", help="deploy: train first if there is no champion"
    )
    how.add_argument("--source", metavar="TABLE", help="batch: score this instead of batch.source")
    how.add_argument("--output", metavar="PLACE", help="batch: path, or URL#TABLE, of predictions")
    how.add_argument("--overwrite", action="store_true", help="batch: replace an output")
    how.add_argument(
        "--window", metavar="TABLE", help="monitor: judge this, or log, instead of the config's"
    )
    how.add_argument(
        "--since", metavar="SPAN", help="monitor: all that was logged in a span, such as 6h"
    )
    how.add_argument("--to", metavar="VERSION", help="rollback: to this version")
    how.add_argument(
        "--reason",
        default="",
        help="why, for --reject, --rollback and --traffic (kept in the promotion log)",
    )


def add_turns(how: argparse._ActionsContainer) -> None:
    """Add how often it is done."""
    often = how.add_mutually_exclusive_group()
    often.add_argument(
        "--every",
        metavar="SPAN",
        help="continuous, monitor, retrain: again and again, such as every 15m",
    )
    often.add_argument(
        "--schedule",
        metavar="CRON",
        help='the same by a cron expression in UTC, such as "0 */6 * * *"',
    )
    often.add_argument(
        "--cron",
        metavar="CRON",
        help="the same by the cluster's clock: makes a CronJob on the stack's cluster, and ends",
    )


def require_fitting(options: argparse.Namespace, parser: Parser) -> None:
    """Raise `InputError` where options do not go together."""
    if options.reason and not (options.reject or options.rollback or options.traffic):
        parser.error("--reason goes with --reject, --rollback or --traffic")
    if options.to is not None and not options.rollback:
        parser.error("--to goes with --rollback")
    for name, pipelines in BELONGS.items():
        if getattr(options, name) not in (None, False) and options.pipeline not in pipelines:
            option = name.replace("_", "-")
            parser.error(f"--{option} goes with --pipeline {' or '.join(pipelines)}")
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
