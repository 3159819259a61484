from __future__ import annotations

import pickle

import numpy as np
import pytest
import skops.io
from sklearn.base import clone
from sklearn.utils.class_weight import compute_sample_weight
from xgboost import XGBClassifier

from evergreen.training.xgboost_adapter import LabelledXGBClassifier

LABELS = {
    "text": np.array(["zinc", "amber", "mint"], dtype=object),
    "integers": np.array([7, 3, 5]),
    "two": np.array(["no", "yes"], dtype=object),
    "truth": np.array([True, False]),
}


def rows(labels, seed=0):
    rng = np.random.default_rng(seed)
    codes = np.arange(120) % len(labels)
    return rng.normal(size=(120, 3)) + codes[:, None], labels[codes]


@pytest.mark.parametrize("kind", sorted(LABELS))
def test_agrees_with_xgboost_on_codes(kind):
    X, y = rows(LABELS[kind])
    ours = LabelledXGBClassifier(n_estimators=20, class_weight="balanced", n_jobs=1).fit(X, y)
    classes, codes = np.unique(y, return_inverse=True)
    plain = XGBClassifier(n_estimators=20, n_jobs=1)
    plain.fit(X, codes, sample_weight=compute_sample_weight("balanced", codes))
    assert (ours.classes_ == classes).all()
    assert (ours.predict(X) == classes[plain.predict(X)]).all()
    assert (ours.predict_proba(X) == plain.predict_proba(X)).all()
    assert ours.predict(X).dtype == y.dtype


def test_early_stopping_takes_labels_and_a_second_fit_starts_anew():
    X, y = rows(LABELS["text"])
    model = LabelledXGBClassifier(n_estimators=300, early_stopping_rounds=3, n_jobs=1)
    model.fit(X[::2], y[::2], eval_set=[(X[1::2], y[1::2])], verbose=False)
    assert model.best_iteration < 299
    fresh = LabelledXGBClassifier(n_estimators=5, n_jobs=1)
    assert list(fresh.fit(X, y).fit(*rows(LABELS["integers"])).classes_) == [3, 5, 7]


def test_survives_clone_pickle_and_skops():
    X, y = rows(LABELS["text"])
    model = LabelledXGBClassifier(n_estimators=5, class_weight="balanced", max_depth=2, n_jobs=1)
    assert clone(model).get_params() == model.get_params()
    model.fit(X, y)
    dumped = skops.io.dumps(model)
    trusted = skops.io.get_untrusted_types(data=dumped)
    for copy in (pickle.loads(pickle.dumps(model)), skops.io.loads(dumped, trusted=trusted)):
        assert (copy.predict(X) == model.predict(X)).all()
        assert (copy.predict_proba(X) == model.predict_proba(X)).all()
