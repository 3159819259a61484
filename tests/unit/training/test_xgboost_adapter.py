from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
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


@pytest.mark.parametrize("labels", [("no", "yes"), (3, 7), (False, True), ("a", "b", "c")])
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_labels_may_come_as_a_categorical(labels, class_weight):
    random = np.random.default_rng(0)
    features = random.normal(size=(500, 3))
    codes = (features[:, 0] > 0).astype(int) + (features[:, 1] > 0.5)
    codes = np.clip(codes, 0, len(labels) - 1)
    plain = np.array(labels, dtype=object if isinstance(labels[0], str) else None)[codes]
    fitted = [
        LabelledXGBClassifier(n_estimators=5, n_jobs=1, class_weight=class_weight).fit(features, y)
        for y in (plain, pd.Categorical(plain, categories=list(labels)))
    ]

    assert fitted[0].classes_.tolist() == fitted[1].classes_.tolist() == list(labels)
    assert fitted[0].classes_.dtype == fitted[1].classes_.dtype
    assert [type(label) for label in fitted[1].predict(features).tolist()] == [
        type(label) for label in fitted[0].predict(features).tolist()
    ]
    probabilities = [model.predict_proba(features) for model in fitted]
    assert np.array_equal(*probabilities)
