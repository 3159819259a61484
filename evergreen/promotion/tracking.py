"""What MLflow is told of a training: data, candidates, evaluation, figures and reports.

Every function takes a client and a run's id; nothing here touches MLflow's global state. What
could not be measured (None, NaN, infinities) is left out.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evergreen.provenance import Environment
from evergreen.training.results import CandidateResult, Evaluation, Interval, SearchResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

METRICS_AT_ONCE: Final = 800
OTHERS_AT_ONCE: Final = 100
LONGEST_KEY: Final = 250
LONGEST_PARAM: Final = 6000
LONGEST_TAG: Final = 5000
LONGEST_DIGEST: Final = 36


def log_data(
    client: MlflowClient,
    run_id: str,
    *,
    name: str,
    fingerprint: str,
    source: str,
    rows: int,
    columns: Sequence[str] = (),
) -> None:
    """Log which table a run was trained on, as tags and as the run's data set.

    ``source`` is shown to everybody who sees the run: it must hold no secret.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    schema = {"columns": list(columns)} if columns else None
    table = Dataset(
        name=name,
        digest=fingerprint[:LONGEST_DIGEST],
        source_type="evergreen",
        source=json.dumps({"source": source}),
        schema=None if schema is None else json.dumps(schema),
        profile=json.dumps({"num_rows": rows}),
    )
    client.log_inputs(run_id, [DatasetInput(table, [InputTag("mlflow.data.context", "training")])])
    tags = {
        "evergreen.data_fingerprint": fingerprint,
        "evergreen.data_source": source,
        "evergreen.data_rows": str(rows),
    }
    _log(client, run_id, tags=tags)


def log_provenance(
    client: MlflowClient,
    run_id: str,
    environment: Environment,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log code, machine and library versions as tags, with any further ``tags``."""
    known = {
        "mlflow.source.git.commit": environment.git_commit,
        "evergreen.git_commit": environment.git_commit,
        "evergreen.git_dirty": environment.git_dirty,
        "evergreen.python": environment.python,
        "evergreen.machine": environment.machine,
        "mlflow.user": environment.user,
        **{f"evergreen.version.{name}": each for name, each in environment.versions.items()},
        **(tags or {}),
    }
    _log(client, run_id, tags={key: str(each) for key, each in known.items() if each is not None})


def log_search(
    client: MlflowClient, experiment_id: str, parent_run_id: str, search: SearchResult
) -> dict[str, str]:
    """Log every candidate as a run nested in the parent; return the runs' ids by candidate.

    A candidate's run has its best parameters, the training metric per fold (``fold_METRIC``, the
    step is the fold), its mean and deviation (``cv_METRIC``, ``cv_METRIC_std``), the score of each
    trial and the best so far (the step is the trial), and ``trials.json``.
    """
    runs = {
        candidate.name: _log_candidate(client, experiment_id, parent_run_id, search, candidate)
        for candidate in search.candidates
    }
    best = next(each for each in search.candidates if each.name == search.best)
    _log(
        client,
        parent_run_id,
        metrics=_summary(search.metric, best),
        params={"candidate": best.name, **{f"best.{key}": v for key, v in best.params.items()}},
        tags={"evergreen.challenger_run": runs[best.name]},
    )
    return runs


def log_evaluation(
    client: MlflowClient, run_id: str, evaluation: Evaluation, prefix: str = "holdout"
) -> None:
    """Log the figures of one model as ``PREFIX_METRIC``, ``…_low`` and ``…_high``.

    Those of slices are ``PREFIX_METRIC/COLUMN/VALUE``, with characters that MLflow does not take
    in a name replaced by underscores.
    """
    metrics: list[tuple[str, float | None, int]] = []
    for name, interval in evaluation.metrics.items():
        metrics += _interval(f"{prefix}_{name}", interval)
    if evaluation.gain is not None:
        metrics += _interval(f"{prefix}_gain", evaluation.gain)
    metrics.append((f"{prefix}_rows", float(evaluation.rows), 0))
    used: set[str] = set()
    for each in evaluation.slices:
        where = _unused(f"{_part(each.column)}/{_part(each.value)}", used)
        for name, interval in each.metrics.items():
            metrics.append((f"{prefix}_{name}/{where}", interval.estimate, 0))
    _log(client, run_id, metrics=metrics)


def log_figures(client: MlflowClient, run_id: str, figures: Mapping[str, str]) -> None:
    """Log figures (name: SVG) as ``figures/NAME.svg``."""
    log_files(client, run_id, {f"figures/{name}.svg": svg for name, svg in figures.items()})


def log_files(client: MlflowClient, run_id: str, files: Mapping[str, str]) -> None:
    """Log texts (path: content) as the run's artifacts, such as ``report.html``, in one go."""
    with tempfile.TemporaryDirectory(prefix="evergreen-") as folder:
        for name, text in files.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        client.log_artifacts(run_id, folder)


def _log_candidate(
    client: MlflowClient,
    experiment_id: str,
    parent_run_id: str,
    search: SearchResult,
    candidate: CandidateResult,
) -> str:
    now = int(time.time() * 1000)
    run = client.create_run(
        experiment_id,
        start_time=now - int(candidate.seconds * 1000),
        run_name=candidate.title,
        tags={
            "mlflow.parentRunId": parent_run_id,
            "evergreen.candidate": candidate.name,
            **({"evergreen.error": candidate.error[:LONGEST_TAG]} if candidate.error else {}),
        },
    )
    run_id = str(run.info.run_id)
    metrics = [
        *_summary(search.metric, candidate),
        *((f"fold_{search.metric}", each, at) for at, each in enumerate(candidate.fold_scores)),
        *_history(search, candidate),
        ("seconds", candidate.seconds, 0),
        ("trials", float(len(candidate.trials)), 0),
        ("rounds", None if candidate.rounds is None else float(candidate.rounds), 0),
    ]
    _log(client, run_id, metrics=metrics, params=candidate.params)
    if candidate.trials:
        trials = [trial.model_dump(mode="json") for trial in candidate.trials]
        log_files(client, run_id, {"trials.json": json.dumps(trials, indent=1)})
    client.set_terminated(run_id, "FAILED" if candidate.score is None else "FINISHED")
    return run_id


def _summary(metric: str, candidate: CandidateResult) -> list[tuple[str, float | None, int]]:
    return [(f"cv_{metric}", candidate.score, 0), (f"cv_{metric}_std", candidate.score_std, 0)]


def _history(
    search: SearchResult, candidate: CandidateResult
) -> Iterator[tuple[str, float | None, int]]:
    """Yield each finished trial's score, and the best up to there."""
    better = max if search.greater_is_better else min
    scored = [
        (trial.number, trial.score)
        for trial in candidate.trials
        if trial.score is not None and math.isfinite(trial.score)
    ]
    best = accumulate((score for _, score in scored), better)
    for (number, score), so_far in zip(scored, best, strict=True):
        yield "trial_score", score, number
        yield "best_score", so_far, number


def _interval(name: str, interval: Interval) -> list[tuple[str, float | None, int]]:
    return [
        (name, interval.estimate, 0),
        (f"{name}_low", interval.low, 0),
        (f"{name}_high", interval.high, 0),
    ]


def _log(
    client: MlflowClient,
    run_id: str,
    *,
    metrics: Iterable[tuple[str, float | None, int]] = (),
    params: Mapping[str, Any] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Log in as few calls as MLflow's limits allow; a metric is (name, value, step)."""
    from mlflow.entities import Metric, Param, RunTag

    now = int(time.time() * 1000)
    measured = [
        Metric(_key(name), value, now, step)
        for name, value, step in metrics
        if value is not None and math.isfinite(value)
    ]
    named = [
        Param(_key(name), str(value)[:LONGEST_PARAM]) for name, value in (params or {}).items()
    ]
    tagged = [RunTag(_key(name), value[:LONGEST_TAG]) for name, value in (tags or {}).items()]
    # A call takes up to 1,000 entries, of which 100 parameters and 100 tags.
    while measured or named or tagged:
        client.log_batch(
            run_id,
            metrics=measured[:METRICS_AT_ONCE],
            params=named[:OTHERS_AT_ONCE],
            tags=tagged[:OTHERS_AT_ONCE],
        )
        measured, named, tagged = (
            measured[METRICS_AT_ONCE:],
            named[OTHERS_AT_ONCE:],
            tagged[OTHERS_AT_ONCE:],
        )


def _key(name: str) -> str:
    """Return a name that MLflow takes; one that is too long ends with a hash of the whole."""
    key = re.sub(r"[^\w\-. :/]", "_", name)
    if len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{key[: LONGEST_KEY - 9]}_{digest}"


def _part(text: str) -> str:
    """Return a text that can stand between slashes in a metric's name."""
    part = re.sub(r"[^\w\-. :]", "_", text).strip()
    return part if part.strip(".") else "_"


def _unused(name: str, used: set[str]) -> str:
    """Return ``name``, with a number where it was used before; remember it."""
    candidates = [name, *(f"{name}_{number}" for number in range(2, len(used) + 3))]
    free = next(each for each in candidates if each not in used)
    used.add(free)
    return free
