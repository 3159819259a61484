"""A trained model answers its golden rows alike wherever it is asked: offline and by every door."""

from __future__ import annotations

import pytest

from evergreen.promotion.golden import PREDICTION, PROBABILITY
from tests.support.trained_cases import CANDIDATES, assert_golden, trained_case
from tests.support.ways_of_serving import WAYS

CASES = [
    name if name == "wine" else pytest.param(name, marks=pytest.mark.long) for name in CANDIDATES
]
case = pytest.fixture(scope="module", params=CASES)(trained_case)


def test_the_golden_rows_can_tell_models_apart(case):
    assert case.bundle.manifest.runtime == "onnx", case.bundle.manifest.runtime_reason
    golden = case.bundle.golden
    assert len(golden) >= 25
    least = len(case.bundle.contract.labels or range(10))
    assert golden[PREDICTION].nunique() >= least


def test_other_answers_do_not_agree(case):
    golden = case.bundle.golden
    if case.bundle.contract.task == "regression":
        moved = {PREDICTION: golden[PREDICTION] + 1e-5 * golden[PREDICTION].abs().max()}
    else:
        moved = {PREDICTION: golden[PREDICTION].to_numpy()[::-1]}
        shares = {name: golden[name] + 1e-5 for name in golden if name.startswith(PROBABILITY)}
        with pytest.raises(AssertionError):
            assert_golden(case, {PREDICTION: golden[PREDICTION], **shares})
    with pytest.raises(AssertionError):
        assert_golden(case, moved, labels_alone=True)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_every_way_of_serving_gives_the_golden_answers(case, way):
    assert_golden(case, way.ask(case, case.rows), labels_alone=way.labels_alone)
