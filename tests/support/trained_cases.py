"""Shipped use cases, trained for real with few trials, and what each is served by.

California housing is read from a small table in the format of scikit-learn's cache, so that
nothing is fetched.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evergreen.data.conform import conform, model_frame
from evergreen.data.dataset import Dataset
from evergreen.data.infer import infer_contract
from evergreen.data.sources import read_source
from evergreen.data.splits import split_holdout
from evergreen.monitoring.profile import make_profile
from evergreen.promotion.bundle import Bundle, Figures, Origin, write_bundle
from evergreen.promotion.golden import PREDICTION, PROBABILITY, compare_columns, golden_inputs
from evergreen.provenance import environment
from evergreen.training.candidates import BASELINE, BY_NAME
from evergreen.training.evaluation import evaluate
from evergreen.training.predictions import predict
from evergreen.training.search import fit_candidate, search_candidates
from evergreen.use_case import load_use_case
from tests.support.housing import write_housing_cache

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# One candidate each, so that every way of writing a graph is among them.
CANDIDATES = {
    "wine": "random_forest",
    "iris": "logistic_regression",
    "breast_cancer": "xgboost",
    "diabetes": "lightgbm",
    "housing": "xgboost",
}
Rows = Sequence[Sequence[Any]]  # in contract order, as JSON has them
Answers = Mapping[str, Sequence[Any]]  # named as golden rows name them


def train(name: str, home: Path) -> Bundle:
    """Take a use case from its file to a bundle, as a training does."""
    candidate = CANDIDATES[name]
    use_case = load_use_case(
        CONFIGS / f"{name}.yaml",
        [f"training.candidates=[{candidate}]", "training.trials=2", "evaluation.bootstrap=100"],
    )
    how = {"features": use_case.features, "training": use_case.training, "split": use_case.split}
    raw = read_source(use_case.data.source)
    contract = infer_contract(raw, use_case)
    table = conform(raw, contract)
    table = table[table[contract.target].notna()].reset_index(drop=True)
    split = split_holdout(table, contract, use_case.split)
    rows, holdout = table.iloc[split.train], table.iloc[split.holdout]
    dataset = Dataset.write(rows, home / "train.parquet", str(use_case.data.source))

    search = search_candidates(dataset, contract, **how)
    assert search.best == candidate != BASELINE
    result = next(one for one in search.candidates if one.name == candidate)
    model = fit_candidate(dataset, contract, result, **how)

    found = predict(model, holdout, contract)
    metrics = evaluate(found, holdout, contract, use_case.evaluation, 1).metrics
    return write_bundle(
        home / "bundle",
        model=model,
        contract=contract,
        profile=make_profile(rows, contract, predict(model, rows, contract)),
        figures=Figures(metric=search.metric, rows=len(holdout), confidence=0.95, metrics=metrics),
        card=f"# {name}\n",
        inputs=model_frame(holdout, contract),
        origin=Origin(
            candidate=candidate,
            title=BY_NAME[candidate].title,
            params=result.params,
            training_key="key-1",
            data_fingerprint=dataset.fingerprint,
            data_source=dataset.source,
            rows=len(rows),
        ),
        environment=environment(),
    )


def natively(bundle: Bundle, folder: Path) -> Path:
    """Copy a bundle for the runtime that loads the scikit-learn pipeline."""
    shutil.copytree(bundle.folder, folder)
    manifest = folder / "manifest.json"
    changed = {**json.loads(manifest.read_text()), "runtime": "native", "runtime_reason": "a test"}
    manifest.write_text(json.dumps(changed))
    return folder


@dataclass
class Case:
    """A trained use case, its bundle for each runtime, and the servers that tests started of it."""

    name: str
    home: Path
    bundle: Bundle
    folders: dict[str, Path]
    _opened: dict[str, Any] = field(default_factory=dict)
    _stack: ExitStack = field(default_factory=ExitStack)

    @property
    def columns(self) -> list[str]:
        return [column.name for column in self.bundle.contract.features]

    @property
    def rows(self) -> list[list[Any]]:
        """The golden rows as JSON has them, with every digit."""
        inputs = golden_inputs(self.bundle.golden, self.bundle.contract)
        lists = inputs.astype(object).where(inputs.notna(), None).to_numpy().tolist()
        assert all(isinstance(value, float | str | None) for row in lists for value in row)
        return lists

    def records(self, rows: Rows) -> list[dict[str, Any]]:
        return [dict(zip(self.columns, row, strict=True)) for row in rows]

    def once(self, name: str, start: Callable[[Path], AbstractContextManager[Any]]) -> Any:
        """Return what ``start`` gives for a folder of its own, started at the first call."""
        if name not in self._opened:
            folder = self.home / name
            folder.mkdir()
            self._opened[name] = self._stack.enter_context(start(folder))
        return self._opened[name]

    def close(self) -> None:
        """End every server."""
        self._stack.close()


def trained_case(request: Any, tmp_path_factory: Any) -> Iterator[Case]:
    """Train the use case ``request.param``; make a fixture of it with the names in CANDIDATES."""
    home = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCIKIT_LEARN_DATA", str(home / "cache"))
        if request.param == "housing":
            write_housing_cache(home / "cache")
        bundle = train(request.param, home)
    folders = {"onnx": bundle.folder, "native": natively(bundle, home / "native")}
    case = Case(request.param, home, bundle, folders)
    yield case
    case.close()


def assert_golden(case: Case, found: Answers, *, labels_alone: bool = False) -> None:
    """Compare answers with the golden ones: within the tolerance, and labels without any."""
    golden = {name: case.bundle.golden[name].to_numpy() for name in case.bundle.golden}
    shares = [name for name in golden if name.startswith(PROBABILITY)]
    if case.bundle.contract.task == "classification":
        assert shares
        assert list(found[PREDICTION]) == golden[PREDICTION].tolist()
    if labels_alone:
        golden = {name: values for name, values in golden.items() if name not in shares}
    replay = compare_columns(
        golden, {name: np.asarray(values) for name, values in found.items()}, case.bundle.contract
    )
    assert replay.passed, replay.message
