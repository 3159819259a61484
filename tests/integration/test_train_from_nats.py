"""Training from a real NATS stream by the command line; the password stays out of every record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evergreen.data.sources.kept_rows import read_manifest
from tests.support.command_line import Home
from tests.support.nats_server import PASSWORD, VARIABLES, running_nats


def _sales(rows: int, seed: int) -> list[dict]:
    random = np.random.default_rng(seed)
    size, weight = random.normal(size=(2, rows))
    return [
        {"box": {"size": a, "weight": b}, "sold": "yes" if a + b > 0 else "no"}
        for a, b in zip(size, weight, strict=True)
    ]


@pytest.fixture
def shop(tmp_path):
    """A server with a stream of sales."""
    with running_nats(tmp_path) as server:
        server.make("SALES")
        server.publish("SALES", _sales(120, seed=5))
        yield server


@pytest.fixture
def config(shop, tmp_path) -> Path:
    path = tmp_path / "shop.yaml"
    path.write_text(
        f"""\
task: classification
data: {{source: '{shop.url("SALES")}', target: sold}}
training: {{candidates: [decision_tree], trials: 1}}
""",
        encoding="utf-8",
    )
    return path


@pytest.mark.long
def test_each_training_sees_what_came_meanwhile(shop, config, tmp_path):
    home = Home(tmp_path / "home")
    arguments = ("--pipeline", "train", "--config", str(config), "--json")
    plan = home.run(*arguments, "--plan", **VARIABLES).check(0)
    assert json.loads(plan.out)["size"]["rows"] == 120
    assert not (home.state / "streams").exists()

    for rows in (120, 170):
        done = home.run(*arguments, **VARIABLES)
        assert done.code in (0, 1), done.err
        assert read_manifest(home.state / "streams" / "shop").rows == rows
        shop.publish("SALES", _sales(50, seed=rows))

    secret = PASSWORD.encode()
    kept = [path for path in home.folder.rglob("*") if path.is_file()]
    assert len(kept) > 50
    assert [path for path in kept if secret in path.read_bytes()] == []
    assert PASSWORD not in done.out + done.err
