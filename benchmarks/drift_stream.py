"""Policies in a stream: 200 windows of 500 rows, the change at window 100, labels two late."""

from __future__ import annotations

import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
from drift_data import Model, Rows, batch, draw, reference
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from evergreen.monitoring.decision import Decision, PastWindow, WindowLoss, decide
from evergreen.monitoring.judge import judge_window
from evergreen.monitoring.settings import MonitoringConfig
from evergreen.monitoring.window import WindowCounter

WINDOWS, CHANGE, ROWS, LATE = 200, 100, 500, 2
SCENARIOS = ("concept", "concept_mild", "mean_0.5_5", "corr")
APART = timedelta(hours=6)


@dataclass
class Stream:
    """One stream's state and what became of it."""

    model: Model
    profile: object
    counter: WindowCounter
    version: int = 1
    rows: list[Rows] = field(default_factory=list)
    history: list[PastWindow] = field(default_factory=list)
    retrained: list[int] = field(default_factory=list)
    promoted: list[int] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)

    def branch(self) -> Stream:
        """Return a stream that goes on from here by itself."""
        lists = ("rows", "history", "retrained", "promoted", "accepted", "accuracy")
        return replace(self, **{name: list(getattr(self, name)) for name in lists})


class Outcome(NamedTuple):
    """The windows in which a stream retrained, promoted, accepted drift; its accuracies."""

    retrained: list[int]
    promoted: list[int]
    accepted: list[int]
    accuracy: list[float]


def run(seed: int, config: MonitoringConfig) -> dict[str, Stream]:
    """Play one stream for each scenario; they share the quiet windows before the change."""
    rng = np.random.default_rng([seed, 77])
    table, holdout = draw(rng, 5000), draw(rng, 1250)
    model = Model(table)
    profile = reference(table, model, holdout)
    quiet = Stream(model, profile, WindowCounter(profile))
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for step in range(CHANGE):
        turn(quiet, draw(rng, ROWS), start + step * APART, config)
    found = {}
    for scenario in SCENARIOS:
        rng = np.random.default_rng([seed, 78])
        stream = quiet.branch()
        for step in range(CHANGE, WINDOWS):
            turn(stream, draw(rng, ROWS, scenario), start + step * APART, config)
        found[scenario] = stream
    return found


def turn(stream: Stream, rows: Rows, at: datetime, config: MonitoringConfig) -> None:
    """Judge one window, decide, and do what was decided."""
    stream.rows.append(rows)
    stream.accuracy.append(stream.model.accuracy(rows))
    window = stream.counter.count([batch(rows, stream.model, labelled=False)])
    labelled = len(stream.rows) - 1 - LATE
    served = labelled >= 0 and (
        labelled == 0 or stream.history[labelled].version == str(stream.version)
    )
    if served:
        old = stream.counter.count([batch(stream.rows[labelled], stream.model)])
        loss = old.predictions.loss
        window = replace(window, predictions=replace(window.predictions, loss=loss))
        late = WindowLoss(rows=loss.rows, total=loss.total, squares=loss.squares)
        past = stream.history[labelled] if labelled < len(stream.history) else None
        if past is not None:
            stream.history[labelled] = past.model_copy(update={"loss": late})
    elif labelled >= 0:  # labels of the former version's windows: they count as rows alone
        past = stream.history[labelled]
        rows_only = past.loss.model_copy(update={"rows": ROWS})
        stream.history[labelled] = past.model_copy(update={"loss": rows_only})
    verdict = judge_window(stream.profile, window, config)
    stream.history.append(
        PastWindow(at=at, rows=ROWS, version=str(stream.version), families=verdict.families)
    )
    decision = decide(verdict, config, stream.history, at)
    update: dict[str, object] = {"action": decision.action, "training": decision.training}
    if decision.action == "retrain":
        update["outcome"] = retrain(stream, decision, config)
    stream.history[-1] = stream.history[-1].model_copy(update=update)


def retrain(stream: Stream, decision: Decision, config: MonitoringConfig) -> str:
    """Train on the chosen rows, judge on a quarter of them, and promote or refuse."""
    now = len(stream.rows) - 1
    stream.retrained.append(now)
    since = decision.training.since if decision.training else None
    known = range(now - LATE + 1)
    chosen = [p for p in known if since is None or stream.history[p].at > since]
    if since is None:
        chosen = chosen[-10:]
    pool = joined([stream.rows[place] for place in chosen])
    judged = np.arange(len(pool.truth)) % 4 == 3
    rest = taken(pool, judged)
    challenger = Model(taken(pool, ~judged))
    better = paired(losses(stream.model, rest), losses(challenger, rest))
    if not better:
        if decision.accept_when_refused:
            stream.accepted.append(now)
            newest = joined(stream.rows[-config.alarms :])
            old = stream.profile.comparison
            stream.profile = reference(newest, stream.model, newest)
            stream.profile = keep_promises(stream.profile, old)
            stream.counter = WindowCounter(stream.profile)
        return "refused"
    stream.promoted.append(now)
    stream.version += 1
    stream.model = challenger
    stream.profile = reference(taken(pool, ~judged), challenger, rest)
    stream.counter = WindowCounter(stream.profile)
    return "promoted"


def keep_promises(profile, old):
    """Keep the loss that was promised, as `comparison.accept_drift` does."""
    comparison = profile.comparison.model_copy(
        update={"loss": old.loss, "calibration": old.calibration}
    )
    return profile.model_copy(update={"comparison": comparison})


def losses(model: Model, rows: Rows) -> NDArray[np.float64]:
    """Return each row's Brier score."""
    wrong = 1 - model.probabilities(rows)[np.arange(len(rows.truth)), rows.truth]
    return 2 * wrong**2


def paired(champion: NDArray[np.float64], challenger: NDArray[np.float64]) -> bool:
    """Tell whether the challenger is better, one-sided at 5 %."""
    gain = champion - challenger
    return bool(gain.mean() > 1.645 * gain.std(ddof=1) / np.sqrt(len(gain)))


def joined(parts: list[Rows]) -> Rows:
    """Put rows below each other."""
    return Rows(
        np.concatenate([part.numbers for part in parts]),
        np.concatenate([part.levels for part in parts]),
        np.concatenate([part.truth for part in parts]),
    )


def taken(rows: Rows, which: NDArray[np.bool_]) -> Rows:
    """Return some of the rows."""
    return Rows(rows.numbers[which], rows.levels[which], rows.truth[which])


def outcomes(seed: int) -> dict[str, Outcome]:
    """Play one stream for each scenario; return what became of them."""
    with threadpool_limits(1):
        streams = run(seed, MonitoringConfig())
    return {
        name: Outcome(one.retrained, one.promoted, one.accepted, one.accuracy)
        for name, one in streams.items()
    }


def stream_table(repetitions: int, jobs: int, minutes: float, log: Path | None) -> str:
    """Return the table of the policy in streams; a log goes on where it ended."""
    found: dict[int, dict[str, Outcome]] = {}
    if log is not None and log.exists():
        kept = json.loads(log.read_text("utf-8"))
        found = {int(s): {n: Outcome(*o) for n, o in one.items()} for s, one in kept.items()}
    end = time.monotonic() + 60 * minutes
    with ProcessPoolExecutor(jobs) as pool:
        asked = {pool.submit(outcomes, s): s for s in range(repetitions) if s not in found}
        for future in as_completed(asked):
            found[asked[future]] = future.result()
            if log is not None:
                log.write_text(json.dumps(found), "utf-8")
            if time.monotonic() > end:
                pool.shutdown(cancel_futures=True)
                break
    return shown(list(found.values()))


def shown(streams: list[dict[str, Outcome]]) -> str:
    """Return what became of streams as Markdown."""
    lines = [
        f"200 windows of 500 rows, the change at window 100, labels two windows late, "
        f"{len(streams)} streams each.",
        "",
        "| scenario | false retrainings in 100 quiet windows | false promotions | acted on | "
        "windows until then | retrainings after | promotions after | references accepted | "
        "accuracy, last 50 windows |",
        "| --- |" + " ---: |" * 8,
    ]
    lines += [_row(name, [one[name] for one in streams]) for name in SCENARIOS]
    return "\n".join(lines)


def _row(scenario: str, streams: list[Outcome]) -> str:
    def mean(values: list[float]) -> float:
        return float(np.mean(values)) if values else float("nan")

    after = [[w for w in s.retrained if w >= CHANGE] for s in streams]
    delays = [found[0] - CHANGE for found in after if found]
    most = max(len([w for w in s.promoted if w >= CHANGE]) for s in streams)
    within = np.mean([bool(found) and found[0] - CHANGE <= 6 for found in after])
    cells = [
        scenario,
        f"{mean([sum(w < CHANGE for w in s.retrained) for s in streams]):.2f}",
        f"{mean([sum(w < CHANGE for w in s.promoted) for s in streams]):.2f}",
        f"{mean([bool(found) for found in after]):.2f} (within six: {within:.2f})",
        f"{mean(delays):.1f}",
        f"{mean([len(found) for found in after]):.1f}",
        f"{mean([sum(w >= CHANGE for w in s.promoted) for s in streams]):.1f} (at most {most})",
        f"{mean([sum(w >= CHANGE for w in s.accepted) for s in streams]):.1f}",
        f"{mean([float(np.mean(s.accuracy[-50:])) for s in streams]):.3f}",
    ]
    return f"| {' | '.join(cells)} |"
