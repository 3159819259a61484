"""Canaries on real servers, which run their controllers by themselves."""

from __future__ import annotations

import shutil
import time

import httpx
import pytest
from sklearn.ensemble import BaggingClassifier
from sklearn.neighbors import RadiusNeighborsClassifier
from sklearn.pipeline import Pipeline

from evergreen.config import EncodeConfig, FeaturesConfig
from evergreen.data.conform import model_frame, target_values
from evergreen.features import build_features
from evergreen.paths import Home
from evergreen.promotion.registration import CHALLENGER
from evergreen.promotion.settlement import settle
from evergreen.promotion.store import prepare_store
from evergreen.serving.traffic import CanaryConfig, TrafficConfig
from tests.support.models import small_contract, small_model, small_table, write_small_bundle
from tests.support.serving import BOAT, serving
from tests.support.stores import Store
from tests.support.verdicts import verdict

TRAFFIC = TrafficConfig(
    sticky=None,
    canary=CanaryConfig.model_validate({"steps": [30, 50], "hold": "1s", "min_rows": 40}),
)
PATIENCE = 240  # seconds, on a machine that does much else

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]


def fitted(estimator):
    """An estimator that no graph is made of: it serves natively, at scikit-learn's pace."""
    contract, frame = small_contract(), small_table(seed=1)
    features = build_features(contract, FeaturesConfig(encode=EncodeConfig()), scale=False, seed=1)
    model = Pipeline([("features", features), ("estimator", estimator)])
    return model.fit(model_frame(frame, contract), target_values(frame, contract))


def turned():
    """A model that answers otherwise than the champion: it learnt the labels in another order."""
    contract, frame = small_contract(), small_table(seed=1)
    others = {"calm": "gale", "gale": "storm", "storm": "calm"}
    frame["wind"] = frame["wind"].map(others)
    return small_model().fit(model_frame(frame, contract), target_values(frame, contract))


# The second finds no neighbour of an extreme mast, which is not among the golden rows.
CHALLENGERS = {
    "alike": lambda: small_model(seed=1),
    "fails": lambda: fitted(RadiusNeighborsClassifier(radius=400, algorithm="brute")),
    "slow": lambda: fitted(BaggingClassifier(small_model()[-1], n_estimators=60, random_state=1)),
    "shifted": turned,
}


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    home = Home(tmp_path_factory.mktemp("store"))
    return home, prepare_store(home, "boats")


@pytest.fixture(scope="module")
def champion(tmp_path_factory):
    return write_small_bundle(tmp_path_factory.mktemp("bundles") / "first", seed=1)


@pytest.fixture
def ramp(template, champion, tmp_path):
    """Serve the champion, and let a challenger ramp beside it."""
    original, experiment = template
    home = Home(tmp_path / "home")
    home.mlflow_database.parent.mkdir(parents=True)
    shutil.copy(original.mlflow_database, home.mlflow_database)
    log = home.database_url.removeprefix("sqlite:///")
    store = Store(home.mlflow_uri, experiment, log, home.locks)

    def start(kind):
        bundle = write_small_bundle(
            tmp_path / "bundle", seed=1, training_key="key-2", model=CHALLENGERS[kind]()
        )
        for judged, each in ((None, champion), ("1", bundle)):
            judgement = verdict(judged).model_copy(update={"approval": "canary"})
            settle(store.registry, each, judgement, run_id=store.run, who="ada", traffic=TRAFFIC)
        assert store.registry.traffic("boats").percent == 30
        return store.registry, serving(home.root, "--model", "boats", "--registry", store.uri)

    yield start
    store.registry.log.close()


def ask_until_it_ends(registry, server, boat):
    """Ask until no challenger is there and all is written; return the versions that answered."""
    versions = set()
    end = time.monotonic() + PATIENCE
    with httpx.Client(base_url=server.url, timeout=60) as client:
        while registry.aliased("boats", CHALLENGER) or registry.log.open_intents("boats"):
            assert time.monotonic() < end, registry.log.entries("boats")[0]
            for number in range(60):  # crews that one label belongs to
                answer = client.post("/predict", json={**boat, "crew": 3 + 3 * (number % 2)})
                assert answer.status_code == 200, answer.text
                versions.add(answer.json()["model_version"])
    return versions


def test_a_canary_is_promoted_step_by_step(ramp):
    registry, server = ramp("alike")
    with server as running:
        assert ask_until_it_ends(registry, running, BOAT) == {"1", "2"}
    assert registry.champion("boats").version == "2"
    newest, *_ = (e for e in registry.log.entries("boats") if e.action == "approved")
    assert newest.who == "canary"
    assert [e.action for e in registry.log.entries("boats")].count("stepped") == 1


@pytest.mark.parametrize(
    ("kind", "boat", "word"),
    [
        ("fails", {**BOAT, "mast / height": 20_000.0}, "failures"),
        ("slow", BOAT, "latency"),
        ("shifted", BOAT, "predictions"),
    ],
    ids=["fails", "slow", "shifted"],
)
def test_a_canary_goes_back_by_itself(ramp, kind, boat, word):
    registry, server = ramp(kind)
    with server as running:
        ask_until_it_ends(registry, running, boat)
        end = time.monotonic() + PATIENCE
        while httpx.get(f"{running.url}/model/info", timeout=60).json().get("traffic"):
            assert time.monotonic() < end
            time.sleep(0.2)
        answers = [httpx.post(f"{running.url}/predict", json=boat, timeout=60) for _ in range(10)]
        assert {answer.json()["model_version"] for answer in answers} == {"1"}
        assert "was sent back" in running.errors.read_text()
    assert registry.champion("boats").version == "1"
    newest = registry.log.entries("boats")[0]
    assert (newest.action, newest.who) == ("rejected", "canary")
    assert word in newest.note
