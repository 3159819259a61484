"""What surrounds a decision by the command line: stores, stack, registry and output."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from evergreen.config import UseCase
from evergreen.errors import InputError
from evergreen.paths import Home
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.use_case import load_use_case
from pipelines import session


@dataclass(frozen=True)
class DecisionSession:
    """What a decision needs; ``out`` is the real standard output."""

    use_case: UseCase
    home: Home
    registry: Registry
    out: TextIO


@contextmanager
def deciding(options: argparse.Namespace) -> Iterator[DecisionSession]:
    """Open the registry of the active stack for the use case of ``--config``.

    Unlike a training it takes no lock of the use case: a way back must not wait for a training.

    Raises
    ------
    InputError
        If the use case cannot be read, or nothing was trained yet.
    UnreachableError
        If the state folder cannot be written, or the registry does not answer.
    """
    use_case = load_use_case(Path(options.config), options.overrides)
    with session.at_hand(options) as (home, out, _):
        yield DecisionSession(use_case, home, open_registry(home), out)


def open_registry(home: Home) -> Registry:
    """Return the registry of the active stack's MLflow; raise `InputError` before any training."""
    uri = session.tracking_uri()
    if uri == home.mlflow_uri and not home.mlflow_database.exists():
        raise InputError(
            f"No model was trained in {home.root} yet, so there is nothing to decide on. "
            "Train one: python run.py --pipeline train"
        )
    return Registry(uri, PromotionLog(home.database_url))
