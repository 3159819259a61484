"""What a training will take, said beforehand, and held against what it took."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evergreen.config import UseCase
from evergreen.costs import Meter, StageCost, peak_memory
from evergreen.data import size as sizes
from evergreen.data.engine import Engine
from evergreen.training import plan as planning
from evergreen.training.plan import compare, plan_stages, plan_training

EXTERNAL = Engine(name="external", reason="the test says so")
GIGABYTE = 10**9


def use_case(source: str = "x.csv", **training: object) -> UseCase:
    return UseCase.model_validate(
        {
            "name": "planned",
            "task": "regression",
            "data": {"source": source, "target": "y"},
            "training": training,
        }
    )


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "table.parquet"
    pd.DataFrame(np.zeros((5_000, 3)), columns=["a", "b", "y"]).to_parquet(path)
    return str(path)


def test_rows_and_bytes_are_those_of_the_table(table):
    plan = plan_training(use_case(table))
    assert plan.size is not None
    assert (plan.size.rows, plan.size.columns, plan.size.bytes) == (5_000, 3, 5_000 * 3 * 8)
    assert plan.engine.name == "memory"
    assert plan.seconds == pytest.approx(sum(stage.seconds for stage in plan.stages))
    assert plan.memory == max(stage.memory for stage in plan.stages)
    by_name = {stage.stage: stage for stage in plan.stages}
    assert by_name["Load"].rows == 5_000
    assert by_name["Fit the challenger"].rows == 4_000
    assert by_name["Evaluate on the holdout"].rows == 1_000


def test_it_names_the_engine_that_a_run_would_take(table, monkeypatch):
    monkeypatch.setattr(planning, "memory_limit", lambda: 100_000)
    plan = plan_training(use_case(table))
    assert plan.engine.name == "external"
    assert "more than 10%" in plan.engine.reason
    assert plan.memory > plan.memory_limit
    assert plan_training(use_case(table, engine="memory")).engine.name == "memory"


def test_the_table_is_looked_at_once(table, monkeypatch):
    opened = []

    def open_and_note(source, *more, **settings):
        opened.append(source)
        return open_stream(source, *more, **settings)

    open_stream = sizes.open_stream
    monkeypatch.setattr(sizes, "open_stream", open_and_note)
    plan_training(use_case(table))
    assert len(opened) == 1


def test_a_source_that_does_not_tell_its_size_is_not_planned():
    plan = plan_training(use_case("http://localhost:1/rows.csv"))
    assert plan.size is None
    assert plan.stages == ()


def test_on_disk_memory_grows_with_rows_and_not_with_the_table():
    rows = 20_000_000
    in_memory, on_disk = (
        max(stage.memory for stage in plan_stages(rows, 30, rows * 240, engine, use_case()))
        for engine in (Engine(), EXTERNAL)
    )
    assert in_memory > 2 * rows * 240
    assert on_disk < rows * 240


def test_more_rows_trials_and_candidates_take_longer():
    def seconds(rows: int, **training: object) -> float:
        case = use_case(**training)
        return sum(each.seconds for each in plan_stages(rows, 30, rows * 240, Engine(), case))

    assert seconds(1_000_000) == pytest.approx(2 * seconds(500_000))
    one = ["xgboost"]
    assert seconds(10_000, candidates=one) < seconds(10_000, candidates=[*one, "lightgbm"])
    assert seconds(10_000, candidates=one, trials=2) < seconds(10_000, candidates=one, trials=4)
    limited = seconds(10_000_000, candidates=one, timeout="10s")
    assert limited < seconds(10_000_000, candidates=one)


@pytest.mark.parametrize("engine", [Engine(), EXTERNAL])
def test_linear_models_alone_are_fitted_sooner(engine):
    def stages(*candidates: str) -> dict[str, planning.StagePlan]:
        case = use_case(candidates=list(candidates))
        return {each.stage: each for each in plan_stages(10**7, 30, 240 * 10**7, engine, case)}

    linear, both, trees = stages("ridge"), stages("ridge", "xgboost"), stages("xgboost")
    fit, search = "Fit the challenger", "Search the candidates"
    assert 0 < linear[fit].seconds < trees[fit].seconds == both[fit].seconds
    assert 0 < linear[search].seconds < trees[search].seconds < both[search].seconds


def test_preprocessing_on_disk_looks_at_few_rows_together():
    case = use_case()
    small, large = (
        {each.stage: each for each in plan_stages(rows, 30, rows * 240, EXTERNAL, case)}
        for rows in (10**6, 10**8)
    )
    fit, load = "Fit the challenger", "Load"
    extra = [each[fit].memory - each[load].memory for each in (small, large)]
    assert extra[0] == extra[1] < 10**6 * 240


def test_stages_are_measured_from_one_to_the_next():
    meter = Meter()
    meter.begin("Load csv x.csv")
    block = np.ones(4_000_000)
    meter.begin("Check the data")
    (load,) = meter.costs()
    assert load.stage == "Load csv x.csv"
    assert load.seconds > 0
    assert load.peak_bytes is not None
    assert block.nbytes < load.peak_bytes <= (peak_memory() or 0)


def test_each_planned_stage_meets_what_it_took():
    plan = plan_stages(1_000, 3, 24_000, Engine(), use_case())
    costs = (
        StageCost(stage="Load csv x.csv", seconds=2.0, peak_bytes=GIGABYTE),
        StageCost(stage="Look up the champion", seconds=1.0, peak_bytes=None),
        StageCost(stage="Fit the challenger", seconds=3.0, peak_bytes=2 * GIGABYTE),
    )
    met = {each.plan.stage: each.fact for each in compare(plan, costs)}
    assert met["Load"] == costs[0]
    assert met["Fit the challenger"] == costs[2]
    assert met["Check the data"] is None


def test_workers_of_this_machine_take_their_memory():
    rows = 20_000_000
    dask = Engine(name="dask", reason="the test says so")

    def fit(engine: Engine, **cluster: object) -> int:
        case = use_case(dask=cluster)
        stages = plan_stages(rows, 30, rows * 240, engine, case)
        return next(each.memory for each in stages if each.stage == "Fit the challenger")

    elsewhere = fit(dask, scheduler="tcp://scheduler:8786")
    assert elsewhere == fit(EXTERNAL)
    two, four = fit(dask, workers=2), fit(dask, workers=4)
    assert two > elsewhere + 8 * 0.8 * rows * 30
    assert two < four < 2 * two


def test_the_plan_of_a_cluster_does_not_ask_for_it(table):
    plan = plan_training(use_case(table, engine="dask", dask={"scheduler": "tcp://127.0.0.1:1"}))
    assert plan.engine.name == "dask"
    assert "training.engine is dask" in plan.engine.reason
    by_name = {stage.stage: stage for stage in plan.stages}
    assert by_name["Fit the challenger"].rows == 4_000


@pytest.mark.parametrize("name", ["memory", "external", "dask"])
def test_a_million_rows_at_most_are_judged_and_profiled(name):
    rows = 20_000_000
    case = use_case(dask={"workers": 2})
    stages = plan_stages(rows, 30, rows * 240, Engine(name=name), case)
    by_name = {stage.stage: stage.rows for stage in stages}
    assert by_name["Evaluate on the holdout"] == by_name["Assemble the bundle"] == 1_000_000
