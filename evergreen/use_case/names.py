"""The names of candidates and metrics, checked against the registries that hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evergreen.use_case.document import Mistake
from evergreen.use_case.key_path import KeyPath
from evergreen.use_case.wording import did_you_mean, show_value


def name_mistakes(data: Mapping[str, Any]) -> list[Mistake]:
    """Find candidates and metrics that do not exist or do not suit the task.

    ``data`` is the plain data of a file, which may hold other mistakes still.
    """
    task = data.get("task")
    return [*_candidate_mistakes(data, task), *_metric_mistakes(data, task)]


def _candidate_mistakes(data: Mapping[str, Any], task: Any) -> Iterator[Mistake]:
    from evergreen.training.candidates import CANDIDATES

    candidates = _section(data, "training").get("candidates")
    names: Iterable[tuple[KeyPath, Any]] = ()
    if isinstance(candidates, Mapping):
        names = ((("training", "candidates", name), name) for name in candidates)
    elif isinstance(candidates, list):
        names = ((("training", "candidates", i), name) for i, name in enumerate(candidates))
    known = {candidate.name: candidate.tasks for candidate in CANDIDATES}
    yield from _unknown(names, known, "candidate", task)


def _metric_mistakes(data: Mapping[str, Any], task: Any) -> Iterator[Mistake]:
    from evergreen.training.metrics import METRICS

    training, gate = _section(data, "training"), _section(data, "gate")
    names: list[tuple[KeyPath, Any]] = []
    if training.get("metric") is not None:
        names.append((("training", "metric"), training["metric"]))
    thresholds = gate.get("thresholds")
    bounds = thresholds if isinstance(thresholds, Mapping) else {}
    names += [(("gate", "thresholds", name), name) for name in bounds]
    slices = gate.get("slices")
    for index, rule in enumerate(slices if isinstance(slices, list) else ()):
        if isinstance(rule, Mapping) and "metric" in rule:
            names.append((("gate", "slices", index, "metric"), rule["metric"]))
    known = {name: (metric.task,) for name, metric in METRICS.items()}
    yield from _unknown(names, known, "metric", task)


def _unknown(
    names: Iterable[tuple[KeyPath, Any]],
    known: Mapping[str, Iterable[str]],
    kind: str,
    task: Any,
) -> Iterator[Mistake]:
    suitable = [name for name, tasks in known.items() if task in tasks] or list(known)
    for path, name in names:
        if not isinstance(name, str):
            continue  # the type is wrong, which is another mistake
        allowed = f"Allowed: {', '.join(suitable)}"
        if name not in known:
            hint = did_you_mean(name, suitable) or "."
            yield Mistake(path, f"unknown {kind} {show_value(name)}{hint} {allowed}")
        elif name not in suitable:
            yield Mistake(path, f"{show_value(name)} is no {kind} for {task}. {allowed}")


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = data.get(name)
    return section if isinstance(section, Mapping) else {}
