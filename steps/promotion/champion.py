"""The champion that a challenger is judged against."""

from __future__ import annotations

from typing import Annotated

from zenml import step
from zenml.client import Client

from evergreen.config import UseCase
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from evergreen.promotion.bundle import Bundle
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import RegisteredModel, Registry
from evergreen.provenance import training_key
from evergreen.reporting.facts import ChampionRecord, DataFacts
from evergreen.values import Value
from steps.announcements import announce
from steps.workspace import scratch_file


class ChampionReference(Value):
    """The version that the challenger is judged against; None where there is none."""

    name: str
    version: str | None
    record: ChampionRecord | None


def open_registry() -> Registry:
    """Return the registry of the active stack's MLflow, with its promotion log."""
    tracker = Client().active_stack.experiment_tracker
    if tracker is None:
        raise InputError("The active stack has no experiment tracker: zenml stack set local")
    uri = tracker.get_tracking_uri()  # type: ignore[attr-defined]
    return Registry(uri, PromotionLog(Home.locate().database_url))


@step(enable_cache=False)
def find_champion(data: DataFacts, use_case: UseCase) -> Annotated[ChampionReference, "champion"]:
    """Look the champion up, after finishing what an interrupted run left behind.

    Where the champion came of this very training (same data, settings and code), the version
    that it was judged against takes its place: the same question gets the same answer, from the
    cache.
    """
    announce("Look up the champion")
    registry = open_registry()
    for note in registry.reconcile(use_case.name):
        announce(note)
    champion = registry.champion(use_case.name)
    if champion and champion.training_key == training_key(data.fingerprint, use_case):
        former = champion.judged_against
        champion = registry.version(use_case.name, former) if former else None
    if champion is None:
        return ChampionReference(name=use_case.name, version=None, record=None)
    bundle = registry.fetch_bundle(use_case.name, champion.version, scratch_file("champion"))
    return ChampionReference(
        name=use_case.name, version=champion.version, record=_record(champion, bundle)
    )


def champion_bundle(champion: ChampionReference) -> Bundle:
    """Fetch the bundle of the champion; raise `UnreachableError` where there is none."""
    if champion.version is None:
        raise UnreachableError(f"{champion.name!r} has no champion.")
    return open_registry().fetch_bundle(champion.name, champion.version, scratch_file("champion"))


def _record(champion: RegisteredModel, bundle: Bundle) -> ChampionRecord:
    origin = bundle.manifest.origin
    return ChampionRecord(
        version=champion.version,
        trained=bundle.manifest.created,
        candidate=origin.title,
        params=origin.params,
        metrics=champion.metrics,
        fingerprint=origin.data_fingerprint,
        rows=origin.rows,
        features=tuple(column.name for column in bundle.contract.features),
        git_commit=bundle.manifest.environment.git_commit,
    )
