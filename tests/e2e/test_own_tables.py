"""Tables of the user's own: a CSV file with everything that files have, and a cached one."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tests.support.housing import write_housing_cache

TEN_LINES = """\
name: bakery
task: classification
data:
  source: sales.csv
  target: sold out
training:
  candidates: [logistic_regression]
  trials: 1
gate:
  thresholds: {accuracy: 0.8}
"""

PREDICT = """
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/bakery@champion")
rows = pandas.read_csv(sys.argv[2], parse_dates=["baked on"], dayfirst=True)
rows["warm"] = rows["warm"] == "yes"
rows = rows.astype({"warm": float, "pieces": float})  # as the model's signature says
print(json.dumps([str(label) for label in model.predict(rows)]))
"""


def sales(rows: int = 240) -> pd.DataFrame:
    """Mixed types, missing values, a date, and column names with blanks and a slash."""
    random = np.random.default_rng(5)
    price = random.uniform(1, 9, rows).round(2)
    warm = random.random(rows) < 0.5
    kind = random.choice(["rye", "wheat", "spelt, sweet"], rows)
    score = 5 - price + 2 * warm + (kind == "rye")
    frame = pd.DataFrame(
        {
            "price / piece": price,
            "baked on": pd.date_range("2026-01-01", periods=rows, freq="D").strftime("%d.%m.%Y"),
            "kind of bread": kind,
            "warm": np.where(warm, "yes", "no"),
            "pieces": random.integers(1, 40, rows),
            "note": "",
            "sold out": np.where(score + random.normal(0, 0.3, rows) > 0, "yes", "no"),
        }
    )
    frame.loc[::7, "price / piece"] = math.nan
    frame.loc[3::11, "kind of bread"] = None
    frame.loc[::2, "note"] = "n/a"
    return frame.drop(columns="note")


def test_ten_lines_of_yaml_train_a_csv_file(home, tmp_path):
    assert len(TEN_LINES.splitlines()) == 10
    table = sales()
    table.to_csv(tmp_path / "sales.csv", index=False, sep=";", decimal=",")
    config = tmp_path / "bakery.yaml"
    config.write_text(TEN_LINES, encoding="utf-8")
    trained = home.run("--pipeline", "train", "--config", str(config), "--json").check().json
    assert (trained["status"], trained["version"]) == ("promoted", "1")
    report = Path(trained["reports"]["data"]).read_text(encoding="utf-8")
    assert "price / piece" in report

    fresh = table.drop(columns="sold out").head(30)
    fresh.to_csv(tmp_path / "fresh.csv", index=False)
    done = home.command(
        sys.executable, "-c", PREDICT, trained["mlflow_uri"], str(tmp_path / "fresh.csv")
    )
    labels = json.loads(done.check().out.splitlines()[-1])
    right = np.mean(np.array(labels) == table["sold out"].head(30))
    assert right > 0.8


def test_housing_trains_from_scikit_learns_cache(home, tmp_path):
    write_housing_cache(tmp_path / "cache")
    options = ("--set", "training.candidates=[ridge]", "--set", "training.trials=1", "--json")
    trained = home.run(
        *("--pipeline", "train", "--config", "configs/housing.yaml", *options),
        SCIKIT_LEARN_DATA=str(tmp_path / "cache"),
    )
    found = trained.check().json
    assert (found["status"], found["task"], found["rows"]) == ("promoted", "regression", 1500)
    assert found["metrics"]["r2"]["estimate"] > 0.7


def test_housing_without_cache_and_network(shared_home, tmp_path):
    nowhere = "http://127.0.0.1:9"  # nobody listens there
    proxies = dict.fromkeys(("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY"), nowhere)
    done = shared_home.run(
        *("--pipeline", "train", "--config", "configs/housing.yaml"),
        SCIKIT_LEARN_DATA=str(tmp_path / "cache"),
        NO_PROXY="",
        no_proxy="",
        **proxies,
    )
    done.check(3, str(tmp_path / "cache" / "cal_housing_py3.pkz"), "SCIKIT_LEARN_DATA")
