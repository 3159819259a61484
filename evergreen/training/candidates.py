"""The registry of candidates. A new estimator is one more `Candidate` in ``CANDIDATES``.

``make`` builds the estimator (and imports its library), ``search`` is its default search space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any, Literal

from evergreen.config import CandidateConfig, Choice, Span, Task, TrainingConfig
from evergreen.data.engine import Engine
from evergreen.errors import InputError
from evergreen.training.early_stopping import stop_lightgbm, stop_xgboost

BASELINE = "baseline"
BOTH: tuple[Task, ...] = ("classification", "regression")

StoppingFit = Callable[[Any, Any, Any, Any, int], int]  # see `evergreen.training.early_stopping`
Space = Mapping[str, Span | tuple[Choice, ...]]
# How a candidate learns from a table that stays on disk, see `evergreen.training.external`.
FromDisk = Literal["target", "trees", "least_squares", "logistic"]
LINEAR: frozenset[FromDisk] = frozenset({"least_squares", "logistic"})

# Set for every estimator alike, elsewhere.
_RESERVED = {
    "random_state": "training.seed",
    "n_jobs": "training.jobs",
    "nthread": "training.jobs",
    "early_stopping_rounds": "training.early_stopping",
    "class_weight": "training.balance",
}


@dataclass(frozen=True)
class Candidate:
    """One kind of estimator.

    ``make(task, seed)`` returns it unfitted with its default parameters. ``scale``: it wants
    numbers of zero mean and unit variance. ``threads``: it has a parameter ``n_jobs``. ``stop``:
    it is boosted in rounds (``n_estimators``), and this fits it with early stopping. ``from_disk``:
    how it learns from a table that stays on disk; None: it needs the table in memory. ``dask``: it
    is fitted by Dask workers that share one. ``cost`` is a rough figure of the seconds a search
    takes, to start the slowest first.
    """

    name: str
    title: str
    make: Callable[[Task, int], Any]
    tasks: tuple[Task, ...] = BOTH
    search: Space = field(default_factory=dict)
    scale: bool = False
    threads: bool = False
    stop: StoppingFit | None = None
    from_disk: FromDisk | None = None
    dask: bool = False
    cost: float = 1.0


@dataclass(frozen=True)
class Plan:
    """A candidate with its settings: fixed parameters, and a space or a grid to search."""

    candidate: Candidate
    params: Mapping[str, Choice] = field(default_factory=dict)
    search: Space = field(default_factory=dict)
    grid: Mapping[str, tuple[Choice, ...]] | None = None


def candidates_for(task: Task, training: TrainingConfig) -> tuple[Plan, ...]:
    """Return what to try, in the registry's order, the baseline first.

    Raises
    ------
    InputError
        If a candidate or one of its parameters does not exist, or does not suit the task.
    """
    known = {candidate.name: candidate for candidate in CANDIDATES if task in candidate.tasks}
    for name in training.candidates:
        if name not in known:
            raise InputError(_unknown_candidate(name, task, list(known)))
    names = {BASELINE, *(training.candidates or known)}
    return tuple(
        _plan(candidate, training.candidates.get(name, CandidateConfig()), task)
        for name, candidate in known.items()
        if name in names
    )


def can_be_fitted(name: str, engine: Engine) -> bool:
    """Tell whether a candidate learns from tables that are gone through in this way."""
    if fitted_on_dask(name, engine):
        return True
    return BY_NAME[name].from_disk is not None or not engine.external


def fitted_on_dask(name: str, engine: Engine) -> bool:
    """Tell whether the workers of a cluster fit a candidate."""
    return engine.name == "dask" and BY_NAME[name].dask


def make_estimator(
    candidate: Candidate,
    task: Task,
    params: Mapping[str, Choice],
    *,
    seed: int,
    balance: bool,
    threads: int,
) -> Any:
    """Return a candidate's unfitted estimator with the given parameters.

    Raises
    ------
    InputError
        If its library cannot be loaded.
    """
    estimator = candidate.make(task, seed)
    fixed: dict[str, Any] = {"n_jobs": threads} if candidate.threads else {}
    if balance and task == "classification" and "class_weight" in estimator.get_params():
        fixed["class_weight"] = "balanced"
    return estimator.set_params(**params, **fixed)


def _plan(candidate: Candidate, config: CandidateConfig, task: Task) -> Plan:
    named: dict[str, Mapping[str, Any]] = {
        "params": config.params,
        "search": config.search or {},
        "grid": config.grid or {},
    }
    if any(named.values()):
        _require_known_parameters(candidate, named, task)
    if config.grid is not None:
        return Plan(candidate, config.params, grid=config.grid)
    space = candidate.search if config.search is None else config.search
    free = {name: span for name, span in space.items() if name not in config.params}
    return Plan(candidate, config.params, free)


def _require_known_parameters(
    candidate: Candidate, named: Mapping[str, Mapping[str, Any]], task: Task
) -> None:
    known = sorted(candidate.make(task, 0).get_params())
    for section, names in named.items():
        for name in names:
            where = f"training.candidates.{candidate.name}.{section}.{name}"
            if name in _RESERVED:
                raise InputError(f"{where}: this is set for all candidates by {_RESERVED[name]}.")
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"Did you mean {near[0]!r}? " if near else ""
                allowed = ", ".join(other for other in known if other not in _RESERVED)
                raise InputError(f"{where}: there is no such parameter. {hint}Allowed: {allowed}.")
            if section != "params" and name in named["params"]:
                raise InputError(f"{where}: the parameter is also fixed in params; keep one.")


def _unknown_candidate(name: str, task: Task, known: list[str]) -> str:
    allowed = f"Allowed for {task}: {', '.join(known)}."
    if name in {candidate.name for candidate in CANDIDATES}:
        return f"training.candidates.{name}: this candidate is not for {task}. {allowed}"
    near = get_close_matches(name.lower(), known, n=1)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"training.candidates.{name}: there is no such candidate. {hint}{allowed}"


# --- the estimators, each importing its library where it is made ----------------------------


def _baseline(task: Task, seed: int) -> Any:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    return DummyClassifier(strategy="prior") if task == "classification" else DummyRegressor()


def _logistic_regression(task: Task, seed: int) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=1000, random_state=seed)


def _ridge(task: Task, seed: int) -> Any:
    from sklearn.linear_model import Ridge

    return Ridge(random_state=seed)


def _linear_regression(task: Task, seed: int) -> Any:
    from sklearn.linear_model import LinearRegression

    return LinearRegression()


def _decision_tree(task: Task, seed: int) -> Any:
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeClassifier if task == "classification" else DecisionTreeRegressor
    return kind(random_state=seed)


def _random_forest(task: Task, seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestClassifier if task == "classification" else RandomForestRegressor
    return kind(n_estimators=100, random_state=seed)


def _xgboost(task: Task, seed: int) -> Any:
    from xgboost import XGBRegressor

    from evergreen.training.xgboost_adapter import LabelledXGBClassifier

    kind = LabelledXGBClassifier if task == "classification" else XGBRegressor
    return kind(
        n_estimators=400,
        learning_rate=0.1,
        max_depth=6,
        min_child_weight=1.0,
        subsample=1.0,
        colsample_bytree=1.0,
        reg_lambda=1.0,
        tree_method="hist",
        device="cpu",
        verbosity=0,
        random_state=seed,
    )


def _lightgbm(task: Task, seed: int) -> Any:
    try:
        from lightgbm import LGBMClassifier, LGBMRegressor
    except OSError as error:  # its wheel expects the system's OpenMP runtime
        raise InputError(
            f"LightGBM cannot be loaded: {error}. Install the library (on Debian and Ubuntu: "
            "apt-get install libgomp1), or leave lightgbm out of training.candidates."
        ) from error
    kind = LGBMClassifier if task == "classification" else LGBMRegressor
    return kind(
        n_estimators=400,
        learning_rate=0.1,
        subsample_freq=1,
        verbosity=-1,
        deterministic=True,
        force_row_wise=True,
        random_state=seed,
    )


CANDIDATES: tuple[Candidate, ...] = (
    Candidate(BASELINE, "Baseline", _baseline, from_disk="target", cost=0.0),
    Candidate(
        "logistic_regression",
        "Logistic regression",
        _logistic_regression,
        tasks=("classification",),
        search={"C": Span(low=1e-3, high=1e2, log=True)},
        scale=True,
        from_disk="logistic",
    ),
    Candidate(
        "ridge",
        "Ridge regression",
        _ridge,
        tasks=("regression",),
        search={"alpha": Span(low=1e-3, high=1e3, log=True)},
        scale=True,
        from_disk="least_squares",
    ),
    Candidate(
        "linear_regression",
        "Linear regression",
        _linear_regression,
        tasks=("regression",),
        scale=True,
        from_disk="least_squares",
        cost=0.1,
    ),
    Candidate(
        "decision_tree",
        "Decision tree",
        _decision_tree,
        search={
            "max_depth": Span(low=2, high=12, integer=True),
            "min_samples_leaf": Span(low=1, high=30, integer=True, log=True),
        },
    ),
    Candidate(
        "random_forest",
        "Random forest",
        _random_forest,
        search={
            "max_depth": Span(low=3, high=20, integer=True),
            "min_samples_leaf": Span(low=1, high=10, integer=True, log=True),
            "max_features": Span(low=0.2, high=1.0),
        },
        threads=True,
        cost=10.0,
    ),
    Candidate(
        "xgboost",
        "XGBoost",
        _xgboost,
        search={
            "learning_rate": Span(low=0.03, high=0.3, log=True),
            "max_depth": Span(low=2, high=8, integer=True),
            "min_child_weight": Span(low=1, high=10, log=True),
            "subsample": Span(low=0.6, high=1.0),
            "colsample_bytree": Span(low=0.5, high=1.0),
            "reg_lambda": Span(low=0.01, high=10, log=True),
        },
        threads=True,
        stop=stop_xgboost,
        from_disk="trees",
        dask=True,
        cost=6.0,
    ),
    Candidate(
        "lightgbm",
        "LightGBM",
        _lightgbm,
        search={
            "learning_rate": Span(low=0.03, high=0.3, log=True),
            "num_leaves": Span(low=7, high=63, integer=True, log=True),
            "min_child_samples": Span(low=5, high=40, integer=True, log=True),
            "subsample": Span(low=0.6, high=1.0),
            "colsample_bytree": Span(low=0.5, high=1.0),
            "reg_lambda": Span(low=0.01, high=10, log=True),
        },
        threads=True,
        stop=stop_lightgbm,
        dask=True,
        cost=7.0,
    ),
)
BY_NAME: Mapping[str, Candidate] = MappingProxyType(
    {candidate.name: candidate for candidate in CANDIDATES}
)
