"""Waiting for the first champion, beside a real registry."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from evergreen.errors import InputError
from evergreen.paths import Home
from evergreen.promotion.promotion_log import PromotionLog
from evergreen.promotion.registry import Registry
from evergreen.promotion.store import prepare_store
from evergreen.serving.options import ServerOptions
from evergreen.serving.wait_for_model import main, wait
from tests.support.models import write_small_bundle
from tests.support.postgres import free_port

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "wine.yaml"


def test_it_waits_for_a_model_then_for_its_alias_and_says_so(tmp_path):
    home = Home(tmp_path)
    experiment = prepare_store(home, "boats")
    registry = Registry(home.mlflow_uri, PromotionLog(home.database_url), home.locks)
    said: list[str] = []
    new = threading.Condition()

    def say(text: str) -> None:
        with new:
            said.append(text)
            new.notify_all()

    def until(count: int) -> None:
        with new:
            assert new.wait_for(lambda: len(said) >= count, 60)

    options = ServerOptions(model="boats", registry=home.mlflow_uri, home=home)
    waiting = threading.Thread(target=wait, args=(options, say, 0.01))
    waiting.start()
    until(1)
    run = registry.client.create_run(experiment).info.run_id
    registry.register("boats", write_small_bundle(tmp_path / "bundle"), run)
    until(2)
    assert waiting.is_alive()
    registry.client.set_registered_model_alias("boats", "champion", "1")
    waiting.join(60)
    assert not waiting.is_alive()
    assert "Waiting for a model: " in said[0]
    assert "which is empty" in said[0]
    assert "No version of 'boats' is 'champion' yet" in said[-1]
    assert main(["--config", str(CONFIG), "--model", "boats", "--registry", home.mlflow_uri]) == 0


def test_a_registry_that_does_not_answer_is_waited_for_and_a_wrong_address_is_not():
    class EnoughError(Exception):
        pass

    def say(text: str) -> None:
        raise EnoughError(text)

    registry = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(EnoughError, match=f"Waiting for the registry: .*{registry}"):
        wait(ServerOptions(model="boats", registry=registry), say)
    with pytest.raises(InputError, match="no address"):
        wait(ServerOptions(model="boats", registry="ftp://nowhere"), say)
    assert main(["--model", "boats", "--registry", "ftp://nowhere"]) == 2
