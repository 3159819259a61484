"""Bundle the challenger, register it, and tell people what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import mlflow
from sklearn.base import BaseEstimator
from zenml import step
from zenml.types import HTMLString

from evergreen import provenance
from evergreen.alerts.alert import Alert
from evergreen.config import UseCase
from evergreen.dask.tables import goes_to_workers, passes_of
from evergreen.data.conform import model_frame
from evergreen.data.contract import Contract
from evergreen.data.dataset import Dataset
from evergreen.monitoring.profile import Profile, make_profile
from evergreen.monitoring.profile_by_groups import profile_by_groups
from evergreen.onnx_export.parity import MAX_ROWS as PARITY_ROWS
from evergreen.promotion.bundle import Bundle, Figures, Origin, write_bundle
from evergreen.promotion.registration import Registration
from evergreen.promotion.settlement import outlook, settle
from evergreen.promotion.tracking import log_files
from evergreen.promotion.verdict import Verdict
from evergreen.reporting import facts as reporting
from evergreen.reporting.card import model_card
from evergreen.reporting.facts import DataFacts, TrainingFacts
from evergreen.reporting.figures import draw
from evergreen.reporting.training_report import training_report
from evergreen.training.bounds import PROFILE_ROWS, some_rows
from evergreen.training.predictions import Predictions, arms_from_frame
from evergreen.training.results import Evaluations, Explanation, SearchResult
from steps.alerting import tell
from steps.announcements import announce, costs
from steps.caching import CACHED
from steps.materializers import BundleMaterializer
from steps.promotion.champion import ChampionReference, open_registry
from steps.promotion.experiment import record_run
from steps.workspace import keep_reports, report_folder, run_name, scratch_file


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
    dask = use_case.training.dask
    on_dask = goes_to_workers(training_rows, dask)
    announce(f"Assemble the bundle{f', on {dask.title}' if on_dask else ''}")
    facts = gather_facts(
        champion, data, search, evaluations, explanation, verdict, use_case, command
    )
    arms = arms_from_frame(predictions.read(), data.contract)
    environment = provenance.environment()
    seed = use_case.training.seed
    bundle = write_bundle(
        scratch_file("bundle"),
        model=challenger,
        contract=data.contract,
        profile=reference_profile(training_rows, data.contract, arms["challenger"], use_case),
        figures=Figures(
            metric=search.metric,
            rows=evaluations.challenger.rows,
            confidence=evaluations.challenger.confidence,
            metrics=evaluations.challenger.metrics,
            prediction_interval=evaluations.challenger.prediction_interval,
        ),
        card=model_card(facts),
        inputs=model_frame(some_rows(holdout_rows, PARITY_ROWS, seed), data.contract),
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


def reference_profile(
    training_rows: Dataset, contract: Contract, predictions: Predictions, use_case: UseCase
) -> Profile:
    """Make the profile that later windows are compared with, of at most a million rows."""
    training = use_case.training
    rows = some_rows(training_rows, PROFILE_ROWS, training.seed)
    if goes_to_workers(training_rows, training.dask):
        with passes_of(training_rows, training.dask) as way:
            return profile_by_groups(rows, contract, predictions, way)
    return make_profile(rows, contract, predictions)


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
    return TrainingFacts(
        use_case=use_case,
        data=data,
        search=search,
        challenger=evaluations.challenger,
        baseline=evaluations.baseline,
        champion=evaluations.champion,
        explanation=explanation,
        verdict=verdict,
        registration=reporting.Registration(
            status=outlook(verdict), champion_before=champion.version
        ),
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


@step(enable_cache=False, experiment_tracker=True)
def publish_challenger(
    bundle: Bundle,
    facts: TrainingFacts,
    data_report: HTMLString,
) -> tuple[Annotated[Registration, "registration"], Annotated[HTMLString, "training_report"]]:
    """Record the run in MLflow, let the registry act on the verdict, and write the reports."""
    announce("Register and report")
    registry = open_registry()
    run_id = mlflow.active_run().info.run_id
    drawings = draw(facts)
    record_run(registry.client, run_id, facts, drawings)
    registration = settle(
        registry,
        bundle,
        facts.verdict,
        run_id=run_id,
        who=provenance.current_user(),
        zenml_run=run_name(),
        traffic=facts.use_case.serving.traffic,
    )
    alert(registration, facts.use_case)

    page = training_report(concluded(facts, bundle, registration, run_id), drawings)
    folder = report_folder(facts.use_case.name)
    pages = {"training.html": page, "data.html": str(data_report), "card.md": bundle.card}
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    keep_reports(folder)
    log_files(registry.client, run_id, {f"reports/{name}": text for name, text in pages.items()})
    return registration, HTMLString(page)


def concluded(
    facts: TrainingFacts, bundle: Bundle, registration: Registration, run_id: str
) -> TrainingFacts:
    """Return the facts with what became of the challenger, and where its run is recorded."""
    return facts.model_copy(
        update={
            "registration": reporting.Registration(
                status=registration.status,
                version=registration.version,
                champion_before=facts.registration.champion_before,
                runtime=str(bundle.parity) if bundle.parity else bundle.manifest.runtime_reason,
            ),
            "links": (
                reporting.Link(name="ZenML run", id=run_name()),
                reporting.Link(name="MLflow run", id=run_id),
            ),
            "costs": costs(),
        }
    )


def alert(registration: Registration, use_case: UseCase) -> None:
    """Tell people of what needs them: a refusal, or a wait for approval."""
    if (found := alert_of(registration, use_case.name)) is not None:
        tell(found, use_case)


def alert_of(registration: Registration, use_case: str) -> Alert | None:
    """Return the alert that a registration calls for; None where nobody needs to do anything."""
    facts = {"version": registration.version, "champion": registration.champion}
    if registration.status == "refused":
        # Without the figures: a nightly refusal is one piece of news per `repeat_after`.
        title = "The gate refused a challenger"
        return Alert.of("gate_refused", use_case, title, registration.message, facts=facts)
    if registration.status == "waiting":
        title = f"Version {registration.version} waits for approval"
        key = f"approval_waiting {registration.version}"
        text = registration.message
        return Alert.of("approval_waiting", use_case, title, text, facts=facts, key=key)
    return None
