"""What is sent to Seldon by ZenML's own client, with the kubernetes package that is here."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from uuid import uuid4

import pytest
from kubernetes.client import ApiClient, Configuration
from zenml.enums import StackComponentType
from zenml.integrations.seldon.flavors.seldon_model_deployer_flavor import (
    SeldonModelDeployerConfig,
)
from zenml.integrations.seldon.model_deployers import SeldonModelDeployer
from zenml.integrations.seldon.seldon_client import SeldonClient

from evergreen.deployment.seldon_manifest import seldon_deployment
from evergreen.deployment.settings import SeldonConfig
from evergreen.errors import InputError, UnreachableError
from evergreen.paths import Home
from steps.deployment.targets import seldon
from steps.deployment.targets.base import Place
from steps.deployment.targets.seldon import SeldonServer, WeightedDeployment, values_of
from tests.support.seldon_api import SeldonApi, seldon_api
from tests.support.use_cases import use_case

IMAGE = "registry.example.org/evergreen-serve:1.0"
REGISTRY = "http://mlflow.ml.svc:5000"


def case(**settings):
    chosen = {"image": IMAGE, "registry": REGISTRY, **settings}
    return use_case(deploy={"seldon": chosen, "timeout": "2s"})


@pytest.fixture
def api():
    with seldon_api() as found:
        yield found


@pytest.fixture
def target(api: SeldonApi, tmp_path, monkeypatch) -> SeldonServer:
    """A target by ZenML's component and client; its reports go nowhere."""
    now = datetime.now(UTC)
    component = SeldonModelDeployer(
        name="seldon",
        id=uuid4(),
        config=SeldonModelDeployerConfig(
            kubernetes_namespace="ml",
            base_url="http://127.0.0.1:9",
            secret=None,
            kubernetes_secret_name=None,
        ),
        flavor="seldon",
        type=StackComponentType.MODEL_DEPLOYER,
        user=None,
        created=now,
        updated=now,
    )
    configuration = Configuration(host=api.url)
    component._client = SeldonClient(None, "ml", ApiClient(configuration))
    monkeypatch.setattr(seldon, "NOTICING", 0.2)
    home = Home(tmp_path)
    folder = home.run_reports("shop", "run")
    folder.mkdir(parents=True)
    monkeypatch.setattr(seldon, "report_folder", lambda _: folder)
    monkeypatch.setattr(seldon, "keep_reports", lambda _: None)
    return SeldonServer(component, Place("shop", home))


def test_the_package_is_not_the_one_that_zenmls_integration_is_pinned_to():
    assert int(version("kubernetes").split(".")[0]) >= 25


@pytest.mark.parametrize("protocol", ["v2", "seldon"])
def test_zenmls_values_keep_weights_and_all_else(protocol):
    values = values_of(case(protocol=protocol), SeldonConfig(image=IMAGE), "ml", REGISTRY)
    manifest = seldon_deployment(values)
    sent = WeightedDeployment.model_validate(
        {**manifest, "spec": {"name": "shop", **manifest["spec"]}}
    ).model_dump(exclude_none=True)
    for before, after in zip(
        manifest["spec"]["predictors"], sent["spec"]["predictors"], strict=True
    ):
        assert before.items() <= {**after, "engineResources": {}}.items()


def test_where_an_operator_acts(target, api):
    assert target.status().condition == "absent"
    assert target.prepare(None, case(challenger=10)) == "it was not deployed"

    done = target.deploy(None, case(challenger=10))  # nobody acts on it yet
    assert done.after.condition == "rendered"
    stored = api.stored["shop"]
    assert stored["metadata"]["labels"]["app"] == "zenml"
    weights = [(one["name"], one["traffic"]) for one in stored["spec"]["predictors"]]
    assert weights == [("champion", 90), ("challenger", 10)]

    api.act("shop", state="Creating", conditions=[])
    assert target.status().condition == "starting"
    api.act("shop", state="Available")
    state = target.status()
    assert (state.condition, state.url) == ("running", "http://127.0.0.1:9/seldon/ml/shop")
    assert target.prepare(None, case(challenger=10)) is None
    assert target.prepare(None, case(challenger=20)) == "its settings changed"

    changed = target.deploy(None, case(challenger=20))
    assert changed.after.serves
    assert api.writes == ["create", "patch"]
    assert [one["traffic"] for one in api.stored["shop"]["spec"]["predictors"]] == [80, 20]

    assert target.remove()
    assert api.stored == {}
    assert not target.remove()


def test_what_seldon_cannot_start_is_taken_away_again(target, api):
    target.deploy(None, case())
    api.act("shop", state="Available")
    before = [one["traffic"] for one in api.stored["shop"]["spec"]["predictors"]]
    api.act("shop", state="Failed", description="no such image")
    with pytest.raises(UnreachableError, match="no such image"):
        target.deploy(None, case(challenger=30))
    assert [one["traffic"] for one in api.stored["shop"]["spec"]["predictors"]] == before


def test_what_served_before_comes_back_with_its_settings(target, api):
    first = target.deploy(None, case())
    api.act("shop", state="Available")
    before = api.stored["shop"]["spec"]
    done = target.deploy(None, case(challenger=30))
    assert api.stored["shop"]["spec"] != before

    assert target.restore(done).serves  # golden rows were not answered, for one
    assert api.stored["shop"]["spec"] == before
    assert target.prepare(None, case()) is None
    assert target.prepare(None, case(challenger=30)) == "its settings changed"

    assert target.restore(first).condition == "absent"
    assert api.stored == {}


def test_without_seldon_the_manifest_is_written_down(target, api):
    api.installed = False
    assert target.prepare(None, case()) == "Seldon is not installed"
    done = target.deploy(None, case())
    assert done.after.condition == "rendered"
    assert "not installed" in done.after.detail
    file = target.place.home.reports / "shop" / "run" / "seldon.yaml"
    assert "reports/shop/run/seldon.yaml" in done.after.detail
    assert f"image: {IMAGE}" in file.read_text()
    assert target.restore(done).condition == "absent"
    assert not target.remove()


def test_somebody_elses_is_left_alone(target, api):
    api.stored["shop"] = {"metadata": {"name": "shop", "labels": {"app": "theirs"}}}
    with pytest.raises(InputError, match="which is not ours"):
        target.prepare(None, case())
    assert not target.remove()
    assert "shop" in api.stored


def test_what_is_lacking_is_said(target):
    with pytest.raises(InputError, match=r"deploy\.seldon\.image"):
        target.prepare(None, use_case())
    with pytest.raises(InputError, match="use protocol seldon"):
        values_of(use_case(name="my_shop"), SeldonConfig(image=IMAGE), "ml", REGISTRY)
