"""What a training run knows, gathered for everything that people look at.

The report, the model card and the figures are made of one `TrainingFacts` and nothing else.
It nests the values that the stages produce anyway, so filling it is naming them::

    facts = TrainingFacts(
        use_case=use_case,
        data=DataFacts(
            source=train.source,
            fingerprint=fingerprint,      # of the raw table
            rows=len(raw),                # as read
            train_rows=train.rows,
            holdout_rows=holdout.rows,
            split_method=split.method,
            split_boundary=split.boundary,
            contract=contract,
            quality=quality,
        ),
        search=search,
        challenger=evaluations["challenger"],
        baseline=evaluations.get("baseline"),
        champion=evaluations.get("champion"),
        explanation=explanation,
        verdict=verdict,
        registration=Registration(status="promoted", version="4", champion_before="3"),
        previous=ChampionRecord(version="3", ...),   # or None
        provenance=Provenance(when=datetime.now(UTC), command="python run.py ...", ...),
        links=(Link(name="MLflow run", id="8c1f...", url="http://127.0.0.1:5000/#/..."),),
    )

Every part is a `Value`: ``facts.model_dump_json()`` and ``TrainingFacts.model_validate_json``
carry it through a file, whole or part by part.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

from evergreen.config import Choice, UseCase
from evergreen.costs import StageCost
from evergreen.data.contract import Contract
from evergreen.data.engine import IN_MEMORY, Engine
from evergreen.data.quality_report import QualityReport
from evergreen.promotion.verdict import Verdict
from evergreen.training.results import CandidateResult, Evaluation, Explanation, SearchResult
from evergreen.values import Value


class DataFacts(Value):
    """The table, and how its rows were used."""

    source: str  # without secrets, as `describe_source` words it
    fingerprint: str  # sha256 of the raw table
    rows: int  # as read; rows without a target are dropped before the split
    train_rows: int
    holdout_rows: int
    split_method: str
    split_boundary: str | None = None  # by time: the first moment of the holdout
    contract: Contract
    quality: QualityReport
    engine: Engine = IN_MEMORY


class Registration(Value):
    """What became of the challenger in the registry.

    ``waiting``: the rules passed, a person must approve. ``unchanged``: the champion is that very
    model, from the same data, settings and code.
    """

    status: Literal["promoted", "waiting", "ramping", "refused", "unchanged"]
    version: str | None = None  # None: not registered
    champion_before: str | None = None
    runtime: str | None = None  # what will serve it, and why, in words


class ChampionRecord(Value):
    """What was recorded when the champion compared with was trained; None where nobody did."""

    version: str
    trained: datetime | None = None
    candidate: str | None = None  # its title, such as "Random forest"
    params: Mapping[str, Choice] = {}
    metrics: Mapping[str, float | None] = {}  # on the holdout of its own training run
    fingerprint: str | None = None
    rows: int | None = None
    features: tuple[str, ...] | None = None  # input columns
    git_commit: str | None = None


class Provenance(Value):
    """Where and how the run took place."""

    when: datetime
    command: str  # the exact command line
    git_commit: str | None = None
    git_dirty: bool | None = None
    python: str
    versions: Mapping[str, str] = {}  # library: version
    seed: int
    machine: str | None = None  # such as "Linux x86_64, 8 cores"
    durations: Mapping[str, float] = {}  # stage: seconds, in order


class Link(Value):
    """Something recorded elsewhere: its id, and its address where there is one."""

    name: str  # such as "MLflow run"
    id: str
    url: str | None = None


class TrainingFacts(Value):
    """Everything that the training report, the model card and the figures say."""

    use_case: UseCase
    data: DataFacts
    search: SearchResult
    challenger: Evaluation
    baseline: Evaluation | None = None
    champion: Evaluation | None = None  # on the same holdout rows as the challenger
    explanation: Explanation | None = None
    verdict: Verdict
    registration: Registration
    previous: ChampionRecord | None = None
    provenance: Provenance
    links: tuple[Link, ...] = ()
    costs: tuple[StageCost, ...] = ()  # of the stages that ran in one process with the report

    @property
    def best(self) -> CandidateResult:
        """The candidate that became challenger."""
        return next(
            candidate for candidate in self.search.candidates if candidate.name == self.search.best
        )
