"""``--pipeline train --plan``: what a training will take, without training."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from evergreen.errors import ExitCode
from evergreen.terminal_plan import show_plan
from evergreen.training.plan import plan_training
from evergreen.use_case import load_use_case


def run_plan(options: argparse.Namespace) -> int:
    """Show rows, bytes, engine, and the time and memory of each stage."""
    plan = plan_training(load_use_case(Path(options.config), options.overrides))
    if options.json:
        sys.stdout.write(plan.model_dump_json(indent=2) + "\n")
    else:
        show_plan(plan, sys.stdout)
    return ExitCode.DONE
