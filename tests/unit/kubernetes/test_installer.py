"""What the installer decides before it asks a cluster, and what it says where none answers."""

from __future__ import annotations

import base64
import json

import pytest
import yaml

from deploy.kubernetes.install import main
from deploy.kubernetes.kubectl import images, render
from deploy.kubernetes.secrets_needed import KEYS, command_for, made, only_you_can_make
from evergreen.serving.keys import KeyRing
from tests.support.manifests import rendered, require_kubectl
from tests.support.postgres import free_port


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """Point kubectl at a port that nothing listens on."""
    require_kubectl()
    configuration = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "none", "cluster": {"server": f"http://127.0.0.1:{free_port()}"}},
        ],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": ""}}],
        "current-context": "none",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(configuration))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))


def referred() -> dict[str, set[str]]:
    """Return the secrets, and their keys, that the resources of all overlays refer to."""
    found: dict[str, set[str]] = {}

    def look(part) -> None:
        if isinstance(part, dict):
            reference = part.get("secretKeyRef") or part.get("credentials")
            if reference and not reference.get("optional"):
                found.setdefault(reference["name"], set()).add(reference["key"])
            if "secretName" in part:
                found.setdefault(part["secretName"], set())
            part = list(part.values())
        if isinstance(part, list):
            for inner in part:
                look(inner)

    look([*rendered("overlays/production"), *rendered("overlays/kind")])
    return found


def test_every_secret_that_is_referred_to_is_made_or_asked_for():
    asked = referred()
    assert set(asked) == {"postgres", "s3", "zenml", "api-keys", "metrics-key"}
    for name, keys in asked.items():
        assert keys <= set(KEYS[name]), name


def values(secret: dict) -> dict[str, str]:
    return {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}


def test_what_comes_along_gets_secrets_and_what_does_not_is_asked_for(tmp_path):
    along = made(rendered("overlays/kind"), set())
    assert {one["metadata"]["name"]: set(one["data"]) for one in along} == {
        name: set(keys) for name, keys in KEYS.items()
    }
    again = made(rendered("overlays/kind"), set())
    for one, other in zip(along, again, strict=True):
        assert values(one) != values(other), one["metadata"]["name"]

    found = {one["metadata"]["name"]: values(one) for one in along}
    (tmp_path / "keys.json").write_text(found["api-keys"]["keys.json"])
    ring = KeyRing(tmp_path / "keys.json")
    assert ring.find(found["metrics-key"]["api-key"]).scopes == ("admin",)
    assert ring.find(found["client-key"]["api-key"]).scopes == ("predict",)
    assert "eg_" not in json.dumps(found["api-keys"])

    yours = rendered("overlays/production")
    assert only_you_can_make(yours, set()) == ["postgres", "s3"]
    assert only_you_can_make(yours, {"s3"}) == ["postgres"]
    assert only_you_can_make(rendered("overlays/kind"), set()) == []
    names = {one["metadata"]["name"] for one in made(yours, set())}
    assert names == {"zenml", "api-keys", "metrics-key", "client-key"}
    assert made(yours, set(KEYS)) == []
    assert "create secret generic s3 --from-literal=endpoint=…" in command_for("s3")


def test_images_come_from_the_registry_that_is_named():
    found = images(render("kind", "ghcr.io/me", "1.0"))
    assert {image for image in found if "evergreen" in image} == {
        "ghcr.io/me/evergreen-serve:1.0",
        "ghcr.io/me/evergreen-train:1.0",
    }
    assert "docker.io/library/postgres:17.6" in found


def test_an_overlay_of_your_own(tmp_path):
    base = rendered("base")
    (tmp_path / "kustomization.yaml").write_text("resources: [all.yaml]\n")
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(base))
    assert len(render(str(tmp_path))) == len(base)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["install"], 2, "Where are the images evergreen-serve, evergreen-train?"),
        (["install", "--overlay", "nowhere"], 2, "there are kind, production, test"),
        (["install", "--registry", "r"], 3, "The cluster does not answer"),
        (["uninstall"], 3, "The cluster does not answer"),
        (["install", "--registry", "r", "--context", "other"], 2, "other"),
    ],
)
def test_mistakes_are_one_message(arguments, code, said, capsys):
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


def test_without_kubectl_it_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["install"]) == 2
    assert "kubectl is not on the PATH" in capsys.readouterr().err
