"""The rest of what a training leaves, without ZenML and MLflow's tracking: bundle and reports."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from evergreen import provenance
from evergreen.data.conform import model_frame
from evergreen.monitoring.profile import make_profile
from evergreen.promotion.bundle import Figures, Origin, write_bundle
from evergreen.reporting.card import model_card
from evergreen.reporting.data_report import data_report
from evergreen.reporting.facts import DataFacts, Provenance, Registration, TrainingFacts
from evergreen.reporting.figures import draw
from evergreen.reporting.training_report import training_report


def write_everything(
    folder: Path,
    use_case,
    contract,
    quality,
    split,
    frame,
    train,
    search,
    challenger,
    predictions,
    evaluations,
    explanation,
    verdict,
) -> None:
    environment = provenance.environment()
    now = datetime.now(UTC)
    data = DataFacts(
        source=train.source,
        fingerprint=train.fingerprint,
        rows=len(frame),
        train_rows=len(split.train),
        holdout_rows=len(split.holdout),
        split_method=split.method,
        split_boundary=split.boundary,
        contract=contract,
        quality=quality,
    )
    facts = TrainingFacts(
        use_case=use_case,
        data=data,
        search=search,
        challenger=evaluations["challenger"],
        baseline=evaluations["baseline"],
        explanation=explanation,
        verdict=verdict,
        registration=Registration(status="promoted"),
        provenance=Provenance(
            when=now,
            command="python benchmarks/plain_train.py",
            python=environment.python,
            versions=environment.versions,
            seed=use_case.training.seed,
        ),
    )
    write_bundle(
        folder / f"bundle-{now:%H%M%S%f}",
        model=challenger,
        contract=contract,
        profile=make_profile(train.read(), contract, predictions),
        figures=Figures(
            metric=search.metric,
            rows=evaluations["challenger"].rows,
            confidence=evaluations["challenger"].confidence,
            metrics=evaluations["challenger"].metrics,
        ),
        card=model_card(facts),
        inputs=model_frame(frame.iloc[split.holdout], contract),
        origin=Origin(
            candidate=facts.best.name,
            title=facts.best.title,
            params=facts.best.params,
            training_key=provenance.training_key(data.fingerprint, use_case),
            data_fingerprint=data.fingerprint,
            data_source=data.source,
            rows=train.rows,
        ),
        environment=environment,
    )
    (folder / "data.html").write_text(data_report(frame, contract, quality), encoding="utf-8")
    page = training_report(facts, draw(facts))
    (folder / "training.html").write_text(page, encoding="utf-8")
