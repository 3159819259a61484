"""Golden rows over the servers' own protocols: columns of every type, both tasks, real servers."""

from __future__ import annotations

import pytest

from evergreen.deployment.agreement import check, compare_servers
from evergreen.deployment.servers import (
    GoldenRows,
    api_health,
    ask_api,
    ask_mlflow,
    ask_open_inference,
    mlflow_answers,
    swap_failure,
)
from evergreen.errors import RefusedError, UnreachableError
from tests.support.mlflow_servers import scoring_server
from tests.support.models import write_small_bundle
from tests.support.postgres import free_port
from tests.support.served import serving


@pytest.fixture(scope="module", params=["classification", "regression"])
def servers(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    bundle = write_small_bundle(folder / "bundle", request.param)
    other = write_small_bundle(folder / "other", request.param, "baseline")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    golden = GoldenRows.read(bundle.folder, bundle.contract)
    foreign = GoldenRows.read(other.folder, other.contract)
    with (
        serving(bundle.folder, folder) as api,
        scoring_server(bundle.folder, elsewhere) as mlflow,
    ):
        yield api, mlflow, golden, foreign


def test_both_give_the_golden_answers_and_agree(servers):
    api, mlflow, golden, _ = servers
    answers = {
        "API": ask_api(api, golden),
        "Open Inference": ask_open_inference(api, golden.contract.use_case, golden),
        "MLflow": ask_mlflow(mlflow, golden),
    }
    for title, found in answers.items():
        assert check(title, api, golden, found, "1", "1").passed
    replays = compare_servers({k: v.columns for k, v in answers.items()}, golden).values()
    assert [replay.passed for replay in replays] == [True] * 3


def test_another_models_golden_rows_do_not_come_out(servers):
    api, mlflow, _, foreign = servers
    assert not check("API", api, foreign, ask_api(api, foreign), "1", "1").passed
    found = ask_open_inference(api, foreign.contract.use_case, foreign)
    assert not check("Open Inference", api, foreign, found, "1", "1").passed
    if foreign.contract.task == "regression":  # labels may coincide
        assert not check("MLflow", mlflow, foreign, ask_mlflow(mlflow, foreign), "1", "1").passed


def test_health_is_told(servers):
    api, mlflow, golden, _ = servers
    health = api_health(api)
    assert health is not None
    assert health.model == golden.contract.use_case
    assert swap_failure(api) is None
    assert mlflow_answers(mlflow)
    assert api_health(mlflow) is None


def test_a_server_of_something_else_is_refused(servers):
    api, mlflow, golden, _ = servers
    with pytest.raises(RefusedError, match="404"):
        ask_api(mlflow, golden)
    foreign = GoldenRows(
        golden.contract.model_copy(update={"columns": golden.contract.columns[1:3]}), golden.columns
    )
    with pytest.raises(RefusedError, match=api):
        ask_api(api, foreign)


def test_nobody_there(servers):
    *_, golden, _ = servers
    url = f"http://127.0.0.1:{free_port()}"
    assert api_health(url) is None
    assert not mlflow_answers(url)
    assert swap_failure(url) is None
    for ask in (ask_api, ask_mlflow):
        with pytest.raises(UnreachableError, match=url):
            ask(url, golden)
