"""``python -m stacks apply stacks/local.yaml``: make ZenML match a stack file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from evergreen.errors import EvergreenError, ExitCode, InputError, UnreachableError


def main() -> int:
    """Apply a stack file, or show what applying it would change."""
    parser = argparse.ArgumentParser(prog="python -m stacks", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    apply_parser = commands.add_parser("apply", help="make ZenML match a stack file")
    apply_parser.add_argument("file", type=Path)
    apply_parser.add_argument(
        "--dry-run", action="store_true", help="show the difference, change nothing"
    )
    apply_parser.add_argument(
        "--unchecked", action="store_true", help="do not ask whether servers can be reached"
    )
    apply_parser.add_argument(
        "--set", action="store_true", help="also make it the active stack, as zenml stack set does"
    )
    options = parser.parse_args()
    os.environ.setdefault("ZENML_ANALYTICS_OPT_IN", "false")
    # What ZenML warns of (components of this machine in a stack of servers) is meant so.
    os.environ.setdefault("ZENML_LOGGING_VERBOSITY", "ERROR")
    try:
        return _apply(options)
    except EvergreenError as error:
        print(error, file=sys.stderr)
        return error.exit_code


def _apply(options: argparse.Namespace) -> int:
    from stacks.spec import read_stack

    spec = read_stack(options.file)

    from zenml.utils import source_utils

    from stacks.apply import apply, plan

    # ZenML takes the folder of the main module, this one, for the root of all sources.
    source_utils.set_custom_source_root(str(Path(__file__).resolve().parents[1]))

    from stacks.reachability import require_reachable

    try:
        if not options.dry_run:
            plan(spec)  # what the file has wrong comes before what is out of reach
            if not options.unchecked:
                require_reachable(spec)
        changes = plan(spec) if options.dry_run else apply(spec)
    except (InputError, UnreachableError) as error:
        raise type(error)(f"{options.file}: {error}") from None
    for change in changes:
        print(change)
    if not changes:
        print(f"ZenML matches {options.file}: nothing to change.")
    if options.set and not options.dry_run:
        from zenml.client import Client

        Client().activate_stack(spec.name)
        print(f"Stack {spec.name!r} is active.")
    elif not options.dry_run:
        print(f"Use it: zenml stack set {spec.name}")
    return ExitCode.DONE


if __name__ == "__main__":
    raise SystemExit(main())
