"""Letting a model predict, and keeping what it said."""

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from evergreen.data.conform import conform, model_frame
from evergreen.data.contract import Column, Contract
from evergreen.data.dataset import Dataset
from evergreen.data.infer import infer_contract
from evergreen.errors import InputError, RefusedError
from evergreen.training import predictions
from evergreen.training.candidates import CANDIDATES
from evergreen.training.metrics import METRICS, score
from evergreen.training.predictions import (
    Predictions,
    arms_from_frame,
    arms_to_frame,
    predict,
)
from tests.support.engines import chosen, fitted, sales, tried


def column(name, kind, role="feature"):
    return Column(name=name, type=kind, role=role, nullable=True)


def contract(
    labels=("no", "yes"), positive="yes", task="classification", group=False, names=("x",)
):
    target_type = "number" if task == "regression" else "category"
    columns = [*(column(name, "number") for name in names), column("y", target_type, "target")]
    if group:
        columns.append(column("who", "category", "group"))
    return Contract(
        use_case="test",
        task=task,
        target="y",
        labels=labels,
        positive=positive,
        columns=tuple(columns),
    )


class FixedModel:
    """Gives what it was told to give, and keeps what it was asked."""

    def __init__(self, predicted, probabilities=None, classes=None):
        self.predicted, self.probabilities = predicted, probabilities
        if classes is not None:
            self.classes_ = np.array(classes)
            self.predict_proba = lambda inputs: np.array(self.probabilities)

    def predict(self, inputs):
        self.inputs = inputs
        return np.array(self.predicted)


FRAME = pd.DataFrame({"x": [1.0, 2.0, 3.0], "y": ["yes", "no", "yes"]})


def test_probabilities_come_in_the_contracts_order():
    model = FixedModel(["yes", "no", "no"], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], ["yes", "no"])
    p = predict(model, FRAME, contract())
    assert p.labels == ("no", "yes")
    assert p.probabilities[:, 1].tolist() == [0.9, 0.2, 0.4]
    assert p.actual.tolist() == ["yes", "no", "yes"]
    assert score(METRICS["accuracy"], p) == pytest.approx(2 / 3)
    assert model.inputs.columns.tolist() == ["x"]


def test_a_label_that_the_model_never_saw_gets_no_probability():
    model = FixedModel(["a", "b", "b"], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], ["a", "b"])
    frame = FRAME.assign(y=["a", "b", "c"])
    p = predict(model, frame, contract(("a", "b", "c"), None))
    assert p.probabilities[:, 2].tolist() == [0, 0, 0]
    assert score(METRICS["log_loss"], p) > 10


def test_a_label_that_only_the_model_knows_counts_as_wrong():
    model = FixedModel(["old", "no", "yes"], [[0.1, 0.8, 0.1]] * 3, ["no", "old", "yes"])
    p = predict(model, FRAME, contract())
    assert score(METRICS["accuracy"], p) == pytest.approx(2 / 3)
    assert p.probabilities.tolist() == [[0.1, 0.1]] * 3


def test_a_model_without_probabilities_has_none():
    p = predict(FixedModel(["yes", "no", "no"]), FRAME, contract())
    assert p.probabilities is None
    assert score(METRICS["log_loss"], p) is None


def test_regression():
    numbers = contract(None, None, "regression")
    frame = FRAME.assign(y=[1.0, 2.0, 3.0])
    p = predict(FixedModel([[1.0], [2.0], [4.0]]), frame, numbers)
    assert p.labels is None
    assert p.predicted.tolist() == [1, 2, 4]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_missing_or_infinite_number_is_refused(bad):
    frame = FRAME.assign(y=[1.0, 2.0, 3.0])
    with pytest.raises(RefusedError, match=r"1 of 3 rows \(the first at position 1\)"):
        predict(FixedModel([1.0, bad, 3.0]), frame, contract(None, None, "regression"))


@pytest.mark.parametrize("target", ["kind", "truth", "price"])
def test_parts_on_several_threads_say_what_the_whole_model_says(target, monkeypatch, tmp_path):
    table = sales(400)
    use_case = tried(target)
    told = infer_contract(table, use_case)
    frame = conform(table, told)
    train = Dataset.write(frame, tmp_path / "train.parquet", "rows")
    inputs = model_frame(frame, told)
    monkeypatch.setattr(predictions, "_PART", 64)
    for candidate in CANDIDATES:
        if told.task not in candidate.tasks:
            continue
        (model,) = fitted([train], told, use_case, chosen(candidate.name))
        found = predict(model, frame, told, threads=2)
        if told.labels is None:
            np.testing.assert_allclose(found.predicted, model.predict(inputs), rtol=1e-12)
        else:
            assert found.predicted.tolist() == model.predict(inputs).tolist()
            columns = [model.classes_.tolist().index(label) for label in told.labels]
            given = model.predict_proba(inputs)[:, columns]
            np.testing.assert_allclose(found.probabilities, given, rtol=1e-12)


def test_a_baseline_needs_no_features(monkeypatch):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]})
    model = Pipeline([("features", FunctionTransformer()), ("estimator", DummyRegressor())])
    model.fit(frame, [1.0, 2.0, 6.0])
    monkeypatch.setattr(FunctionTransformer, "transform", None)
    found, probabilities = predictions._said(model, frame)
    assert (found.tolist(), probabilities) == ([3.0, 3.0, 3.0], None)


def test_a_missing_label_or_probability_is_refused():
    with pytest.raises(RefusedError, match="no usable prediction for 1 of 3"):
        predict(FixedModel(np.array(["yes", None, "no"], object)), FRAME, contract())
    model = FixedModel(["yes"] * 3, [[0.5, 0.5], [np.nan, 1], [0, np.nan]], ["no", "yes"])
    with pytest.raises(RefusedError, match="no usable prediction for 2 of 3"):
        predict(model, FRAME, contract())


def test_rows_without_a_target_are_refused():
    with pytest.raises(InputError, match="no usable target"):
        predict(FixedModel(["yes"] * 3), FRAME.assign(y=["yes", None, "no"]), contract())


def test_an_older_champion_sees_the_columns_of_its_own_contract():
    model = FixedModel(["yes"] * 3, [[0.5, 0.5]] * 3, ["no", "yes"])
    frame = FRAME.assign(z=[7.0, 8.0, 9.0])
    predict(model, frame, contract(), model_contract=contract(names=("z", "x")))
    assert model.inputs.columns.tolist() == ["z", "x"]
    with pytest.raises(InputError, match="'gone'"):
        predict(model, frame, contract(), model_contract=contract(names=("gone",)))


def test_groups_are_coded_and_a_row_without_one_is_alone():
    frame = pd.DataFrame({"x": [1.0] * 5, "y": ["no"] * 5, "who": ["a", None, "b", "a", None]})
    codes = predict(FixedModel(["no"] * 5), frame, contract(group=True)).groups
    assert codes[0] == codes[3]
    assert len(set(codes)) == 4


@pytest.mark.parametrize("labels", [("no", "yes"), (0, 1), (False, True), (1.5, 2.5)])
@pytest.mark.parametrize("group", [False, True])
def test_arms_survive_a_frame(labels, group, tmp_path):
    actual = np.array([labels[0], labels[1], labels[1]], dtype=object)
    groups = np.array([0, 1, 1]) if group else None
    probabilities = np.array([[0.3, 0.7], [0.4, 0.6], [0.8, 0.2]])
    arms = {
        "challenger": Predictions(actual, actual[::-1], probabilities, labels, labels[1], groups),
        "baseline": Predictions(actual, actual, None, labels, labels[1], groups),
    }
    arms_to_frame(arms).to_parquet(tmp_path / "arms.parquet")
    back = arms_from_frame(pd.read_parquet(tmp_path / "arms.parquet"), contract(labels, labels[1]))
    assert list(back) == ["challenger", "baseline"]
    for name, arm in arms.items():
        assert back[name].actual.tolist() == arm.actual.tolist()
        assert [type(value) for value in back[name].predicted] == [type(v) for v in arm.predicted]
        assert back[name].predicted.tolist() == arm.predicted.tolist()
        assert (back[name].groups is None) == (not group)
    assert back["challenger"].probabilities.tolist() == probabilities.tolist()
    assert back["baseline"].probabilities is None


def test_regression_arms_survive_a_frame():
    arms = {"challenger": Predictions(np.array([1.5, 2.0]), np.array([1.0, 2.5]))}
    back = arms_from_frame(arms_to_frame(arms), contract(None, None, "regression"))
    assert back["challenger"].predicted.tolist() == [1.0, 2.5]


def test_a_label_unknown_to_the_contract_stays_wrong_in_a_frame():
    actual = np.array(["no", "yes"], dtype=object)
    arms = {"champion": Predictions(actual, np.array(["no", "old"], object), None, ("no", "yes"))}
    back = arms_from_frame(arms_to_frame(arms), contract())
    assert score(METRICS["accuracy"], back["champion"]) == 0.5


def test_arms_of_other_rows_are_refused():
    one = Predictions(np.array([1.0]), np.array([1.0]))
    two = Predictions(np.array([2.0]), np.array([1.0]))
    with pytest.raises(ValueError, match="'b' has other actual values"):
        arms_to_frame({"a": one, "b": two})


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="2 actual values, 1 predicted"):
        Predictions(np.zeros(2), np.zeros(1))
    with pytest.raises(ValueError, match="shape"):
        Predictions(np.zeros(2), np.zeros(2), np.zeros((2, 3)), (0, 1), 1)
