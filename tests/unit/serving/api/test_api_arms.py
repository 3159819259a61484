"""Champion and challenger behind one API: who answers, what is logged, and what a failure does."""

from __future__ import annotations

import json
import re
import threading
import time

import pytest
import sqlalchemy as sa

from evergreen.errors import InputError
from evergreen.serving.api.arm_metrics import ArmMetrics
from evergreen.serving.api.shadow import Answered, Shadow
from tests.support.arms import challenge, plan_of
from tests.support.contract_api import ROW
from tests.support.models import write_small_bundle

OTHER = {**ROW, "mast / height": 3.5, "crew": 2}
V2 = {
    "inputs": [
        {"name": name, "shape": [1], "datatype": kind, "data": [ROW[name]]}
        for name, kind in {
            "mast / height": "FP64",
            "crew": "FP64",
            "licensed": "BOOL",
            "harbour": "BYTES",
            "built": "BYTES",
        }.items()
    ]
}


@pytest.fixture(scope="session")
def second_bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles") / "second"
    write_small_bundle(folder, candidate="logistic_regression", training_key="key-2")
    return folder


@pytest.fixture
def split(api_of, class_bundle, second_bundle):
    """Return what makes an API with a plan in force."""

    def make(plan, **settings):
        api = api_of(class_bundle, **settings)
        return api, challenge(api, second_bundle, plan)

    return make


def callers(api, count=40, path="/predict", content=ROW):
    """Ask as many callers, and return the version that answered each."""
    found = {}
    for number in range(count):
        answer = api.post(path, content, headers={"x-client-id": f"c{number}"})
        assert answer.status_code == 200, answer.text
        found[number] = answer.headers["x-model-version"]
    return found


def logged(api, arm):
    return [row for row in api.rows_logged() if row["arm"] == arm]


def awaited(api, arm, count):
    end = time.monotonic() + 20
    while len(found := logged(api, arm)) < count:
        assert time.monotonic() < end, found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("mode", ["split", "canary"])
def test_each_caller_gets_its_arm_and_the_log_says_so(split, mode):
    api, _ = split(plan_of(mode))
    versions = callers(api)
    assert set(versions.values()) == {"3", "4"}
    assert callers(api) == versions
    assert all(row["version"] == "4" for row in logged(api, "challenger"))
    assert all(row["version"] == "3" for row in logged(api, "champion"))
    assert len(logged(api, "challenger")) == 2 * list(versions.values()).count("4")


def test_all_ways_of_asking_take_part(split):
    api, _ = split(plan_of())
    versions = callers(api)
    assert callers(api, path="/predict/batch", content=[ROW, OTHER]) == versions
    assert callers(api, path="/invocations", content={"instances": [ROW]}) == versions
    assert callers(api, path="/v2/models/boats/infer", content=V2) == versions
    for number in (0, 1, 2, 3):
        answer = api.post("/explain", ROW, headers={"x-client-id": f"c{number}"})
        assert answer.json()["model_version"] == versions[number]
    bodies = [
        api.post("/predict", ROW, headers={"x-client-id": f"c{number}"}).json() for number in (0, 1)
    ]
    assert [body["model_version"] for body in bodies] == [versions[0], versions[1]]


def test_the_answer_is_that_of_the_arm(split, api_of, second_bundle):
    api, _ = split(plan_of(percent=100))
    alone = api_of(second_bundle, version="4")
    expected, found = (one.post("/predict", OTHER).json() for one in (alone, api))
    assert found.pop("request_id") != expected.pop("request_id")
    assert found == expected


def test_a_field_keeps_a_caller(split):
    api, _ = split(plan_of(sticky="field:crew"))
    versions = {}
    for crew in range(1, 13):
        row = {**ROW, "crew": crew}
        seen = {
            api.post("/predict", row).headers["x-model-version"],
            api.post("/predict", {"features": list(row.values())}).headers["x-model-version"],
            api.post("/predict/batch", [row, OTHER]).headers["x-model-version"],
            api.post("/invocations", {"instances": [row]}).headers["x-model-version"],
        }
        assert len(seen) == 1
        versions[crew] = seen.pop()
    assert set(versions.values()) == {"3", "4"}


def test_a_version_that_the_path_names_answers(split):
    api, challenger = split(plan_of(percent=0))
    path = "/v2/models/boats/versions/{}/infer"
    for version, arm in (("3", "champion"), ("4", "challenger")):
        assert api.post(path.format(version), V2).json()["model_version"] == version
        assert len(logged(api, arm)) == 1
    assert api.get("/v2/models/boats").json()["versions"] == ["3", "4"]
    missing = api.post(path.format(5), V2)
    assert (missing.status_code, "3 and 4 is" in missing.text) == (404, True)
    challenger.how = "raises"
    assert api.post(path.format(4), V2).status_code == 500  # nobody else may answer for it


@pytest.mark.parametrize("how", ["raises", "not finite"])
def test_where_the_challenger_fails_the_champion_answers(split, how, caplog):
    api, challenger = split(plan_of(percent=100))
    challenger.how = how
    for path, content in (
        ("/predict", ROW),
        ("/predict/batch", [ROW, OTHER]),
        ("/invocations", {"instances": [ROW]}),
        ("/v2/models/boats/infer", V2),
        ("/explain", ROW),
    ):
        answer = api.post(path, content)
        assert answer.status_code == 200
        assert answer.headers["x-model-version"] == "3"
        assert "challenger_failed" not in answer.text
    assert not logged(api, "challenger")
    rows = logged(api, "champion")
    assert len(rows) == 5
    assert all(json.loads(row["flags"]) == ["challenger_failed"] for row in rows)
    text = api.get("/metrics").text
    assert 'evergreen_arm_errors_total{arm="challenger",version="4"} 6.0' in text
    assert 'evergreen_arm_predictions_total{arm="champion",version="3"} 5.0' in text
    assert caplog.text.count("Version 4 of 'boats', a challenger, failed") == 1


def test_a_request_that_nobody_can_answer_is_a_problem(split):
    api, challenger = split(plan_of(percent=100))
    challenger.how = "raises"
    assert api.post("/predict", {**ROW, "crew": 99}).status_code == 422  # broke the contract
    assert challenger.asked == []
    assert api.rows_logged() == []


def without_ids(answer):
    """Return status, head and body, byte by byte, but for what names the request."""
    head = b"\n".join(b"%b: %b" % header for header in answer.headers.raw)
    return answer.status_code, re.sub(rb"[0-9a-f]{20}", b"ID", head + b"\n\n" + answer.content)


def test_a_shadow_never_leaks_into_an_answer(split, api_of, class_bundle):
    shadowed, challenger = split(plan_of("shadow"))
    plain = api_of(class_bundle)
    requests = [
        ("/predict", ROW),
        ("/predict", OTHER),
        ("/predict/batch", [ROW, OTHER]),
        ("/invocations", {"instances": [ROW]}),
        ("/v2/models/boats/infer", V2),
        ("/predict", {**ROW, "crew": 99}),
    ]
    for path, content in requests:
        with_it, without_it = (api.post(path, content) for api in (shadowed, plain))
        assert without_ids(with_it) == without_ids(without_it)
    rows = awaited(shadowed, "shadow", 6)
    assert {row["version"] for row in rows} == {"4"}
    champion = {
        (row["request_id"], row["request_row"]): row for row in logged(shadowed, "champion")
    }
    assert len(champion) == len(rows) == 6
    for row in rows:
        beside = champion[row["request_id"], row["request_row"]]
        assert json.loads(row["inputs"]) == json.loads(beside["inputs"])
        assert row["latency_ms"] > 0
    assert any(
        row["probabilities"] != champion[row["request_id"], row["request_row"]]["probabilities"]
        for row in rows
    )
    missing = shadowed.post("/v2/models/boats/versions/4/infer", V2)
    assert missing.status_code == 404  # its answers are not for anybody
    challenger.how = "raises"
    answer = shadowed.post("/predict", ROW)
    assert (answer.status_code, answer.json()["flags"]) == (200, [])


def test_feedback_reaches_the_shadows_row(split):
    api, _ = split(plan_of("shadow"))
    request_id = api.post("/predict", ROW).json()["request_id"]
    assert api.post("/feedback", {"request_id": request_id, "label": "calm"}).status_code == 202
    awaited(api, "shadow", 1)
    assert len(api.rows_logged("feedback")) == 1
    engine = sa.create_engine(api.url)
    with engine.connect() as connection:
        joined = connection.execute(
            sa.text(
                "SELECT arm, label FROM predictions JOIN feedback USING (request_id, request_row) "
                "ORDER BY arm"
            )
        ).all()
    engine.dispose()
    assert [tuple(row) for row in joined] == [("champion", '"calm"'), ("shadow", '"calm"')]


def test_a_shadow_that_cannot_keep_up_drops_and_delays_nobody(api_of, class_bundle, second_bundle):
    api = api_of(class_bundle)
    released, entered = threading.Event(), threading.Event()
    runtime = challenge(api, second_bundle, plan_of("shadow"))
    served, predict = api.holder.arms.challenger, runtime.predict

    def slowly(batch):
        entered.set()
        assert released.wait(30)
        return predict(batch)

    runtime.predict = slowly
    from prometheus_client import CollectorRegistry

    metrics = ArmMetrics(api.holder, CollectorRegistry())
    shadow = Shadow(api.log, metrics, waiting_rows=3)
    api.post("/predict", ROW)
    inputs = api.runtime.asked[-1]
    for number in range(6):
        shadow.offer(Answered(served, f"waiting-{number}", None, inputs, {}, 1))
    assert entered.wait(30)
    assert metrics.dropped._value.get() == 3
    released.set()
    rows = {row["request_id"] for row in awaited(api, "shadow", 4)}
    assert {name for name in rows if name.startswith("waiting")} == {
        "waiting-0",
        "waiting-1",
        "waiting-2",
    }
    shadow.close()
    shadow.offer(Answered(served, "late", None, inputs, {}, 1))
    assert metrics.dropped._value.get() == 4


def test_what_is_in_force_is_shown(split):
    api, _ = split(plan_of(percent=10))
    info = api.get("/model/info").json()
    assert [(one["arm"], one["version"], one["percent"]) for one in info["arms"]] == [
        ("champion", "3", 90),
        ("challenger", "4", 10),
    ]
    assert (info["traffic"]["mode"], info["traffic"]["who"]) == ("split", "ada")
    callers(api, 10)
    text = api.get("/metrics").text
    assert "evergreen_traffic_percent 10.0" in text
    assert "evergreen_challenger_failing 0.0" in text
    assert 'evergreen_arm_latency_seconds_count{arm="champion"}' in text
    api.holder.undirect()
    assert [one["arm"] for one in api.get("/model/info").json()["arms"]] == ["champion"]
    assert "evergreen_traffic_percent 0.0" in api.get("/metrics").text


def test_health_mentions_a_refused_challenger(api):
    assert api.get("/health").json()["status"] == "ok"
    api.holder.refuse_challenger("4", "damaged: /secret/place")
    health = api.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert health.json()["problems"] == [
        "the challenger 4 gets no traffic; the champion answers everything"
    ]
    assert api.get("/model/info").json()["challenger_failure"]["version"] == "4"
    assert "evergreen_challenger_failing 1.0" in api.get("/metrics").text


def test_without_a_plan_no_arm_is_counted(api):
    assert api.post("/predict", ROW).headers["x-model-version"] == "3"
    assert "evergreen_arm_predictions_total{" not in api.get("/metrics").text


def test_a_challenger_that_clients_cannot_use_is_refused(api, number_bundle, second_bundle):
    from evergreen.serving.runtime import load_runtime

    with pytest.raises(InputError, match="does regression"):
        api.holder.offer(load_runtime(number_bundle), "4")
    challenge(api, second_bundle, plan_of())
    assert api.holder.arms.challenger.version == "4"
    offered = api.holder.arms.challenger
    api.holder.swap(load_runtime(second_bundle), "4", "champion")  # it was promoted
    assert (api.holder.current.version, api.holder.arms.challenger) == ("4", None)
    assert api.holder.direct(offered, plan_of())
    assert not api.holder.direct(offered, plan_of())  # nothing new


def test_the_challenger_goes_on_beside_another_champion(api, class_bundle, second_bundle):
    from evergreen.serving.runtime import load_runtime

    challenge(api, second_bundle, plan_of())
    api.holder.swap(load_runtime(class_bundle), "5", "champion")
    arms = api.holder.arms
    assert (arms.champion.version, arms.challenger.version, arms.percent) == ("5", "4", 50)
