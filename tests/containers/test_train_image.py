"""The training image trains by itself, as a user without rights."""

from __future__ import annotations

import json

import pytest

from tests.support.containers import run_to_end

pytestmark = pytest.mark.timeout(2400)  # the first test builds the image


def test_it_trains_the_wine_model(train_image):
    quick = ("--set", "training.trials=2", "--set", "training.candidates=[logistic_regression]")
    done = run_to_end(
        train_image,
        *("python", "run.py", "--pipeline", "train", "--json", *quick),
        options=("--cap-drop", "all", "--security-opt", "no-new-privileges"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["version"] == "1"
    assert found["metrics"]["accuracy"]["estimate"] > 0.9


def test_its_default_is_training_and_its_user_has_no_rights(train_image):
    done = run_to_end(train_image, "id", "-u")
    assert done.stdout.strip() == "10001"
    code = "import importlib.util as u; print([u.find_spec(n) for n in ('pip', 'pytest')])"
    done = run_to_end(train_image, "python", "-c", code)
    assert done.stdout.strip() == "[None, None]"
    assert run_to_end(train_image, "sh", "-c", "command -v gcc").stdout == ""


def test_it_holds_all_that_its_packages_import(train_image):
    """What monitoring and explaining load only when they are used must be there, too."""
    code = "import evidently, shap, optuna, matplotlib.pyplot, lightgbm, xgboost, onnxruntime"
    done = run_to_end(train_image, "python", "-c", code)
    assert done.returncode == 0, done.stderr
