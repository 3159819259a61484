"""Bundle the challenger, register it, and tell people what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from sklearn.base import BaseEstimator
from zenml import step
from zenml.client import Client
from zenml.types import HTMLString

from evergreen import provenance
from evergreen.config import UseCase
from evergreen.data.conform import model_frame
from evergreen.data.dataset import Dataset
from evergreen.monitoring.profile import make_profile
from evergreen.promotion import tracking
from evergreen.promotion.bundle import Bundle, Figures, Origin, write_bundle
from evergreen.promotion.registry import Registration
from evergreen.promotion.verdict import Verdict
from evergreen.reporting import facts as reporting
from evergreen.reporting.card import model_card
from evergreen.reporting.facts import DataFacts, TrainingFacts
from evergreen.reporting.figures import draw
from evergreen.reporting.style import standalone
from evergreen.reporting.training_report import training_report
from evergreen.training.predictions import arms_from_frame
from evergreen.training.results import Evaluations, Explanation, SearchResult
from steps.announcements import announce
from steps.caching import CACHED
from steps.materializers import BundleMaterializer
from steps.promotion.champion import ChampionReference, open_registry
from steps.promotion.lineage import link_lineage
from steps.workspace import report_folder, run_name, scratch_file


@step(cache_policy=CACHED, output_materializers={"bundle": BundleMaterializer})
def assemble_bundle(
    challenger: BaseEstimator,
    training_rows: Dataset,
    holdout_rows: Dataset,
    predictions: Dataset,
    champion: ChampionReference,
    data: DataFacts,
    search: SearchResult,
    evaluations: Evaluations,
    explanation: Explanation,
    verdict: Verdict,
    use_case: UseCase,
    command: str,
) -> tuple[Annotated[Bundle, "bundle"], Annotated[TrainingFacts, "facts"]]:
    """Put the model and all that belongs to it into one folder."""
    announce("Assemble the bundle")
    facts = gather_facts(
        champion, data, search, evaluations, explanation, verdict, use_case, command
    )
    arms = arms_from_frame(predictions.read(), data.contract)
    environment = provenance.environment()
    bundle = write_bundle(
        scratch_file("bundle"),
        model=challenger,
        contract=data.contract,
        profile=make_profile(training_rows.read(), data.contract, arms["challenger"]),
        figures=Figures(
            metric=search.metric,
            rows=evaluations.challenger.rows,
            confidence=evaluations.challenger.confidence,
            metrics=evaluations.challenger.metrics,
        ),
        card=model_card(facts),
        inputs=model_frame(holdout_rows.read(), data.contract),
        origin=Origin(
            candidate=facts.best.name,
            title=facts.best.title,
            params=facts.best.params,
            training_key=provenance.training_key(data.fingerprint, use_case),
            data_fingerprint=data.fingerprint,
            data_source=data.source,
            rows=training_rows.rows,
        ),
        environment=environment,
        created=facts.provenance.when,
    )
    return bundle, facts


def gather_facts(
    champion: ChampionReference,
    data: DataFacts,
    search: SearchResult,
    evaluations: Evaluations,
    explanation: Explanation,
    verdict: Verdict,
    use_case: UseCase,
    command: str,
) -> TrainingFacts:
    """Gather what the card, the report and the figures say."""
    environment = provenance.environment()
    status = "refused"
    if verdict.passed:
        status = "waiting" if use_case.gate.approval == "manual" else "promoted"
    return TrainingFacts(
        use_case=use_case,
        data=data,
        search=search,
        challenger=evaluations.challenger,
        baseline=evaluations.baseline,
        champion=evaluations.champion,
        explanation=explanation,
        verdict=verdict,
        registration=reporting.Registration(status=status, champion_before=champion.version),
        previous=champion.record,
        provenance=reporting.Provenance(
            when=datetime.now(UTC),
            command=command,
            git_commit=environment.git_commit,
            git_dirty=environment.git_dirty,
            python=environment.python,
            versions=environment.versions,
            seed=use_case.training.seed,
            machine=environment.machine,
            durations={"search": search.seconds},
        ),
    )
