"""Training from a real PostgreSQL by the command line; the password stays out of every record."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from tests.support.command_line import Home


@pytest.fixture
def config(postgres, tmp_path) -> Path:
    """A use case whose table lies in the database, with the password in the environment."""
    random = np.random.default_rng(5)
    size = random.normal(size=120)
    noise = random.normal(size=120)
    table = pd.DataFrame(
        {"size": size, "weight": noise, "sold": np.where(size + noise > 0, "yes", "no")}
    )
    engine = sa.create_engine(postgres.url)
    table.to_sql("sales", engine, if_exists="replace", index=False)
    engine.dispose()
    url = postgres.url.replace(postgres.password, "${SHOP_PASSWORD}")
    path = tmp_path / "shop.yaml"
    path.write_text(
        f"""\
task: classification
data:
  source: {{type: sql, url: '{url}', table: sales}}
  target: sold
training:
  candidates: [decision_tree]
  trials: 1
""",
        encoding="utf-8",
    )
    return path


def test_the_password_is_kept_nowhere(config, postgres, tmp_path):
    home = Home(tmp_path / "home")
    done = home.run(
        *("--pipeline", "train", "--config", str(config), "--json"),
        SHOP_PASSWORD=postgres.password,
    )
    assert done.code in (0, 1), done.err
    secret = postgres.password.encode()
    kept = [path for path in home.folder.rglob("*") if path.is_file()]
    assert len(kept) > 50
    assert [path for path in kept if secret in path.read_bytes()] == []
    assert postgres.password not in done.out + done.err


def test_a_wrong_password(config, tmp_path):
    home = Home(tmp_path / "home")
    arguments = ("--pipeline", "train", "--config", str(config))
    done = home.run(*arguments, SHOP_PASSWORD="not-the-word").check(3, "password", "127.0.0.1")
    assert "not-the-word" not in done.out + done.err


def test_a_password_that_is_not_set(config, tmp_path):
    home = Home(tmp_path / "home")
    home.run("--pipeline", "train", "--config", str(config)).check(2, "SHOP_PASSWORD")
