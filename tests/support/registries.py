"""A registry in a store that really exists, and processes that die in the middle of using it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

from evergreen.paths import Home
from evergreen.promotion.bundle import open_bundle
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.promotion.settlement import settle
from tests.support.verdicts import verdict

# What changes MLflow's store or the promotion log: a process may die after each of them.
CHANGES = (
    "create_registered_model",
    "create_logged_model",
    "log_model_artifacts",
    "finalize_logged_model",
    "log_outputs",
    "log_batch",
    "create_model_version",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "set_model_version_tag",
    "delete_model_version",
    "delete_logged_model",
)
_PRELOADED = ("mlflow", "mlflow.artifacts", "mlflow.store.tracking.sqlalchemy_store", __name__)


@dataclass(frozen=True)
class Place:
    """Where a store lies, and the experiment and run that belong to it."""

    root: Path
    experiment: str
    run: str

    def registry(self) -> Registry:
        home = Home(self.root)
        return Registry(home.mlflow_uri, PromotionLog(home.database_url), home.locks)


def settle_bundle(place: Place, folder: Path, against: str | None, manual: bool) -> None:
    """Do what the last step of a training does."""
    settle(
        place.registry(),
        open_bundle(folder),
        verdict(against, manual=manual),
        run_id=place.run,
        who="ada",
        zenml_run="train-boats",
    )


def approve(place: Place, name: str) -> None:
    place.registry().approve(name, "ada")


@contextmanager
def observed(after: Callable[[str], None]) -> Iterator[None]:
    """Call ``after`` with the name of each change, when it is done."""
    from mlflow import MlflowClient

    originals = {(MlflowClient, name): getattr(MlflowClient, name) for name in CHANGES}
    originals[PromotionLog, "record"] = PromotionLog.record
    for (owner, name), original in originals.items():
        setattr(owner, name, _reporting(original, name, after))
    try:
        yield
    finally:
        for (owner, name), original in originals.items():
            setattr(owner, name, original)


def kill_during(number: int, work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work`` in a process that is killed right after its change ``number`` (from 0)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_PRELOADED))
    process = context.Process(target=_die_after, args=(number, work, arguments))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, f"exit code {process.exitcode}"


def _die_after(number: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    seen: list[str] = []

    def after(name: str) -> None:
        seen.append(name)
        if len(seen) > number:
            os.kill(os.getpid(), signal.SIGKILL)

    with observed(after):
        work(*arguments)


def _reporting(original: Any, name: str, after: Callable[[str], None]) -> Any:
    @wraps(original)
    def reporting(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        after(name)
        return result

    return reporting
