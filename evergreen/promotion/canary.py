"""Ramping a canary: ``python -m evergreen.promotion.canary --model NAME``.

Looks at the plan in force and at the prediction log every few seconds, and steps the canary up,
makes the challenger champion, or sends it back. It ends by itself when no canary is in force.
Several may run for one model, on several machines: what one of them does, the others notice.

Options: ``--registry URI`` (MLflow's; default ``MLFLOW_TRACKING_URI``, else the state folder's),
``--log URL`` (the prediction log's; default ``EVERGREEN_PREDICTION_LOG``, else the state
folder's), ``--interval SECONDS`` between looks, ``--once`` (look once). The promotion log is the
one of the state folder (``EVERGREEN_HOME``). Needs the full installation (MLflow, SciPy).

Exit codes: 0 no canary is in force (any more), or with ``--once`` it holds or was stepped or
promoted; 1 the canary was sent back; 2 bad options; 3 with ``--once``, something does not answer
(without it that is said, and tried again); 130 interrupted. SIGTERM ends it with 0 at any time
without harm. Each decision is one line on standard output and in ``logs/canary-NAME.log``; what
goes wrong, a canary that is sent back included, is a line on standard error, too.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from evergreen.errors import EvergreenError, ExitCode, RefusedError, UnreachableError
from evergreen.paths import Home

if TYPE_CHECKING:
    from evergreen.promotion.canary_control import Look

INTERVAL: Final = 5.0  # seconds between looks

logger = logging.getLogger("evergreen.promotion.canary")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--model", required=True, help="The model's name: the use case's.")
@click.option("--registry", envvar="MLFLOW_TRACKING_URI", help="MLflow's address.")
@click.option(
    "--log",
    "log_url",
    envvar="EVERGREEN_PREDICTION_LOG",
    help="The prediction log's address (SQLAlchemy).",
)
@click.option("--interval", default=INTERVAL, show_default=True, help="Seconds between looks.")
@click.option("--once", is_flag=True, help="Look once, act, and end.")
def main(
    model: str, registry: str | None, log_url: str | None, interval: float, once: bool
) -> None:
    """Ramp the canary of a model: step by step, up to champion or back."""
    home = Home.locate()
    _start_logging(home.logs / f"canary-{model}.log")
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    try:
        code = _control(
            model,
            registry or home.mlflow_uri,
            log_url or home.prediction_log_url,
            home,
            None if once else max(interval, 0.1),
            stopping,
        )
    except EvergreenError as error:
        logger.error("%s", error)  # noqa: TRY400 (one clear message, no trace)
        code = error.exit_code
    except ImportError as error:
        logger.error("Ramping a canary needs the full installation: %s", error)  # noqa: TRY400
        code = ExitCode.BAD_INPUT
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    sys.stdout.flush()
    raise SystemExit(int(code))


def _control(
    name: str,
    registry_uri: str,
    log_url: str,
    home: Home,
    interval: float | None,
    stopping: threading.Event,
) -> ExitCode:
    """Look again and again (once without an interval) until there is no canary."""
    from evergreen.promotion.canary_control import CanaryController
    from evergreen.promotion.promotion_log import PromotionLog
    from evergreen.promotion.registry import Registry

    registry = Registry(registry_uri, PromotionLog(home.database_url), home.locks)
    controller = CanaryController(registry, name, log_url)
    said = ""
    while True:
        look = None
        try:
            look = controller.look(datetime.now(UTC))
        except (UnreachableError, RefusedError) as error:
            # Away, or another controller was quicker: nothing was done, the plan says what is.
            if interval is None:
                raise
            if str(error) != said:
                logger.warning("%s The canary holds; looking again.", error)
                said = str(error)
        if look is not None and look.gist != said:
            said = look.gist
            _say(look)
        if look is not None and look.ended:
            return ExitCode.REFUSED if look.action == "roll_back" else ExitCode.DONE
        if interval is None or stopping.wait(interval):
            return ExitCode.DONE


def _say(look: Look) -> None:
    level = logging.WARNING if look.action == "roll_back" else logging.INFO
    logger.log(level, "%s", look.message)


def _start_logging(file: Path) -> None:
    """Bring decisions to standard output, warnings to standard error, and both to the file."""
    out, err = logging.StreamHandler(sys.stdout), logging.StreamHandler(sys.stderr)
    err.setLevel(logging.WARNING)
    handlers: list[logging.Handler] = [out, err]
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(message)s"))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        kept = logging.FileHandler(file, encoding="utf-8")
        kept.setFormatter(logging.Formatter(f"%(asctime)s {os.getpid()} %(levelname)s %(message)s"))
        handlers.append(kept)
    except OSError as error:
        err.handle(logging.makeLogRecord({"levelno": logging.WARNING, "msg": str(error)}))
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers = handlers


if __name__ == "__main__":
    main()
