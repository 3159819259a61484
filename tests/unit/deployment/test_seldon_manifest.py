"""SeldonDeployments: what is rendered, and what is refused because Seldon would not take it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from evergreen.deployment.seldon_manifest import (
    SeldonArm,
    SeldonValues,
    component_name,
    seldon_deployment,
    to_yaml,
)
from evergreen.serving.settings import ServingConfig

ROOT = Path(__file__).resolve().parents[3]
BASE = {
    "name": "wine",
    "model": "wine",
    "image": "registry.example.org/evergreen-serve:1.0",
    "registry": "http://mlflow.ml.svc:5000",
}
CANARY = (
    SeldonArm(name="champion", alias="champion", traffic=90, replicas=2),
    SeldonArm(name="challenger", alias="challenger", traffic=10),
)


def values(**more) -> SeldonValues:
    return SeldonValues.model_validate({**BASE, **more})


def container_of(predictor: dict) -> dict:
    return predictor["componentSpecs"][0]["spec"]["containers"][0]


def test_the_serving_image_speaks_protocol_v2_to_its_pod_alone():
    manifest = seldon_deployment(values())
    assert manifest["spec"]["protocol"] == "v2"
    (predictor,) = manifest["spec"]["predictors"]
    container = container_of(predictor)
    assert predictor["graph"] == {"name": "wine", "type": "MODEL"}
    assert container["name"] == "wine"  # Seldon asks /v2/models/wine
    assert container["args"] == [
        *("--model", "wine", "--alias", "champion"),
        *("--registry", "http://mlflow.ml.svc:5000"),
    ]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables == {"EVERGREEN_SERVING_HOST": "127.0.0.1", "EVERGREEN_SERVING_PORT": "9000"}
    assert container["ports"] == [{"name": "http", "containerPort": 9000}]


def test_the_arguments_are_those_of_the_server():
    arguments = container_of(seldon_deployment(values())["spec"]["predictors"][0])["args"]
    done = subprocess.run(
        [sys.executable, "-m", "evergreen.serving", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [option for option in arguments[::2] if option not in done.stdout] == []


def test_the_wrapper_gets_seldons_parameters():
    settings = ServingConfig.model_validate({"log": {"url": "postgresql://a:${PASSWORD}@db/log"}})
    rendered = seldon_deployment(
        values(protocol="seldon", serving=settings, secret="wine-secrets", model="breast_cancer")
    )
    (predictor,) = rendered["spec"]["predictors"]
    container = container_of(predictor)
    assert predictor["graph"]["name"] == container["name"] == "breast-cancer"
    assert predictor["graph"]["parameters"] == [
        {"name": "model_uri", "type": "STRING", "value": "models:/breast_cancer@champion"}
    ]
    variables = {one["name"]: one["value"] for one in container["env"]}
    assert variables["MLFLOW_TRACKING_URI"] == "http://mlflow.ml.svc:5000"
    assert container["envFrom"] == [{"secretRef": {"name": "wine-secrets"}}]
    # What Kubernetes makes of $$( is $(, which the server resolves itself.
    given = variables["EVERGREEN_SERVING_SETTINGS"].replace("$$(", "$(")
    assert "$(" in given
    assert ServingConfig.model_validate(json.loads(given)) == settings


def test_a_canary_s_weights_are_the_predictors_traffic():
    predictors = seldon_deployment(values(arms=CANARY))["spec"]["predictors"]
    assert [(one["name"], one["traffic"], one["replicas"]) for one in predictors] == [
        ("champion", 90, 2),
        ("challenger", 10, 1),
    ]
    assert "challenger" in container_of(predictors[1])["args"]


def test_a_shadow_has_no_traffic_of_its_own():
    arms = (*values().arms, SeldonArm(name="shadow", version="7", shadow=True))
    champion, shadow = seldon_deployment(values(arms=arms))["spec"]["predictors"]
    assert champion["traffic"] == 100
    assert "shadow" not in champion
    assert shadow["shadow"] is True
    assert "traffic" not in shadow
    assert container_of(shadow)["args"][2:4] == ["--version", "7"]


@pytest.mark.parametrize("protocol", ["v2", "seldon"])
def test_pods_have_no_rights_and_limited_memory(protocol):
    for predictor in seldon_deployment(values(protocol=protocol, arms=CANARY))["spec"][
        "predictors"
    ]:
        pod = predictor["componentSpecs"][0]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["limits"]["memory"] == "512Mi"
        assert {one["name"] for one in container["volumeMounts"]} == {
            one["name"] for one in pod["volumes"]
        }
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"arms": CANARY[:1]}, "must add up to 100"),
        ({"arms": ()}, "must add up to 100"),
        ({"arms": (SeldonArm(name="a", alias="b", shadow=True),)}, "must add up to 100"),
        ({"arms": (CANARY[0], {**CANARY[1].model_dump(), "name": "champion"})}, "the same name"),
        ({"arms": ({"name": "a"},)}, "either an alias or a version"),
        ({"arms": ({"name": "a", "alias": "b", "version": "1"},)}, "either an alias or a version"),
        ({"model": "breast_cancer"}, "use protocol seldon"),
        ({"serving": {"missing": "flag"}}, "wrapper image alone"),
        ({"name": "Wine_1"}, "name"),
        ({"registry": "sqlite:///mlflow.db"}, "registry"),
        ({"memory": "much"}, "memory"),
        ({"replica": 1}, "replica"),
    ],
)
def test_what_seldon_would_not_take_is_refused(more, said):
    with pytest.raises(ValidationError, match=said):
        values(**more)


@pytest.mark.parametrize(
    ("model", "name"), [("wine", "wine"), ("breast_cancer", "breast-cancer"), ("__", "model")]
)
def test_component_names_are_labels(model, name):
    assert component_name(model) == name


@pytest.mark.parametrize("protocol", ["v2", "seldon"])
def test_yaml_reads_back_as_the_same(protocol):
    manifest = seldon_deployment(values(protocol=protocol, arms=CANARY))
    assert YAML(typ="safe").load(to_yaml(manifest)) == manifest


@pytest.mark.parametrize(
    ("file", "more"),
    [
        ("deployment.yaml", {"arms": CANARY}),
        (
            "deployment-wrapper.yaml",
            {
                "protocol": "seldon",
                "image": "registry.example.org/evergreen-seldon:1.0",
                "secret": "wine-secrets",
                "serving": {"log": {"url": "postgresql://evergreen:${DB_PASSWORD}@db/evergreen"}},
            },
        ),
    ],
)
def test_the_examples_are_what_is_rendered(file, more):
    example = (ROOT / "deploy" / "seldon" / file).read_text(encoding="utf-8")
    assert example == to_yaml(seldon_deployment(values(**more)))
