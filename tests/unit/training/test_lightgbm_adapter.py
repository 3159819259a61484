from __future__ import annotations

import pickle

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor

from evergreen.training.learners import label_weights
from evergreen.training.lightgbm_adapter import adopt_learned, parameters_for

LABELS = {
    "text": np.array(["amber", "mint", "zinc"], dtype=object),
    "integers": np.array([3, 5, 7]),
    "two": np.array(["no", "yes"], dtype=object),
    "truth": np.array([False, True]),
}
SETTINGS = {"n_estimators": 12, "min_child_samples": 5, "subsample": 0.8, "subsample_freq": 1}


def rows(classes, seed=0):
    random = np.random.default_rng(seed)
    codes = np.repeat(np.arange(classes), [200] + [90] * (classes - 1))
    return random.normal(size=(len(codes), 3)) + codes[:, None], codes


def adopted(estimator, features, codes, labels):
    """Have a regressor learn on codes, as workers do, and the estimator become what it learned."""
    weights = None
    if estimator.class_weight == "balanced":
        weights = label_weights(np.bincount(codes))[codes]
    learner = LGBMRegressor(**parameters_for(estimator, len(labels)), n_jobs=1)
    adopt_learned(estimator, learner.fit(features, codes, sample_weight=weights), labels)
    return estimator


@pytest.mark.parametrize("kind", sorted(LABELS))
@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_is_what_its_own_fit_would_have_made_it(kind, class_weight):
    labels = LABELS[kind]
    features, codes = rows(len(labels))
    settings = {**SETTINGS, "class_weight": class_weight, "n_jobs": 1, "verbose": -1}
    ours = adopted(LGBMClassifier(**settings), features, codes, labels)
    plain = LGBMClassifier(**settings).fit(features, labels[codes])

    assert ours.classes_.tolist() == plain.classes_.tolist()
    assert (ours.predict(features) == plain.predict(features)).all()
    assert np.allclose(ours.predict_proba(features), plain.predict_proba(features), atol=1e-6)
    assert ours.get_params() == plain.get_params()
    copy = pickle.loads(pickle.dumps(ours))
    assert np.array_equal(copy.predict_proba(features), ours.predict_proba(features))


def test_a_regression_keeps_its_objective():
    features, codes = rows(2)
    target = features @ [1.0, -2.0, 0.5] + codes
    settings = {**SETTINGS, "objective": "huber", "n_jobs": 1, "verbose": -1}
    ours = LGBMRegressor(**settings)
    adopt_learned(ours, LGBMRegressor(**parameters_for(ours, None)).fit(features, target), None)

    assert np.allclose(
        ours.predict(features), LGBMRegressor(**settings).fit(features, target).predict(features)
    )


def test_the_model_forgets_where_it_was_made():
    features, codes = rows(2)
    ours = LGBMClassifier(**SETTINGS, verbose=-1)
    params = parameters_for(ours, 2) | {
        "machines": "10.0.0.7:12400",
        "num_machines": 1,
        "local_listen_port": 12400,
        "time_out": 7,
    }
    learned = LGBMRegressor(**params).fit(features, codes)
    assert "10.0.0.7" in learned.booster_.model_to_string()
    adopt_learned(ours, learned, LABELS["two"])

    text = ours.booster_.model_to_string()
    assert "10.0.0.7" not in text
    assert "12400" not in text
    assert (ours.predict_proba(features)[:, 1] == learned.predict(features)).all()
