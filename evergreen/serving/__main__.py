"""Serve a model: ``python -m evergreen.serving --model wine``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from evergreen.errors import ExitCode, InputError
from evergreen.serving.options import VARIABLE_PREFIX, ServerOptions

EPILOG = """\
exit codes:
  0 stopped by SIGTERM    2 bad input: unknown model, bad bundle, missing API key
  3 something needed does not answer, or the port is taken    4 internal fault    130 Ctrl-C

environment (what containers set; an option given here wins):
  EVERGREEN_SERVING_MODEL, _CONFIG, _HOST, _PORT, _WORKERS, _KEYS

examples:
  python -m evergreen.serving --model wine
  python -m evergreen.serving --config configs/wine.yaml --workers 4
  python -m evergreen.serving --model wine --version 3 --port 8001
  python -m evergreen.serving --bundle /path/to/bundle
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped and return the exit code."""
    try:
        options = read_options(arguments)
        from evergreen.serving.server import serve

        serve(options, lambda text: print(text, flush=True))
    except KeyboardInterrupt:
        print("Stopped; every answered prediction is kept.", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except Exception as error:
        return _explain(error)
    return ExitCode.DONE


def read_options(arguments: Sequence[str] | None = None) -> ServerOptions:
    """Read the command line, and the use case that it names.

    Raises
    ------
    InputError
        If the use case cannot be read, or it is not said what to serve.
    """
    found = _parser().parse_args(arguments)
    options = ServerOptions(
        model=found.model,
        alias=found.alias or "champion",
        version=found.version,
        bundle=None if found.bundle is None else Path(found.bundle).expanduser().absolute(),
        registry=found.registry,
        host=found.host,
        port=found.port,
        require_keys=found.require_keys,
        keys=None if found.keys is None else Path(found.keys).expanduser().absolute(),
    )
    if found.config is not None:
        from evergreen.use_case import load_use_case

        use_case = load_use_case(found.config, found.set)
        options = replace(options, model=found.model or use_case.name, settings=use_case.serving)
    elif found.set:
        raise InputError("--set changes settings of a use case; name it by --config FILE.")
    if options.model is None and options.bundle is None:
        raise InputError("Say what to serve: --model NAME, --config FILE or --bundle FOLDER.")
    workers = options.settings.workers if found.workers is None else found.workers
    return replace(options, workers=workers)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m evergreen.serving",
        description="Serve a model's contract API.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_what(parser.add_argument_group("what to serve"))
    _add_where(parser.add_argument_group("where and how"))
    return parser


def _add_what(what: argparse._ArgumentGroup) -> None:
    what.add_argument(
        "--model", metavar="NAME", default=_variable("MODEL"), help="name in the registry"
    )
    what.add_argument(
        "--config",
        metavar="FILE",
        default=_variable("CONFIG"),
        help="use case: its name and its serving section",
    )
    what.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="change a setting of the use case, such as serving.log.durable=true",
    )
    which = what.add_mutually_exclusive_group()
    which.add_argument("--alias", metavar="NAME", help="follow this alias (default: champion)")
    which.add_argument("--version", metavar="N", help="serve this version for good")
    which.add_argument("--bundle", metavar="FOLDER", help="serve this bundle for good")
    what.add_argument(
        "--registry",
        metavar="URI",
        help="MLflow's address (default: $MLFLOW_TRACKING_URI, or the store in .evergreen)",
    )


def _add_where(where: argparse._ArgumentGroup) -> None:
    where.add_argument(
        "--host", default=_variable("HOST") or "127.0.0.1", help="address (default: %(default)s)"
    )
    where.add_argument(
        "--port",
        type=_port,
        default=_variable("PORT") or "8000",
        help="port; 0 takes a free one (default: %(default)s)",
    )
    where.add_argument(
        "--workers",
        type=_workers,
        metavar="N",
        default=_variable("WORKERS"),
        help="processes (default: 1)",
    )
    where.add_argument(
        "--require-keys",
        action="store_true",
        help="ask for an API key on 127.0.0.1, too; elsewhere it is always asked for",
    )
    where.add_argument(
        "--keys",
        metavar="FILE",
        default=_variable("KEYS"),
        help="file of the API keys (default: serving/keys.json in the state folder)",
    )


def _variable(name: str) -> str | None:
    """Return a default from the environment; one that is empty counts as not set."""
    return os.environ.get(f"{VARIABLE_PREFIX}{name}") or None


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; ports go from 0 to 65535")
    return int(text)


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of processes from 1 to 64")
    return int(text)


def _explain(error: Exception) -> int:
    """Print the one message that a failure deserves and return its exit code."""
    from evergreen.faults import as_product_error, keep_trace
    from evergreen.paths import Home

    home = Home.locate()
    known = as_product_error(error, str(home.root))
    message = str(known) if known is not None else keep_trace(error, home)
    print(message, file=sys.stderr)
    return ExitCode.INTERNAL if known is None else known.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
