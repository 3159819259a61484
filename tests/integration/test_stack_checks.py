"""What `python -m stacks apply stacks/kubernetes.yaml` finds missing, and what it does not."""

from __future__ import annotations

import sys
from contextlib import suppress

import pytest
from kubernetes import config as kubeconfig
from zenml.client import Client

from evergreen.errors import InputError, UnreachableError
from evergreen.paths import DATABASE_VARIABLE
from stacks.image_registry import digest_of
from stacks.reachability import find_lacks, require_reachable
from stacks.spec import read_stack
from tests.support.command_line import ROOT, Home
from tests.support.mlflow_servers import tracking_server
from tests.support.postgres import free_port
from tests.support.s3 import running_s3
from tests.support.web_server import Reply, serving
from tests.support.zenml_server import running_zenml

pytestmark = pytest.mark.timeout(900)  # four servers, and ZenML's database is made anew

FILE = ROOT / "stacks" / "kubernetes.yaml"
LACKS = ("ZenML server", "Kubernetes cluster", "S3 bucket", "registry", "MLflow", "Database")
CLUSTER = """\
apiVersion: v1
kind: Config
clusters: [{name: gone, cluster: {server: "http://127.0.0.1:%d"}}]
users: [{name: ada, user: {token: none}}]
contexts: [{name: gone, context: {cluster: gone, user: ada}}]
current-context: gone
"""


@pytest.fixture(scope="module")
def servers(postgres, tmp_path_factory):
    """The environment of a stack file whose S3, MLflow, registry and database are there."""
    folder = tmp_path_factory.mktemp("servers")
    with (
        running_s3(folder) as s3,
        tracking_server(folder) as (mlflow, _),
        serving(lambda _: Reply("{}")) as registry,
    ):
        yield {
            **s3.environment(),
            "EVERGREEN_S3_PATH": f"{s3.make_bucket('evergreen')}/store",
            "MLFLOW_TRACKING_URI": mlflow,
            "EVERGREEN_REGISTRY": registry.url.removeprefix("http://"),
            DATABASE_VARIABLE: postgres.url,
            "KUBERNETES_CONTEXT": "gone",
        }


@pytest.fixture
def no_cluster(tmp_path, monkeypatch):
    path = tmp_path / "kubeconfig"
    path.write_text(CLUSTER % free_port(), encoding="utf-8")
    # The client reads the variable once, when it is imported.
    monkeypatch.setattr(kubeconfig.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))


def found(lacks: list[str]) -> list[str]:
    """Return which of the kinds of lacks there are, in the order above."""
    return [kind for kind in LACKS if any(kind in lack for lack in lacks)]


def test_what_answers_is_not_called_missing(servers, no_cluster):
    lacks = list(find_lacks(read_stack(FILE, servers)))
    assert found(lacks) == ["ZenML server", "Kubernetes cluster"], lacks
    assert len(set(lacks)) == 2
    assert "zenml login" in lacks[0]
    assert "does not answer" in lacks[1]


def test_with_a_server_nothing_but_the_cluster_is_missing(servers, tmp_path):
    kubeconfig_file = tmp_path / "kubeconfig"
    kubeconfig_file.write_text(CLUSTER % free_port(), encoding="utf-8")
    home = Home(tmp_path / "home")
    with running_zenml(tmp_path) as zenml:
        environment = servers | zenml.environment() | {"KUBECONFIG": str(kubeconfig_file)}
        apply = (sys.executable, "-m", "stacks", "apply", str(FILE))
        done = home.command(*apply, **environment).check(3, str(FILE), "One thing is missing")
        assert found(done.err.splitlines()) == ["Kubernetes cluster"], done.err
        # Nothing was registered: there is as much to do as before.
        planned = home.command(*apply, "--dry-run", **environment).check().out
    assert "+ stack 'kubernetes'" in planned
    assert "+ orchestrator 'evergreen'" in planned
    assert "~ secret 'evergreen-database': EVERGREEN_DATABASE_URL -> ***" in planned


def test_each_thing_that_is_missing_has_its_own_line(servers, no_cluster):
    dead = f"127.0.0.1:{free_port()}"
    environment = servers | {
        "EVERGREEN_S3_PATH": "s3://elsewhere",
        "MLFLOW_TRACKING_URI": f"http://{dead}",
        "EVERGREEN_REGISTRY": dead,
        DATABASE_VARIABLE: f"postgresql://ada:hush@{dead}/evergreen",
    }
    with pytest.raises(UnreachableError) as raised:
        require_reachable(read_stack(FILE, environment))
    message = str(raised.value)
    lines = message.splitlines()
    assert found(lines) == list(LACKS), message
    assert len(lines) == 1 + len(LACKS), message
    assert "hush" not in message
    assert any("'elsewhere'" in line and "none of that name" in line for line in lines)


def test_a_key_that_neither_the_environment_nor_zenml_has(servers, no_cluster):
    for name in ("evergreen-s3", "evergreen-tables"):
        with suppress(KeyError):  # another test of this process may have kept it
            Client().delete_secret(name)
    environment = {key: servers[key] for key in servers if key != "AWS_SECRET_ACCESS_KEY"}
    lacks = list(find_lacks(read_stack(FILE, environment)))
    assert "set AWS_SECRET_ACCESS_KEY" in lacks[0]
    # Without its keys, nothing can be said of the bucket.
    assert found(lacks) == ["ZenML server", "Kubernetes cluster"], lacks
    Client().create_secret("evergreen-s3", {"aws_secret_access_key": "kept"})
    Client().create_secret("evergreen-tables", {"AWS_SECRET_ACCESS_KEY": "kept"})
    assert not any("Secret" in lack for lack in find_lacks(read_stack(FILE, environment)))


def test_a_context_that_is_not_in_the_kubeconfig(servers, no_cluster):
    lacks = list(find_lacks(read_stack(FILE, servers | {"KUBERNETES_CONTEXT": "moon"})))
    assert any("'moon'" in lack and "KUBECONFIG" in lack for lack in lacks), lacks


def test_an_address_that_is_not_set_is_named_before_anything_else(servers):
    with pytest.raises(InputError, match="EVERGREEN_REGISTRY"):
        read_stack(FILE, {key: servers[key] for key in servers if key != "EVERGREEN_REGISTRY"})


def test_the_local_stack_needs_nothing():
    assert not list(find_lacks(read_stack(ROOT / "stacks" / "local.yaml")))


def test_a_registry_that_wants_a_token_gets_one():
    def answer(request) -> Reply:
        if request.path == "/token":
            return Reply('{"token": "t0"}', 200 if "authorization" in request.headers else 401)
        if request.headers.get("authorization") != "Bearer t0":
            challenge = f'Bearer realm="{server.url}/token",service="r",scope="repository:a:pull"'
            return Reply(status=401, headers={"WWW-Authenticate": challenge})
        if "here" in request.path:
            return Reply(headers={"Docker-Content-Digest": "sha256:1"})
        return Reply(status=404)

    with serving(answer) as server:
        host = server.url.removeprefix("http://")
        assert digest_of(f"{host}/a:here", ("ada", "hush")) == "sha256:1"
        assert digest_of(f"{host}/a:gone", ("ada", "hush")) is None
        with pytest.raises(UnreachableError, match="does not let us in"):
            digest_of(f"{host}/a:here")
